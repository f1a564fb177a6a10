"""Access labels: a caller that lacks one of a dataset's or a flow's labels does not see it (contract, section 27)."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, SQLColumnExpression, delete, exists, select, true
from sqlalchemy.orm import Session

from offtake.contract.caller import ALL, Caller
from offtake.errors import FieldProblem, InvalidInputError
from offtake.store.tables import Label

_MAX_LENGTH: Final = 100
_MAX: Final = 100


def visible(entity_id: SQLColumnExpression[Any], caller: Caller) -> ColumnElement[bool]:
    """The condition that the caller has every label of the row whose id is in that column, such as `Dataset.id`."""
    if ALL in caller.grants.labels:
        return true()
    lacking = exists().where(Label.entity_id == entity_id, Label.label.not_in(sorted(caller.grants.labels)))
    return ~lacking


def labels_of(session: Session, entity_id: str) -> list[str]:
    """The labels on one thing, in the order that `set_labels` returns."""
    # The database's order is its locale's, in which etags of the same labels would differ.
    return sorted(session.scalars(select(Label.label).filter_by(entity_id=entity_id)))


def set_labels(session: Session, entity_id: str, labels: Iterable[str]) -> list[str]:
    """Exactly these labels, in order; none of them takes all away. Raises `InvalidInputError`."""
    wanted = sorted(set(labels))
    _check(wanted)
    session.execute(delete(Label).where(Label.entity_id == entity_id))
    session.add_all(Label(entity_id=entity_id, label=label) for label in wanted)
    session.flush()
    return wanted


def _check(labels: list[str]) -> None:
    if len(labels) > _MAX:
        raise InvalidInputError([FieldProblem("/labels", f"may be at most {_MAX}")])
    for label in labels:
        plain = 1 <= len(label) <= _MAX_LENGTH and label.isprintable() and label.strip() == label
        if not plain or label == ALL:
            rule = f"must be 1 to {_MAX_LENGTH} printable characters without spaces around them, and not {ALL}"
            raise InvalidInputError([FieldProblem("/labels", f"{label[:_MAX_LENGTH]!r} {rule}")])
