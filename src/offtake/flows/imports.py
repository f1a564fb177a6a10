"""Files of this machine brought into a dataset as one batch, at once: the command line's way in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from offtake.clock import Clock
from offtake.errors import OfftakeError
from offtake.failpoints import failpoint
from offtake.flows import batches, datasets
from offtake.flows.access import Caller
from offtake.lake import ingest
from offtake.lake.catalog import Lake, TableName
from offtake.store.batches import Added, BatchLease, forget_all_of
from offtake.store.batches import complete as complete_batch
from offtake.store.batches import fail as fail_batch
from offtake.store.batches import renew as renew_batch
from offtake.store.batches import take as take_batch
from offtake.store.database import Database
from offtake.store.tables import Batch, Dataset

_OWNER = "import"
_LEASE_MS = 600_000


@dataclass(frozen=True)
class Imported:
    """What an import did: the dataset, the batch that became visible, and whether the dataset is new."""

    dataset: Dataset
    batch: Batch
    created: bool


def import_files(
    database: Database, lake: Lake, caller: Caller, clock: Clock, name: str, files: Sequence[Path]
) -> Imported:
    """The files' rows as one batch of the dataset, which is made when there is none of that name.

    All of the rows become visible at once, or none. Raises `OfftakeError` saying why not.
    """
    now = clock.now_ms()
    with database.writing() as session:
        found = datasets.find(session, caller, name)
        dataset = found or datasets.create(session, caller, {"name": name}, now)
        session.flush()
        batch = batches.new(dataset.id, caller, now)
        session.add(batch)
        lease = take_batch(batch, _OWNER, now, _LEASE_MS)
    try:
        made = ingest.import_files(
            lake, TableName(dataset.table_name), files, batch_id=batch.id, stopped=_Hold(database, clock, lease).keep
        )
    except (OfftakeError, KeyboardInterrupt) as error:
        if found is None:
            _forget(database, lake, dataset)
        else:
            reason = {"code": "INGEST-1452-400", "description": str(error) or "The import was interrupted."}
            fail_batch(database, lease, [reason], clock.now_ms())
        raise
    failpoint("import_committed")
    added = Added(made.snapshot_id, made.rows, sum(path.stat().st_size for path in files), made.rows, made.bytes)
    complete_batch(database, lease, added, clock.now_ms())
    with database.reading() as session:
        return Imported(dataset, session.get_one(Batch, batch.id), created=found is None)


@dataclass
class _Hold:
    """Keeps the batch while its rows are read: a server takes over what falls silent, and ends it as it turned out."""

    database: Database
    clock: Clock
    lease: BatchLease
    renewed_at: int = 0

    def keep(self) -> bool:
        """Never a reason to stop; raises `LeaseLostError` when a server has taken over."""
        now = self.clock.now_ms()
        if now - self.renewed_at > _LEASE_MS // 20:
            renew_batch(self.database, self.lease, now, _LEASE_MS)
            self.renewed_at = now
        return False


def _forget(database: Database, lake: Lake, dataset: Dataset) -> None:
    """A dataset that was made for rows that could not come in is not left behind."""
    with database.writing() as session:
        stored = session.get(Dataset, dataset.id)
        if stored is not None:
            forget_all_of(session, stored.id)
            session.delete(stored)
    lake.purge(TableName(dataset.table_name))
