"""Runs that wait in the queue: why, until when, and how a wait ends early."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import null, or_, select, update
from sqlalchemy.orm import Session

from offtake.documents import InfoItem, Retries
from offtake.errors import DESTINATION_UNAVAILABLE, LeaseLostError
from offtake.store import health, run_events, run_leases, run_parts, runs
from offtake.store.conditions import LIVE_RUN
from offtake.store.database import Database
from offtake.store.health import IN_QUEUE, Failure
from offtake.store.run_leases import Lease
from offtake.store.run_states import WAITING
from offtake.store.tables import Flow, Run, TargetConnection

_PAGE: Final = 100
_UNKNOWN: Final[InfoItem] = {
    "code": DESTINATION_UNAVAILABLE.code,
    "message": "The destination did not answer.",
    "type": "Error",
}


@dataclass(frozen=True)
class Wait:
    """A wait of `seconds` because of `reason`, which ends at `until_ms` at the latest.

    `outage`: set when the destination as a whole does not answer.
    """

    reason: InfoItem
    seconds: float
    until_ms: int | None
    retries: Retries
    outage: Failure | None = None


def defer(database: Database, lease: Lease, wait: Wait, pause: Callable[[int], float], now_ms: int) -> int | None:
    """Release the run back into the queue. Returns when it is tried again (epoch milliseconds), None for at once.

    Its records stay, and it does not count as a crash. `pause`: seconds until an unavailable destination is tried
    again after so many failures. Raises `LeaseLostError` when another worker holds the run.
    """
    with database.writing() as session:
        run = run_leases.lock_run(session, lease)
        run.status, run.heartbeat_counter, run.lease_owner = WAITING, 0, None
        run.claims = max(0, run.claims - 1)
        run.retries = wait.retries
        run.updated_at = run.deferred_at = now_ms
        run.wait_until = wait.until_ms
        if run.cancel_requested or run.address != lease.address:
            # The credentials were changed meanwhile: the new destination is tried at once.
            return None
        run.waiting_since = min(run.waiting_since or now_ms, now_ms)
        run.wait_reason = wait.reason
        run.not_before = now_ms + round(wait.seconds * 1000)
        if wait.outage is not None and run.address is not None:
            next_at = health.note_failure(session, run, run.address, wait.outage, pause, now_ms)
            run.not_before = max(run.not_before, next_at)
            # When other runs get answers and this one does not, their next answer must not release it.
            run.held = lease.admission == "probe"
        if wait.until_ms is not None:
            run.not_before = min(run.not_before, max(now_ms, wait.until_ms))
        run_events.record_wait(session, run, now_ms, run.not_before)
        return run.not_before


def note_answer(database: Database, lease: Lease, now_ms: int) -> None:
    """Record that the run's destination answers; nothing is written when that was recorded recently.

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
    """Record that the destination does not answer, when the run itself does not wait for it.

    Raises `LeaseLostError` when another worker holds the run.
    """
    if lease.address is None:
        return
    with database.writing() as session:
        health.note_failure(session, run_leases.lock_run(session, lease), lease.address, failure, pause, now_ms)


def leave_probe(database: Database, lease: Lease, now_ms: int) -> None:
    """Let other runs contact the destination; no-op unless this run is still probing it."""
    if lease.address is None or lease.admission != "probe":
        return
    with database.writing() as session:
        health.leave_probe(session, lease.address, lease.run_id, now_ms)


def wake_connection(session: Session, connection_id: str, address: str, now_ms: int) -> None:
    """Let the connection's live runs be tried at once; `address` becomes their destination's address."""
    targets = select(TargetConnection.id).where(TargetConnection.base_connection_id == connection_id)
    of_connection = Run.target_connection_id.in_(targets)
    session.execute(update(Run).where(LIVE_RUN, of_connection).values(address=address))
    health.retry_now(session, address, now_ms)
    _wake(session, of_connection)


def wake_target(session: Session, target_id: str, now_ms: int) -> None:
    """Let the target connection's waiting runs be tried at once, because it was changed."""
    of_target = Run.target_connection_id == target_id
    for address in session.scalars(select(Run.address).where(IN_QUEUE, of_target, Run.held).distinct()):
        if address is not None:
            health.retry_now(session, address, now_ms)
    _wake(session, of_target)


def wake_run(session: Session, run: Run, now_ms: int) -> None:
    """Let a waiting run, which the caller has locked, be tried at once. Its reason and its deadline stay."""
    if run.address is not None:
        health.retry_now(session, run.address, now_ms)
    run.not_before, run.held = now_ms, False


def forget_window(session: Session, flow_id: str) -> None:
    """Have the flow's waiting runs' `wait_until` computed again, because its schedule or its state was changed."""
    session.execute(update(Run).where(IN_QUEUE, Run.flow_id == flow_id).values(wait_until=None))


def set_windows(database: Database, window: Callable[[Flow | None, Run], int]) -> int:
    """Compute and store missing `wait_until` values by `window`. Returns how many. No run waits longer than that."""
    unknown = select(Run.id).where(IN_QUEUE, Run.not_before.is_not(None), Run.wait_until.is_(None))
    count = 0
    while ids := _ids(database, unknown.where(Run.waiting_since.is_not(None)).limit(_PAGE)):
        with database.writing() as session:
            found = session.scalars(_still_waiting(ids)).all()
            for run in found:
                run.wait_until = window(session.get(Flow, run.flow_id), run)
                run.not_before = min(run.not_before or run.wait_until, run.wait_until)
        count += len(found)
        if not found:
            break
    return count


def list_overdue(database: Database, now_ms: int, most: int) -> Sequence[tuple[str, bool, int]]:
    """Runs whose wait is over, oldest first: (id, whether it is held for its destination, `wait_until`)."""
    query = select(Run.id, Run.held, Run.wait_until).where(
        IN_QUEUE, Run.not_before.is_not(None), Run.wait_until <= now_ms
    )
    with database.reading() as session:
        found = session.execute(query.order_by(Run.wait_until).limit(most))
        return [(run_id, held, until or 0) for run_id, held, until in found]


def give_up(database: Database, run_ids: Sequence[str], now_ms: int) -> int:
    """Fail those of the runs whose wait is over. Returns how many."""
    count = 0
    for start in range(0, len(run_ids), _PAGE):
        with database.writing() as session:
            for run in session.scalars(_still_waiting(run_ids[start : start + _PAGE])):
                if is_overdue(run, now_ms):
                    end_overdue(session, run, now_ms)
                    count += 1
    if count:
        database.wakeup.notify()
    return count


def is_overdue(run: Run, now_ms: int) -> bool:
    """Whether the run's wait is over."""
    waits = run.status == WAITING and run.not_before is not None and run.failure is None
    return waits and run.wait_until is not None and run.wait_until <= now_ms


def restart(database: Database, run_id: str) -> None:
    """Let a waiting run be tried at once; if it must wait again, its retry window starts then."""
    with database.writing() as session:
        _wake(session, Run.id == run_id)
        session.execute(update(Run).where(Run.id == run_id, IN_QUEUE).values(retries=null()))


def end_overdue(session: Session, run: Run, now_ms: int) -> None:
    """Fail a run whose wait is over and that the caller has locked; a worker removes its files, if any."""
    error = (run.wait_reason or _UNKNOWN).copy()
    if run_parts.has_parts(session, run):
        run.failure, run.not_before, run.held = error, None, False
        run.updated_at = now_ms
    else:
        runs.end_failed(session, run, error, now_ms)


def correct_clock(database: Database, now_ms: int) -> None:
    """After the clock was set back: let runs be tried at once whose wait was recorded before."""
    with database.writing() as session:
        health.correct_clock(session, now_ms)
        ahead = or_(Run.deferred_at > now_ms, Run.waiting_since > now_ms)
        now = {"not_before": now_ms, "deferred_at": now_ms, "waiting_since": now_ms, "wait_until": None}
        waits = Run.not_before.is_not(None)
        session.execute(update(Run).where(IN_QUEUE, waits, ahead, Run.waiting_since.is_not(None)).values(now))
        # Runs without `waiting_since` are held only until a probe has a result.
        session.execute(update(Run).where(IN_QUEUE, waits, ahead).values(not_before=now_ms, deferred_at=now_ms))


def list_unalerted(session: Session, before_ms: int) -> Sequence[Run]:
    """Lock and return at most 100 runs that have waited since `before_ms` or longer and have not been alerted."""
    waiting = select(Run).where(LIVE_RUN, Run.waiting_since.is_not(None), Run.alerted_at.is_(None))
    query = waiting.where(Run.waiting_since <= before_ms).order_by(Run.waiting_since, Run.id).limit(_PAGE)
    return session.scalars(query.with_for_update(skip_locked=True)).all()


def _wake(session: Session, condition: Any) -> None:  # noqa: ANN401 - a condition on runs
    values = {"not_before": None, "held": False, "waiting_since": None, "wait_reason": null(), "wait_until": None}
    ids = session.scalars(select(Run.id).where(IN_QUEUE, condition).with_for_update(skip_locked=True)).all()
    session.execute(update(Run).where(Run.id.in_(ids)).values(values))


def _answered_lately(database: Database, address: str, now_ms: int) -> bool:
    with database.reading() as session:
        return health.answered_lately(session, address, now_ms)


def _ids(database: Database, query: Any) -> Sequence[str]:  # noqa: ANN401 - a query for ids
    with database.reading() as session:
        return session.scalars(query).all()


def _still_waiting(run_ids: Sequence[str]) -> Any:  # noqa: ANN401 - a query for runs
    return select(Run).where(Run.id.in_(run_ids), IN_QUEUE).with_for_update(skip_locked=True)
