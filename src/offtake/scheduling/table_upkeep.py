"""Upkeep of the deployment's own tables: by the server each hour, and by `offtake dataset maintain`."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import select

from offtake.deployment.backend import Backend
from offtake.failpoints import failpoint
from offtake.lake import upkeep
from offtake.lake.compaction import Compacted, compact
from offtake.lake.table_names import TableName, parse
from offtake.lake.upkeep import Retention
from offtake.store import snapshots_in_use
from offtake.store.tables import Dataset

_log = logging.getLogger(__name__)
_DAY_MS: Final = 86_400_000
_LEAST_EXPIRED: Final = 50
"""Fewer snapshots wait for the daily round: each removal is a commit."""
_MOST_COMPACTIONS: Final = 20
"""Compactions of one table in one round: each merges one age group."""
_PAGE: Final = 1000


@dataclass(frozen=True)
class Kept:
    """What the upkeep of one dataset did."""

    dataset: str
    merged: int = 0
    into: int = 0
    expired: int = 0
    removed: int = 0


@dataclass
class TableUpkeep:
    """The upkeep of all own tables by one process, which remembers what it last saw of each table.

    Each day it does all work on a table; in between only if the table has changed.
    """

    backend: Backend
    _swept: dict[str, int] = field(default_factory=dict)
    _seen: dict[str, str | None] = field(default_factory=dict)

    def run(self) -> Iterator[Kept]:
        """One round; yields after each table. A table that cannot be kept up is logged, and tried again."""
        for one in own_datasets(self.backend):
            now_ms = self.backend.clock.now_ms()
            sweeps = not 0 <= now_ms - self._swept.get(one.id, -_DAY_MS) < _DAY_MS
            if not sweeps and self._seen.get(one.id) == self.backend.lake.metadata_location(one.table):
                continue
            try:
                yield maintain(self.backend, one, sweeps=sweeps)
            except Exception as error:  # noqa: BLE001 - one table that cannot be read does not stop the others
                _log.warning("dataset %s cannot be maintained yet: %s", one.name, error)
                continue
            self._seen[one.id] = self.backend.lake.metadata_location(one.table)
            if sweeps:
                self._swept[one.id] = now_ms


@dataclass(frozen=True)
class OwnDataset:
    """A dataset with a table of the own lake."""

    id: str
    name: str
    table: TableName


def own_datasets(backend: Backend) -> list[OwnDataset]:
    """The datasets whose tables are kept up: registered tables of others are never touched."""
    with backend.database.reading() as session:
        rows = session.execute(select(Dataset.id, Dataset.name, Dataset.table_name).order_by(Dataset.id)).all()
    found = [OwnDataset(row.id, row.name, TableName(row.table_name)) for row in rows]
    return [one for one in found if parse(one.table) is None]


def maintain(backend: Backend, dataset: OwnDataset, *, sweeps: bool) -> Kept:
    """Merge small files, remove old snapshots and, with `sweeps`, files that nothing refers to.

    Raises `DeliveryError`, `OSError` and errors of the catalog; a later round continues.
    """
    merged = _compact(backend, dataset.id, dataset.table)
    expired = _expire(backend, dataset.id, dataset.table, 1 if sweeps else _LEAST_EXPIRED)
    removed = _sweep(backend, dataset.id, dataset.table) if sweeps else 0
    kept = Kept(dataset.name, merged.files, merged.into, expired, removed)
    if any((kept.merged, kept.expired, kept.removed)):
        _log.info(
            "dataset %s: %d data files merged into %d, %d snapshots and %d files removed",
            kept.dataset,
            kept.merged,
            kept.into,
            kept.expired,
            kept.removed,
        )
    return kept


def _compact(backend: Backend, dataset_id: str, table: TableName) -> Compacted:
    days, now_ms = backend.settings.compaction_days, backend.clock.now_ms()
    done = Compacted()
    if days is None:
        return done
    for _ in range(_MOST_COMPACTIONS):
        with backend.database.reading() as session:
            boundaries = snapshots_in_use.snapshots_in_use(session, dataset_id, now_ms - _failed_ms(backend))
        one = compact(backend.lake, table, boundaries, now_ms - days * _DAY_MS)
        done = Compacted(done.files + one.files, done.into + one.into, done.manifests + one.manifests)
        if not one.files:
            break
    return done


def _expire(backend: Backend, dataset_id: str, table: TableName, least: int) -> int:
    settings, now_ms = backend.settings, backend.clock.now_ms()
    if settings.snapshot_days is None:
        return 0
    with backend.database.reading() as session:
        protected = snapshots_in_use.snapshots_in_use(session, dataset_id, now_ms - _failed_ms(backend))
        importing = snapshots_in_use.batches_in_use(session, dataset_id)
    since = now_ms - settings.snapshot_days * _DAY_MS
    return upkeep.expire_snapshots(
        backend.lake, table, Retention(since, settings.snapshot_count, protected, importing), least
    )


def _sweep(backend: Backend, dataset_id: str, table: TableName) -> int:
    with backend.database.reading() as session:
        importing = snapshots_in_use.batches_in_use(session, dataset_id)
    found = upkeep.unreferenced_files(backend.lake, table, backend.clock.now_ms(), importing)
    if not found:
        return 0
    with backend.database.writing() as session:
        planned = snapshots_in_use.begin_removal(session, dataset_id)
    if planned is None:
        return 0  # the dataset was deleted, and its folder is removed as a whole
    failpoint("files_unreferenced")
    left = [one for one in found if one not in planned]
    for first in range(0, len(left), _PAGE):
        backend.lake.warehouse.remove(left[first : first + _PAGE])
        failpoint("files_removed")
    return len(left)


def _failed_ms(backend: Backend) -> int:
    """For how long the snapshots of a failed run stay, in milliseconds: a later run may continue from it."""
    return (backend.settings.snapshot_days or 0) * _DAY_MS
