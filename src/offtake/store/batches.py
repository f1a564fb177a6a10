"""Leases and outcomes of batches. Every write checks the fencing token, so that only the lease holder can write.

Waiting batches are `staged`, held ones `processing`. A queued batch that has a snapshot already is to be reverted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from offtake.errors import LeaseLostError
from offtake.store import events
from offtake.store.conditions import HELD_BATCH, LOADING_BATCH, QUEUED_BATCH
from offtake.store.database import Database
from offtake.store.events import Event, EventKind, FieldValue
from offtake.store.leases import LeaseMonitor
from offtake.store.revisions import check_claim
from offtake.store.tables import Batch, BatchFile, Dataset
from offtake.store.tables.documents import BatchError

LOADING: Final = "loading"
STAGED: Final = "staged"
PROCESSING: Final = "processing"
SUCCESS: Final = "success"
FAILED: Final = "failed"
ABORTED: Final = "aborted"
ABANDONED: Final = "abandoned"
INACTIVE: Final = "inactive"
OPEN: Final = (LOADING, STAGED, PROCESSING)
"""Statuses in which the uploaded files are still needed."""
LONGEST_PAUSE_MS: Final = 60_000
"""The longest time that a released batch stays blocked (`release`)."""


@dataclass(frozen=True)
class BatchLease:
    """The lease of one batch; it is lost when another ingestor gets a higher `fence` (fencing token)."""

    batch_id: str
    fence: int


@dataclass(frozen=True)
class CommittedRows:
    """The result of an import: snapshot (None without rows), rows and bytes of the input, rows and bytes stored."""

    snapshot_id: int | None
    input_rows: int
    input_bytes: int
    rows: int
    bytes: int
    notes: tuple[str, ...] = ()


def claim_next(database: Database, owner: str, watch: LeaseMonitor, now_ms: int, lease_ms: int) -> BatchLease | None:
    """Claim the oldest batch that is free or whose lease has expired; None when there is none.

    Datasets with another batch in progress are skipped, so that row dataset cannot block the others. While no batch is
    queued, nothing is written.
    """
    if not database.finds(select(Batch.id).where(QUEUED_BATCH)):
        return None
    with database.writing() as session:
        query = select(Batch.id, Batch.fence, Batch.heartbeat_counter, Batch.dataset_id).where(
            HELD_BATCH, Batch.heartbeat_counter > 0
        )
        held = session.execute(query).all()
        expired = watch.is_expired((row.id, row.fence, row.heartbeat_counter) for row in held)
        busy = {row.dataset_id for row in held if row.id not in expired}
        until = func.coalesce(Batch.lease_until, 0)
        # A `lease_until` further ahead than LONGEST_PAUSE_MS means that the wall clock was set back: treat it as free.
        released = (Batch.heartbeat_counter == 0) & ~until.between(now_ms + 1, now_ms + LONGEST_PAUSE_MS)
        free = [Batch.status == STAGED, (Batch.status == PROCESSING) & released]
        free += [(Batch.id == batch_id) & (Batch.heartbeat_counter == counter) for batch_id, counter in expired.items()]
        oldest = select(Batch).where(QUEUED_BATCH, or_(*free), Batch.dataset_id.not_in(busy))
        batch = session.scalar(oldest.order_by(Batch.updated_at, Batch.id).limit(1).with_for_update(skip_locked=True))
        if batch is not None:
            check_claim(session.connection())
        return None if batch is None else claim_batch(session, batch, owner, now_ms, lease_ms)


def claim_batch(session: Session, batch: Batch, owner: str, now_ms: int, lease_ms: int) -> BatchLease:
    """Take the lease of a batch that the caller has locked."""
    if batch.status == PROCESSING and batch.lease_owner is not None:
        record_event(session, "batch.taken_over", batch, now_ms, attempt=batch.fence + 1)
    elif batch.status != PROCESSING:
        action = "import" if batch.snapshot_id is None else "revert"
        record_event(session, "batch.started", batch, now_ms, action=action)
    batch.status = PROCESSING
    batch.fence += 1
    batch.heartbeat_counter = 1
    batch.lease_owner = owner
    batch.lease_until = now_ms + lease_ms
    batch.started_at = batch.started_at or now_ms
    return BatchLease(batch.id, batch.fence)


def release_all_of(database: Database, owner: str) -> None:
    """Release every batch that `owner` holds, because that process is known to be dead."""
    with database.writing() as session:
        session.execute(
            update(Batch).where(HELD_BATCH, Batch.lease_owner == owner).values(heartbeat_counter=0, lease_until=0)
        )


def abandon_old(database: Database, before_ms: int, now_ms: int) -> None:
    """Mark loading batches without an upload since `before_ms` as abandoned."""
    old = select(Batch).where(LOADING_BATCH, Batch.updated_at < before_ms)
    with database.writing() as session:
        for batch in session.scalars(old.with_for_update(skip_locked=True)):
            _end(batch, ABANDONED, now_ms)
            record_event(session, "batch.cancelled", batch, now_ms, status=ABANDONED)


def renew(database: Database, lease: BatchLease, now_ms: int, lease_ms: int) -> None:
    """Renew the lease (heartbeat). Raises `LeaseLostError` when another ingestor holds the batch, or it was deleted."""
    with database.writing() as session:
        batch = _lock_held(session, lease)
        batch.heartbeat_counter += 1
        batch.lease_until = now_ms + lease_ms


def release(database: Database, lease: BatchLease, now_ms: int = 0) -> None:
    """Release the batch; any ingestor may claim it at once, or from `now_ms` on, at most LONGEST_PAUSE_MS ahead."""
    with database.writing() as session:
        batch = _lock_held(session, lease)
        batch.heartbeat_counter, batch.lease_until, batch.lease_owner = 0, now_ms, None


def holds(lease: BatchLease, batch: Batch) -> bool:
    """Whether the lease is still valid for the batch."""
    return batch.fence == lease.fence and batch.status == PROCESSING


def complete(database: Database, lease: BatchLease, added: CommittedRows, now_ms: int) -> None:
    """Mark the batch as imported, and the batches that it replaces as inactive."""
    with database.writing() as session:
        dataset, batch = lock(session, lease)
        if batch.rewrites:
            # Export plans that were started during the rewrite, on the snapshot before it, are made again.
            dataset.rewrites += 1
        batch.notes = [*batch.notes, *(note for note in added.notes if note not in batch.notes)]
        batch.snapshot_id, batch.rows, batch.bytes = added.snapshot_id, added.rows, added.bytes
        batch.input_rows, batch.input_bytes = added.input_rows, added.input_bytes
        _end(batch, SUCCESS, now_ms)
        record_event(session, "batch.imported", batch, now_ms, rows=batch.rows, bytes=batch.bytes, seconds=_took(batch))
        replaced = select(Batch).where(Batch.id.in_(batch.replaces), Batch.status == SUCCESS)
        for other in session.scalars(replaced.with_for_update()):
            other.tags = other.tags | {"acp_successor": [batch.id]}
            _end(other, INACTIVE, now_ms)


def fail(database: Database, lease: BatchLease, errors: Sequence[BatchError], now_ms: int) -> None:
    """Mark the batch as failed with these errors."""
    with database.writing() as session:
        batch = _lock_held(session, lease)
        batch.errors = list(errors)
        batch.failed_rows = 1 if any(error.get("rows") for error in errors) else 0
        _end(batch, FAILED, now_ms)
        _record_failure(session, batch, now_ms)


def mark_reverted(database: Database, lease: BatchLease, now_ms: int) -> None:
    """Mark the batch as reverted: its rows were removed from the dataset."""
    with database.writing() as session:
        batch = _lock_held(session, lease)
        _end(batch, INACTIVE, now_ms)
        record_event(session, "batch.cancelled", batch, now_ms, status=INACTIVE)


def mark_revert_refused(database: Database, lease: BatchLease, errors: Sequence[BatchError], now_ms: int) -> None:
    """End a revert that is not possible, with these errors: the batch's rows stay in the dataset."""
    with database.writing() as session:
        batch = _lock_held(session, lease)
        batch.errors = list(errors)
        _end(batch, SUCCESS, now_ms)
        _record_failure(session, batch, now_ms)


def lock(session: Session, lease: BatchLease) -> tuple[Dataset, Batch]:
    """Lock and return the dataset and the batch. Raises `LeaseLostError` when the lease is lost or a row was deleted.

    Every transaction locks datasets before their batches, to prevent deadlocks.
    """
    of_batch = select(Batch.dataset_id).where(Batch.id == lease.batch_id).scalar_subquery()
    dataset = session.scalar(select(Dataset).where(Dataset.id == of_batch).with_for_update())
    batch = _lock_held(session, lease)
    if dataset is None:
        raise LeaseLostError(f"The dataset of batch {lease.batch_id} was deleted.")
    return dataset, batch


def with_content(session: Session, dataset_id: str, content_hash: str, exclude: Sequence[str] = ()) -> Batch | None:
    """The oldest batch of the dataset that has imported, or is to import, the same content, and was not reverted."""
    same = select(Batch).where(Batch.dataset_id == dataset_id, Batch.content_hash == content_hash)
    candidates = same.where(Batch.status.in_((SUCCESS, STAGED, PROCESSING)), Batch.id.not_in(exclude))
    return session.scalar(candidates.order_by(Batch.created_at, Batch.id).limit(1))


def forget_all_of(session: Session, dataset_id: str) -> tuple[str, ...]:
    """Delete the rows of every batch of the dataset and of their files. Returns the batch ids."""
    of_dataset = select(Batch.id).filter_by(dataset_id=dataset_id)
    batch_ids = tuple(session.scalars(of_dataset))
    session.execute(delete(BatchFile).where(BatchFile.batch_id.in_(of_dataset)))
    session.execute(delete(Batch).where(Batch.dataset_id == dataset_id))
    return batch_ids


def next_version(version: str) -> str:
    """The version after this one: `1.0.7` after `1.0.6`."""
    last = version.removeprefix("1.0.")
    return f"1.0.{int(last) + 1 if last.isascii() and last.isdecimal() else 1}"


def record_event(session: Session, kind: EventKind, batch: Batch, now_ms: int, **fields: FieldValue) -> None:
    """Record an event of the batch, with its dataset's name."""
    dataset = session.get(Dataset, batch.dataset_id)
    names = [] if dataset is None else [dataset.name]
    events.record(session, Event(kind, batch.sandbox_id, now_ms, batch_id=batch.id, datasets=names, fields=fields))


def _record_failure(session: Session, batch: Batch, now_ms: int) -> None:
    error = batch.errors[0] if batch.errors else None
    about = {} if error is None else {"code": error["code"], "message": error["description"]}
    record_event(session, "batch.failed", batch, now_ms, **about, seconds=_took(batch))


def _took(batch: Batch) -> float | None:
    """Seconds since the batch's first attempt; None before it."""
    if batch.started_at is None or batch.completed_at is None:
        return None
    return max(0, batch.completed_at - batch.started_at) / 1000


def _end(batch: Batch, status: str, now_ms: int) -> None:
    batch.status = status
    batch.heartbeat_counter, batch.lease_until = 0, None
    batch.completed_at = batch.updated_at = now_ms
    batch.version = next_version(batch.version)


def _lock_held(session: Session, lease: BatchLease) -> Batch:
    batch = session.scalar(select(Batch).where(Batch.id == lease.batch_id).with_for_update())
    if batch is None or not holds(lease, batch):
        raise LeaseLostError(f"Batch {lease.batch_id} is held by another ingestor.")
    return batch
