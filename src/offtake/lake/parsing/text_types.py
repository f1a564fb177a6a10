"""Type inference for text columns: a type that exports every value with the same characters, else text."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Literal

import arro3.io
import pyarrow as pa
import pyarrow.compute as pc

Candidate = Literal["bool", "int", "decimal", "double", "date", "timestamp", "timestamptz"]

_PATTERNS: Final[dict[Candidate, re.Pattern[str]]] = {
    "bool": re.compile("true|false"),
    "int": re.compile("-?[0-9]{1,19}", re.ASCII),
    "decimal": re.compile(r"-?[0-9]{1,38}(\.[0-9]{1,38})?"),
    "double": re.compile(r"-?[0-9]+\.[0-9]+(e-?[0-9]+)?"),
    "date": re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "timestamp": re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+"),
    "timestamptz": re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z"),
}
"""Necessary patterns: all values of a type match, but so may other text."""
_SAMPLE: Final = 8
_SHORT: Final = 18
_LONG: Final = 38
_LARGE: Final = 1e18
"""arrow-rs writes some larger doubles with more digits than needed; exports shorten them."""
_DAY: Final = 86_400
_FIRST_DAY: Final = date.min.toordinal() - date(1970, 1, 1).toordinal()
_LAST_DAY: Final = date.max.toordinal() - date(1970, 1, 1).toordinal()
_NONZERO: Final = "([1-9][0-9]{2}|0[1-9][0-9]|00[1-9])"
_INSTANT: Final = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(\.([0-9]{{3}})?{_NONZERO})?"


@dataclass
class TextColumn:
    """The types that can hold all values observed so far."""

    candidates: set[Candidate] = field(default_factory=lambda: set(_PATTERNS))
    is_seen: bool = False
    scale: int | None = None
    digits: int = 0

    def observe(self, values: pa.Array) -> None:
        """Rule out the types that do not hold all of these values exactly."""
        if self.is_seen and not self.candidates:
            return
        values = values.drop_null() if values.null_count else values
        if not len(values):
            return
        self.is_seen = True
        sample = values[:_SAMPLE].to_pylist()
        for candidate in tuple(self.candidates):
            if not all(map(_PATTERNS[candidate].fullmatch, sample)):
                self.candidates.discard(candidate)
        self._observe_numbers(values)
        for candidate, holds in _TESTS.items():
            if candidate in self.candidates and not holds(values):
                self.candidates.discard(candidate)

    def observe_stored(self, values: pa.Array) -> None:
        """Observe a table's values as the text that an export writes for them."""
        kind = values.type
        if pa.types.is_string(kind):
            self.observe(values)
        elif not is_written_plainly(kind):
            self.is_seen = self.is_seen or values.null_count < len(values)
            self.candidates.clear()
        elif not pa.types.is_null(kind):
            try:
                self.observe(written_text(values))
            except pa.ArrowInvalid:
                self.is_seen = True
                self.candidates.clear()

    def merge(self, other: "TextColumn") -> None:
        """Rule out the types that another column of the same name has ruled out."""
        self.is_seen = self.is_seen or other.is_seen
        self.candidates &= other.candidates
        self.digits = max(self.digits, other.digits)
        if None not in (self.scale, other.scale) and self.scale != other.scale:
            self.candidates.discard("decimal")
        self.scale = other.scale if self.scale is None else self.scale
        self._check_digits()

    def type(self) -> pa.DataType:
        """The column's type: null if no value was observed, string if no other type holds all of them."""
        if not self.is_seen:
            return pa.null()
        found = next((candidate for candidate in _PATTERNS if candidate in self.candidates), None)
        if found == "decimal":
            return pa.decimal128(_SHORT if self.digits <= _SHORT else _LONG, self.scale or 0)
        return pa.string() if found is None else _TYPES[found]

    def _observe_numbers(self, values: pa.Array) -> None:
        """Rule out int64 and decimals; both stay candidates while all numbers are whole."""
        if "int" in self.candidates:
            digits = _count_int_digits(values)
            if digits is not None:
                self._add_decimals(0, digits)
                return
            self.candidates.discard("int")
        if "decimal" in self.candidates:
            scale = len(values[0].as_py().partition(".")[2])
            digits = _count_decimal_digits(values, scale)
            if digits is None:
                self.candidates.discard("decimal")
            else:
                self._add_decimals(scale, digits)

    def _add_decimals(self, scale: int, digits: int) -> None:
        if self.scale not in (None, scale):
            self.candidates.discard("decimal")
        self.scale = scale
        self.digits = max(self.digits, digits)
        self._check_digits()

    def _check_digits(self) -> None:
        if self.digits > _LONG:
            self.candidates.discard("decimal")


def _count_int_digits(values: pa.Array) -> int | None:
    """The maximum number of digits if all values are canonical 64-bit integers, else None."""
    try:
        numbers = values.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    # Arrow also accepts leading zeros, -0 and hexadecimal digits; only canonical text survives the round trip.
    if not numbers.cast(pa.string()).equals(values):
        return None
    ends = pc.min_max(numbers).as_py()
    return max(len(str(abs(number))) for number in ends.values())


def _count_decimal_digits(values: pa.Array, scale: int) -> int | None:
    """The maximum number of digits if all values are canonical decimals with this scale, else None."""
    fraction = rf"\.[0-9]{{{scale}}}" if scale else ""
    if not _all(pc.match_substring_regex(values, f"^-?(0|[1-9][0-9]*){fraction}$")):
        return None
    if _any(pc.match_substring_regex(values, r"^-[0.]*$")):
        # Decimals have no negative zero.
        return None
    # A zero before the decimal point needs no digit of the precision.
    longest = pc.max(pc.binary_length(pc.ascii_ltrim(values, "-0"))).as_py()
    return max(int(longest) - (1 if scale else 0), 1)


def _are_booleans(values: pa.Array) -> bool:
    return _all(pc.or_(pc.equal(values, "true"), pc.equal(values, "false")))


def _are_doubles(values: pa.Array) -> bool:
    """Whether the encoder writes exactly this text; all values are compared as one text, which is fast."""
    try:
        numbers = values.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    if not _all(pc.less(pc.abs(numbers), _LARGE)):
        return False
    text = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values), '}\n{"x":')
    return _written_lines(numbers) == f'{{"x":{text[0].as_py()}}}\n'.encode()


def _are_dates(values: pa.Array) -> bool:
    # Of the texts that Arrow accepts as dates, those with ten characters are canonical.
    return _has_length(values, len("2026-03-01")) and _have_years(values) and _can_cast(values, pa.date32())


def _are_instants(kind: pa.DataType, end: str) -> Callable[[pa.Array], bool]:
    def are_instants(values: pa.Array) -> bool:
        is_canonical = _all(pc.match_substring_regex(values, _INSTANT + end))
        return is_canonical and _have_years(values) and _can_cast(values, kind)

    return are_instants


def _have_years(values: pa.Array) -> bool:
    """Whether no date is in the year 0, which Arrow supports and other systems do not."""
    return not _any(pc.starts_with(values, "0000"))


_TYPES: Final[dict[Candidate, pa.DataType]] = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}
_TESTS: Final[dict[Candidate, Callable[[pa.Array], bool]]] = {
    "bool": _are_booleans,
    "double": _are_doubles,
    "date": _are_dates,
    "timestamp": _are_instants(_TYPES["timestamp"], "$"),
    "timestamptz": _are_instants(_TYPES["timestamptz"], "Z$"),
}


def written_text(values: pa.Array) -> pa.Array:
    """The text, without quotes, that the NDJSON encoder writes for values that are not text. Nulls are dropped.

    Raises `pa.ArrowInvalid` for dates outside the years 1 to 9999.
    """
    if pa.types.is_timestamp(values.type) and values.type.tz:
        values = values.cast(pa.timestamp(values.type.unit, "UTC"))
    if pa.types.is_floating(values.type):
        # A float is written as the double with its shortest decimal form.
        values = values.filter(pc.is_finite(values)).cast(pa.string()).cast(pa.float64())
    values = values.drop_null()
    if not len(values):
        return pa.nulls(0, pa.string())
    if pa.types.is_floating(values.type) and _any(pc.greater_equal(pc.abs(values), _LARGE)):
        return pa.array([_shortest(value) for value in values.to_pylist()], pa.string())
    if _is_beyond_calendar(values):
        raise pa.ArrowInvalid("dates outside the years 1 to 9999 cannot be written as text")
    lines = _written_lines(values).decode().splitlines()
    return pa.array([line.removeprefix('{"x":').removesuffix("}").strip('"') for line in lines], pa.string())


def _shortest(value: float) -> str:
    """A double as an export writes it."""
    if abs(value) < _LARGE:
        return str(written_text(pa.array([value]))[0])
    digits, _, exponent = repr(value).partition("e")
    return f"{digits}{'' if '.' in digits else '.0'}e{exponent.removeprefix('+')}"


def _is_beyond_calendar(values: pa.Array) -> bool:
    if not (pa.types.is_date(values.type) or pa.types.is_timestamp(values.type)):
        return False
    days = values.cast(pa.timestamp("s"), safe=False).view(pa.int64()) if values.type != pa.date32() else None
    numbers = values.view(pa.int32()) if days is None else pc.divide(days, _DAY)
    ends = pc.min_max(numbers).as_py()
    return bool(ends["min"] < _FIRST_DAY or ends["max"] > _LAST_DAY)


def is_written_plainly(kind: pa.DataType) -> bool:
    """Whether exports pass values of this type to the encoder without a conversion."""
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal128(kind)
    return bool(is_number or pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or pa.types.is_null(kind))


def _written_lines(values: pa.Array) -> bytes:
    written = io.BytesIO()
    arro3.io.write_ndjson(pa.record_batch([values], names=["x"]), written)
    return written.getvalue()


def _can_cast(values: pa.Array, kind: pa.DataType) -> bool:
    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _has_length(values: pa.Array, length: int) -> bool:
    ends = pc.min_max(pc.binary_length(values)).as_py()
    return bool(ends["min"] == length == ends["max"])


def _all(found: pa.Array) -> bool:
    return pc.all(found).as_py() is not False


def _any(found: pa.Array) -> bool:
    return pc.any(found).as_py() is True
