"""Times in options: an age such as 90m, 12h or 1d, a date, or a date with a time."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from offtake.errors import OfftakeError

HELP: Final = "an age such as 90m, 12h or 7d, or a date or time in UTC such as 2026-03-01 or 2026-03-01T12:00"
_AGE: Final = re.compile("([0-9]{1,6})([smhdw])")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def start(option: str, text: str, now: float) -> int:
    """The time in epoch milliseconds; of a date, its first instant. `now`: the server's time, epoch seconds.

    A time without a zone is in UTC. Raises `OfftakeError`, which names the option.
    """
    age = _AGE.fullmatch(text.strip())
    if age is not None:
        return max(0, round((now - int(age[1]) * _SECONDS[age[2]]) * 1000))
    return _milliseconds(option, text, _parse(option, text))


def end(option: str, text: str, now: float) -> int:
    """As `start`, except that a date is its last millisecond: a period until a date contains that day."""
    if _DATE.fullmatch(text.strip()):
        return _milliseconds(option, text, _parse(option, text) + timedelta(days=1)) - 1
    return start(option, text, now)


def seconds(option: str, text: str, longest: int) -> int:
    """A duration such as 90s, 5m, 2h or 1d, in seconds. Raises `OfftakeError` for others, and above `longest`."""
    age = _AGE.fullmatch(text.strip())
    found = None if age is None else int(age[1]) * _SECONDS[age[2]]
    if found is None or found > longest:
        most = f"{longest // _SECONDS['d']}d"
        raise OfftakeError(f"{option} {text[:50]!r} is not a duration: give 0s to {most}, such as 90s, 5m, 2h or 1d.")
    return found


def _parse(option: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.strip())
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise _error(option, text) from None


def _milliseconds(option: str, text: str, at: datetime) -> int:
    found = round(at.timestamp() * 1000)
    if found < 0:
        raise _error(option, text)
    return found


def _error(option: str, text: str) -> OfftakeError:
    return OfftakeError(f"{option} {text[:50]!r} is not a time: give {HELP}.")
