"""Batches taken out of their datasets again: by a server's ingestor, or by the command line itself."""

import contextlib
from dataclasses import dataclass
from typing import Final

from offtake.catalog import batch_documents, batches, import_errors
from offtake.clock import Clock
from offtake.contract.caller import Caller
from offtake.errors import LeaseLostError, OfftakeError
from offtake.failpoints import failpoint
from offtake.lake import ingest
from offtake.lake.catalog import Lake, TableName
from offtake.lake.ingest import CommittedBatch
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.store import batches as store
from offtake.store.batches import BatchLease
from offtake.store.database import Database
from offtake.store.tables import Batch, Dataset

_OWNER: Final = "revert"
_LEASE_MS: Final = 600_000


@dataclass(frozen=True)
class RevertResult:
    """A batch that is out of its dataset: how many rows that removed, and whether it was out before."""

    batch: Batch
    dataset: Dataset
    was_out: bool


class NotRevertedError(OfftakeError):
    """The batch's rows stay in the dataset; the message says why."""


def revert(database: Database, lake: Lake, caller: Caller, batch_id: str, clock: Clock) -> RevertResult:
    """Take a batch's rows out of its dataset, with or without a running server. Done twice, it is done once.

    A revert that a server or another process has begun is taken over: the snapshot that removes the rows is made once.
    Raises `NotRevertedError` when the rows have been rewritten, and `Problem` when there is nothing to take out.
    """
    with database.writing() as session:
        batch = batch_documents.find(session, caller, batch_id, lock=True)
        if batch.dataset_id == batches.NO_DATASET:
            raise NotRevertedError(f"Batch {batch.id} has no dataset, so there is nothing to take out.")
        dataset = session.get_one(Dataset, batch.dataset_id)
        was_out = batch.status == store.INACTIVE
        batches.act(session, caller, batch, "REVERT", clock.now_ms())
        landed = batches.complete_committed(batch)
        is_waiting = batch.status in store.OPEN and landed is not None
        lease = store.claim_batch(batch, _OWNER, clock.now_ms(), _LEASE_MS) if is_waiting else None
    if lease is not None and landed is not None:
        _carry_out_or_release(database, lake, TableName(dataset.table_name), landed, lease, clock)
    with database.reading() as session:
        return RevertResult(session.get_one(Batch, batch.id), dataset, was_out)


def execute(
    database: Database, lake: Lake, table: TableName, landed: CommittedBatch, lease: BatchLease, clock: Clock
) -> str | None:
    """Take the rows out, and end the batch as that turns out; the reason when they stay."""
    try:
        ingest.revert(lake, table, landed)
    except ImportRefusedError as error:
        refuse(database, lease, str(error), clock)
        return str(error)
    failpoint("batch_reverted")
    store.mark_reverted(database, lease, clock.now_ms())
    return None


def refuse(database: Database, lease: BatchLease, why: str, clock: Clock) -> None:
    """The batch's rows stay in its dataset, and the batch says why."""
    store.mark_revert_refused(database, lease, [{"code": "INGEST-1420-400", "description": why}], clock.now_ms())


def _carry_out_or_release(
    database: Database, lake: Lake, table: TableName, landed: CommittedBatch, lease: BatchLease, clock: Clock
) -> None:
    try:
        with import_errors.translating_errors("The batch could not be reverted"):
            why = execute(database, lake, table, landed, lease, clock)
    except LeaseLostError:
        raise OfftakeError(f"Another process is reverting batch {lease.batch_id} now.") from None
    except BaseException:
        # A server, or the same command again, goes on with it.
        with contextlib.suppress(OfftakeError):
            store.release(database, lease)
        raise
    if why is not None:
        raise NotRevertedError(why)
