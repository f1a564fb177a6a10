"""Whether the files of a failed run are removed or kept; the first process that decides, decides finally.

The state of a failed run is None (undecided) or `REMOVING`, and finally `REMOVED`, or `KEPT` when the destination's
consumer has collected files of it or they cannot be removed. Kept files stay delivered: their parts keep their record,
and the flow's next run continues from there.
"""

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session, aliased

from offtake.documents import InfoItem
from offtake.errors import FILES_KEPT
from offtake.store import run_events, run_totals, usage
from offtake.store.database import Database
from offtake.store.tables import Flow, Run, RunDataset, RunPart

REMOVING: Final = "removing"
REMOVED: Final = "removed"
KEPT: Final = "kept"
NO_RUN: Final = ""
"""In `RunDataset.taken_over_by`: no run continues from there, because the flow was reset or its target changed."""
NEXT: Final = "The flow's next run delivers the rest."
_MAX_NAMES: Final = 20


def load(database: Database, run_id: str) -> tuple[str | None, list[RunPart]]:
    """The disposal state of the run, and its parts ordered by number."""
    with database.reading() as session:
        parts = session.scalars(select(RunPart).filter_by(run_id=run_id).order_by(RunPart.number))
        return session.get_one(Run, run_id).disposal, list(parts)


def keep(
    database: Database,
    run_id: str,
    withdrawn: Collection[int],
    collected: Collection[int],
    now_ms: int,
    *,
    elsewhere: int = 0,
) -> None:
    """Keep the files of an undecided run, except the withdrawn parts. No-op when it is decided already.

    `elsewhere`: how many of the withdrawn files stay at another address that the target had before.
    """
    with database.writing() as session:
        run = _lock_run(session, run_id)
        if run.disposal is None:
            _record(session, run, withdrawn, collected, now_ms)
            _report_elsewhere(session, run, elsewhere, now_ms)
            _set_kept(session, run, now_ms)


def begin_removal(
    database: Database, run_id: str, withdrawn: Collection[int], now_ms: int, *, elsewhere: int = 0
) -> int | None:
    """Start an attempt to remove the files. Returns its number, or None when the run is decided or has not failed.

    When attempts overlap, only the last one may decide: a missing file may have been removed by another attempt, not
    collected by the consumer. `elsewhere`: as of `keep`.
    """
    with database.writing() as session:
        run = _lock_run(session, run_id)
        if run.failure is None or run.disposal not in (None, REMOVING):
            return None
        _record(session, run, withdrawn if run.disposal is None else (), (), now_ms)
        _report_elsewhere(session, run, elsewhere, now_ms)
        run.disposal = REMOVING
        run.removals += 1
        return run.removals


def end_removal(
    database: Database, run_id: str, attempt: int, withdrawn: Collection[int], collected: Collection[int], now_ms: int
) -> None:
    """Record the parts that the attempt has withdrawn; keep the run when some of its files were collected."""
    with database.writing() as session:
        run = _lock_run(session, run_id)
        if run.disposal != REMOVING or run.removals != attempt:
            return
        _record(session, run, withdrawn, (), now_ms)
        if collected:
            _set_kept(session, run, now_ms)
        else:
            run.disposal = REMOVED


def clear_record(part: RunPart) -> None:
    """Reset the part to unwritten: the destination has no file of it."""
    part.finished_at = part.intended_at = part.token = part.uri = None


def hand_over(session: Session, run_id: str, dataset_id: str, to: str) -> bool:
    """Let the run `to` continue a dataset of a run that kept its files; False when another run already does."""
    dataset = session.get_one(RunDataset, (run_id, dataset_id), with_for_update=True)
    if dataset.taken_over_by is not None:
        return False
    dataset.taken_over_by = to
    return True


def reset(session: Session, flow_id: str) -> None:
    """Let no later run of the flow continue from an earlier one."""
    failed = select(Run.id).where(Run.flow_id == flow_id, Run.status == "failed")
    of_flow = RunDataset.run_id.in_(failed.scalar_subquery()) & RunDataset.taken_over_by.is_(None)
    session.execute(update(RunDataset).where(of_flow).values(taken_over_by=NO_RUN))


def unfinished(session: Session, run: Run, *, moving: bool) -> Sequence[Run]:
    """The flow's failed runs that `run` may continue from, oldest first: undecided, or with kept files.

    `moving`: include every run that would have moved the flow's position, not only the run that this one repeats. Only
    runs with the same target and folder count: a flow with a new target, or a backfill, delivers everything there, and
    must not wait for another destination.
    """
    same_place = (Run.target_connection_id == run.target_connection_id) & Run.folder.is_not_distinct_from(run.folder)
    candidates = (Run.id == run.parent_run_id) | Run.moves_position if moving else Run.id == run.parent_run_id
    open_ = select(RunDataset.run_id).where(RunDataset.run_id == Run.id, RunDataset.taken_over_by.is_(None))
    found = (
        select(Run)
        .where(
            same_place, Run.flow_id == run.flow_id, Run.failure.is_not(None), Run.completed_at.is_not(None), candidates
        )
        .where(or_(Run.disposal.is_(None), Run.disposal != REMOVED), open_.exists())
    )
    return session.scalars(found.order_by(Run.created_at, Run.id)).all()


def may_continue(session: Session, run_ids: Collection[str]) -> set[str]:
    """Those of the runs whose flow has failed runs that they may continue from, see `unfinished`."""
    earlier = aliased(Run)
    open_ = or_(earlier.disposal.is_(None), earlier.disposal != REMOVED)
    failed = select(earlier.id).where(
        earlier.flow_id == Run.flow_id, earlier.failure.is_not(None), earlier.completed_at.is_not(None), open_
    )
    return set(session.scalars(select(Run.id).where(Run.id.in_(run_ids), failed.exists())))


def kept_runs(session: Session, flow_id: str, dataset_ids: Collection[str]) -> Sequence[tuple[Run, list[RunPart]]]:
    """The flow's failed runs with query files that its next run continues from, with the parts of those files."""
    target = select(Flow.target_connection_id).where(Flow.id == flow_id).scalar_subquery()
    open_ = select(RunDataset).where(RunDataset.taken_over_by.is_(None), RunDataset.dataset_id.in_(dataset_ids))
    query = select(Run).where(Run.flow_id == flow_id, Run.disposal == KEPT, Run.moves_position)
    query = query.where(Run.target_connection_id == target)
    found = []
    for run in session.scalars(query.order_by(Run.created_at, Run.id)):
        datasets = {row.dataset_id for row in session.scalars(open_.where(RunDataset.run_id == run.id))}
        parts = [part for part in _verified_parts(session, run.id) if part.dataset_id in datasets]
        if parts:
            found.append((run, parts))
    return found


def describe(parts: Sequence[RunPart], then: str) -> str:
    """A message for users: the files that stay delivered, then the sentence `then` on what delivers the rest."""
    names = ", ".join(part.uri or part.key for part in parts[:_MAX_NAMES])
    more = f" and {len(parts) - _MAX_NAMES} more" if len(parts) > _MAX_NAMES else ""
    rows = sum(part.rows or 0 for part in parts)
    return f"{len(parts)} file(s) with {rows:,} rows stay delivered: {names}{more}. {then}"


def what_follows(session: Session, run: Run) -> str:
    """The sentence for `describe` on what delivers the rest of a run with kept files."""
    if not run.moves_position:
        return "Repeat the run to deliver the rest."
    flow = session.get(Flow, run.flow_id)
    if flow is None:
        return "The flow was deleted: no run delivers the rest."
    if flow.target_connection_id != run.target_connection_id:
        return "The flow delivers to another target connection now: its next run delivers all of these rows there."
    return NEXT


def _report_elsewhere(session: Session, run: Run, count: int, now_ms: int) -> None:
    if count:
        message = "The files stay, because the flow's target now has another address. Remove them there by hand."
        run_events.record(session, "run.files_owed", run, now_ms, reason="moved", files=count, message=message)


def _set_kept(session: Session, run: Run, now_ms: int) -> None:
    session.flush()
    parts = _verified_parts(session, run.id)
    message = describe(parts, what_follows(session, run))
    item: InfoItem = {"code": FILES_KEPT.code, "message": message, "type": "Warning"}
    run.disposal = KEPT
    run_totals.record(session, run)
    if run.completed_at is not None:
        # The end of the run recorded its CPU time, and no files.
        usage.record(session, run, now_ms, delivered=True, compute=False)
    run.warnings = [*run.warnings, item]
    rows = sum(part.rows or 0 for part in parts)
    owed = {"reason": "kept", "files": len(parts), "rows": rows, **run_events.error_fields(item)}
    run_events.record(session, "run.files_owed", run, now_ms, **owed)


def _record(session: Session, run: Run, withdrawn: Collection[int], collected: Collection[int], now_ms: int) -> None:
    for number in withdrawn:
        clear_record(session.get_one(RunPart, (run.id, number)))
    for number in collected:
        session.get_one(RunPart, (run.id, number)).finished_at = now_ms


def _verified_parts(session: Session, run_id: str) -> list[RunPart]:
    proven = select(RunPart).where(RunPart.run_id == run_id, RunPart.finished_at.is_not(None))
    return list(session.scalars(proven.order_by(RunPart.number)))


def _lock_run(session: Session, run_id: str) -> Run:
    return session.scalars(select(Run).where(Run.id == run_id).with_for_update()).one()
