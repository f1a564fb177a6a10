"""How long a run may wait for its destination or its source: until shortly before its flow's next slot."""

from dataclasses import dataclass
from typing import Final

from offtake.flows.entities import ENABLED
from offtake.flows.schedule import Schedule, next_slot
from offtake.store.tables import Flow

SCHEDULED: Final = "schedule"
"""The trigger of runs that a slot has made."""


@dataclass(frozen=True)
class Limits:
    """In seconds: how long before the next slot a run is given up, and how long it may wait where none follows."""

    margin: float = 300
    without_slot: float = 86_400


def window_end(flow: Flow | None, trigger: str, began_ms: int, limits: Limits) -> int:
    """When a run that began then is given up at the latest, in epoch milliseconds.

    Runs beside the schedule, of the last slot, and of flows that are disabled, have no next slot to make room for.
    """
    if flow is None or flow.state != ENABLED or trigger != SCHEDULED:
        return began_ms + round(limits.without_slot * 1000)
    return end_before_slot(Schedule(**flow.schedule), began_ms, limits)


def end_before_slot(schedule: Schedule, began_ms: int, limits: Limits) -> int:
    """The same by the schedule alone. The margin is half of the time between two slots at most."""
    began = began_ms // 1000
    slot = next_slot(schedule, began, began)
    period = schedule.period_seconds
    if slot is None or period is None:
        return began_ms + round(limits.without_slot * 1000)
    return slot * 1000 - round(min(limits.margin, period / 2) * 1000)
