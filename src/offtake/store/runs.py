"""The life cycle of a run. Every write checks the fencing token, so that only the lease holder can write."""

import contextlib
from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from offtake.documents import InfoItem
from offtake.errors import CANCELLED, LeaseLostError
from offtake.store import disposals, queue, run_events, run_totals, usage
from offtake.store.conditions import HELD_RUN, LIVE_RUN
from offtake.store.database import Database
from offtake.store.leases import LeaseMonitor
from offtake.store.queue import QueuedRun
from offtake.store.revisions import check_claim
from offtake.store.run_leases import Lease, lock_for_delivery, lock_run
from offtake.store.run_parts import has_parts, run_datasets
from offtake.store.run_states import FAILED, PROCESSING, SECOND_LOOK_MS, SUCCESS, WAITING
from offtake.store.tables import Flow, Run, RunDataset, SourceConnection, Watermark
from offtake.store.tables.documents import ManifestRecord


def live_run(session: Session, flow_id: str) -> Run | None:
    """The flow's waiting or processing run, at most one; None without one."""
    return session.scalar(select(Run).where(Run.flow_id == flow_id, LIVE_RUN))


def any_live(database: Database) -> bool:
    """Whether any run has not ended."""
    return database.finds(select(Run.id).where(LIVE_RUN))


def claim(
    database: Database,
    owner: str,
    watch: LeaseMonitor,
    now_ms: int,
    *,
    may_probe: bool = True,
    only: str | None = None,
) -> Lease | None:
    """Claim the oldest run that is free or whose lease has expired, or only the run `only`; None when there is none.

    A run is not free before its `not_before`, while another run probes its destination (`health`), or, without
    `may_probe`, while its destination is unavailable. A new run is not free while its sandbox's quota is reached. While
    no run is live, nothing is written.
    """
    if not any_live(database):
        return None
    with database.writing() as session:
        held = select(Run.id, Run.fence, Run.heartbeat_counter).where(HELD_RUN, Run.heartbeat_counter > 0)
        expired = watch.is_expired((run_id, fence, counter) for run_id, fence, counter in session.execute(held))
        found = queue.find_next(session, expired, now_ms, may_probe=may_probe, only=only)
        if found is None:
            return None
        check_claim(session.connection())
        return _grant(session, found, owner, now_ms)


def claim_alike(database: Database, owner: str, first: Lease, now_ms: int, most: int) -> list[Lease]:
    """Claim further new runs of the sandbox and destination of `first`: half of those that wait, at most `most`.

    Half, so that other workers find some, too. None without a transaction if fewer than two wait.
    """
    with database.reading() as session:
        sandbox_id = session.get_one(Run, first.run_id).sandbox_id
        if len(queue.list_alike(session, sandbox_id, first.address, 2)) < 2:  # noqa: PLR2004 - half of one is none
            return []
    with database.writing() as session:
        found = queue.list_alike(session, sandbox_id, first.address, 2 * most)
        if len(found) > 1:
            check_claim(session.connection())
        return [_grant(session, QueuedRun(run, "known", away=False), owner, now_ms) for run in found[: len(found) // 2]]


def _grant(session: Session, found: QueuedRun, owner: str, now_ms: int) -> Lease:
    """Give the run, which the caller has locked, to `owner`."""
    run = found.run
    _record_claim(session, run, now_ms)
    run.status = PROCESSING
    run.fence += 1
    run.heartbeat_counter = 1
    run.claims += 1
    run.lease_owner = owner
    # A start in the future was recorded before the clock was set back; the run would wait for ever.
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
        planned=run.planned_at is not None,
        retries=run.retries or {},
        traceparent=run.traceparent,
    )


def _record_claim(session: Session, run: Run, now_ms: int) -> None:
    """Record that the run is started or taken over; nothing when it continues after a wait or was released."""
    if run.failure is not None or run.cancel_requested:
        return
    if run.fence == 0:
        run_events.record_started(session, run, now_ms)
    elif run.status == PROCESSING and run.lease_owner is not None:
        run_events.record(session, "run.taken_over", run, now_ms, attempt=run.fence + 1)


def cancel(session: Session, flow_id: str, now_ms: int) -> None:
    """Request cancellation of the flow's live run; a waiting run ends at once."""
    run = session.scalar(select(Run).where(Run.flow_id == flow_id, LIVE_RUN).with_for_update())
    if run is not None:
        cancel_run(session, run, now_ms)


def cancel_run(session: Session, run: Run, now_ms: int) -> None:
    """Request cancellation of a live run; a waiting run ends at once, or by the next worker if it may have files."""
    run.cancel_requested = True
    if run.status == WAITING and has_parts(session, run):
        run.not_before = None
    elif run.status == WAITING:
        run.errors = [{"code": CANCELLED.code, "message": "The run was cancelled.", "type": "Error"}]
        run.started_at = run.started_at or now_ms
        _end(session, run, FAILED, now_ms)


def release_all_of(database: Database, owner: str) -> None:
    """Release every run that `owner` holds, because that process is known to be dead."""
    with database.writing() as session:
        session.execute(update(Run).where(HELD_RUN, Run.lease_owner == owner).values(heartbeat_counter=0))


def renew(database: Database, lease: Lease) -> bool:
    """Renew the lease (heartbeat). Returns whether cancellation of the run was requested.

    Raises `LeaseLostError` when another worker holds it.
    """
    with database.writing() as session:
        run = lock_run(session, lease)
        run.heartbeat_counter += 1
        return run.cancel_requested


def release(database: Database, lease: Lease) -> None:
    """Release the run; any worker may claim it at once and continue from what has been recorded."""
    with database.writing() as session:
        run = lock_run(session, lease)
        # Without an owner, the next claim is not a takeover from a dead worker.
        run.heartbeat_counter, run.lease_owner = 0, None
        run.claims = max(0, run.claims - 1)


def return_unstarted(database: Database, leases: Sequence[Lease]) -> None:
    """Return runs to the queue of which nothing is written yet; those that another worker holds are left alone."""
    with database.writing() as session:
        for lease in sorted(leases, key=lambda one: one.run_id):
            with contextlib.suppress(LeaseLostError):
                run = lock_run(session, lease)
                run.status, run.heartbeat_counter, run.lease_owner = WAITING, 0, None
                run.claims = max(0, run.claims - 1)
    database.wakeup.notify()


def complete(
    database: Database,
    lease: Lease,
    manifest: ManifestRecord | None,
    now_ms: int,
    warnings: Sequence[InfoItem] = (),
    *,
    again: bool = False,
) -> None:
    """End a delivered run in one transaction: its outcome, its flow's last run, and the flow's positions.

    `warnings` of the delivery are appended to those of the plan. `again`: files were written again under other names.
    Datasets that could not be planned keep their position and make the outcome `failed`; the others move on.
    Raises `LeaseLostError` also for a failed run.
    """
    with database.writing() as session:
        run = lock_for_delivery(session, lease)
        datasets = run_datasets(session, run.id)
        # Kept here, so that the session need not read it again.
        flow = session.get(Flow, run.flow_id)
        if run.moves_position and flow is not None:
            _move_positions(session, run, flow, datasets, now_ms)
        usage.record(session, run, now_ms, delivered=True)
        left = run_totals.record(session, run)
        # From here on, no query comes between two changes of the run's row, which would write it several times.
        errors = [dataset.error for dataset in datasets if dataset.error]
        run.manifest, run.errors, run.warnings = manifest, errors, [*run.warnings, *warnings]
        # Earlier holders may have left files, and their late writes may still arrive.
        run.sweep_due = now_ms + SECOND_LOOK_MS if again or lease.planned else None
        if left:
            run.sweep_due = now_ms
        _end(session, run, FAILED if errors else SUCCESS, now_ms)


def record_failure(database: Database, lease: Lease, error: InfoItem, now_ms: int) -> None:
    """Record, finally, that the run fails: from now on, its holders only remove its files.

    The files may also be removed without the lease, because they will not be delivered.
    """
    with database.writing() as session:
        run = lock_run(session, lease)
        run.failure = run.failure or error
        run.updated_at = now_ms


def fail(database: Database, lease: Lease, error: InfoItem, now_ms: int, *, sweep_due: int | None = None) -> None:
    """End a run that delivered nothing; the positions stay, so that the next run covers the same rows.

    `sweep_due`: when a sweep looks for files that it may have left at its destination; None for no sweep.
    """
    with database.writing() as session:
        run = lock_run(session, lease)
        run.failure = run.failure or error
        run.errors = [run.failure]
        run.manifest = None
        run.sweep_due = sweep_due
        usage.record(session, run, now_ms, delivered=run.disposal == disposals.KEPT)
        if sweep_due is None:
            run.disposal = disposals.REMOVED
        _end(session, run, FAILED, now_ms)


def _move_positions(session: Session, run: Run, flow: Flow, datasets: list[RunDataset], now_ms: int) -> None:
    """Move positions only from where the plan began: the flow may have been reset, or its datasets changed, since."""
    source = session.get(SourceConnection, flow.source_connection_id)
    if source is None:
        return
    for dataset in datasets:
        if dataset.error or dataset.to_snapshot is None or dataset.dataset_id not in source.dataset_ids:
            continue
        key = (run.flow_id, dataset.dataset_id)
        watermark = session.get(Watermark, key)
        current = watermark.snapshot_id if watermark else None
        began_at = dataset.position if dataset.kind == "full" else dataset.from_snapshot
        if current == dataset.position == began_at:
            if watermark is None:
                watermark = Watermark(flow_id=key[0], dataset_id=key[1])
                session.add(watermark)
            watermark.snapshot_id, watermark.run_id, watermark.updated_at = dataset.to_snapshot, run.id, now_ms


def end_failed(session: Session, run: Run, error: InfoItem, now_ms: int) -> None:
    """Fail a waiting run that has written nothing."""
    run.failure = error
    run.errors = [error]
    run.started_at = run.started_at or now_ms
    _end(session, run, FAILED, now_ms)


def _end(session: Session, run: Run, status: str, now_ms: int) -> None:
    run.status = status
    run.heartbeat_counter = 0
    run.not_before = run.waiting_since = run.wait_until = run.quota_since = None
    run.completed_at = run.updated_at = now_ms
    run.rows, run.bytes = run.rows or 0, run.bytes or 0
    flow = session.get(Flow, run.flow_id)
    if flow is None:
        run_events.record_end(session, run, now_ms, None)
        return
    flow.last_run_id = run.id
    flow.last_run_state = status
    flow.last_run_started_at = run.started_at
    flow.last_run_completed_at = now_ms
    if status == SUCCESS:
        flow.failures, flow.failing_since = 0, None
        if run.moves_position:
            flow.delivered_up_to = run.planned_at or now_ms
    elif not run.cancel_requested:
        flow.failures += 1
    run_events.record_end(session, run, now_ms, flow.failures or None)
