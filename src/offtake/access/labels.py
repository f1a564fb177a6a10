"""Access labels: only callers with all labels of a dataset or flow can see it (contract, section 27)."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, delete, exists, literal, select, true, update
from sqlalchemy.orm import Session

from offtake.contract.caller import ALL, Caller
from offtake.errors import FieldProblem, InvalidInputError
from offtake.store.tables import Label

_MAX_LENGTH: Final = 100
_MAX: Final = 100


KEPT_LABELS: Final = "deleted:"
"""Before the id of a deleted flow or dataset, in `Label.entity_id`: the labels that it had, for usage and messages."""


def visible(entity_id: SQLColumnExpression[Any], caller: Caller) -> ColumnElement[bool]:
    """The condition that the caller has every label of the row with that id column, for example `Dataset.id`."""
    if ALL in caller.grants.labels:
        return true()
    missing = exists().where(Label.entity_id == entity_id, Label.label.not_in(sorted(caller.grants.labels)))
    return ~missing


def visible_once(entity_id: SQLColumnExpression[Any], caller: Caller) -> ColumnElement[bool]:
    """Like `visible`, for rows that outlive the flow or dataset with that id: with the labels that it had."""
    if ALL in caller.grants.labels:
        return true()
    return and_(visible(entity_id, caller), visible(literal(KEPT_LABELS) + entity_id, caller))


def remove_labels(session: Session, entity_id: str) -> None:
    """Remove the labels of a flow or dataset that is deleted; they continue to hide its usage and messages."""
    named = update(Label).where(Label.entity_id == entity_id)
    session.execute(named.values(entity_id=KEPT_LABELS + entity_id), execution_options={"synchronize_session": False})


def labels_of(session: Session, entity_id: str) -> list[str]:
    """The labels of one flow or dataset, sorted."""
    # Sorted here: the database's order depends on its locale, and etags must not.
    return sorted(session.scalars(select(Label.label).filter_by(entity_id=entity_id)))


def labels_of_all(session: Session, entity_ids: Collection[str]) -> dict[str, list[str]]:
    """The labels of those flows or datasets that have labels, sorted, by id."""
    found = defaultdict[str, list[str]](list)
    for entity_id, label in session.execute(
        select(Label.entity_id, Label.label).where(Label.entity_id.in_(entity_ids))
    ):
        found[entity_id].append(label)
    return {entity_id: sorted(names) for entity_id, names in found.items()}


def labels_of_all_once(session: Session, entity_ids: Collection[str]) -> dict[str, list[str]]:
    """Like `labels_of_all`, also of flows and datasets that are deleted: the labels that they had."""
    found = labels_of_all(session, {*entity_ids, *(KEPT_LABELS + one for one in entity_ids)})
    return {one.removeprefix(KEPT_LABELS): names for one, names in found.items()}


def set_labels(session: Session, entity_id: str, labels: Iterable[str]) -> list[str]:
    """Replace the labels, and return them sorted; an empty list removes all. Raises `InvalidInputError`."""
    new = sorted(set(labels))
    _check(new)
    session.execute(delete(Label).where(Label.entity_id == entity_id))
    session.add_all(Label(entity_id=entity_id, label=label) for label in new)
    session.flush()
    return new


def _check(labels: list[str]) -> None:
    if len(labels) > _MAX:
        raise InvalidInputError([FieldProblem("/labels", f"may be at most {_MAX}")])
    for label in labels:
        plain = 1 <= len(label) <= _MAX_LENGTH and label.isprintable() and label.strip() == label
        if not plain or label == ALL:
            rule = f"must be 1 to {_MAX_LENGTH} printable characters without spaces around them, and not {ALL}"
            raise InvalidInputError([FieldProblem("/labels", f"{label[:_MAX_LENGTH]!r} {rule}")])
