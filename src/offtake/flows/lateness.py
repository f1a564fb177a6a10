"""When a delivery is late: one rule for pages and alerts."""

from typing import Final

from offtake.flows.schedule import Schedule

LEAST_MS: Final = 300_000
_SHARE: Final = 10


def tolerance_ms(schedule: Schedule) -> int:
    """How long after a slot its delivery is in time: a tenth of the interval, at least five minutes."""
    period = schedule.period_seconds
    return LEAST_MS if period is None else max(LEAST_MS, period * 1000 // _SHARE)


def is_late(schedule: Schedule, slot_ms: int, now_ms: int) -> bool:
    """Whether the delivery of a slot that has not been delivered is late at `now_ms`."""
    return now_ms - slot_ms > tolerance_ms(schedule)
