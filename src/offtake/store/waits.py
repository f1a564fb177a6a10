"""Runs that wait in the queue: why, until when, and how a wait ends before its time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import null, or_, select, update
from sqlalchemy.orm import Session

from offtake.errors import DESTINATION_UNAVAILABLE, LeaseLostError
from offtake.store import health, run_leases, run_parts, runs
from offtake.store.conditions import LIVE_RUN
from offtake.store.database import Database
from offtake.store.health import IN_QUEUE, Failure
from offtake.store.run_leases import Lease
from offtake.store.run_states import WAITING
from offtake.store.tables import Flow, Run, TargetConnection

Json = dict[str, Any]

_AT_ONCE: Final = 100
_UNKNOWN: Final = {"code": DESTINATION_UNAVAILABLE.code, "message": "The destination did not answer.", "type": "Error"}


@dataclass(frozen=True)
class Wait:
    """A wait of `seconds` for `reason` (the contract's info item), which ends at `until_ms` at the latest.

    `retries`: by what failed, how often it did and since when. `outage`: the destination as a whole does not answer.
    """

    reason: Json
    seconds: float
    until_ms: int | None
    retries: Json
    outage: Failure | None = None


def defer(database: Database, lease: Lease, wait: Wait, pause: Callable[[int], float], now_ms: int) -> int | None:
    """Put the run back into the queue, and let go of it; when it is tried again, None for at once.

    What was recorded of it stays, and it does not count as a crash. `pause`: the seconds that a destination which does
    not answer is left alone after so many failures. Raises `LeaseLostError` when another worker holds the run.
    """
    with database.writing() as session:
        run = run_leases.held_run(session, lease)
        run.status, run.heartbeat_counter, run.lease_owner = WAITING, 0, None
        run.claims = max(0, run.claims - 1)
        run.retries = wait.retries
        run.updated_at = run.deferred_at = now_ms
        run.wait_until = wait.until_ms
        if run.cancel_requested or run.address != lease.address:
            # Other credentials name another destination, which is tried at once.
            return None
        run.waiting_since = min(run.waiting_since or now_ms, now_ms)
        run.wait_reason = wait.reason
        run.not_before = now_ms + round(wait.seconds * 1000)
        if wait.outage is not None and run.address is not None:
            next_at = health.note_failure(session, run, run.address, wait.outage, pause, now_ms)
            run.not_before = max(run.not_before, next_at)
            # Where others had an answer and this run had none, their next answer does not free it.
            run.held = lease.admission == "probe"
        if wait.until_ms is not None:
            run.not_before = min(run.not_before, max(now_ms, wait.until_ms))
        return run.not_before


def note_answer(database: Database, lease: Lease, now_ms: int) -> None:
    """Remember that the run's destination answers; nothing is written when that has just been done.

    Raises `LeaseLostError` when another worker holds the run.
    """
    if lease.address is None or (lease.admission == "known" and _answered_lately(database, lease.address, now_ms)):
        return
    with database.writing() as session:
        run = session.get(Run, lease.run_id, with_for_update=True)
        if run is None or run.fence != lease.fence:
            raise LeaseLostError(f"Run {lease.run_id} is held by another worker.")
        health.note_answer(session, lease.address, now_ms)


def note_failure(
    database: Database, lease: Lease, failure: Failure, pause: Callable[[int], float], now_ms: int
) -> None:
    """Remember that the destination does not answer, when the run itself does not wait for it.

    Raises `LeaseLostError` when another worker holds the run.
    """
    if lease.address is None:
        return
    with database.writing() as session:
        health.note_failure(session, run_leases.held_run(session, lease), lease.address, failure, pause, now_ms)


def leave_probe(database: Database, lease: Lease, now_ms: int) -> None:
    """Let others ask the destination; nothing is changed unless this run still is to."""
    if lease.address is None or lease.admission != "probe":
        return
    with database.writing() as session:
        health.leave_probe(session, lease.address, lease.run_id, now_ms)


def wake_connection(session: Session, connection_id: str, address: str, now_ms: int) -> None:
    """Let the runs that go there be tried at once; `address` is their destination's from now on."""
    targets = select(TargetConnection.id).where(TargetConnection.base_connection_id == connection_id)
    mine = Run.target_connection_id.in_(targets)
    session.execute(update(Run).where(LIVE_RUN, mine).values(address=address))
    health.ask_again(session, address, now_ms)
    _wake(session, mine)


def wake_target(session: Session, target_id: str, now_ms: int) -> None:
    """Let the runs that go to the target connection be tried at once: it was changed."""
    mine = Run.target_connection_id == target_id
    for address in session.scalars(select(Run.address).where(IN_QUEUE, mine, Run.held).distinct()):
        if address is not None:
            health.ask_again(session, address, now_ms)
    _wake(session, mine)


def forget_window(session: Session, flow_id: str) -> None:
    """Have it worked out again until when the flow's run waits: its schedule or its state was changed."""
    session.execute(update(Run).where(IN_QUEUE, Run.flow_id == flow_id).values(wait_until=None))


def set_windows(database: Database, window: Callable[[Flow | None, Run], int]) -> int:
    """Store until when runs wait of which that is not known; how many there were. No run waits longer than that."""
    unknown = select(Run.id).where(IN_QUEUE, Run.not_before.is_not(None), Run.wait_until.is_(None))
    done = 0
    while ids := _ids(database, unknown.where(Run.waiting_since.is_not(None)).limit(_AT_ONCE)):
        with database.writing() as session:
            found = session.scalars(_still_waiting(ids)).all()
            for run in found:
                run.wait_until = window(session.get(Flow, run.flow_id), run)
                run.not_before = min(run.not_before or run.wait_until, run.wait_until)
        done += len(found)
        if not found:
            break
    return done


def overdue(database: Database, now_ms: int, most: int) -> Sequence[tuple[str, bool, int]]:
    """Runs that wait beyond their time: their ids, whether each is held for its destination, and when that was."""
    late = select(Run.id, Run.held, Run.wait_until).where(
        IN_QUEUE, Run.not_before.is_not(None), Run.wait_until <= now_ms
    )
    with database.reading() as session:
        found = session.execute(late.order_by(Run.wait_until).limit(most))
        return [(run_id, held, until or 0) for run_id, held, until in found]


def give_up(database: Database, run_ids: Sequence[str], now_ms: int) -> int:
    """End those of the runs that still wait beyond their time; how many there were."""
    ended = 0
    for first in range(0, len(run_ids), _AT_ONCE):
        with database.writing() as session:
            for run in session.scalars(_still_waiting(run_ids[first : first + _AT_ONCE])):
                if is_overdue(run, now_ms):
                    end_overdue(session, run, now_ms)
                    ended += 1
    if ended:
        database.wakeup.notify()
    return ended


def is_overdue(run: Run, now_ms: int) -> bool:
    """Whether the run waits beyond its time."""
    waits = run.status == WAITING and run.not_before is not None and run.failure is None
    return waits and run.wait_until is not None and run.wait_until <= now_ms


def end_overdue(session: Session, run: Run, now_ms: int) -> None:
    """End a run that waits beyond its time, which the caller has locked; a worker removes what it has written."""
    error = dict(run.wait_reason or _UNKNOWN)
    if run_parts.has_parts(session, run):
        run.failure, run.not_before, run.held = error, None, False
        run.updated_at = now_ms
    else:
        runs.end_failed(session, run, error, now_ms)


def correct_clock(database: Database, now_ms: int) -> None:
    """Let runs be tried at once whose wait was written down before the clock was set back."""
    with database.writing() as session:
        health.correct_clock(session, now_ms)
        ahead = or_(Run.deferred_at > now_ms, Run.waiting_since > now_ms)
        now = {"not_before": now_ms, "deferred_at": now_ms, "waiting_since": now_ms, "wait_until": None}
        waits = Run.not_before.is_not(None)
        session.execute(update(Run).where(IN_QUEUE, waits, ahead, Run.waiting_since.is_not(None)).values(now))
        # Held for a moment only, until a destination has answered.
        session.execute(update(Run).where(IN_QUEUE, waits, ahead).values(not_before=now_ms, deferred_at=now_ms))


def unalerted(session: Session, before_ms: int) -> Sequence[Run]:
    """Runs that wait since before that instant and that no alert has named, locked; a hundred at most."""
    long = select(Run).where(LIVE_RUN, Run.waiting_since.is_not(None), Run.alerted_at.is_(None))
    late = long.where(Run.waiting_since <= before_ms).order_by(Run.waiting_since, Run.id).limit(_AT_ONCE)
    return session.scalars(late.with_for_update(skip_locked=True)).all()


def _wake(session: Session, condition: Any) -> None:  # noqa: ANN401 - a condition on runs
    values = {"not_before": None, "held": False, "waiting_since": None, "wait_reason": null(), "wait_until": None}
    ids = session.scalars(select(Run.id).where(IN_QUEUE, condition).with_for_update(skip_locked=True)).all()
    session.execute(update(Run).where(Run.id.in_(ids)).values(values))


def _answered_lately(database: Database, address: str, now_ms: int) -> bool:
    with database.reading() as session:
        return health.answered_lately(session, address, now_ms)


def _ids(database: Database, wanted: Any) -> Sequence[str]:  # noqa: ANN401 - a query for ids
    with database.reading() as session:
        return session.scalars(wanted).all()


def _still_waiting(run_ids: Sequence[str]) -> Any:  # noqa: ANN401 - a query for runs
    return select(Run).where(Run.id.in_(run_ids), IN_QUEUE).with_for_update(skip_locked=True)
