"""How long a run may wait for its destination or its source: until shortly before its flow's next slot.

A window is counted from the beginning of the wait, not of the run: one that works for longer than until the next slot
is not to fail for the first answer that it does not get.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from offtake.contract.entities import ENABLED
from offtake.flows.schedule import Schedule, next_slot
from offtake.store.tables import Flow

SCHEDULED: Final = "schedule"
"""The trigger of runs that a slot has made."""


@dataclass(frozen=True)
class Limits:
    """In seconds: how long before the next slot a run is given up, and how long it may wait where none follows."""

    margin: float = 300
    without_slot: float = 86_400


def window_of(flow: Flow | None, trigger: str, limits: Limits) -> Callable[[int], int]:
    """Gives when a wait that begins at an instant ends at the latest, both in epoch milliseconds; later than that.

    Runs of no slot, of the last slot, and of flows that are disabled, have no next slot to make room for.
    """
    if flow is None or flow.state != ENABLED or trigger != SCHEDULED:
        return lambda began_ms: began_ms + round(limits.without_slot * 1000)
    schedule = Schedule(**flow.schedule)
    return lambda began_ms: end_before_slot(schedule, began_ms, limits)


def end_before_slot(schedule: Schedule, began_ms: int, limits: Limits) -> int:
    """The same by the schedule alone. The margin is half of the time between two slots at most.

    A wait that begins within the margin passes that slot over, as a run does that works until then.
    """
    began = began_ms // 1000
    slot = next_slot(schedule, began, began)
    period = schedule.period_seconds
    while slot is not None and period is not None:
        end = slot * 1000 - round(min(limits.margin, period / 2) * 1000)
        if end > began_ms:
            return end
        slot = next_slot(schedule, slot, began)
    return began_ms + round(limits.without_slot * 1000)
