"""A run's row through its life. Every write about a run is fenced: only its present holder can make one."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from offtake.errors import CANCELLED
from offtake.store import disposals, queue
from offtake.store.conditions import HELD_RUN, LIVE_RUN
from offtake.store.database import Database
from offtake.store.leases import LeaseMonitor
from offtake.store.run_leases import Lease, held_for_delivery, held_run
from offtake.store.run_parts import has_parts, run_datasets
from offtake.store.run_states import FAILED, PROCESSING, SECOND_LOOK_MS, SUCCESS, WAITING
from offtake.store.tables import Flow, Run, RunDataset, RunPart, SourceConnection, Watermark


def live_run(session: Session, flow_id: str) -> Run | None:
    """The flow's waiting or processing run; there is at most one."""
    return session.scalar(select(Run).where(Run.flow_id == flow_id, LIVE_RUN))


def any_live(database: Database) -> bool:
    """Whether any run has not ended."""
    return database.finds(select(Run.id).where(LIVE_RUN))


def claim(database: Database, owner: str, watch: LeaseMonitor, now_ms: int, *, ask_away: bool = True) -> Lease | None:
    """Take the oldest run that is free, or whose holder has fallen silent; None when there is none.

    A run that waits is not free before its time, nor one whose destination another run is asking (`health`), nor,
    without `ask_away`, one whose destination did not answer before. While no run is live, nothing is written.
    """
    if not any_live(database):
        return None
    with database.writing() as session:
        held = select(Run.id, Run.fence, Run.heartbeat_counter).where(HELD_RUN, Run.heartbeat_counter > 0)
        silent = watch.is_expired((one, fence, beat) for one, fence, beat in session.execute(held))
        found = queue.take(session, silent, now_ms, ask_away=ask_away)
        if found is None:
            return None
        run = found.run
        run.status = PROCESSING
        run.fence += 1
        run.heartbeat_counter = 1
        run.claims += 1
        run.lease_owner = owner
        # A start that lies ahead was written down before the clock was set back; the run would wait for ever.
        run.started_at = min(run.started_at or now_ms, now_ms)
        run.updated_at = now_ms
        run.not_before, run.held = None, False
        return Lease(
            run.id,
            run.fence,
            run.cancel_requested,
            run.failure,
            run.claims,
            address=run.address,
            admission=found.admission,
            away=found.away,
            retries=run.retries or {},
        )


def cancel(session: Session, flow_id: str, now_ms: int) -> None:
    """Ask the flow's live run to stop; one that still waits ends at once."""
    run = session.scalar(select(Run).where(Run.flow_id == flow_id, LIVE_RUN).with_for_update())
    if run is not None:
        cancel_run(session, run, now_ms)


def cancel_run(session: Session, run: Run, now_ms: int) -> None:
    """Ask a live run to stop; one that is in the queue ends at once, or, when it may have files, by the next worker."""
    run.cancel_requested = True
    if run.status == WAITING and has_parts(session, run):
        run.not_before = None
    elif run.status == WAITING:
        run.errors = [{"code": CANCELLED.code, "message": "The run was cancelled.", "type": "Error"}]
        run.started_at = run.started_at or now_ms
        _end(session, run, FAILED, now_ms)


def release_all_of(database: Database, owner: str) -> None:
    """Give back every run that `owner` holds: it is known to be dead."""
    with database.writing() as session:
        session.execute(update(Run).where(HELD_RUN, Run.lease_owner == owner).values(heartbeat_counter=0))


def renew(database: Database, lease: Lease) -> bool:
    """Show that the run's holder lives; True when somebody asked for the run to be cancelled.

    Raises `LeaseLostError` when another worker holds it.
    """
    with database.writing() as session:
        run = held_run(session, lease)
        run.heartbeat_counter += 1
        return run.cancel_requested


def release(database: Database, lease: Lease) -> None:
    """Let any worker go on with the run at once, from what has been recorded."""
    with database.writing() as session:
        run = held_run(session, lease)
        run.heartbeat_counter = 0
        run.claims = max(0, run.claims - 1)


def complete(
    database: Database,
    lease: Lease,
    manifest: dict[str, Any] | None,
    now_ms: int,
    warnings: Sequence[dict[str, Any]] = (),
    *,
    again: bool = False,
) -> None:
    """End a delivered run in one transaction: its outcome, its flow's last run, and every position it moved.

    `warnings` of the delivery follow those of the plan. `again`: files were written again under other names.
    Datasets that could not be planned keep their position and make the outcome `failed`; the rest moved.
    Raises `LeaseLostError` also for a run with a verdict.
    """
    with database.writing() as session:
        run = held_for_delivery(session, lease)
        datasets = run_datasets(session, run.id)
        errors = [dataset.error for dataset in datasets if dataset.error]
        run.manifest = manifest
        run.errors = errors
        run.warnings = [*run.warnings, *warnings]
        if run.moves_position:
            _move_positions(session, run, datasets, now_ms)
        # Those who held it before may have left something behind, and earlier attempts may come late.
        run.sweep_due = now_ms + SECOND_LOOK_MS if again or run.fence > 1 else None
        left = select(RunPart.number).where(RunPart.run_id == run.id, RunPart.left.is_not(None)).limit(1)
        if session.scalar(left) is not None:
            run.sweep_due = now_ms
        _end(session, run, FAILED if errors else SUCCESS, now_ms)


def record_failure(database: Database, lease: Lease, error: dict[str, Any], now_ms: int) -> None:
    """Decide, for good, that the run fails: whoever holds it from now on only removes what it has written.

    Its files can be removed from now on without the lease: nobody will deliver them.
    """
    with database.writing() as session:
        run = held_run(session, lease)
        run.failure = run.failure or error
        run.updated_at = now_ms


def fail(database: Database, lease: Lease, error: dict[str, Any], now_ms: int, *, sweep_due: int | None = None) -> None:
    """End a run that delivered nothing: the positions stay, so that the next run covers the same rows.

    `sweep_due`: when somebody is to look for what it may have left at its destination.
    """
    with database.writing() as session:
        run = held_run(session, lease)
        run.failure = run.failure or error
        run.errors = [run.failure]
        run.manifest = None
        run.sweep_due = sweep_due
        if sweep_due is None:
            run.disposal = disposals.REMOVED
        _end(session, run, FAILED, now_ms)


def _move_positions(session: Session, run: Run, datasets: list[RunDataset], now_ms: int) -> None:
    """Only from where the plan began: meanwhile, the flow may have been told to begin anew, or without a dataset."""
    flow = session.get(Flow, run.flow_id)
    source = session.get(SourceConnection, flow.source_connection_id) if flow else None
    if source is None:
        return
    for dataset in datasets:
        if dataset.error or dataset.to_snapshot is None or dataset.dataset_id not in source.dataset_ids:
            continue
        key = (run.flow_id, dataset.dataset_id)
        known = session.get(Watermark, key)
        is_at = known.snapshot_id if known else None
        began_at = dataset.position if dataset.kind == "full" else dataset.from_snapshot
        if is_at == dataset.position == began_at:
            values = {"snapshot_id": dataset.to_snapshot, "run_id": run.id, "updated_at": now_ms}
            session.merge(Watermark(flow_id=key[0], dataset_id=key[1], **values))


def end_failed(session: Session, run: Run, error: dict[str, Any], now_ms: int) -> None:
    """End a run in the queue that has written nothing."""
    run.failure = error
    run.errors = [error]
    run.started_at = run.started_at or now_ms
    _end(session, run, FAILED, now_ms)


def _end(session: Session, run: Run, status: str, now_ms: int) -> None:
    run.status = status
    run.heartbeat_counter = 0
    run.not_before = run.waiting_since = run.wait_until = None
    run.completed_at = run.updated_at = now_ms
    flow = session.get(Flow, run.flow_id)
    if flow is None:
        return
    flow.last_run_id = run.id
    flow.last_run_state = status
    flow.last_run_started_at = run.started_at
    flow.last_run_completed_at = now_ms
    if status == SUCCESS:
        flow.failures, flow.failing_since = 0, None
    elif not run.cancel_requested:
        flow.failures += 1
