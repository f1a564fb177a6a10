"""Runs by hour or day, and how fresh the delivered datasets are: a sandbox over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.contract.entities import ENABLED
from offtake.store import run_states
from offtake.store.conditions import LIVE_RUN
from offtake.store.tables import Dataset, Flow, Run, Watermark

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


@dataclass(frozen=True)
class Period:
    """The runs that ended in a stretch of time. `run_ms`: the time that they took in all.

    `complete`: False while the totals of some of them are still to be filled in (`store.run_totals`).
    """

    start_ms: int
    length_ms: int
    delivered: int = 0
    empty: int = 0
    failed: int = 0
    rows: int = 0
    bytes: int = 0
    run_ms: int = 0
    longest_ms: int = 0
    complete: bool = True

    @property
    def ended(self) -> int:
        """The number of runs that ended."""
        return self.delivered + self.empty + self.failed


@dataclass(frozen=True)
class Freshness:
    """A dataset of a flow, and when it was last delivered."""

    dataset_id: str
    dataset: str
    flow_id: str
    flow: str
    delivered_ms: int


def ended_in(session: Session, caller: Caller, start_ms: int, length_ms: int) -> Period:
    """The runs that ended in that time, of flows that the caller may see."""
    caller.require(VIEW_DESTINATIONS)
    took = case((Run.started_at.is_not(None), Run.updated_at - Run.started_at), else_=0)
    is_empty = case((Run.rows == 0, 1), else_=0)
    sums = (func.count(), func.count(Run.rows), func.sum(Run.rows), func.sum(Run.bytes), func.sum(took), func.max(took))
    mine = (Run.sandbox_id == caller.sandbox_id, labels.visible(Run.flow_id, caller))
    within = (Run.updated_at >= start_ms, Run.updated_at < start_ms + length_ms, Run.status.not_in(run_states.LIVE))
    query = select(Run.status, is_empty, *sums).where(*mine, *within).group_by(Run.status, is_empty)
    found = Period(start_ms, length_ms)
    for status, empty, count, known, rows, size, spent, longest in session.execute(query):
        is_success = status == run_states.SUCCESS
        found = Period(
            start_ms,
            length_ms,
            delivered=found.delivered + (count if is_success and not empty else 0),
            empty=found.empty + (count if is_success and empty else 0),
            failed=found.failed + (0 if is_success else count),
            rows=found.rows + int(rows or 0),
            bytes=found.bytes + int(size or 0),
            run_ms=found.run_ms + int(spent or 0),
            longest_ms=max(found.longest_ms, int(longest or 0)),
            complete=found.complete and known == count,
        )
    return found


def add_up(periods: Sequence[Period]) -> Period:
    """Consecutive periods as one."""
    return Period(
        periods[0].start_ms,
        sum(one.length_ms for one in periods),
        delivered=sum(one.delivered for one in periods),
        empty=sum(one.empty for one in periods),
        failed=sum(one.failed for one in periods),
        rows=sum(one.rows for one in periods),
        bytes=sum(one.bytes for one in periods),
        run_ms=sum(one.run_ms for one in periods),
        longest_ms=max(one.longest_ms for one in periods),
        complete=all(one.complete for one in periods),
    )


def count_live(session: Session, caller: Caller) -> tuple[int, int]:
    """The runs that are queued or executed now, and those that wait for their destination or source."""
    caller.require(VIEW_DESTINATIONS)
    waits = Run.waiting_since.is_not(None)
    mine = (Run.sandbox_id == caller.sandbox_id, labels.visible(Run.flow_id, caller), LIVE_RUN)
    counts = dict(session.execute(select(waits, func.count()).where(*mine).group_by(waits)).all())
    return counts.get(False, 0), counts.get(True, 0)


def count_queued(session: Session, caller: Caller) -> int:
    """The runs that wait for a worker alone."""
    caller.require(VIEW_DESTINATIONS)
    queued = (Run.status == run_states.WAITING, Run.waiting_since.is_(None))
    mine = (Run.sandbox_id == caller.sandbox_id, labels.visible(Run.flow_id, caller), LIVE_RUN)
    return session.scalar(select(func.count()).where(*mine, *queued)) or 0


def freshness(session: Session, caller: Caller, most: int) -> Sequence[Freshness]:
    """The datasets of flows with a further slot whose last delivery is the longest ago, at most `most`.

    A one-time flow that has run, and a flow that has ended, have none: they deliver nothing more.
    """
    caller.require(VIEW_DESTINATIONS)
    query = (
        select(Dataset.id, Dataset.name, Flow.id, Flow.name, Watermark.updated_at)
        .join(Flow, Flow.id == Watermark.flow_id)
        .join(Dataset, Dataset.id == Watermark.dataset_id)
        .where(
            Flow.sandbox_id == caller.sandbox_id,
            Flow.state == ENABLED,
            Flow.next_run_s.is_not(None),
            labels.visible(Flow.id, caller),
            labels.visible(Dataset.id, caller),
        )
    )
    oldest = query.order_by(Watermark.updated_at, Flow.id, Dataset.id).limit(most)
    return [Freshness(*row) for row in session.execute(oldest)]
