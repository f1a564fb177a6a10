"""When a flow runs: `scheduleParams` and their slots (contract, section 14). Times are epoch seconds, UTC."""

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, TypeVar

from offtake.contract.folder_templates import check_template
from offtake.errors import FieldProblem, InvalidInputError
from offtake.settings import HOUR_INTERVALS

ExportMode = Literal["DAILY_FULL_EXPORT", "FIRST_FULL_THEN_INCREMENTAL"]
TimeUnit = Literal["hour", "day"]
_Choice = TypeVar("_Choice", bound=str)

FULL: Final = "DAILY_FULL_EXPORT"
INCREMENTAL: Final = "FIRST_FULL_THEN_INCREMENTAL"
_MODES: Final[tuple[ExportMode, ...]] = (FULL, INCREMENTAL)
_UNITS: Final[tuple[TimeUnit, ...]] = ("hour", "day")
_SECONDS: Final = {"hour": 3600, "day": 86_400}

_MILLISECONDS_FROM: Final = 10**11
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_TEMPLATE: Final = "foldernameTemplate"
_TEMPLATE_TOO: Final = "folderNameTemplate"
_KEYS: Final = ("exportMode", "timeUnit", "interval", "startTime", "endTime", _TEMPLATE)
_TOLERATED: Final = (_TEMPLATE_TOO, "frequency")


@dataclass(frozen=True)
class ScheduleRules:
    """The schedules that a deployment allows. `default_schedule_months` None: flows have no default end."""

    hour_intervals: frozenset[int] = HOUR_INTERVALS
    default_schedule_months: int | None = 6
    allow_daily_full_export: bool = False

    @property
    def intervals(self) -> list[int]:
        """All values of `interval`: 0 for once, 1 for daily, and the allowed hours."""
        return sorted({0, 1, *(hours for hours in self.hour_intervals if hours > 0)})


@dataclass(frozen=True)
class Schedule:
    """A validated schedule. `interval` 0 means once; `end_time` is exclusive, None for no end."""

    export_mode: ExportMode
    time_unit: TimeUnit
    interval: int
    start_time: int
    end_time: int | None
    end_defaulted: bool
    folder_name_template: str | None

    @property
    def one_time(self) -> bool:
        """Whether it is a single full export at `start_time`."""
        return self.interval == 0

    @property
    def period_seconds(self) -> int | None:
        """Seconds between slots; None for a one-time schedule."""
        return None if self.one_time else self.interval * _SECONDS[self.time_unit]


def parse_schedule(
    params: Mapping[str, object], *, created_at: int, rules: ScheduleRules = ScheduleRules()
) -> Schedule:
    """Parse the `scheduleParams` of a flow created at `created_at`.

    The default end is computed from the creation time, so it may be before the start: such a flow never runs. Raises
    `InvalidInputError` with all problems, each naming what is allowed.
    """
    reader = _Reader(params)
    unit = _unit(reader)
    interval = reader.whole("interval", required=True)
    mode = _mode(reader, unit, interval)
    _check_table(reader, rules, mode, unit, interval)
    start = reader.instant("startTime", required=True)
    end = reader.instant("endTime", required=False)
    if start is not None and end is not None and end <= start:
        reader.complain("endTime", "must be later than startTime")
    template = _template(reader)
    if reader.problems or mode is None or unit is None or interval is None or start is None:
        raise InvalidInputError(reader.problems)
    if end is not None or interval == 0 or rules.default_schedule_months is None:
        return Schedule(mode, unit, interval, start, end, False, template)
    return Schedule(mode, unit, interval, start, add_months(created_at, rules.default_schedule_months), True, template)


def schedule_params(schedule: Schedule) -> dict[str, object]:
    """Render `scheduleParams` for the API: canonical keys, with a defaulted `endTime`."""
    params: dict[str, object] = {
        "exportMode": schedule.export_mode,
        "timeUnit": schedule.time_unit,
        "interval": schedule.interval,
        "startTime": schedule.start_time,
        "endTime": schedule.end_time,
        _TEMPLATE: schedule.folder_name_template,
    }
    return {key: value for key, value in params.items() if value is not None}


def first_slot(schedule: Schedule, now: int) -> int | None:
    """The first slot of a flow that is created or rescheduled at `now`.

    With a start in the past, it is the latest slot, due at once; earlier ones are skipped, because the first full
    export covers them. None when the schedule has ended at `now`, or has no slot.
    """
    if schedule.end_time is not None and now >= schedule.end_time:
        return None
    return _inside(schedule, _latest_slot(schedule, now))


def next_slot(schedule: Schedule, after: int, now: int) -> int | None:
    """The slot after slot `after`: the latest that is due at `now`, or else the next one.

    Missed slots in between collapse into that one. The schedule may have ended by `now`: a slot that was due before the
    end still runs. None when no slot is left.
    """
    following = _slot_after(schedule, after)
    if following is None:
        return None
    last_moment = now if schedule.end_time is None else min(now, schedule.end_time - 1)
    return _inside(schedule, max(following, _latest_slot(schedule, last_moment)))


def add_months(epoch_seconds: int, months: int) -> int:
    """The same time of day `months` calendar months later, UTC; the month's last day if the day does not exist."""
    start = datetime.fromtimestamp(epoch_seconds, UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def _latest_slot(schedule: Schedule, now: int) -> int:
    """The latest slot not after `now`, or the first slot; ignores the end."""
    period = schedule.period_seconds
    if period is None or now < schedule.start_time:
        return schedule.start_time
    return schedule.start_time + (now - schedule.start_time) // period * period


def _slot_after(schedule: Schedule, after: int) -> int | None:
    if after < schedule.start_time:
        return schedule.start_time
    period = schedule.period_seconds
    return None if period is None else _latest_slot(schedule, after) + period


def _inside(schedule: Schedule, slot: int) -> int | None:
    return slot if schedule.end_time is None or slot < schedule.end_time else None


def _unit(reader: "_Reader") -> TimeUnit | None:
    """Read `timeUnit`, or else `frequency`, which is otherwise ignored."""
    if reader.has("timeUnit"):
        return reader.choice("timeUnit", _UNITS)
    unit = _choice(reader.value("frequency"), _UNITS)
    if unit is None:
        reader.complain("timeUnit", "is required: hour or day", missing=True)
    return unit


def _mode(reader: "_Reader", unit: TimeUnit | None, interval: int | None) -> ExportMode | None:
    if reader.has("exportMode"):
        return reader.choice("exportMode", _MODES)
    return FULL if (unit, interval) == ("day", 0) else INCREMENTAL


def _check_table(
    reader: "_Reader", rules: ScheduleRules, mode: ExportMode | None, unit: TimeUnit | None, interval: int | None
) -> None:
    """Check the table of allowed combinations (section 14.1), as far as the params are readable."""
    if mode is None or unit is None:
        return
    if mode == FULL and unit != "day":
        reader.complain("timeUnit", f"must be day with {FULL}")
    allowed = _intervals(rules, mode, unit)
    if interval is None or interval in allowed:
        return
    choices = ", ".join(map(str, sorted(allowed)))
    rule = f"must be {choices}" if len(allowed) == 1 else f"must be one of {choices}"
    if mode == FULL:
        reader.complain("interval", f"{rule} with {FULL}, which exports in full once; use {INCREMENTAL} to repeat")
    else:
        reader.complain("interval", f"{rule} with {INCREMENTAL} and timeUnit {unit}")


def _intervals(rules: ScheduleRules, mode: ExportMode, unit: TimeUnit) -> set[int]:
    if mode == FULL:
        return {0, 1} if rules.allow_daily_full_export else {0}
    return {1} if unit == "day" else {hours for hours in rules.hour_intervals if hours > 0}


def _template(reader: "_Reader") -> str | None:
    keys = [key for key in (_TEMPLATE, _TEMPLATE_TOO) if reader.has(key)]
    if not keys:
        return None
    template = reader.value(keys[0])
    if any(reader.value(key) != template for key in keys):
        reader.complain(_TEMPLATE_TOO, f"differs from {_TEMPLATE}; send one of them")
    if not isinstance(template, str):
        reader.complain(keys[0], "must be a string")
        return None
    for problem in check_template(template):
        reader.complain(keys[0], problem)
    return template


def _choice(value: object, allowed: tuple[_Choice, ...]) -> _Choice | None:
    if not isinstance(value, str):
        return None
    return next((one for one in allowed if one.lower() == value.strip().lower()), None)


def _pointer(key: str) -> str:
    """A JSON pointer (RFC 6901) to one of the params."""
    return f"/scheduleParams/{key.replace('~', '~0').replace('/', '~1')}"


class _Reader:
    """Reads keys leniently (contract, section 5.7) and collects all problems; null is the same as absent."""

    def __init__(self, params: Mapping[str, object]) -> None:
        self._params = params
        allowed = ", ".join(_KEYS)
        self.problems = [
            FieldProblem(_pointer(key), f"is unknown; allowed: {allowed}")
            for key in params
            if key not in (*_KEYS, *_TOLERATED)
        ]

    def complain(self, key: str, message: str, *, missing: bool = False) -> None:
        self.problems.append(FieldProblem(_pointer(key), message, missing))

    def value(self, key: str) -> object:
        return self._params.get(key)

    def has(self, key: str) -> bool:
        return self.value(key) is not None

    def choice(self, key: str, allowed: tuple[_Choice, ...]) -> _Choice | None:
        found = _choice(self.value(key), allowed)
        if found is None:
            self.complain(key, f"must be one of {', '.join(allowed)}")
        return found

    def whole(self, key: str, *, required: bool) -> int | None:
        value = self.value(key)
        if value is None:
            if required:
                self.complain(key, "is required", missing=True)
            return None
        number = _whole(value)
        if number is None:
            self.complain(key, "must be a whole number, 0 or more")
        return number

    def instant(self, key: str, *, required: bool) -> int | None:
        seconds = self.whole(key, required=required)
        if seconds is None or seconds < _MILLISECONDS_FROM:
            return seconds
        self.complain(key, "looks like milliseconds; send epoch seconds")
        return None


def _whole(value: object) -> int | None:
    """The number, also from a string of digits or from `3.0`, which JSON does not distinguish from `3`."""
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
