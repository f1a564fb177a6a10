"""Runs by day, and how fresh the delivered datasets are: a sandbox over days."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.contract.entities import ENABLED
from offtake.store import run_states
from offtake.store.tables import Dataset, Flow, Run, Watermark

DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class Day:
    """The runs that ended on a day (UTC). `start_ms`: its beginning; `run_ms`: the time that its runs took in all."""

    start_ms: int
    delivered: int = 0
    empty: int = 0
    failed: int = 0
    rows: int = 0
    bytes: int = 0
    run_ms: int = 0
    longest_ms: int = 0

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


def day_of(session: Session, caller: Caller, start_ms: int) -> Day:
    """The runs that ended on the day that starts then, of flows that the caller may see."""
    caller.require(VIEW_DESTINATIONS)
    took = case((Run.started_at.is_not(None), Run.updated_at - Run.started_at), else_=0)
    is_empty = case((Run.rows == 0, 1), else_=0)
    sums = (func.count(), func.sum(Run.rows), func.sum(Run.bytes), func.sum(took), func.max(took))
    mine = (Run.sandbox_id == caller.sandbox_id, labels.visible(Run.flow_id, caller))
    within = (Run.updated_at >= start_ms, Run.updated_at < start_ms + DAY_MS, Run.status.not_in(run_states.LIVE))
    query = select(Run.status, is_empty, *sums).where(*mine, *within).group_by(Run.status, is_empty)
    day = Day(start_ms)
    for status, empty, count, rows, size, spent, longest in session.execute(query):
        is_success = status == run_states.SUCCESS
        day = Day(
            start_ms,
            delivered=day.delivered + (count if is_success and not empty else 0),
            empty=day.empty + (count if is_success and empty else 0),
            failed=day.failed + (0 if is_success else count),
            rows=day.rows + int(rows or 0),
            bytes=day.bytes + int(size or 0),
            run_ms=day.run_ms + int(spent or 0),
            longest_ms=max(day.longest_ms, int(longest or 0)),
        )
    return day


def freshness(session: Session, caller: Caller, most: int) -> Sequence[Freshness]:
    """The datasets of enabled flows whose last delivery is the longest ago, at most `most`."""
    caller.require(VIEW_DESTINATIONS)
    query = (
        select(Dataset.id, Dataset.name, Flow.id, Flow.name, Watermark.updated_at)
        .join(Flow, Flow.id == Watermark.flow_id)
        .join(Dataset, Dataset.id == Watermark.dataset_id)
        .where(
            Flow.sandbox_id == caller.sandbox_id,
            Flow.state == ENABLED,
            labels.visible(Flow.id, caller),
            labels.visible(Dataset.id, caller),
        )
    )
    oldest = query.order_by(Watermark.updated_at, Flow.id, Dataset.id).limit(most)
    return [Freshness(*row) for row in session.execute(oldest).tuples()]
