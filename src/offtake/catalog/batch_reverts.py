"""Reverts batches: removes their rows from the dataset, by a server's ingestor or by the command line."""

import contextlib
from dataclasses import dataclass
from typing import Final

from offtake.catalog import batch_documents, batches, import_errors
from offtake.clock import Clock
from offtake.contract.caller import Caller
from offtake.errors import LeaseLostError, OfftakeError
from offtake.failpoints import failpoint
from offtake.lake import ingest
from offtake.lake.catalog import Lake
from offtake.lake.committed_batch import CommittedBatch
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.table_names import TableName
from offtake.store import batches as store
from offtake.store.batches import BatchLease
from offtake.store.database import Database
from offtake.store.tables import Batch, Dataset

_OWNER: Final = "revert"
_LEASE_MS: Final = 600_000


@dataclass(frozen=True)
class RevertResult:
    """The result of a revert; `was_reverted`: the batch had been reverted before."""

    batch: Batch
    dataset: Dataset
    was_reverted: bool


class NotRevertedError(OfftakeError):
    """The batch could not be reverted; the message has the reason."""


def revert(database: Database, lake: Lake, caller: Caller, batch_id: str, clock: Clock) -> RevertResult:
    """Remove a batch's rows from its dataset, with or without a running server. Idempotent.

    Takes over a revert that another process has started; the snapshot that removes the rows is created once. Raises
    `NotRevertedError` when the rows have been rewritten, and `Problem` when the batch cannot be reverted.
    """
    with database.writing() as session:
        batch = batch_documents.find(session, caller, batch_id, lock=True)
        if batch.dataset_id == batches.NO_DATASET:
            raise NotRevertedError(f"Batch {batch.id} has no dataset, so there is nothing to revert.")
        dataset = session.get_one(Dataset, batch.dataset_id)
        was_reverted = batch.status == store.INACTIVE
        batches.act(session, caller, batch, "REVERT", clock.now_ms())
        committed = batches.committed_batch(batch)
        is_waiting = batch.status in store.OPEN and committed is not None
        lease = store.claim_batch(session, batch, _OWNER, clock.now_ms(), _LEASE_MS) if is_waiting else None
    if lease is not None and committed is not None:
        _execute_or_release(database, lake, TableName(dataset.table_name), committed, lease, clock)
    with database.reading() as session:
        return RevertResult(session.get_one(Batch, batch.id), dataset, was_reverted)


def execute(
    database: Database, lake: Lake, table: TableName, committed: CommittedBatch, lease: BatchLease, clock: Clock
) -> str | None:
    """Remove the rows and record the result. Returns the reason when they cannot be removed, else None."""
    try:
        ingest.revert(lake, table, committed)
    except ImportRefusedError as error:
        refuse(database, lease, str(error), clock)
        return str(error)
    failpoint("batch_reverted")
    store.mark_reverted(database, lease, clock.now_ms())
    return None


def refuse(database: Database, lease: BatchLease, reason: str, clock: Clock) -> None:
    """Record that the batch cannot be reverted, with the reason as its error."""
    store.mark_revert_refused(database, lease, [{"code": "INGEST-1420-400", "description": reason}], clock.now_ms())


def _execute_or_release(
    database: Database, lake: Lake, table: TableName, committed: CommittedBatch, lease: BatchLease, clock: Clock
) -> None:
    try:
        with import_errors.translating_errors("The batch could not be reverted"):
            reason = execute(database, lake, table, committed, lease, clock)
    except LeaseLostError:
        raise OfftakeError(f"Another process is reverting batch {lease.batch_id} now.") from None
    except BaseException:
        # A server, or the same command run again, continues the revert.
        with contextlib.suppress(OfftakeError):
            store.release(database, lease)
        raise
    if reason is not None:
        raise NotRevertedError(reason)
