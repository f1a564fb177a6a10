"""Instants as a person reads them: relative, and exact in UTC and in the browser's time zone."""

import re
from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}")
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_SOON: Final = 45
_DAYS_RELATIVE: Final = 14

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2200


def zone_of(name: str) -> tzinfo:
    """The time zone of that IANA name; UTC for an unknown one."""
    try:
        return ZoneInfo(name) if _NAME.fullmatch(name) else UTC
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return UTC


def name_of(zone: tzinfo) -> str:
    """The IANA name of a zone that `zone_of` returned."""
    return zone.key if isinstance(zone, ZoneInfo) else "UTC"


def ago(epoch_ms: int, now_ms: int) -> str:
    """How long ago a past instant is: `just now`, `3 min ago`; after two weeks, the date.

    The page's `now_ms` is read first, so what happened while the page was made is a little later: `just now`.
    """
    seconds = max(0, now_ms - epoch_ms) / 1000
    return "just now" if seconds < _SOON else _length(epoch_ms, seconds, "{} ago")


def ahead(epoch_ms: int, now_ms: int) -> str:
    """In how long a planned instant is: `now` when it is due, `in a moment`, `in 2 h`; after two weeks, the date."""
    seconds = (epoch_ms - now_ms) / 1000
    if seconds <= 0:
        return "now"
    return "in a moment" if seconds < _SOON else _length(epoch_ms, seconds, "in {}")


def _length(epoch_ms: int, seconds: float, words: str) -> str:
    if seconds > _DAYS_RELATIVE * _DAY:
        return f"{datetime.fromtimestamp(epoch_ms / 1000, UTC):%Y-%m-%d}"
    return words.format(_rounded(seconds))


def _rounded(seconds: float) -> str:
    if seconds < 90 * _MINUTE:
        return f"{max(1, round(seconds / _MINUTE))} min"
    if seconds < 36 * _HOUR:
        return f"{round(seconds / _HOUR)} h"
    return f"{round(seconds / _DAY)} d"


def exact(epoch_ms: int, zone: tzinfo) -> str:
    """The instant in the person's zone and, if that differs, in UTC."""
    utc = in_utc(epoch_ms, zone)
    return local(epoch_ms, zone) + (f" · {utc}" if utc else "")


def local(epoch_ms: int, zone: tzinfo) -> str:
    """The instant in the person's zone: `2026-11-30 10:54:06 CET`."""
    moment = datetime.fromtimestamp(epoch_ms / 1000, zone)
    return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname()}"


def in_utc(epoch_ms: int, zone: tzinfo) -> str:
    """The instant in UTC, with the date if it differs from the local one; empty when the person's zone equals UTC."""
    utc = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    moment = utc.astimezone(zone)
    if moment.utcoffset() == utc.utcoffset():
        return ""
    return f"{utc:%H:%M:%S} UTC" if moment.date() == utc.date() else f"{utc:%Y-%m-%d %H:%M:%S} UTC"


def clock(epoch_ms: int, zone: tzinfo, now_ms: int) -> str:
    """The time of day, with the date if it is not today's in that zone."""
    local = datetime.fromtimestamp(epoch_ms / 1000, zone)
    today = datetime.fromtimestamp(now_ms / 1000, zone).date()
    return f"{local:%H:%M}" if local.date() == today else f"{local:%b} {local.day}, {local:%H:%M}"


def duration(milliseconds: int) -> str:
    """A length of time in its two largest units: `850 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`."""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    if seconds < _HOUR:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours} h {minutes} min"


def instant_of(date: str, time: str, zone: tzinfo) -> datetime:
    """The instant of a date such as 2026-12-31 and a time such as 06:30; raises `ValueError` beyond 1970 to 2200."""
    if not date.isascii() or not time.isascii():
        raise ValueError(date)
    found = datetime.strptime(f"{date} {time}", "%Y-%m-%d %H:%M").replace(tzinfo=zone)
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise ValueError(date)
    return found
