"""A run's row through its life. Every write about a run is fenced: only its present holder can make one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from offtake.errors import LeaseLostError
from offtake.store import disposals, queue
from offtake.store.conditions import HELD_RUN, LIVE_RUN
from offtake.store.database import Database
from offtake.store.health import Admission
from offtake.store.leases import Watch
from offtake.store.tables import Batch, Dataset, Flow, Run, RunDataset, RunPart, SourceConnection, Watermark

WAITING: Final = "waiting"
PROCESSING: Final = "processing"
SUCCESS: Final = "success"
FAILED: Final = "failed"
LIVE: Final = (WAITING, PROCESSING)
CANCELLED: Final = "EXPORT-1499-400"
SECOND_LOOK_MS: Final = 900_000
"""After so long, no writer that was only slow can still be at it."""


@dataclass(frozen=True)
class Lease:
    """The right to write about one run, until another worker is given a higher `fence`.

    `cancelled` when somebody had asked for the run to stop before the lease was given; `verdict` when the run has
    failed, and only its files are left to be removed; `claims`: how often it was taken up since its last progress.
    `admission`: whether the destination at `address` is known to answer, or is to be asked first; `away`: it did not
    when it was asked last. `retries`: by what failed, how often it did and since when (`Run.retries`).
    """

    run_id: str
    fence: int
    cancelled: bool = False
    verdict: dict[str, Any] | None = None
    claims: int = 1
    address: str | None = None
    admission: Admission = "known"
    away: bool = False
    retries: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class PlanBasis:
    """What a plan was made from.

    `rewrites`: what `count_rewrites` returned before the plan was begun. `continues`: the runs, with their datasets,
    whose parts the plan has taken over. `manifest_key`: where the manifest file goes; empty when the run writes none.
    """

    rewrites: Mapping[str, int] = field(default_factory=dict)
    continues: Sequence[tuple[str, str]] = ()
    manifest_key: str | None = None


class PlanOutdatedError(Exception):
    """Data files that a plan names are being rewritten, or have been since it was begun; make the plan again."""


def live_run(session: Session, flow_id: str) -> Run | None:
    """The flow's waiting or processing run; there is at most one."""
    return session.scalar(select(Run).where(Run.flow_id == flow_id, LIVE_RUN))


def any_live(database: Database) -> bool:
    """Whether any run has not ended."""
    return database.finds(select(Run.id).where(LIVE_RUN))


def claim(database: Database, owner: str, watch: Watch, now_ms: int, *, ask_away: bool = True) -> Lease | None:
    """Take the oldest run that is free, or whose holder has fallen silent; None when there is none.

    A run that waits is not free before its time, nor one whose destination another run is asking (`health`), nor,
    without `ask_away`, one whose destination did not answer before. While no run is live, nothing is written.
    """
    if not any_live(database):
        return None
    with database.writing() as session:
        held = select(Run.id, Run.fence, Run.beat).where(HELD_RUN, Run.beat > 0)
        silent = watch.silent((one, fence, beat) for one, fence, beat in session.execute(held))
        found = queue.take(session, silent, now_ms, ask_away=ask_away)
        if found is None:
            return None
        run = found.run
        run.status = PROCESSING
        run.fence += 1
        run.beat = 1
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
            run.verdict,
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
        run.errors = [{"code": CANCELLED, "message": "The run was cancelled.", "type": "Error"}]
        run.started_at = run.started_at or now_ms
        _end(session, run, FAILED, now_ms)


def has_parts(session: Session, run: Run) -> bool:
    """Whether the run may have written files."""
    return session.scalar(select(RunPart.number).where(RunPart.run_id == run.id).limit(1)) is not None


def abandon(database: Database, owner: str) -> None:
    """Give back every run that `owner` holds: it is known to be dead."""
    with database.writing() as session:
        session.execute(update(Run).where(HELD_RUN, Run.lease_owner == owner).values(beat=0))


def renew(database: Database, lease: Lease) -> bool:
    """Show that the run's holder lives; True when somebody asked for the run to be cancelled.

    Raises `LeaseLostError` when another worker holds it.
    """
    with database.writing() as session:
        run = _held(session, lease)
        run.beat += 1
        return run.cancel_requested


def release(database: Database, lease: Lease) -> None:
    """Let any worker go on with the run at once, from what has been recorded."""
    with database.writing() as session:
        run = _held(session, lease)
        run.beat = 0
        run.claims = max(0, run.claims - 1)


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
    basis: PlanBasis = PlanBasis(),
) -> None:
    """Store the plan, once and whole.

    Raises `PlanOutdatedError` when a dataset's data files are being rewritten, or have been since the plan was begun,
    and when another run has taken over the same parts.
    """
    with database.writing() as session:
        run = _held(session, lease)
        _check_rewrites(session, basis.rewrites)
        for earlier, dataset_id in basis.continues:
            if not disposals.hand_over(session, earlier, dataset_id, run.id):
                raise PlanOutdatedError(f"Another run continues from run {earlier}.")
        run.planned_at = run.updated_at = now_ms
        run.warnings = warnings
        run.manifest_key = basis.manifest_key
        session.add_all([*datasets, *parts])


def count_rewrites(database: Database, dataset_ids: Iterable[str]) -> dict[str, int]:
    """How often each dataset's data files have been rewritten, by id; to be asked before its table is looked at."""
    wanted = select(Dataset.id, Dataset.rewrites).where(Dataset.id.in_(list(dataset_ids)))
    with database.reading() as session:
        return {row.id: row.rewrites for row in session.execute(wanted)}


def depend_on(session: Session, dataset_id: str) -> bool:
    """Whether a run has delivered or planned something of the dataset.

    A run that failed and delivered nothing counts too: it can be retried over the snapshots that it planned.
    """
    if session.scalar(select(Watermark.run_id).where(Watermark.dataset_id == dataset_id).limit(1)) is not None:
        return True
    planned = (
        select(RunDataset.run_id)
        .join(Run, Run.id == RunDataset.run_id)
        .where(RunDataset.dataset_id == dataset_id, RunDataset.to_snapshot.is_not(None) | LIVE_RUN)
    )
    if session.scalar(planned.limit(1)) is not None:
        return True
    unplanned = session.scalars(select(Run).where(LIVE_RUN, Run.planned_at.is_(None)))
    return any(dataset_id in (run.pins or {}) for run in unplanned)


@dataclass(frozen=True)
class PartRecord:
    """What is recorded of a part's file: rows, bytes, SHA-256 in hexadecimal, and its address.

    `losses`: what its format could not hold. `token`: the temporary name that its last step replaces.
    """

    rows: int
    bytes: int
    sha256: str
    losses: Sequence[dict[str, Any]] = ()
    uri: str | None = None
    token: str | None = None


def record_part(database: Database, lease: Lease, number: int, record: PartRecord, now_ms: int) -> None:
    """Record that the destination has confirmed a part's file, in place of what an earlier attempt recorded."""
    with database.writing() as session:
        run = _held(session, lease)
        run.updated_at = now_ms
        run.claims, run.waiting_since = 0, None
        part = session.get_one(RunPart, (lease.run_id, number))
        _keep(part, record)
        part.finished_at = now_ms
        part.left = [one for one in part.left or () if one != part.key] or None


def record_intent(database: Database, lease: Lease, number: int, record: PartRecord, now_ms: int) -> None:
    """Record that only the last step of a part's file is missing; it may be taken once this returns.

    Raises `LeaseLostError` also for a run with a verdict: its files are being removed.
    """
    with database.writing() as session:
        _held_for_delivery(session, lease)
        part = session.get_one(RunPart, (lease.run_id, number))
        _keep(part, record)
        part.intended_at = now_ms


def forget_intent(database: Database, lease: Lease, number: int) -> None:
    """Forget an intent whose last step was not taken, or cannot be confirmed; the part is written again."""
    with database.writing() as session:
        _held(session, lease)
        disposals.clear_record(session.get_one(RunPart, (lease.run_id, number)))


def record_manifest(database: Database, lease: Lease, manifest: dict[str, Any]) -> None:
    """Record, in the same way, that only the last step of the manifest file is missing; see `Run.manifest`."""
    with database.writing() as session:
        _held_for_delivery(session, lease).manifest = manifest


def announced_manifest(database: Database, lease: Lease) -> dict[str, Any] | None:
    """The manifest file whose last step was announced; None when none was."""
    with database.reading() as session:
        return _held(session, lease).manifest


def _keep(part: RunPart, record: PartRecord) -> None:
    part.rows, part.bytes, part.sha256 = record.rows, record.bytes, record.sha256
    part.losses = list(record.losses) or None
    part.uri, part.token = record.uri, record.token


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
        run = _held_for_delivery(session, lease)
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


def condemn(database: Database, lease: Lease, error: dict[str, Any], now_ms: int) -> None:
    """Decide, for good, that the run fails: whoever holds it from now on only removes what it has written.

    Its files can be removed from now on without the lease: nobody will deliver them.
    """
    with database.writing() as session:
        run = _held(session, lease)
        run.verdict = run.verdict or error
        run.updated_at = now_ms


def fail(database: Database, lease: Lease, error: dict[str, Any], now_ms: int, *, sweep_due: int | None = None) -> None:
    """End a run that delivered nothing: the positions stay, so that the next run covers the same rows.

    `sweep_due`: when somebody is to look for what it may have left at its destination.
    """
    with database.writing() as session:
        run = _held(session, lease)
        run.verdict = run.verdict or error
        run.errors = [run.verdict]
        run.manifest = None
        run.sweep_due = sweep_due
        if sweep_due is None:
            run.disposal = disposals.REMOVED
        _end(session, run, FAILED, now_ms)


def _check_rewrites(session: Session, rewrites: Mapping[str, int]) -> None:
    wanted = select(Dataset).where(Dataset.id.in_(list(rewrites))).order_by(Dataset.id)
    for dataset in session.scalars(wanted.with_for_update()):
        being_rewritten = select(Batch.id).where(
            Batch.dataset_id == dataset.id, Batch.status == PROCESSING, Batch.rewrites.is_(True)
        )
        if dataset.rewrites != rewrites[dataset.id] or session.scalar(being_rewritten.limit(1)) is not None:
            raise PlanOutdatedError(f"The data files of dataset {dataset.id} are rewritten.")


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
    run.verdict = error
    run.errors = [error]
    run.started_at = run.started_at or now_ms
    _end(session, run, FAILED, now_ms)


def held_run(session: Session, lease: Lease) -> Run:
    """The lease's run, locked; raises `LeaseLostError` when another worker holds it."""
    return _held(session, lease)


def _end(session: Session, run: Run, status: str, now_ms: int) -> None:
    run.status = status
    run.beat = 0
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


def _held(session: Session, lease: Lease) -> Run:
    run = session.scalar(select(Run).where(Run.id == lease.run_id).with_for_update())
    if run is None or run.fence != lease.fence or run.status != PROCESSING:
        raise LeaseLostError(f"Run {lease.run_id} is held by another worker.")
    return run


def _held_for_delivery(session: Session, lease: Lease) -> Run:
    """The run; raises `LeaseLostError` also when it has a verdict: what it wrote is being removed."""
    run = _held(session, lease)
    if run.verdict is not None:
        raise LeaseLostError(f"Run {run.id} has been given up.")
    return run
