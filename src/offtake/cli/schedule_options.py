"""The schedule of a flow from options: `--every`, `--daily` and `--once`, with a start, an end and a time zone."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from typing import Annotated, Final
from zoneinfo import ZoneInfo, available_timezones

import typer

from offtake.client import schedules
from offtake.client.schedules import FULL, INCREMENTAL, NEVER
from offtake.documents import Json
from offtake.errors import WrongUsageError

_EVERY: Final = re.compile(r"([1-9]\d{0,3})h|1d")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")

Every = Annotated[
    str | None,
    typer.Option("--every", metavar="3h", help="In full first, then increments, every so many hours, or 1d."),
]
Daily = Annotated[
    str | None, typer.Option("--daily", metavar="HH:MM", help="In full first, then increments, each day at this time.")
]
Once = Annotated[bool, typer.Option("--once", help="One full export.")]
Start = Annotated[
    str | None,
    typer.Option("--start", metavar="TIME", help="First run: a date, a time such as 2026-03-01T06:00, or now."),
]
End = Annotated[
    str | None,
    typer.Option("--end", metavar="TIME", help="No runs from then on, or never. Default: the server's, six months."),
]
Zone = Annotated[
    str | None,
    typer.Option("--time-zone", metavar="NAME", help="Of the times, such as Europe/Zurich; default: UTC."),
]


@dataclass(frozen=True)
class ScheduleGiven:
    """The options as they were typed. `once`: whether it is one export."""

    every: str | None = None
    daily: str | None = None
    once: bool = False
    start: str | None = None
    end: str | None = None
    zone: str | None = None

    def __post_init__(self) -> None:
        """Raise `WrongUsageError` for malformed and contradictory options."""
        repeats = [
            name for name, is_given in (("--every", self.every), ("--daily", self.daily), ("--once", self.once))
            if is_given not in (None, False)
        ]  # fmt: skip
        if len(repeats) > 1:
            raise WrongUsageError(f"{' and '.join(repeats)} contradict each other: give one of them.")
        if self.every is not None and not _EVERY.fullmatch(self.every):
            raise WrongUsageError(f"--every {self.every[:40]}: must be hours such as 3h, or 1d.")
        if self.daily is not None and not _CLOCK.fullmatch(self.daily):
            raise WrongUsageError(f"--daily {self.daily[:40]}: must be a time from 00:00 to 23:59.")
        if self.daily is not None and self.start is not None and not _DATE.fullmatch(self.start):
            raise WrongUsageError("--start: must be a date with --daily, which has the time.")
        if self.once and self.end is not None:
            raise WrongUsageError("--once and --end contradict each other: one export needs no end.")
        if self.zone is not None and self.daily is None and self.start is None and self.end is None:
            raise WrongUsageError("--time-zone: has no effect without --daily, --start or --end.")
        zone = _zone(self.zone)
        for option, text in (("--start", self.start), ("--end", self.end)):
            if text is not None:
                _instant(option, text, zone, 0)

    @property
    def option(self) -> str:
        """The option that repeats the export, for messages."""
        return "--daily" if self.daily is not None else "--once" if self.once else "--every"

    @property
    def repeats(self) -> bool:
        """Whether one of `--every`, `--daily` and `--once` is given."""
        return self.every is not None or self.daily is not None or self.once

    @property
    def endless(self) -> bool:
        """Whether the flow has no end, not even the server's default."""
        return self.end == NEVER

    def new_params(self, now: float) -> Json:
        """The `scheduleParams` of a new flow. `now`: epoch seconds."""
        if not self.repeats:
            raise WrongUsageError("--every, --daily or --once: one of them is required, such as --every 3h.")
        return {"startTime": int(now)} | self.changed_params(now)

    def changed_params(self, now: float) -> Json:
        """The `scheduleParams` that the options set; `--end never` is left out."""
        found = self._repetition()
        zone = _zone(self.zone)
        if self.daily is not None:
            found["startTime"] = _next_time(self.daily, self.start, zone, now)
        elif self.start is not None:
            found["startTime"] = _instant("--start", self.start, zone, now)
        if self.end is not None and not self.endless:
            found["endTime"] = _instant("--end", self.end, zone, now)
        if "endTime" in found and found["endTime"] <= found.get("startTime", 0):
            raise WrongUsageError("--end: must be later than the start.")
        return found

    def _repetition(self) -> Json:
        if self.once:
            return {"exportMode": FULL, "timeUnit": "day", "interval": 0}
        if self.daily is not None or self.every == "1d":
            return {"exportMode": INCREMENTAL, "timeUnit": "day", "interval": 1}
        if self.every is not None:
            return {"exportMode": INCREMENTAL, "timeUnit": "hour", "interval": int(self.every[:-1])}
        return {}


def in_words(schedule: Json) -> str:
    """The repetition of `scheduleParams`, for people."""
    interval, start = schedule.get("interval"), schedule.get("startTime")
    if not interval:
        return "once, in full"
    if schedule.get("timeUnit") == "day":
        at = "" if start is None else datetime.fromtimestamp(start, UTC).strftime(" at %H:%M UTC")
        return f"daily{at}"
    return f"every {interval} h"


def _zone(name: str | None) -> tzinfo:
    if name is None or name == "UTC":
        return UTC
    known = available_timezones()
    if name not in known:
        near = get_close_matches(name, known, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "give a name such as Europe/Zurich."
        raise WrongUsageError(f"--time-zone {name[:60]}: is unknown; {hint}")
    return ZoneInfo(name)


def _instant(option: str, text: str, zone: tzinfo, now: float) -> int:
    """An instant in epoch seconds: of a date, its midnight."""
    if option == "--start" and text == "now":
        return int(now)
    if option == "--end" and text == NEVER:
        return 0
    try:
        found = datetime.fromisoformat(text)
        seconds = int((found if found.tzinfo else found.replace(tzinfo=zone)).timestamp())
    except (ValueError, OverflowError):
        word = "now" if option == "--start" else NEVER
        raise WrongUsageError(
            f"{option} {text[:60]}: must be a date such as 2026-03-01, a time such as 2026-03-01T06:00, or {word}."
        ) from None
    if not 0 <= seconds < schedules.LATEST:
        latest = schedules.format_instant(schedules.LATEST)[:10]
        raise WrongUsageError(f"{option} {text[:60]}: must be between 1970-01-01 and {latest}.")
    return seconds


def _next_time(clock: str, start: str | None, zone: tzinfo, now: float) -> int:
    """The next time of day after now; with a start, on that date."""
    hour, _, minute = clock.partition(":")
    at = time(int(hour), int(minute), tzinfo=zone)
    if start is not None:
        return int(datetime.combine(date.fromisoformat(start), at).timestamp())
    today = datetime.fromtimestamp(now, zone).date()
    for day in (today, today + timedelta(days=1)):
        found = int(datetime.combine(day, at).timestamp())
        if found > now:
            return found
    return found
