"""The form of a schedule: once, daily or every few hours, from a start to an end, in UTC or in the person's zone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Final

from offtake.documents import Json
from offtake.errors import FieldProblem, InvalidInputError
from offtake.flows.schedule import (
    FULL,
    INCREMENTAL,
    Schedule,
    ScheduleRules,
    add_months,
    first_slot,
    next_slot,
    parse_schedule,
)
from offtake.web.times import instant_of, name_of, zone_of

ONCE: Final = "once"
DAILY: Final = "daily"
HOURS: Final = "hours"
NOW: Final = "now"
LATER: Final = "later"
ON: Final = "on"
NEVER: Final = "never"
FIELDS: Final = ("every", "hours", "begin", "zone", "start_date", "start_time", "ends", "end_date", "end_time")
_DATE: Final = "%Y-%m-%d"
_TIME: Final = "%H:%M"
_HOUR: Final = 3600
_DAY: Final = 86_400
_MOST_SLOTS: Final = 5
_DIGITS: Final = 4
_PLACES: Final = {
    "/scheduleParams/interval": "hours",
    "/scheduleParams/timeUnit": "every",
    "/scheduleParams/exportMode": "every",
    "/scheduleParams/startTime": "start_date",
    "/scheduleParams/endTime": "end_date",
    "/scheduleParams/foldernameTemplate": "template",
}
"""The form's field of each path that the schedule's own rules name."""
_WORDS: Final = {"must be later than startTime": "must be after the first run"}


@dataclass(frozen=True)
class ScheduleForm:
    """The fields as a person entered them, in the time zone `zone` (an IANA name). `now`: epoch seconds.

    `every`: once, daily or hours. `begin`: now or later, for once. `ends`: on or never; ignored for once.
    """

    now: int
    zone: str = "UTC"
    every: str = DAILY
    hours: str = "3"
    begin: str = LATER
    start_date: str = ""
    start_time: str = ""
    ends: str = ON
    end_date: str = ""
    end_time: str = ""

    @property
    def at_once(self) -> bool:
        """Whether it is a single export that starts now."""
        return self.every == ONCE and self.begin == NOW

    @property
    def endless(self) -> bool:
        """Whether the dataflow has no end: then the default end does not apply either."""
        return self.every != ONCE and self.ends == NEVER

    def start(self) -> int:
        """The first run in epoch seconds; raises `InvalidInputError` by the form's field names."""
        return self.now if self.at_once else _instant(self.start_date, self.start_time, self.zone, "start_date")

    def params(self) -> Json:
        """The `scheduleParams` without a folder template; raises `InvalidInputError` by the form's field names."""
        self._check_choices()
        once = self.every == ONCE
        is_number = self.hours.isascii() and self.hours.isdecimal() and len(self.hours) <= _DIGITS
        hours = int(self.hours) if is_number else 0
        found: Json = {
            "exportMode": FULL if once else INCREMENTAL,
            "timeUnit": "hour" if self.every == HOURS else "day",
            "interval": 0 if once else hours if self.every == HOURS else 1,
            "startTime": self.start(),
        }
        if not once and self.ends == ON:
            if not self.end_date:
                raise InvalidInputError([FieldProblem("end_date", "is required; or choose that it never ends")])
            found["endTime"] = _instant(self.end_date, self.end_time, self.zone, "end_date")
        return found

    def _check_choices(self) -> None:
        """Raise `InvalidInputError` for values that the form does not offer."""
        for name, value, allowed in (
            ("every", self.every, (ONCE, DAILY, HOURS)),
            ("begin", self.begin, (NOW, LATER)),
            ("ends", self.ends, (ON, NEVER)),
        ):
            if value not in allowed:
                raise InvalidInputError([FieldProblem(name, f"must be {' or '.join(allowed)}")])


def sent_fields(form: Mapping[str, object]) -> dict[str, str]:
    """The fields of the schedule that a form sent."""
    return {key: str(form[key]).strip() for key in FIELDS if key in form}


def read(sent: Mapping[str, str], now_ms: int, zone: tzinfo, months: int | None) -> ScheduleForm:
    """The form from the fields that were sent. Absent fields have their defaults: daily, from the next full hour.

    `zone`: of the person, for the defaults; a start without a zone is in UTC. `months`: until the default end; None for
    no end.
    """
    place = zone_of(sent.get("zone", "")) if sent.get("zone") or sent.get("start_date") else zone
    now = now_ms // 1000
    following = datetime.fromtimestamp((now // _HOUR + 1) * _HOUR, place)
    end = datetime.fromtimestamp(schedule_end(now, months), place) if months else None
    every = sent.get("every", DAILY)
    begin = sent.get("begin") or (LATER if sent.get("start_date") else NOW)
    ends = sent.get("ends") or (ON if end or sent.get("end_date") else NEVER)
    return ScheduleForm(
        now=now,
        zone=name_of(place),
        every=every,
        hours=sent.get("hours", "3"),
        begin=begin,
        start_date=sent.get("start_date", f"{following:{_DATE}}"),
        start_time=sent.get("start_time", f"{following:{_TIME}}"),
        ends=ends,
        end_date=sent.get("end_date", "") if sent.get("ends") or not end else sent.get("end_date") or f"{end:{_DATE}}",
        end_time=sent.get("end_time", ""),
    )


def of_schedule(schedule: Schedule, now_ms: int, zone: tzinfo, months: int | None = None) -> ScheduleForm:
    """The form for a stored schedule, in that time zone. `months`: for the end that is suggested when it has none."""
    start = datetime.fromtimestamp(schedule.start_time, zone)
    end = None if schedule.end_time is None else datetime.fromtimestamp(schedule.end_time, zone)
    suggested = datetime.fromtimestamp(schedule_end(now_ms // 1000, months), zone) if months else None
    return ScheduleForm(
        now=now_ms // 1000,
        zone=name_of(zone),
        every=ONCE if schedule.one_time else HOURS if schedule.time_unit == "hour" else DAILY,
        hours=str(schedule.interval) if schedule.time_unit == "hour" and not schedule.one_time else "3",
        begin=LATER,
        start_date=start.strftime(_DATE),
        start_time=start.strftime(_TIME),
        ends=NEVER if end is None else ON,
        end_date=end.strftime(_DATE) if end else suggested.strftime(_DATE) if suggested else "",
        end_time=end.strftime(_TIME) if end else "",
    )


def zones(*chosen: tzinfo | str) -> list[tuple[str, str]]:
    """The time zones to choose from: those, and UTC."""
    names = [one if isinstance(one, str) else name_of(one) for one in chosen]
    return [(one, one) for one in dict.fromkeys([*names, "UTC"])]


def schedule_end(now: int, months: int) -> int:
    """The default end of a dataflow that is created at `now`: the start of a day in UTC, in epoch seconds."""
    end = add_months(now, months)
    return end - end % _DAY


def check(form: ScheduleForm, template: str | None, created_at: int, rules: ScheduleRules) -> Schedule:
    """The schedule of the form; raises `InvalidInputError` by the form's field names."""
    params = form.params() | ({"foldernameTemplate": template} if template is not None else {})
    allowed = replace(rules, default_schedule_months=None) if form.endless else rules
    try:
        return parse_schedule(params, created_at=created_at, rules=allowed)
    except InvalidInputError as error:
        raise InvalidInputError(
            [
                FieldProblem(_PLACES.get(one.path, "every"), _WORDS.get(one.message, one.message), one.missing)
                for one in error.problems
            ]
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


def _instant(date: str, time: str, zone: str, name: str) -> int:
    try:
        # A time that clocks skip is the one an hour later, as in calendars.
        return int(instant_of(date, time or "00:00", zone_of(zone)).timestamp())
    except (ValueError, OverflowError):
        raise InvalidInputError([FieldProblem(name, "must be a date, and a time such as 06:30")]) from None
