"""Values as both sides of the comparison have them, and their text by the type map (docs/types.md).

None of it comes from Offtake: the type map is written down here a second time, so that a fault of ours differs.
Dates and times are whole numbers since 1970, because Python's own end at the year 9999 and at microseconds.
"""

import math
import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

NS: Final = 1_000_000_000
_DAY: Final = 86_400


class NumberText(str):
    """A number of JSON, as it is written."""

    __slots__ = ()


class Cell(str):
    """A value of CSV, as it is written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Real:
    """A floating-point number of that many bits."""

    value: float
    bits: Literal[32, 64]

    @property
    def is_finite(self) -> bool:
        """Whether JSON has a form for it."""
        return math.isfinite(self.value)


@dataclass(frozen=True, slots=True)
class Day:
    """A date: days since 1970."""

    days: int


@dataclass(frozen=True, slots=True)
class TimeOfDay:
    """A time of day: nanoseconds since midnight."""

    ns: int


@dataclass(frozen=True, slots=True)
class Instant:
    """A timestamp: nanoseconds since 1970, in UTC where it has a zone."""

    ns: int
    is_zoned: bool


@dataclass(frozen=True, slots=True)
class Uuid:
    """A UUID as 36 characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Map:
    """A map's entries, in their order."""

    pairs: tuple[tuple[object, object], ...]


def text_of(value: object, *, nine: bool = False) -> str:  # noqa: PLR0911 - one return a kind reads as a table
    """The text of a single value in NDJSON; `nine`: times have nine digits of a second, however many are zero."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, Real):
        return shortest(value)
    if isinstance(value, Day):
        return _day(value.days)
    if isinstance(value, TimeOfDay):
        return _clock(value.ns, nine=nine)
    if isinstance(value, Instant):
        days, rest = divmod(value.ns, _DAY * NS)
        return f"{_day(days)}T{_clock(rest, nine=nine)}{'Z' if value.is_zoned else ''}"
    return value.text if isinstance(value, Uuid) else str(value)


def shortest(number: Real) -> str:
    """The fewest digits that read back as the same value."""
    if number.bits == 64:
        return repr(number.value)
    return next(text for digits in range(1, 10) if _single(float(text := f"{number.value:.{digits}g}")) == number.value)


def is_shortest(text: str, number: Real) -> bool:
    """Whether the text reads back as that value, sign of zero included, and no other has fewer digits."""
    read = float(text) if number.bits == 64 else _single(float(text))
    is_same = read == number.value and math.copysign(1, read) == math.copysign(1, number.value)
    return is_same and _digits(text) <= _digits(shortest(number))


def are_same_floats(one: Real, other: Real) -> bool:
    """Whether two values are the same to the last bit, any NaN for another."""
    if math.isnan(one.value) or math.isnan(other.value):
        return math.isnan(one.value) and math.isnan(other.value)
    return struct.pack("<d", one.value) == struct.pack("<d", other.value)


def are_same_numbers(one: str, other: str) -> bool:
    """Whether two texts are the same number, to the last digit and with the sign of zero."""
    return one == other or (Decimal(one) == Decimal(other) and Decimal(one).is_signed() == Decimal(other).is_signed())


def _single(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _digits(text: str) -> int:
    mantissa = text.lower().lstrip("-+").partition("e")[0].replace(".", "")
    return max(len(mantissa.strip("0")), 1)


def _clock(ns: int, *, nine: bool) -> str:
    seconds, fraction = divmod(ns, NS)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if not fraction and not nine:
        return text
    digits = f"{fraction:09}"
    while not nine and digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}"


def _day(days: int) -> str:
    """The date in the Gregorian calendar, reckoned in eras of 400 years that begin on the first of March."""
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5 - 1
    month += 3 if month < 10 else -9
    year += era * 400 + (month <= 2)
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    return f"{sign}{abs(year):04}-{month:02}-{day:02}"
