"""Ends of flows: finds flows that have ended or end soon, and reports them with the request that extends them."""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from sqlalchemy import BigInteger, ColumnElement, and_, cast, select
from sqlalchemy.orm import Session

from offtake.clock import Clock
from offtake.contract.entities import ENABLED
from offtake.flows import flow_events
from offtake.flows.flows import stored_schedule
from offtake.flows.schedule import Schedule
from offtake.store import run_states
from offtake.store.database import Database
from offtake.store.tables import Flow

_log = logging.getLogger(__name__)

FlowState = Literal["disabled", "enabled", "ended", "failed", "finished"]
DAY: Final = 86_400
THRESHOLDS: Final = (30, 7, 1)
"""Days before a flow's end at which an event reports it."""
DEFAULTED: Final = "filled in by default"

ENDED: Final = 0
"""The threshold that a flow which has ended has reached."""
_ENDED_SECONDS: Final = DAY
_AT_ONCE: Final = 100
_MOST_NAMED: Final = 20
_PATH: Final = "/data/foundation/flowservice/flows"


def is_over(row: Flow, now: int) -> bool:
    """Whether the flow has ended at `now` (epoch seconds): it has no further slot unless the end is moved."""
    end = stored_schedule(row).end_time
    return end is not None and now >= end


def next_run(row: Flow, now: int) -> int | None:
    """The flow's next slot in epoch seconds; None when it is disabled or has ended."""
    return row.next_run_s if row.state == ENABLED and not is_over(row, now) else None


def state_of(row: Flow, now: int, *, live: bool) -> FlowState:
    """The flow's state for people: `finished` for a one-time flow whose only run has delivered.

    `failed`: that run failed, and no other is scheduled. `live`: whether a run is in progress.
    """
    if row.state != ENABLED:
        return "disabled"
    if stored_schedule(row).one_time and row.next_run_s is None and not live:
        ends: dict[str | None, FlowState] = {run_states.SUCCESS: "finished", run_states.FAILED: "failed"}
        return ends.get(row.last_run_state, "ended")
    return "ended" if is_over(row, now) and not live else "enabled"


def describe_end(schedule: Schedule) -> str:
    """The end for users, and whether it is defaulted; empty for a schedule without end."""
    if schedule.end_time is None:
        return ""
    return _instant(schedule.end_time) + (f" ({DEFAULTED})" if schedule.end_defaulted else "")


def describe_prolonging(row: Flow) -> str:
    """The request that moves or removes the flow's end."""
    path = '"path": "/scheduleParams/endTime"'
    return (
        f'PATCH {_PATH}/{row.id} with If-Match: * and [{{"op": "replace", {path}, "value": EPOCH_SECONDS}}], '
        f'or to remove the end [{{"op": "remove", {path}}}]'
    )


def find_ending(session: Session, now: int, days: float, condition: ColumnElement[bool]) -> list[Flow]:
    """The flows with that condition that end within `days` days after `now`, earliest end first.

    One-time flows are omitted: an end does not affect them.
    """
    end = _end_column()
    within = and_(condition, end > now, end <= now + round(days * DAY))
    found = session.scalars(select(Flow).where(within).order_by(end, Flow.id))
    return [row for row in found if not stored_schedule(row).one_time]


def report_ends(database: Database, clock: Clock) -> int:
    """Report each enabled flow that ends in 30, 7 or 1 days, or has ended, once each; returns the number of events.

    A server that was down reports the nearest threshold only. Reported thresholds are stored with the flow, so that no
    other server, restart or clock change repeats an event.
    """
    now = clock.now_seconds()
    with database.reading() as session:
        rows = find_ending(session, now - _ENDED_SECONDS, max(THRESHOLDS) + 1, Flow.state == ENABLED)
        due = [row.id for row in rows if _reached_threshold(row, now) is not None]
    reported = 0
    for first in range(0, len(due), _AT_ONCE):
        with database.writing() as session:
            reported += _report(session, due[first : first + _AT_ONCE], now)
    return reported


def log_ending_soon(database: Database, clock: Clock) -> None:
    """Log one line with the enabled flows that end within 30 days; nothing when there are none."""
    days = max(THRESHOLDS)
    with database.reading() as session:
        rows = find_ending(session, clock.now_seconds(), days, Flow.state == ENABLED)
        named = [f"{_name(row)} at {describe_end(stored_schedule(row))}" for row in rows[:_MOST_NAMED]]
    if not rows:
        return
    more = f"; and {len(rows) - len(named)} more" if len(rows) > len(named) else ""
    find = f"offtake flow list --ending-within {days}"
    _log.warning("%d flow(s) end within %d days: %s%s. See: %s", len(rows), days, "; ".join(named), more, find)


def _report(session: Session, ids: Iterable[str], now: int) -> int:
    """Report the thresholds that are reached; returns how many. Skips locked flows."""
    query = select(Flow).where(Flow.id.in_(ids), Flow.state == ENABLED)
    count = 0
    for row in session.scalars(query.order_by(Flow.id).with_for_update(skip_locked=True)):
        days = _reached_threshold(row, now)
        if days is None:
            continue
        row.ends_logged = [*_was_logged(row), days]
        end = (stored_schedule(row).end_time or 0) * 1000
        remedy = f"To extend it: {describe_prolonging(row)}"
        if days == ENDED:
            flow_events.record_flow(session, "flow.ended", row, now * 1000, until=end, remedy=remedy)
        else:
            flow_events.record_flow(session, "flow.ending_soon", row, now * 1000, days=days, until=end, remedy=remedy)
        count += 1
    return count


def _reached_threshold(row: Flow, now: int) -> int | None:
    """The nearest reached threshold, `ENDED` after the end; None when it was reported already.

    An end more than a day ago is not reported: that would repeat all old ends after an upgrade.
    """
    end = stored_schedule(row).end_time
    if end is None or now >= end + _ENDED_SECONDS:
        return None
    reached = ENDED if now >= end else min((days for days in THRESHOLDS if end - now <= days * DAY), default=None)
    return None if reached in _was_logged(row) else reached


def _was_logged(row: Flow) -> Sequence[int]:
    return row.ends_logged or []


def _end_column() -> ColumnElement[int]:
    """The end in the stored schedule, or null. A BigInteger: PostgreSQL's Integer ends in 2038."""
    return cast(Flow.schedule["end_time"].as_string(), BigInteger)


def _name(row: Flow) -> str:
    """The flow's id and name, without line breaks."""
    return f"flow {row.id} ({' '.join(row.name.split())[:100]})"


def _instant(epoch_seconds: int) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
