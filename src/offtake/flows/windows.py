"""How long a run may wait for its destination or source: until shortly before its flow's next slot.

The retry window starts with the wait, not with the run: a run that takes longer than until the next slot must not fail
at its first transient error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from offtake.contract.entities import ENABLED
from offtake.flows.schedule import Schedule, next_slot
from offtake.store.tables import Flow

SCHEDULED: Final = "schedule"
"""The trigger of scheduled runs."""


@dataclass(frozen=True)
class Limits:
    """In seconds. `margin`: how long before the next slot a wait ends; `without_slot`: the longest wait else."""

    margin: float = 300
    without_slot: float = 86_400


def window_of(flow: Flow | None, trigger: str, limits: Limits) -> Callable[[int], int]:
    """A function from the start of a wait to its deadline (both epoch milliseconds), which is after the start.

    Runs without a slot, of the last slot, and of disabled flows have no next slot: then `without_slot` applies.
    """
    if flow is None or flow.state != ENABLED or trigger != SCHEDULED:
        return lambda began_ms: began_ms + round(limits.without_slot * 1000)
    schedule = Schedule(**flow.schedule)
    return lambda began_ms: end_before_slot(schedule, began_ms, limits)


def end_before_slot(schedule: Schedule, began_ms: int, limits: Limits) -> int:
    """The deadline of a wait according to the schedule. The margin is at most half of the time between two slots.

    A wait that starts within the margin skips that slot.
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
