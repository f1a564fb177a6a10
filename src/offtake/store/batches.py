"""A batch's row while its snapshot is made. Every such write is fenced: only the batch's present holder can make one.

Waiting batches are `staged`, held ones `processing`. One that has a snapshot already is to be reverted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from offtake.errors import LeaseLostError
from offtake.store.conditions import HELD_BATCH, LOADING_BATCH, QUEUED_BATCH
from offtake.store.database import Database
from offtake.store.leases import LeaseMonitor
from offtake.store.tables import Batch, BatchFile, Dataset

LOADING: Final = "loading"
STAGED: Final = "staged"
PROCESSING: Final = "processing"
SUCCESS: Final = "success"
FAILED: Final = "failed"
ABORTED: Final = "aborted"
ABANDONED: Final = "abandoned"
INACTIVE: Final = "inactive"
OPEN: Final = (LOADING, STAGED, PROCESSING)
"""Whose files are still needed."""
LONGEST_PAUSE_MS: Final = 60_000


@dataclass(frozen=True)
class BatchLease:
    """The right to write about one batch, until another ingestor is given a higher `fence`."""

    batch_id: str
    fence: int


@dataclass(frozen=True)
class CommittedRows:
    """What came in: the snapshot, None without rows; the rows and bytes that were sent, and those that are stored."""

    snapshot_id: int | None
    input_rows: int
    input_bytes: int
    rows: int
    bytes: int
    notes: tuple[str, ...] = ()


def claim_next(database: Database, owner: str, watch: LeaseMonitor, now_ms: int, lease_ms: int) -> BatchLease | None:
    """Take the batch that has waited longest, or whose holder has fallen silent; None when there is none.

    Datasets of which another batch is being read are left out, so that no dataset's files keep others waiting. While
    no batch is complete, nothing is written.
    """
    if not database.finds(select(Batch.id).where(QUEUED_BATCH)):
        return None
    with database.writing() as session:
        query = select(Batch.id, Batch.fence, Batch.heartbeat_counter, Batch.dataset_id).where(
            HELD_BATCH, Batch.heartbeat_counter > 0
        )
        held = session.execute(query).all()
        silent = watch.is_expired((one.id, one.fence, one.heartbeat_counter) for one in held)
        busy = {one.dataset_id for one in held if one.id not in silent}
        until = func.coalesce(Batch.lease_until, 0)
        # One that is to be free in a long time was given back before the clock was set back.
        given_back = (Batch.heartbeat_counter == 0) & ~until.between(now_ms + 1, now_ms + LONGEST_PAUSE_MS)
        free = [Batch.status == STAGED, (Batch.status == PROCESSING) & given_back]
        free += [(Batch.id == batch_id) & (Batch.heartbeat_counter == beat) for batch_id, beat in silent.items()]
        oldest = select(Batch).where(QUEUED_BATCH, or_(*free), Batch.dataset_id.not_in(busy))
        batch = session.scalar(oldest.order_by(Batch.updated_at, Batch.id).limit(1).with_for_update(skip_locked=True))
        return None if batch is None else claim_batch(batch, owner, now_ms, lease_ms)


def claim_batch(batch: Batch, owner: str, now_ms: int, lease_ms: int) -> BatchLease:
    """Hold the batch from now on."""
    batch.status = PROCESSING
    batch.fence += 1
    batch.heartbeat_counter = 1
    batch.lease_owner = owner
    batch.lease_until = now_ms + lease_ms
    batch.started_at = batch.started_at or now_ms
    return BatchLease(batch.id, batch.fence)


def release_all_of(database: Database, owner: str) -> None:
    """Give back every batch that `owner` holds: it is known to be dead."""
    with database.writing() as session:
        session.execute(
            update(Batch).where(HELD_BATCH, Batch.lease_owner == owner).values(heartbeat_counter=0, lease_until=0)
        )


def abandon_old(database: Database, before_ms: int, now_ms: int) -> None:
    """End the batches that nothing has been sent for since then."""
    old = select(Batch).where(LOADING_BATCH, Batch.updated_at < before_ms)
    with database.writing() as session:
        for batch in session.scalars(old.with_for_update(skip_locked=True)):
            _end(batch, ABANDONED, now_ms)


def renew(database: Database, lease: BatchLease, now_ms: int, lease_ms: int) -> None:
    """Show that the batch's holder lives. Raises `LeaseLostError` when another holds it, or it is gone."""
    with database.writing() as session:
        batch = _held(session, lease)
        batch.heartbeat_counter += 1
        batch.lease_until = now_ms + lease_ms


def release(database: Database, lease: BatchLease, now_ms: int = 0) -> None:
    """Let any ingestor go on with the batch, at once or from that instant on, a minute away at most."""
    with database.writing() as session:
        batch = _held(session, lease)
        batch.heartbeat_counter, batch.lease_until = 0, now_ms


def holds(lease: BatchLease, batch: Batch) -> bool:
    """Whether the lease is still the batch's."""
    return batch.fence == lease.fence and batch.status == PROCESSING


def complete(database: Database, lease: BatchLease, added: CommittedRows, now_ms: int) -> None:
    """The batch is in; those that it replaces no longer are."""
    with database.writing() as session:
        dataset, batch = lock(session, lease)
        if batch.rewrites:
            # Plans that were begun after the rewrite was, on the snapshot before it, are made again.
            dataset.rewrites += 1
        batch.notes = [*batch.notes, *(note for note in added.notes if note not in batch.notes)]
        batch.snapshot_id, batch.rows, batch.bytes = added.snapshot_id, added.rows, added.bytes
        batch.input_rows, batch.input_bytes = added.input_rows, added.input_bytes
        _end(batch, SUCCESS, now_ms)
        replaced = select(Batch).where(Batch.id.in_(batch.replaces), Batch.status == SUCCESS)
        for other in session.scalars(replaced.with_for_update()):
            other.tags = other.tags | {"acp_successor": [batch.id]}
            _end(other, INACTIVE, now_ms)


def fail(database: Database, lease: BatchLease, errors: Sequence[dict[str, Any]], now_ms: int) -> None:
    """The batch cannot come in, for these reasons."""
    with database.writing() as session:
        batch = _held(session, lease)
        batch.errors = list(errors)
        batch.failed_rows = 1 if any(error.get("rows") for error in errors) else 0
        _end(batch, FAILED, now_ms)


def mark_reverted(database: Database, lease: BatchLease, now_ms: int) -> None:
    """The batch's rows are out of the dataset."""
    with database.writing() as session:
        _end(_held(session, lease), INACTIVE, now_ms)


def mark_revert_refused(database: Database, lease: BatchLease, errors: Sequence[dict[str, Any]], now_ms: int) -> None:
    """The batch's rows stay in the dataset, for these reasons."""
    with database.writing() as session:
        batch = _held(session, lease)
        batch.errors = list(errors)
        _end(batch, SUCCESS, now_ms)


def lock(session: Session, lease: BatchLease) -> tuple[Dataset, Batch]:
    """The dataset and the batch, both locked. Raises `LeaseLostError` when another holds the batch, or it is gone.

    Datasets are locked before their batches everywhere, so that no two transactions wait for each other.
    """
    of_batch = select(Batch.dataset_id).where(Batch.id == lease.batch_id).scalar_subquery()
    dataset = session.scalar(select(Dataset).where(Dataset.id == of_batch).with_for_update())
    batch = _held(session, lease)
    if dataset is None:
        raise LeaseLostError(f"The dataset of batch {lease.batch_id} is gone.")
    return dataset, batch


def with_content(session: Session, dataset_id: str, content_hash: str, exclude: Sequence[str] = ()) -> Batch | None:
    """The first batch of the dataset that brought, or is bringing, the same content, and has not been reverted."""
    same = select(Batch).where(Batch.dataset_id == dataset_id, Batch.content_hash == content_hash)
    standing = same.where(Batch.status.in_((SUCCESS, STAGED, PROCESSING)), Batch.id.not_in(exclude))
    return session.scalar(standing.order_by(Batch.created_at, Batch.id).limit(1))


def forget_all_of(session: Session, dataset_id: str) -> tuple[str, ...]:
    """Forget every batch of the dataset, and what was sent for them; their ids."""
    of_dataset = select(Batch.id).filter_by(dataset_id=dataset_id)
    batch_ids = tuple(session.scalars(of_dataset))
    session.execute(delete(BatchFile).where(BatchFile.batch_id.in_(of_dataset)))
    session.execute(delete(Batch).where(Batch.dataset_id == dataset_id))
    return batch_ids


def next_version(version: str) -> str:
    """The version after this one: `1.0.7` after `1.0.6`."""
    last = version.removeprefix("1.0.")
    return f"1.0.{int(last) + 1 if last.isascii() and last.isdecimal() else 1}"


def _end(batch: Batch, status: str, now_ms: int) -> None:
    batch.status = status
    batch.heartbeat_counter, batch.lease_until = 0, None
    batch.completed_at = batch.updated_at = now_ms
    batch.version = next_version(batch.version)


def _held(session: Session, lease: BatchLease) -> Batch:
    batch = session.scalar(select(Batch).where(Batch.id == lease.batch_id).with_for_update())
    if batch is None or not holds(lease, batch):
        raise LeaseLostError(f"Batch {lease.batch_id} is held by another ingestor.")
    return batch
