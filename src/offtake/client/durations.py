"""Durations as users write them, such as `90m`, `4h` and `2d`."""

import re
from typing import Final

from offtake.errors import OfftakeError

NONE: Final = "none"
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})\s*([mhd])")


def parse(text: str) -> int | None:
    """The seconds of a duration; None for `none`. Raises `OfftakeError`."""
    if text.strip().lower() == NONE:
        return None
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None:
        raise OfftakeError(f"{text[:40]!r} is not a duration such as 90m, 4h or 2d, or none")
    return int(found[1]) * _SECONDS[found[2]]


def describe(seconds: int | None) -> str:
    """The duration as `parse` reads it, in its largest whole unit."""
    if seconds is None:
        return NONE
    unit = next((unit for unit in ("d", "h", "m") if seconds % _SECONDS[unit] == 0), None)
    return f"{seconds} s" if unit is None else f"{seconds // _SECONDS[unit]}{unit}"
