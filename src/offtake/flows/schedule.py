"""When a flow runs: `scheduleParams` and the slots they mean (contract, section 14). Times are epoch seconds, UTC."""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from offtake.errors import FieldProblem, InvalidInputError
from offtake.flows.folders import check_template

ExportMode = Literal["DAILY_FULL_EXPORT", "FIRST_FULL_THEN_INCREMENTAL"]
TimeUnit = Literal["hour", "day"]

FULL: Final = "DAILY_FULL_EXPORT"
INCREMENTAL: Final = "FIRST_FULL_THEN_INCREMENTAL"
_SECONDS: Final = {"hour": 3600, "day": 86_400}
_MILLISECONDS_FROM: Final = 10**11
_KEYS: Final = (
    "exportMode",
    "timeUnit",
    "interval",
    "startTime",
    "endTime",
    "foldernameTemplate",
    "folderNameTemplate",
    "frequency",
)


@dataclass(frozen=True)
class ScheduleRules:
    """What a deployment allows beside the contract's own table."""

    hour_intervals: frozenset[int] = frozenset({3, 6, 9, 12, 24})
    default_end_months: int | None = 6
    recurring_full: bool = False


@dataclass(frozen=True)
class Schedule:
    """A schedule that has been checked. `interval` 0 means once; `end_time` is exclusive."""

    export_mode: ExportMode
    time_unit: TimeUnit
    interval: int
    start_time: int
    end_time: int | None
    end_defaulted: bool
    folder_name_template: str | None

    @property
    def one_time(self) -> bool:
        """True for a single full export at `start_time`."""
        return self.interval == 0

    @property
    def period_seconds(self) -> int | None:
        """Seconds between slots; None for a one-time schedule."""
        return None if self.one_time else self.interval * _SECONDS[self.time_unit]


def parse_schedule(params: Mapping[str, Any], *, created_at: int, rules: ScheduleRules = ScheduleRules()) -> Schedule:
    """The schedule that `scheduleParams` mean for a flow created at `created_at`.

    Raises `InvalidInputError` with every problem at once, each naming what is allowed.
    """
    reader = _Reader(params)
    mode, unit, interval = _cadence(reader, rules)
    start = reader.instant("startTime", required=True)
    end = reader.instant("endTime", required=False)
    template = _template(reader)
    if start is not None and end is not None and end <= start:
        reader.complain("endTime", "must be later than startTime")
    if reader.problems or mode is None or unit is None or interval is None or start is None:
        raise InvalidInputError(reader.problems)
    months = rules.default_end_months
    defaulted = end is None and interval != 0 and months is not None
    if defaulted and months is not None:
        end = add_months(created_at, months)
    return Schedule(mode, unit, interval, start, end, defaulted, template)


def schedule_params(schedule: Schedule) -> dict[str, Any]:
    """`scheduleParams` as the API returns them, a defaulted `endTime` included."""
    return {
        "exportMode": schedule.export_mode,
        "timeUnit": schedule.time_unit,
        "interval": schedule.interval,
        "startTime": schedule.start_time,
        **({} if schedule.end_time is None else {"endTime": schedule.end_time}),
        **({} if schedule.folder_name_template is None else {"foldernameTemplate": schedule.folder_name_template}),
    }


def first_slot(schedule: Schedule, now: int) -> int | None:
    """The slot a flow made at `now` runs first: with a start in the past the latest one, due at once.

    None when the window is over before it begins.
    """
    if schedule.end_time is not None and now >= schedule.end_time:
        return None
    return _inside(schedule, _latest_slot(schedule, now))


def next_slot(schedule: Schedule, after: int, now: int) -> int | None:
    """The slot to run after `after`: the latest that is due at `now`, else the first to come; None when none is left.

    Slots missed in between collapse into one, so that downtime is never replayed slot by slot.
    """
    period = schedule.period_seconds
    if period is None:
        return None
    following = schedule.start_time + ((after - schedule.start_time) // period + 1) * period
    latest = max(following, _latest_slot(schedule, _last_moment(schedule, now)))
    return _inside(schedule, latest)


def add_months(epoch_seconds: int, months: int) -> int:
    """The same time of day so many calendar months later, UTC; the month's last day where the day does not exist."""
    start = datetime.fromtimestamp(epoch_seconds, UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def _last_moment(schedule: Schedule, now: int) -> int:
    """`now`, or the last second of the window when that is earlier: a slot missed at its end still runs."""
    return now if schedule.end_time is None else min(now, schedule.end_time - 1)


def _latest_slot(schedule: Schedule, now: int) -> int:
    period = schedule.period_seconds
    if period is None or now < schedule.start_time:
        return schedule.start_time
    return schedule.start_time + (now - schedule.start_time) // period * period


def _inside(schedule: Schedule, slot: int) -> int | None:
    return slot if schedule.end_time is None or slot < schedule.end_time else None


def _cadence(reader: "_Reader", rules: ScheduleRules) -> tuple[ExportMode | None, TimeUnit | None, int | None]:
    mode = reader.choice("exportMode", (FULL, INCREMENTAL))
    unit = reader.choice("timeUnit", ("hour", "day")) or reader.frequency()
    interval = reader.whole("interval", required=True)
    if unit is None and not reader.complained("timeUnit"):
        reader.complain("timeUnit", "is required: hour or day", missing=True)
    if unit is None or interval is None or reader.complained("exportMode"):
        return None, None, None
    if mode is None:
        mode = FULL if (unit, interval) == ("day", 0) else INCREMENTAL
    if mode == FULL:
        return _full(reader, unit, interval, rules)
    return _incremental(reader, unit, interval, rules)


def _full(
    reader: "_Reader", unit: str, interval: int, rules: ScheduleRules
) -> tuple[ExportMode | None, TimeUnit | None, int | None]:
    if unit != "day":
        reader.complain("timeUnit", "must be day with DAILY_FULL_EXPORT")
    elif interval == 1 and rules.recurring_full:
        return FULL, "day", 1
    elif interval != 0:
        reader.complain(
            "interval", "must be 0 with DAILY_FULL_EXPORT: a full export is made once; recurring ones are not supported"
        )
    return FULL, "day", 0


def _incremental(
    reader: "_Reader", unit: str, interval: int, rules: ScheduleRules
) -> tuple[ExportMode | None, TimeUnit | None, int | None]:
    if unit == "day":
        if interval != 1:
            reader.complain("interval", "must be 1 with FIRST_FULL_THEN_INCREMENTAL and timeUnit day")
        return INCREMENTAL, "day", 1
    if interval < 1 or interval not in rules.hour_intervals:
        allowed = ", ".join(map(str, sorted(rules.hour_intervals)))
        reader.complain("interval", f"must be one of {allowed} with FIRST_FULL_THEN_INCREMENTAL and timeUnit hour")
    return INCREMENTAL, "hour", interval


def _template(reader: "_Reader") -> str | None:
    key = "foldernameTemplate" if reader.has("foldernameTemplate") else "folderNameTemplate"
    if not reader.has(key):
        return None
    template = reader.value(key)
    if not isinstance(template, str):
        reader.complain(key, "must be a string")
        return None
    for problem in check_template(template):
        reader.complain(key, problem)
    return template


class _Reader:
    """Reads keys forgivingly (contract, section 5.7) and keeps every complaint."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self.problems = [
            FieldProblem(f"/scheduleParams/{key}", f"is not known; allowed: {', '.join(_KEYS)}")
            for key in params
            if key not in _KEYS
        ]

    def complain(self, key: str, message: str, *, missing: bool = False) -> None:
        self.problems.append(FieldProblem(f"/scheduleParams/{key}", message, missing))

    def complained(self, key: str) -> bool:
        return any(problem.path == f"/scheduleParams/{key}" for problem in self.problems)

    def value(self, key: str) -> object:
        return self._params.get(key)

    def has(self, key: str) -> bool:
        return self._params.get(key) is not None

    def choice(self, key: str, allowed: tuple[str, ...]) -> Any:  # noqa: ANN401 - one of `allowed`, or None
        value = self.value(key)
        if value is None:
            return None
        for one in allowed:
            if isinstance(value, str) and value.strip().lower() == one.lower():
                return one
        self.complain(key, f"must be one of {', '.join(allowed)}")
        return None

    def frequency(self) -> Any:  # noqa: ANN401 - "hour", "day", or None
        """A client that sends no `timeUnit` sends `frequency`."""
        value = self.value("frequency")
        unit = value.strip().lower() if isinstance(value, str) else None
        return unit if unit in _SECONDS and not self.has("timeUnit") else None

    def whole(self, key: str, *, required: bool) -> int | None:
        value = self.value(key)
        if value is None:
            if required:
                self.complain(key, "is required", missing=True)
            return None
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal() and len(value) < 20:  # noqa: PLR2004 - longer than any instant
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        self.complain(key, "must be a whole number, 0 or more")
        return None

    def instant(self, key: str, *, required: bool) -> int | None:
        value = self.whole(key, required=required)
        if value is None:
            return None
        if value >= _MILLISECONDS_FROM:
            self.complain(key, "looks like milliseconds; give epoch seconds")
            return None
        return value
