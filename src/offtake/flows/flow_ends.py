"""Ends of flows: finds flows that have ended or end soon, and logs them with the request that extends them."""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from sqlalchemy import BigInteger, ColumnElement, and_, cast, select
from sqlalchemy.orm import Session

from offtake.clock import Clock
from offtake.contract.entities import ENABLED
from offtake.flows.flows import stored_schedule
from offtake.flows.schedule import Schedule
from offtake.store import run_states
from offtake.store.database import Database
from offtake.store.tables import Flow

_log = logging.getLogger(__name__)

FlowState = Literal["disabled", "enabled", "ended", "failed", "finished"]
DAY: Final = 86_400
THRESHOLDS: Final = (30, 7, 1)
"""Days before a flow's end at which the log names it."""
DEFAULTED: Final = "filled in by default"

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


def log_ends(database: Database, clock: Clock) -> int:
    """Log each enabled flow that ends in 30, 7 or 1 days, once per flow and threshold; returns the number of lines.

    A server that was down logs the nearest threshold only. Logged thresholds are stored with the flow first, so that no
    other server, restart or clock change repeats a line.
    """
    now = clock.now_seconds()
    with database.reading() as session:
        rows = find_ending(session, now, max(THRESHOLDS), Flow.state == ENABLED)
        due = [row.id for row in rows if _reached_threshold(row, now) is not None]
    logged = 0
    for first in range(0, len(due), _AT_ONCE):
        with database.writing() as session:
            lines = _take_lines(session, due[first : first + _AT_ONCE], now)
        for level, line in lines:
            _log.log(level, "%s", line)
        logged += len(lines)
    return logged


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


def _take_lines(session: Session, ids: Iterable[str], now: int) -> list[tuple[int, str]]:
    """Store the thresholds that are logged now; returns level and line of each. Skips locked flows."""
    query = select(Flow).where(Flow.id.in_(ids), Flow.state == ENABLED)
    lines = []
    for row in session.scalars(query.order_by(Flow.id).with_for_update(skip_locked=True)):
        days = _reached_threshold(row, now)
        if days is None:
            continue
        row.ends_logged = [*_was_logged(row), days]
        schedule = stored_schedule(row)
        within = f"{days} days" if days > 1 else "1 day"
        line = f"{_name(row)} ends within {within}, at {describe_end(schedule)}. To extend it: "
        level = logging.WARNING if schedule.end_defaulted else logging.INFO
        lines.append((level, line + describe_prolonging(row)))
    return lines


def _reached_threshold(row: Flow, now: int) -> int | None:
    """The nearest reached threshold; None when it was logged already, or the flow has ended."""
    end = stored_schedule(row).end_time
    if end is None or now >= end:
        return None
    nearest = min((days for days in THRESHOLDS if end - now <= days * DAY), default=None)
    return None if nearest in _was_logged(row) else nearest


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
