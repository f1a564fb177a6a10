"""The run queue: which run a worker claims next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select, false, or_, select
from sqlalchemy.orm import Session

from offtake.store import health, quotas
from offtake.store.conditions import HELD_RUN
from offtake.store.health import IN_QUEUE, Admission
from offtake.store.tables import DestinationHealth, Run

_TRIES: Final = 20
"""After so many runs with held destinations, the worker stops and polls again later."""


@dataclass(frozen=True)
class QueuedRun:
    """A locked run and the state of its destination; `away`: the destination did not answer the last time."""

    run: Run
    admission: Admission
    away: bool


def find_next(
    session: Session, expired: Mapping[str, int], now_ms: int, *, may_probe: bool = True, only: str | None = None
) -> QueuedRun | None:
    """Find and lock the oldest free run, or the run with the id `only`; None when there is none.

    Runs with a due `not_before` come in its order, those with fewer attempts first. `expired`: ids of runs whose leases
    have expired, with their heartbeat counters. Each query reads the first entries of an index, however many runs wait.
    `may_probe`: whether the worker may probe a destination that is unavailable. New runs of a sandbox whose quota is
    reached are held; only for sandboxes with a quota does that cost a query.
    """
    for _ in range(_TRIES):
        run, has_quota = _oldest(session, expired, now_ms, only)
        if run is None:
            return None
        if has_quota and quotas.is_held(session, run, now_ms):
            continue
        away = run.address is not None and health.is_away(session.get(DestinationHealth, run.address))
        if run.cancel_requested or run.failure is not None:
            return QueuedRun(run, "known", away)
        admission = health.admit(session, run, now_ms, may_probe=may_probe)
        if admission != "held":
            return QueuedRun(run, admission, away)
        if run.status == "processing":
            # Its previous holder died while it ran: it continues, but probes its destination first.
            return QueuedRun(run, "probe", away)
        session.expire(run)
    return None


def list_alike(session: Session, sandbox_id: str, address: str | None, most: int) -> Sequence[Run]:
    """Lock and return at most `most` new runs of the sandbox for the destination, oldest first.

    Not those of a sandbox with a quota.
    """
    new = select(Run).where(IN_QUEUE, Run.not_before.is_(None), Run.fence == 0, ~quotas.HELD, ~quotas.has_quota())
    alike = new.where(Run.sandbox_id == sandbox_id, Run.address.is_not_distinct_from(address))
    alike = alike.where(~Run.cancel_requested, Run.failure.is_(None))
    page = alike.order_by(Run.created_at, Run.id).limit(most).with_for_update(of=Run, skip_locked=True)
    return session.scalars(page).all()


def _oldest(session: Session, expired: Mapping[str, int], now_ms: int, only: str | None) -> tuple[Run | None, bool]:
    """The oldest free run, locked, and whether a quota may hold it."""
    free = [
        Run.heartbeat_counter == 0,
        *((Run.id == run_id) & (Run.heartbeat_counter == counter) for run_id, counter in expired.items()),
    ]
    by_age = (Run.created_at, Run.id)
    new = select(Run, or_(quotas.HELD, quotas.has_quota()))
    queries: tuple[Select[Run, bool], ...] = (
        select(Run, false()).where(HELD_RUN, or_(*free)).order_by(*by_age),
        new.where(IN_QUEUE, Run.not_before.is_(None)).order_by(*by_age),
        new.where(IN_QUEUE, Run.not_before <= now_ms).order_by(Run.not_before, Run.fence, *by_age),
    )
    if only is not None:
        queries = tuple(query.where(Run.id == only) for query in queries)
    found = (session.execute(query.limit(1).with_for_update(of=Run, skip_locked=True)).first() for query in queries)
    rows = [(row[0], bool(row[1])) for row in found if row is not None]
    return min(rows, key=lambda row: (row[0].created_at, row[0].id), default=(None, False))
