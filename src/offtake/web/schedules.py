"""Schedules in words."""

from datetime import UTC, datetime
from typing import Final

from offtake.flows.schedule import Schedule

_HOURS_A_DAY: Final = 24


def in_words(schedule: Schedule) -> str:
    """When the schedule's slots are: `Every 3 h from 02:00 UTC`."""
    start = datetime.fromtimestamp(schedule.start_time, UTC)
    if schedule.one_time:
        return f"Once, {start:%Y-%m-%d %H:%M} UTC"
    every = "Daily" if schedule.time_unit == "day" else f"Every {schedule.interval} h"
    if schedule.time_unit == "day" or (_HOURS_A_DAY % schedule.interval == 0 and schedule.interval > 1):
        return f"{every} at {start:%H:%M} UTC" if every == "Daily" else f"{every} from {start:%H:%M} UTC"
    return f"{every} at minute {start.minute:02}" if schedule.interval == 1 else every


def content(schedule: Schedule) -> str:
    """What each export holds."""
    return "Everything" if schedule.export_mode == "DAILY_FULL_EXPORT" else "Everything, then what was added"


def end_in_words(schedule: Schedule) -> str:
    """When the schedule ends: always a text, so that no page leaves it out."""
    if schedule.one_time:
        return "After its only run"
    if schedule.end_time is None:
        return "Never"
    return f"{datetime.fromtimestamp(schedule.end_time, UTC):%Y-%m-%d %H:%M} UTC"
