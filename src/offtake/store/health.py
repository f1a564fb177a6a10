"""Availability of destinations (circuit breaker): one run probes a destination; the others wait in the queue.

Lock order: a run, then its destination's row, then other runs. Runs that another transaction has locked are skipped:
that transaction checks the destination itself.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Select, delete, func, literal_column, null, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from offtake.documents import InfoItem
from offtake.store import events, run_events
from offtake.store.database import Database
from offtake.store.events import Event, EventKind, FieldValue
from offtake.store.tables import Connection, DestinationHealth, Run

Admission = Literal["known", "probe", "held"]

KNOWN_MS: Final = 30_000
"""A destination counts as available for so long after an answer."""
PROBE_MS: Final = 60_000
"""After so long, another run may probe: the worker of the first may have died."""
_LATER_MS: Final = 1_000
"""How long a run is held when the worker may not probe an unavailable destination now."""
_FLAPPING_MS: Final = 600_000
"""A destination that fails again within this time after a reported outage is not reported again before it is over."""
_MAX_PAUSE_SECONDS: Final = 86_400.0
_FRESH_MS: Final = 10_000
_FORGET_MS: Final = 7 * 86_400_000
_PAGE: Final = 500
_GROUP_SIZE: Final = 8
_GROUP_INTERVAL_MS: Final = 200

IN_QUEUE: Final[ColumnElement[bool]] = Run.status == literal_column("'waiting'")
"""A literal, not a bound parameter, so that both databases use the partial indexes."""


@dataclass(frozen=True)
class Failure:
    """Why a destination is unavailable, and the wait that it asks for, in seconds."""

    reason: InfoItem
    retry_after: float


def admit(session: Session, run: Run, now_ms: int, *, may_probe: bool = True) -> Admission:
    """Whether the run, which the caller has locked, may contact its destination.

    `known`: the destination is available. `probe`: this run contacts it first, while the others wait. `held`: not yet;
    this run and the others in the queue with that destination are marked so. `may_probe`: whether the worker may probe
    a destination that is unavailable.
    """
    if run.address is None:
        return "known"
    health = _lock(session, run.address)
    until = _blocked_until(health, run.id, now_ms)
    if until is None and health.unavailable_since is not None and not may_probe:
        until = now_ms + _LATER_MS
    if until is not None:
        if run.status == "waiting":
            _mark(session, [run.id], health, until, now_ms)
        _hold_others(session, health, run.id, until, now_ms)
        return "held"
    if _answers(health, now_ms):
        return "known"
    health.probing_until, health.probe_run_id = now_ms + PROBE_MS, run.id
    _hold_others(session, health, run.id, health.probing_until, now_ms)
    return "probe"


def is_away(health: DestinationHealth | None) -> bool:
    """Whether the destination is unavailable: it did not answer the last time."""
    return health is not None and health.unavailable_since is not None


def is_unavailable(database: Database, address: str | None) -> bool:
    """Whether the destination with that address did not answer the last time; False without an address."""
    if address is None:
        return False
    with database.reading() as session:
        return is_away(session.get(DestinationHealth, address))


def answered_lately(session: Session, address: str, now_ms: int) -> bool:
    """Whether an answer of the destination was recorded so recently that it need not be recorded again."""
    health = session.get(DestinationHealth, address)
    if health is None or health.unavailable_since is not None or health.probing_until is not None:
        return False
    return health.answered_at is not None and 0 <= now_ms - health.answered_at < _FRESH_MS


def hold_new(session: Session, created: Sequence[Run], now_ms: int) -> None:
    """Hold those of the new runs whose destination is unavailable or being probed."""
    addresses = {run.address for run in created if run.address is not None}
    if not addresses:
        return
    session.flush()
    for health in session.scalars(select(DestinationHealth).where(DestinationHealth.address.in_(addresses))):
        until = _blocked_until(health, "", now_ms)
        if until is not None:
            _mark(session, [run.id for run in created if run.address == health.address], health, until, now_ms)


def note_answer(session: Session, address: str, now_ms: int) -> None:
    """Record that the destination answers; release the runs held for it, after an outage a few at a time."""
    health = _lock(session, address)
    was_unavailable = health.unavailable_since is not None
    health.answered_at = health.noted_at = now_ms
    _forget_outage(health)
    if health.reported_since is not None:
        since, health.reported_since = health.reported_since, None
        lasted = max(0, now_ms - since) / 1000
        _record_event(session, "connection.available", address, now_ms, since=since, seconds=lasted)
    _release(session, address, now_ms if was_unavailable else None)


def note_failure(
    session: Session, run: Run, address: str, failure: Failure, pause: Callable[[int], float], now_ms: int
) -> int:
    """Record that the destination does not answer. Returns when it is tried next, in epoch milliseconds.

    That is at the end of the run's wait at the latest, for its last try, unless the destination asks for a longer wait
    (Retry-After). `pause`: seconds to wait after so many failures. The run, which the caller has locked, is not marked.
    """
    health = _lock(session, address)
    if health.unavailable_since is None or health.unavailable_since > now_ms:
        health.unavailable_since, health.failures = now_ms, 0
    health.failures += 1
    health.reason = failure.reason
    health.noted_at = now_ms
    next_at = now_ms + round(1000 * pause(health.failures))
    if run.wait_until is not None and run.wait_until > now_ms:
        next_at = min(next_at, run.wait_until)
    health.next_at = max(next_at, now_ms + round(1000 * min(failure.retry_after, _MAX_PAUSE_SECONDS)))
    health.probing_until = health.probe_run_id = None
    _hold_others(session, health, run.id, health.next_at, now_ms)
    flaps = health.reported_at is not None and 0 <= now_ms - health.reported_at < _FLAPPING_MS
    if health.reported_since is None and not flaps:
        health.reported_since, health.reported_at = health.unavailable_since, now_ms
        error = run_events.error_fields(failure.reason)
        _record_event(session, "connection.unavailable", address, now_ms, **error, until=health.next_at)
    return health.next_at


def leave_probe(session: Session, address: str, run_id: str, now_ms: int) -> None:
    """Let other runs contact the destination, because the probing run ended without a result."""
    health = _lock(session, address)
    if health.probe_run_id != run_id:
        return
    health.probing_until = health.probe_run_id = None
    if health.unavailable_since is None:
        _release(session, address, None)
        return
    for ids in _chunks(_others(session, address, run_id), _PAGE):
        _set(session, ids, {"not_before": health.next_at or now_ms})


def retry_now(session: Session, address: str, now_ms: int) -> None:
    """Let the next run try the destination at once: its credentials or its settings have changed."""
    health = session.get(DestinationHealth, address, with_for_update=True)
    if health is not None:
        health.next_at, health.probing_until, health.probe_run_id = now_ms, None, None


def correct_clock(session: Session, now_ms: int) -> None:
    """After the clock was set back: let destinations be tried at once whose times are in the future."""
    ahead = update(DestinationHealth).where(DestinationHealth.noted_at > now_ms)
    session.execute(ahead.values(noted_at=now_ms, next_at=now_ms, probing_until=None, probe_run_id=None))


def forget_old(session: Session, now_ms: int) -> None:
    """Delete the records of destinations that no run has used for a week."""
    live = select(Run.id).where(Run.address == DestinationHealth.address, IN_QUEUE).exists()
    last = func.coalesce(DestinationHealth.noted_at, 0)
    session.execute(delete(DestinationHealth).where(last < now_ms - _FORGET_MS, ~live))


def _record_event(session: Session, kind: EventKind, address: str, now_ms: int, **fields: FieldValue) -> None:
    """Record an event of the destination in each sandbox that has connections to it, naming the oldest one."""
    columns = (Connection.sandbox_id, Connection.id, Connection.name, Connection.connection_spec_id)
    query = select(*columns).where(or_(Connection.address == address, Connection.id == address))
    found: dict[str, list[Any]] = {}
    for row in session.execute(query.order_by(Connection.created_at, Connection.id)):
        found.setdefault(row.sandbox_id, []).append(row)
    for sandbox_id, rows in found.items():
        happened = Event(
            kind,
            sandbox_id,
            now_ms,
            connection_id=rows[0].id,
            connection_name=rows[0].name,
            connection_spec_id=rows[0].connection_spec_id,
            fields={"address": address, "connections": len(rows), **fields},
        )
        events.record(session, happened)


def _lock(session: Session, address: str) -> DestinationHealth:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(DestinationHealth).values(address=address, failures=0).on_conflict_do_nothing())
    return session.get_one(DestinationHealth, address, with_for_update=True, populate_existing=True)


def _blocked_until(health: DestinationHealth, run_id: str, now_ms: int) -> int | None:
    """Until when the run must not contact the destination, in epoch milliseconds; None when it may."""
    probing = health.probing_until
    if probing is not None and health.probe_run_id != run_id and now_ms < probing <= now_ms + PROBE_MS:
        return probing
    set_back = health.noted_at is not None and health.noted_at > now_ms
    if health.unavailable_since is not None and health.next_at is not None and health.next_at > now_ms and not set_back:
        return health.next_at
    return None


def _answers(health: DestinationHealth, now_ms: int) -> bool:
    answered = health.answered_at
    return health.unavailable_since is None and answered is not None and 0 <= now_ms - answered < KNOWN_MS


def _forget_outage(health: DestinationHealth) -> None:
    health.failures = 0
    health.unavailable_since = health.next_at = health.probing_until = health.probe_run_id = None
    health.reason = None


def _hold_others(session: Session, health: DestinationHealth, run_id: str, until: int, now_ms: int) -> None:
    for ids in _chunks(_others(session, health.address, run_id), _PAGE):
        _mark(session, ids, health, until, now_ms)


def _mark(session: Session, run_ids: Sequence[str], health: DestinationHealth, until: int, now_ms: int) -> None:
    values: dict[str, Any] = {"not_before": until, "held": True, "deferred_at": now_ms}
    if health.unavailable_since is not None:
        values |= {"waiting_since": func.coalesce(Run.waiting_since, now_ms), "wait_reason": health.reason}
    _set(session, run_ids, values)


def _release(session: Session, address: str, apart_from_ms: int | None) -> None:
    """Release the runs held for the destination: all at once, or from `apart_from_ms` on, a few at a time."""
    waits = {"held": False, "waiting_since": None, "wait_reason": null(), "wait_until": None}
    held = _queued(address).where(Run.held).order_by(Run.created_at, Run.id)
    ids = list(session.scalars(held.with_for_update(skip_locked=True)))
    if apart_from_ms is None:
        for chunk in _chunks(ids, _PAGE):
            _set(session, chunk, waits | {"not_before": None})
        return
    for number, chunk in enumerate(_chunks(ids, _GROUP_SIZE)):
        at = apart_from_ms + number * _GROUP_INTERVAL_MS if number else None
        _set(session, chunk, waits | {"not_before": at})


def _others(session: Session, address: str, run_id: str) -> list[str]:
    """The ids of the other runs in the queue that wait for nothing except the destination."""
    free = or_(Run.not_before.is_(None), Run.held)
    others = _queued(address).where(Run.id != run_id, free).order_by(Run.id)
    return list(session.scalars(others.with_for_update(skip_locked=True)))


def _queued(address: str) -> Select[Any]:
    """Runs in the queue for the destination, except failed and cancelled ones, which contact nothing."""
    return select(Run.id).where(IN_QUEUE, Run.address == address, Run.failure.is_(None), ~Run.cancel_requested)


def _set(session: Session, run_ids: Sequence[str], values: dict[str, Any]) -> None:
    of_runs = update(Run).where(Run.id.in_(run_ids)).values(values)
    session.execute(of_runs, execution_options={"synchronize_session": False})


def _chunks(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[first : first + size] for first in range(0, len(ids), size))
