"""A run's row through its life. Every write about a run is fenced: only its present holder can make one."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from offtake.errors import LeaseLostError
from offtake.store.database import Database
from offtake.store.tables import Flow, Run, RunDataset, RunPart, Watermark

WAITING: Final = "waiting"
PROCESSING: Final = "processing"
SUCCESS: Final = "success"
FAILED: Final = "failed"
LIVE: Final = (WAITING, PROCESSING)


@dataclass(frozen=True)
class Lease:
    """The right to write about one run, until another worker is given a higher `fence`.

    `cancelled` when somebody had asked for the run to stop before the lease was given.
    """

    run_id: str
    fence: int
    cancelled: bool = False


def live_run(session: Session, flow_id: str) -> Run | None:
    """The flow's waiting or processing run; there is at most one."""
    return session.scalar(select(Run).where(Run.flow_id == flow_id, Run.status.in_(LIVE)))


def claim(database: Database, owner: str, now_ms: int, lease_ms: int) -> Lease | None:
    """Take the oldest run that waits, or whose holder has fallen silent; None when there is none."""
    free = or_(Run.status == WAITING, (Run.status == PROCESSING) & (func.coalesce(Run.lease_until, 0) <= now_ms))
    with database.writing() as session:
        oldest = select(Run).where(free).order_by(Run.created_at, Run.id).limit(1)
        run = session.scalar(oldest.with_for_update(skip_locked=True))
        if run is None:
            return None
        run.status = PROCESSING
        run.fence += 1
        run.lease_owner = owner
        run.lease_until = now_ms + lease_ms
        run.started_at = run.started_at or now_ms
        run.updated_at = now_ms
        return Lease(run.id, run.fence, run.cancel_requested)


def cancel(session: Session, flow_id: str, now_ms: int) -> None:
    """Ask the flow's live run to stop; one that still waits ends at once."""
    run = session.scalar(select(Run).where(Run.flow_id == flow_id, Run.status.in_(LIVE)).with_for_update())
    if run is None:
        return
    run.cancel_requested = True
    if run.status == WAITING:
        run.errors = [{"code": "EXPORT-1499-400", "message": "The run was cancelled.", "type": "Error"}]
        run.started_at = run.started_at or now_ms
        _end(session, run, FAILED, now_ms)


def abandon(database: Database, owner: str) -> None:
    """Give back every run that `owner` holds: it is known to be dead."""
    with database.writing() as session:
        session.execute(update(Run).where(Run.status == PROCESSING, Run.lease_owner == owner).values(lease_until=0))


def renew(database: Database, lease: Lease, now_ms: int, lease_ms: int) -> bool:
    """Keep the run for another `lease_ms`; True when somebody asked for the run to be cancelled.

    Raises `LeaseLostError` when another worker holds it.
    """
    with database.writing() as session:
        run = _held(session, lease)
        run.lease_until = now_ms + lease_ms
        return run.cancel_requested


def release(database: Database, lease: Lease) -> None:
    """Let any worker go on with the run at once, from what has been recorded."""
    with database.writing() as session:
        _held(session, lease).lease_until = 0


def load_plan(database: Database, lease: Lease) -> tuple[list[RunDataset], list[RunPart]] | None:
    """The plan as it was stored, datasets and parts in order; None when the run has not been planned."""
    with database.reading() as session:
        run = session.get_one(Run, lease.run_id)
        if run.planned_at is None:
            return None
        return run_datasets(session, run.id), run_parts(session, run.id)


def run_datasets(session: Session, run_id: str) -> list[RunDataset]:
    """What the run's plan pinned, by dataset id."""
    return list(session.scalars(select(RunDataset).filter_by(run_id=run_id).order_by(RunDataset.dataset_id)))


def run_parts(session: Session, run_id: str) -> list[RunPart]:
    """The run's parts, by number."""
    return list(session.scalars(select(RunPart).filter_by(run_id=run_id).order_by(RunPart.number)))


def save_plan(
    database: Database,
    lease: Lease,
    datasets: list[RunDataset],
    parts: list[RunPart],
    warnings: list[dict[str, Any]],
    now_ms: int,
) -> None:
    """Store the plan, once and whole."""
    with database.writing() as session:
        run = _held(session, lease)
        run.planned_at = run.updated_at = now_ms
        run.warnings = warnings
        session.add_all([*datasets, *parts])


def record_part(
    database: Database, lease: Lease, number: int, *, rows: int, size: int, sha256: str, now_ms: int
) -> None:
    """Remember that a part is whole at the destination: its rows, its bytes and their SHA-256 in hexadecimal."""
    with database.writing() as session:
        _held(session, lease).updated_at = now_ms
        part = session.get_one(RunPart, (lease.run_id, number))
        part.rows, part.bytes, part.sha256 = rows, size, sha256
        part.finished_at = now_ms


def forget_part(database: Database, lease: Lease, number: int) -> None:
    """The part turned out not to be whole at the destination; it is to be done again."""
    with database.writing() as session:
        _held(session, lease)
        session.get_one(RunPart, (lease.run_id, number)).finished_at = None


def complete(database: Database, lease: Lease, manifest: dict[str, Any] | None, now_ms: int) -> None:
    """End a delivered run in one transaction: its outcome, its flow's last run, and every position it moved.

    Datasets that could not be planned keep their position and make the outcome `failed`; the rest moved.
    """
    with database.writing() as session:
        run = _held(session, lease)
        datasets = run_datasets(session, run.id)
        errors = [dataset.error for dataset in datasets if dataset.error]
        run.manifest = manifest
        run.errors = errors
        if run.moves_position:
            for dataset in datasets:
                _move_watermark(session, run, dataset, now_ms)
        _end(session, run, FAILED if errors else SUCCESS, now_ms)


def fail(database: Database, lease: Lease, error: dict[str, Any], now_ms: int) -> None:
    """End a run that delivered nothing: the positions stay, so that the next run covers the same rows."""
    with database.writing() as session:
        run = _held(session, lease)
        run.errors = [error]
        _end(session, run, FAILED, now_ms)


def _move_watermark(session: Session, run: Run, dataset: RunDataset, now_ms: int) -> None:
    if dataset.error or dataset.to_snapshot is None:
        return
    session.merge(
        Watermark(
            flow_id=run.flow_id,
            dataset_id=dataset.dataset_id,
            snapshot_id=dataset.to_snapshot,
            run_id=run.id,
            updated_at=now_ms,
        )
    )


def _end(session: Session, run: Run, status: str, now_ms: int) -> None:
    run.status = status
    run.lease_until = None
    run.completed_at = run.updated_at = now_ms
    flow = session.get(Flow, run.flow_id)
    if flow is not None:
        flow.last_run_id = run.id
        flow.last_run_state = status
        flow.last_run_started_at = run.started_at
        flow.last_run_completed_at = now_ms


def _held(session: Session, lease: Lease) -> Run:
    run = session.scalar(select(Run).where(Run.id == lease.run_id).with_for_update())
    if run is None or run.fence != lease.fence or run.status != PROCESSING:
        raise LeaseLostError(f"Run {lease.run_id} is held by another worker.")
    return run
