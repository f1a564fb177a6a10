"""What callers and rules may see of messages: labels of flows and datasets, also of deleted ones, hide their events."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.contract.caller import ALL
from offtake.documents import Json
from offtake.store.tables import Dataset, Label


@dataclass(frozen=True)
class Restrictions:
    """The labels of what some events are about. `of_ids`: of flows and datasets; `of_names`: by (sandbox, name)."""

    of_ids: Mapping[str, Collection[str]]
    of_names: Mapping[tuple[str, str], Collection[str]]

    def shown(self, granted: Collection[str], sandbox_id: str, event: Json) -> Json | None:
        """The event as a client with those labels may see it, without names of hidden datasets; None for a hidden one.

        An import is hidden if its dataset is not known any more.
        """
        if ALL in granted:
            return event
        if event.get("batchId") and not event.get("datasetId"):
            return None
        if any(not self._may_see(granted, self.of_ids.get(event.get(key, ""), ())) for key in ("flowId", "datasetId")):
            return None
        names = event.get("datasets") or ()
        seen = [one for one in names if self._may_see(granted, self.of_names.get((sandbox_id, one), ()))]
        return event if len(seen) == len(names) else event | {"datasets": seen}

    @staticmethod
    def _may_see(granted: Collection[str], its: Collection[str]) -> bool:
        return set(its) <= set(granted)


NONE: Final = Restrictions({}, {})


def restrictions_of(session: Session, events: Iterable[tuple[str, Json]]) -> Restrictions:
    """The labels of these events, given as (sandbox's id, document)."""
    if session.scalar(select(Label.label).limit(1)) is None:
        return NONE
    found = list(events)
    ids = {one[key] for _, one in found for key in ("flowId", "datasetId") if one.get(key)}
    names = {name for _, one in found for name in one.get("datasets") or ()}
    sandboxes = {sandbox_id for sandbox_id, _ in found}
    query = select(Dataset.sandbox_id, Dataset.name, Label.label).join(Label, Label.entity_id == Dataset.id)
    query = query.where(Dataset.sandbox_id.in_(sandboxes), Dataset.name.in_(names))
    of_names: dict[tuple[str, str], set[str]] = {}
    for sandbox_id, name, label in session.execute(query) if names else ():
        of_names.setdefault((sandbox_id, name), set()).add(label)
    return Restrictions(labels.labels_of_all_once(session, ids), of_names)
