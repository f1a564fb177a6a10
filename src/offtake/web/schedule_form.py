"""The form of a schedule: once, daily or every few hours, from a start to an end. Times are UTC."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from offtake.documents import Json
from offtake.errors import FieldProblem, InvalidInputError
from offtake.flows.schedule import FULL, INCREMENTAL, Schedule, ScheduleRules, first_slot, next_slot, parse_schedule

ONCE: Final = "once"
DAILY: Final = "daily"
HOURS: Final = "hours"
_DATE: Final = "%Y-%m-%d"
_TIME: Final = "%H:%M"
_HOUR: Final = 3600
_MOST_SLOTS: Final = 5
_PLACES: Final = {
    "/scheduleParams/interval": "hours",
    "/scheduleParams/timeUnit": "every",
    "/scheduleParams/exportMode": "every",
    "/scheduleParams/startTime": "start_date",
    "/scheduleParams/endTime": "end_date",
    "/scheduleParams/foldernameTemplate": "template",
}
"""The form's field of each path that the schedule's own rules name."""


@dataclass(frozen=True)
class ScheduleForm:
    """The fields as a person entered them. `every`: once, daily or hours; an empty `end_date`: the default end."""

    every: str = DAILY
    hours: str = "3"
    start_date: str = ""
    start_time: str = ""
    end_date: str = ""
    end_time: str = ""

    def params(self) -> Json:
        """The `scheduleParams` without a folder template; raises `InvalidInputError` by the form's field names."""
        once = self.every == ONCE
        hours = int(self.hours) if self.hours.isascii() and self.hours.isdecimal() else 0
        found: Json = {
            "exportMode": FULL if once else INCREMENTAL,
            "timeUnit": "hour" if self.every == HOURS else "day",
            "interval": 0 if once else hours if self.every == HOURS else 1,
            "startTime": _instant(self.start_date, self.start_time, "start_date"),
        }
        if self.end_date and not once:
            found["endTime"] = _instant(self.end_date, self.end_time, "end_date")
        return found


def read(sent: Mapping[str, str], now_ms: int) -> ScheduleForm:
    """The form from the fields that were sent; absent ones have their defaults: daily, from the next full hour."""
    following = datetime.fromtimestamp((now_ms // 1000 // _HOUR + 1) * _HOUR, UTC)
    every = sent.get("every", DAILY)
    return ScheduleForm(
        every=every if every in (ONCE, DAILY, HOURS) else DAILY,
        hours=sent.get("hours", "3"),
        start_date=sent.get("start_date") or f"{following:%Y-%m-%d}",
        start_time=sent.get("start_time") or f"{following:%H:%M}",
        end_date=sent.get("end_date", ""),
        end_time=sent.get("end_time", ""),
    )


def of_schedule(schedule: Schedule) -> ScheduleForm:
    """The form for a stored schedule."""
    start = datetime.fromtimestamp(schedule.start_time, UTC)
    end = None if schedule.end_time is None else datetime.fromtimestamp(schedule.end_time, UTC)
    return ScheduleForm(
        every=ONCE if schedule.one_time else HOURS if schedule.time_unit == "hour" else DAILY,
        hours=str(schedule.interval) if schedule.time_unit == "hour" and not schedule.one_time else "3",
        start_date=start.strftime(_DATE),
        start_time=start.strftime(_TIME),
        end_date="" if end is None else end.strftime(_DATE),
        end_time="" if end is None else end.strftime(_TIME),
    )


def check(form: ScheduleForm, template: str | None, created_at: int, rules: ScheduleRules) -> Schedule:
    """The schedule of the form; raises `InvalidInputError` by the form's field names."""
    params = form.params() | ({"foldernameTemplate": template} if template is not None else {})
    try:
        return parse_schedule(params, created_at=created_at, rules=rules)
    except InvalidInputError as error:
        raise InvalidInputError(
            [FieldProblem(_PLACES.get(one.path, "every"), one.message, one.missing) for one in error.problems]
        ) from None


def next_slots(schedule: Schedule, now_ms: int) -> list[int]:
    """The next slots of a schedule that starts now, at most five, in epoch milliseconds."""
    found: list[int] = []
    slot = first_slot(schedule, now_ms // 1000)
    while slot is not None and len(found) < _MOST_SLOTS:
        found.append(slot * 1000)
        slot = next_slot(schedule, slot, slot)
    return found


def problems_of(error: InvalidInputError) -> dict[str, str]:
    """The first problem of each field of the form."""
    found: dict[str, str] = {}
    for one in error.problems:
        found.setdefault(one.path, one.message)
    return found


def _instant(date: str, time: str, name: str) -> int:
    try:
        day = datetime.strptime(f"{date} {time or '00:00'}", f"{_DATE} {_TIME}").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInputError([FieldProblem(name, "must be a date, and a time such as 06:30")]) from None
    return int(day.timestamp())
