"""Monthly quotas of sandboxes: when one is reached, the sandbox's new runs are held until it is free again.

Runs that have started continue, so a quota can be exceeded by what they deliver. A held run waits in the queue with
`Run.quota_since`: it has no retry window, so it never fails because of the quota. Every change converges by `settle`,
which claims, the scheduler and the API call. Lock order: a run, then the sandbox's quotas, then other runs; runs that
another transaction has locked are skipped, and settled by the scheduler's next round.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    String,
    and_,
    bindparam,
    cast,
    func,
    null,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session

from offtake.documents import InfoItem
from offtake.errors import QUOTA_REACHED
from offtake.store import events, usage
from offtake.store.database import Database
from offtake.store.events import Event, FieldValue
from offtake.store.health import IN_QUEUE
from offtake.store.tables import Quota, Run, Usage

MEASURES: Final = {"rows": "rows", "bytes": "bytes", "files": "files", "computeSeconds": "CPU seconds"}
"""What quotas limit, with the words for it."""
_SUMS: Final = {"rows": Usage.rows, "bytes": Usage.bytes, "files": Usage.files, "computeSeconds": Usage.cpu_ms}
_MS: Final = 1000
_REMEDY: Final = "Wait until it renews, or raise it: offtake quota set."
_PAGE: Final = 500
HELD: Final[ColumnElement[bool]] = Run.quota_since.is_not(None)
_NEW: Final = and_(Run.started_at.is_(None), ~Run.cancel_requested, Run.failure.is_(None), ~HELD)
"""The runs that quotas hold."""


@dataclass(frozen=True)
class Level:
    """What a sandbox used of one of its quotas in the current month; `compute_ms` are rounded down to seconds."""

    measure: str
    most: int
    used: int

    @property
    def reached(self) -> bool:
        """Whether new runs are held."""
        return self.used >= self.most


def has_quota() -> ColumnElement[bool]:
    """Whether the sandbox of the selected run has a quota: a part of the query that selects the run."""
    return select(Quota.measure).where(Quota.sandbox_id == Run.sandbox_id).correlate(Run).exists()


def levels(session: Session, sandbox_id: str, now_ms: int) -> list[Level]:
    """The sandbox's quotas with this month's usage, by one query."""
    found = session.execute(_levels(), {"sandbox": sandbox_id, "in_month": usage.month_of(now_ms)})
    return sorted(
        (Level(row.measure, row.most, _used(row.measure, getattr(row, row.measure))) for row in found),
        key=lambda one: list(MEASURES).index(one.measure),
    )


def is_held(session: Session, run: Run, now_ms: int) -> bool:
    """Whether a run of a sandbox with a quota, which the caller has locked, is held; it is marked accordingly.

    With it, all new runs of the sandbox are held. A run that has started, has failed or is cancelled is not.
    """
    if run.started_at is not None or run.cancel_requested or run.failure is not None:
        return False
    if not any(level.reached for level in levels(session, run.sandbox_id, now_ms)):
        if run.quota_since is not None:
            _forget_wait(run)
        return False
    held = settle(session, run.sandbox_id, now_ms)
    session.expire(run)
    return held


def settle(session: Session, sandbox_id: str, now_ms: int) -> bool:
    """Hold the sandbox's new runs if one of its quotas is reached, else release them; returns whether it is reached."""
    lock = select(Quota).where(Quota.sandbox_id == sandbox_id).order_by(Quota.measure).with_for_update()
    rows = {row.measure: row for row in session.scalars(lock.execution_options(populate_existing=True))}
    found = levels(session, sandbox_id, now_ms)
    reached = [level for level in found if level.reached]
    changed = _note(session, rows, found, now_ms)
    if reached:
        _hold(session, sandbox_id, reached, now_ms, again=changed)
    else:
        release(session, sandbox_id)
    return bool(reached)


def release(session: Session, sandbox_id: str) -> None:
    """Let the sandbox's held runs be claimed at once."""
    values = {"quota_since": None, "not_before": None, "waiting_since": None, "wait_reason": null(), "wait_until": None}
    _set(session, _ids(session, sandbox_id, HELD), values)


def remove(session: Session, row: Quota, now_ms: int) -> None:
    """Remove a quota that the caller has locked, and settle its sandbox."""
    if row.reached_month is not None:
        _announce(session, "quota.free", row, None, now_ms)
    session.delete(row)
    session.flush()
    settle(session, row.sandbox_id, now_ms)


def settle_all(database: Database, now_ms: int) -> None:
    """Settle every sandbox with a quota or with held runs where something changed: usage, the month, or the clock."""
    some = select(Quota.sandbox_id).union(select(Run.sandbox_id).where(HELD, IN_QUEUE))
    if not database.finds(select(some.subquery())):
        return
    with database.reading() as session:
        due = [one for one in session.scalars(some) if _is_due(session, one, now_ms)]
    for sandbox_id in due:
        with database.writing() as session:
            reached = settle(session, sandbox_id, now_ms)
        if not reached:
            database.wakeup.notify()


def describe(level: Level, until_ms: int) -> str:
    """A message for users: which quota, how much is used, and when it renews."""
    renewal = datetime.fromtimestamp(until_ms / _MS, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"The sandbox's monthly quota of {level.most:,} {MEASURES[level.measure]} is reached: {level.used:,} are used. "
        f"New runs wait until it renews at {renewal}, or until it is raised."
    )


@functools.cache
def _levels() -> Select[*tuple[Any, ...]]:
    sandbox, month = bindparam("sandbox", type_=String), bindparam("in_month", type_=String)
    sums = [cast(func.coalesce(func.sum(column), 0), BigInteger).label(name) for name, column in _SUMS.items()]
    used = select(*sums).where(Usage.sandbox_id == sandbox, Usage.month == month).subquery()
    return select(Quota.measure, Quota.most, used).join(used, true()).where(Quota.sandbox_id == sandbox)


def _used(measure: str, total: int) -> int:
    return total // _MS if measure == "computeSeconds" else total


def _is_due(session: Session, sandbox_id: str, now_ms: int) -> bool:
    """Whether the stored state of the sandbox's quotas, or of its runs, is not what it should be."""
    found, month = levels(session, sandbox_id, now_ms), usage.month_of(now_ms)
    noted = {row.measure: row for row in session.scalars(select(Quota).where(Quota.sandbox_id == sandbox_id))}
    if any(
        _state(level, month) != (noted[level.measure].reached_month, noted[level.measure].noted_used) for level in found
    ):
        return True
    held = HELD if not any(level.reached for level in found) else _NEW
    return session.scalar(select(Run.id).where(IN_QUEUE, Run.sandbox_id == sandbox_id, held).limit(1)) is not None


def _state(level: Level, month: str) -> tuple[str | None, int | None]:
    return (month, level.used) if level.reached else (None, None)


def _note(session: Session, rows: dict[str, Quota], found: Sequence[Level], now_ms: int) -> bool:
    """Store the state of each quota; returns whether one changed."""
    changed, month = False, usage.month_of(now_ms)
    for level in found:
        row, state = rows[level.measure], _state(level, month)
        if level.reached and row.reached_month != month:
            _announce(session, "quota.reached", row, level, now_ms)
        elif not level.reached and row.reached_month is not None:
            _announce(session, "quota.free", row, level, now_ms)
        changed |= state != (row.reached_month, row.noted_used)
        row.reached_month, row.noted_used = state
    return changed


def _announce(
    session: Session, kind: Literal["quota.reached", "quota.free"], row: Quota, level: Level | None, now_ms: int
) -> None:
    values: dict[str, FieldValue] = {
        "measure": row.measure,
        "limit": row.most,
        "used": None if level is None else level.used,
    }
    reached: dict[str, FieldValue] = (
        {"until": usage.month_after(now_ms), "code": QUOTA_REACHED.code, "remedy": _REMEDY}
        if kind == "quota.reached"
        else {}
    )
    events.record(session, Event(kind, row.sandbox_id, now_ms, fields=values | reached))


def _hold(session: Session, sandbox_id: str, reached: Sequence[Level], now_ms: int, *, again: bool) -> None:
    """Hold the sandbox's new runs; `again`: also those that are held, with the new reason."""
    until = usage.month_after(now_ms)
    message = " ".join(describe(level, until) for level in reached)
    reason: InfoItem = {"code": QUOTA_REACHED.code, "message": message, "type": "Error"}
    values: dict[str, Any] = {"wait_reason": reason, "not_before": until, "held": False, "wait_until": None}
    since = {"quota_since": now_ms, "deferred_at": now_ms, "waiting_since": now_ms}
    _set(session, _ids(session, sandbox_id, _NEW), values | since)
    # A run whose wait was cut short (the clock was set back) is held to the month's end again.
    outdated = HELD if again else and_(HELD, Run.not_before != until)
    _set(session, _ids(session, sandbox_id, outdated), values | {"deferred_at": now_ms})


def _forget_wait(run: Run) -> None:
    run.quota_since = run.not_before = run.waiting_since = run.wait_reason = run.wait_until = None


def _ids(session: Session, sandbox_id: str, condition: ColumnElement[bool]) -> list[str]:
    query = select(Run.id).where(IN_QUEUE, Run.sandbox_id == sandbox_id, condition).order_by(Run.id)
    return list(session.scalars(query.with_for_update(skip_locked=True)))


def _set(session: Session, run_ids: Sequence[str], values: dict[str, Any]) -> None:
    for first in range(0, len(run_ids), _PAGE):
        of_runs = update(Run).where(Run.id.in_(run_ids[first : first + _PAGE])).values(values)
        session.execute(of_runs, execution_options={"synchronize_session": False})
