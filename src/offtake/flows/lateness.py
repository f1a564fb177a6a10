"""When a flow's delivery is late: the one rule for pages, the overview, events and metrics.

With a freshness target, a flow is late when its data is older than the target. Otherwise, a slot must be delivered
within a tolerance.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from offtake.contract.entities import ENABLED
from offtake.documents import Json
from offtake.flows.schedule import Schedule, next_slot

LEAST_MS: Final = 300_000
_SHARE: Final = 10


class JudgedFlow(Protocol):
    """The columns of a flow that decide whether it is late, as in `store.tables.Flow`."""

    @property
    def state(self) -> str: ...  # noqa: D102 - a column
    @property
    def schedule(self) -> Json: ...  # noqa: D102 - a column
    @property
    def next_run_s(self) -> int | None: ...  # noqa: D102 - a column
    @property
    def freshness_seconds(self) -> int | None: ...  # noqa: D102 - a column
    @property
    def delivered_up_to(self) -> int | None: ...  # noqa: D102 - a column
    @property
    def judged_from(self) -> int | None: ...  # noqa: D102 - a column
    @property
    def created_at(self) -> int: ...  # noqa: D102 - a column


@dataclass(frozen=True)
class Lateness:
    """A late flow, in epoch milliseconds. `since_ms`: since when it is late.

    `due_ms`: the first slot that is not delivered; with a target, until when its data is delivered.
    """

    due_ms: int
    since_ms: int


def tolerance_ms(schedule: Schedule) -> int:
    """How long after a slot its delivery is in time: a tenth of the interval, at least five minutes."""
    period = schedule.period_seconds
    return LEAST_MS if period is None else max(LEAST_MS, period * 1000 // _SHARE)


def lateness_of(flow: JudgedFlow, now_ms: int, live_slot_ms: int | None) -> Lateness | None:
    """Whether the flow is late at `now_ms`; None when it is in time, disabled, or delivers nothing more.

    `live_slot_ms`: the time that its live run has in folder names (`Run.scheduled_at`); None without a live run.
    """
    if flow.state != ENABLED or (flow.next_run_s is None and live_slot_ms is None):
        return None
    schedule = Schedule(**flow.schedule)
    if flow.freshness_seconds is None or schedule.one_time:
        due = _oldest_slot(flow, schedule, now_ms, live_slot_ms)
        allowed = tolerance_ms(schedule)
    else:
        due = max(flow.delivered_up_to or 0, judged_from(flow), schedule.start_time * 1000)
        allowed = flow.freshness_seconds * 1000
    if due is None or now_ms - due <= allowed:
        return None
    return Lateness(due, due + allowed)


def judged_from(flow: JudgedFlow) -> int:
    """From when on the flow's deliveries are expected (epoch milliseconds)."""
    return flow.created_at if flow.judged_from is None else flow.judged_from


def _oldest_slot(flow: JudgedFlow, schedule: Schedule, now_ms: int, live_slot_ms: int | None) -> int | None:
    """The oldest slot that is not delivered: since the last delivery, of the live run, or due without a run."""
    expected_from, delivered = judged_from(flow), flow.delivered_up_to
    # A delivery covers the slot of the same second; a slot at the instant from which they are expected is still due.
    is_delivered = delivered is not None and delivered >= expected_from
    after = (delivered or 0) // 1000 if is_delivered else -(-expected_from // 1000) - 1
    following = next_slot(schedule, after, after)
    slots = [] if following is None else [following * 1000]
    slots += [] if live_slot_ms is None else [live_slot_ms]
    slots += [flow.next_run_s * 1000] if flow.next_run_s is not None and flow.next_run_s * 1000 <= now_ms else []
    return min(slots, default=None)
