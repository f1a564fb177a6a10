"""Files of this machine brought into a dataset as one batch, at once: the command line's way in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from offtake.clock import Clock
from offtake.errors import OfftakeError
from offtake.flows import batches, datasets
from offtake.flows.access import Caller
from offtake.lake import ingest
from offtake.lake.catalog import Lake, TableName
from offtake.store.batches import Added, BatchLease, forget_all_of
from offtake.store.batches import complete as complete_batch
from offtake.store.batches import fail as fail_batch
from offtake.store.batches import take as take_batch
from offtake.store.database import Database
from offtake.store.tables import Batch, Dataset

_OWNER = "import"
_LEASE_MS = 60_000


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
    table = TableName(dataset.table_name)
    try:
        made = ingest.import_files(lake, table, files, batch_id=batch.id)
    except OfftakeError as error:
        if found is None:
            _forget(database, lake, dataset)
        else:
            reason = {"code": "INGEST-1452-400", "description": str(error)}
            fail_batch(database, _held(database, batch.id, clock), [reason], clock.now_ms())
        raise
    added = Added(made.snapshot_id, made.rows, made.bytes, made.rows, made.bytes)
    complete_batch(database, _held(database, batch.id, clock), added, clock.now_ms())
    with database.reading() as session:
        return Imported(dataset, session.get_one(Batch, batch.id), created=found is None)


def _held(database: Database, batch_id: str, clock: Clock) -> BatchLease:
    """The batch is held only once its rows are in: until then its files are not with any server that could go on."""
    with database.writing() as session:
        return take_batch(session.get_one(Batch, batch_id), _OWNER, clock.now_ms(), _LEASE_MS)


def _forget(database: Database, lake: Lake, dataset: Dataset) -> None:
    """A dataset that was made for rows that could not come in is not left behind."""
    with database.writing() as session:
        stored = session.get(Dataset, dataset.id)
        if stored is not None:
            forget_all_of(session, stored.id)
            session.delete(stored)
    lake.purge(TableName(dataset.table_name))
