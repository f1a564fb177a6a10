"""Schedules as users write them (`every: 3h`, `daily: "06:00"`, `once`), and as `scheduleParams` of the contract.

Times are epoch seconds, UTC.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from offtake.documents import Json
from offtake.errors import OfftakeError

NEVER: Final = "never"
FULL: Final = "DAILY_FULL_EXPORT"
INCREMENTAL: Final = "FIRST_FULL_THEN_INCREMENTAL"
DAY_SECONDS: Final = 86_400
LATEST: Final = 10**11
"""In epoch seconds: servers take larger numbers as milliseconds."""
_EVERY: Final = re.compile(r"([1-9][0-9]{0,4})\s*(h|d)")
_TIME_OF_DAY: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True)
class Rhythm:
    """When a flow runs. `interval` 0: once. `time_of_day`: of daily slots, seconds after midnight; None: any."""

    unit: str
    interval: int
    time_of_day: int | None = None
    full: bool = False

    @property
    def params(self) -> Json:
        """The keys of `scheduleParams` that are decided by the rhythm."""
        mode = FULL if self.full or self.interval == 0 else INCREMENTAL
        return {"exportMode": mode, "timeUnit": self.unit, "interval": self.interval}


ONCE: Final = Rhythm("day", 0)


def parse_every(text: str) -> Rhythm:
    """The rhythm of a period such as `3h` or `1d`. Raises `OfftakeError`."""
    found = _EVERY.fullmatch(text.strip().lower())
    if found is None:
        raise OfftakeError(f"{text!r} is not a period such as 3h or 1d")
    count, unit = int(found[1]), found[2]
    if unit == "h":
        return Rhythm("hour", count)
    if count != 1:
        raise OfftakeError(f"{text!r} is not supported: a flow runs every few hours, or every day (1d)")
    return Rhythm("day", 1)


def parse_daily(text: str) -> Rhythm:
    """The rhythm of a time of day in UTC such as `06:00`. Raises `OfftakeError`."""
    found = _TIME_OF_DAY.fullmatch(text.strip())
    if found is None:
        raise OfftakeError(f"{text!r} is not a time of day such as 06:00 (UTC)")
    return Rhythm("day", 1, int(found[1]) * 3600 + int(found[2]) * 60)


def parse_instant(value: str | int) -> int:
    """The epoch seconds of a date, or of a date with a time (UTC unless it has an offset). Raises `OfftakeError`."""
    if isinstance(value, int):
        return check_instant(str(value)[:40], value)
    try:
        found = datetime.fromisoformat(value.strip())
        seconds = int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise OfftakeError(f"{value!r} is not a date or time such as 2027-01-31 or 2027-01-31T06:00:00Z") from None
    return check_instant(value, seconds)


def check_instant(text: str, seconds: int) -> int:
    """The epoch seconds. Raises `OfftakeError` before 1970, and for years that servers take as milliseconds."""
    if 0 <= seconds < LATEST:
        return seconds
    raise OfftakeError(f"{text} is not between 1970-01-01 and {format_instant(LATEST)[:10]}")


def format_instant(seconds: int) -> str:
    """The instant as `parse_instant` reads it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def first_start(rhythm: Rhythm, start: int | None, now: int) -> int:
    """The start time of a new schedule: `start` or now, for daily slots the next time of day from there on."""
    begin = now if start is None else start
    if rhythm.time_of_day is None:
        return begin
    return begin + (rhythm.time_of_day - begin) % DAY_SECONDS


def has_time_of_day(rhythm: Rhythm, start: int) -> bool:
    """Whether slots that begin at `start` have the rhythm's time of day."""
    return rhythm.time_of_day is None or start % DAY_SECONDS == rhythm.time_of_day


def describe(params: Json) -> Json:
    """The schedule as users write it: `every`, `daily` or `once`, and `full`."""
    interval, unit = params.get("interval"), params.get("timeUnit")
    if interval == 0:
        return {"once": True}
    full = {"full": True} if params.get("exportMode") == FULL else {}
    if unit == "day":
        minutes, seconds = divmod(int(params.get("startTime", 0)) % DAY_SECONDS, 60)
        if seconds == 0:
            return {"daily": f"{minutes // 60:02}:{minutes % 60:02}"} | full
        return {"every": "1d"} | full
    return {"every": f"{interval}h"} | full
