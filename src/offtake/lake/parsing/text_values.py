"""Parsing text exactly as values of a column's type."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from offtake.lake.parsing import regional_text
from offtake.lake.parsing.errors import SchemaMismatchError, shorten
from offtake.lake.parsing.exact_numbers import read_decimals, read_floats
from offtake.lake.type_names import type_name

_DATE: Final = "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-[0-9]{2}-[0-9]{2}"
_ZONE: Final = "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_EXACT: Final = r"(\.[0-9]{1,6}0*)?"
_ANY: Final = r"(\.[0-9]+)?"
_LONGEST: Final = len("2026-03-01T06:00:00.123456")


@dataclass(frozen=True)
class _Reader:
    """Parses text for the types that match. `read` returns None, or raises `pa.ArrowInvalid`, for an invalid value."""

    matches: Callable[[pa.DataType], bool]
    allowed: str
    read: Callable[[pa.Array, pa.DataType, bool], pa.Array | None]


def read_text(values: pa.Array, kind: pa.DataType, path: str, *, truncate: bool = False) -> pa.Array:
    """Parse text as a type; null stays null. `truncate`: truncate times to microseconds instead of refusing them.

    Raises `SchemaMismatchError` for the column `path` if a value is not exactly of the type, or for unsupported types.
    """
    reader = next((one for one in _READERS if one.matches(kind)), None)
    if reader is None:
        raise SchemaMismatchError(f"column {path} has the type {type_name(kind)}, which cannot be imported from text")
    try:
        found = reader.read(values, kind, truncate)
    except pa.ArrowInvalid:
        found = None
    if found is None:
        raise SchemaMismatchError(
            f"column {path} must have {reader.allowed.format(kind=type_name(kind))}", _hint(values, kind)
        )
    return found


def _hint(values: pa.Array, kind: pa.DataType) -> str:
    """The value, if there is only one, and how to write it if it is a number or a date as people write them."""
    filled = values.drop_null()
    if len(filled) != 1:
        return ""
    text = filled[0].as_py()
    found = f"The value is {shorten(text)}"
    number, date = regional_text.plain_number(text.strip()), regional_text.plain_date(text.strip())
    if number is not None and (_is_int(kind) or _is_float(kind) or pa.types.is_decimal(kind)):
        return f"{found}: numbers are read with a decimal point, not with a decimal comma, such as {shorten(number)}"
    if date is not None and (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        return f"{found}: dates are read in the form {date}"
    return found


def _nulls(values: pa.Array, kind: pa.DataType, _truncate: bool) -> pa.Array | None:
    return pa.nulls(len(values), kind) if values.null_count == len(values) else None


def _strings(values: pa.Array, _kind: pa.DataType, _truncate: bool) -> pa.Array:
    return values


def _booleans(values: pa.Array, _kind: pa.DataType, _truncate: bool) -> pa.Array | None:
    lower = pc.ascii_lower(values)
    is_true = pc.equal(lower, "true")
    return is_true if _all(pc.or_(is_true, pc.equal(lower, "false"))) else None


def _integers(values: pa.Array, kind: pa.DataType, _truncate: bool) -> pa.Array | None:
    # Arrow also accepts leading zeros and hexadecimal digits; only canonical text survives the round trip.
    numbers = values.cast(kind)
    return numbers if numbers.cast(pa.string()).equals(values) else None


def _floats(values: pa.Array, kind: pa.DataType, _truncate: bool) -> pa.Array | None:
    return read_floats(values, kind)


def _decimals(values: pa.Array, kind: pa.DataType, _truncate: bool) -> pa.Array | None:
    return read_decimals(values, kind)


def _dates(values: pa.Array, kind: pa.DataType, _truncate: bool) -> pa.Array | None:
    return values.cast(kind) if _match(values, _DATE) else None


def _times(values: pa.Array, kind: pa.DataType, truncate: bool) -> pa.Array | None:
    if not _match(values, "[0-9]{2}:[0-9]{2}:[0-9]{2}" + (_ANY if truncate else _EXACT)):
        return None
    # Arrow cannot cast text to times of day.
    instants = pc.binary_join_element_wise("1970-01-01T", _six_digits(values, 0), "")
    return instants.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.time64("us")).cast(kind)


def _instants(values: pa.Array, kind: pa.DataType, truncate: bool) -> pa.Array | None:
    fraction = _ANY if truncate else _EXACT
    zone = _ZONE if kind.tz else ""
    if not _match(values, f"{_DATE}[T ][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}{fraction})?{zone}"):
        return None
    return _six_digits(values, _LONGEST).cast(pa.timestamp("us", kind.tz)).cast(kind)


def _six_digits(values: pa.Array, longest: int) -> pa.Array:
    """Times truncated to microseconds; texts of up to `longest` characters are known to have no more digits."""
    if (pc.max(pc.binary_length(values)).as_py() or 0) <= longest:
        return values
    return pc.replace_substring_regex(values, r"(\.[0-9]{6})[0-9]+", r"\1")


def _match(values: pa.Array, pattern: str) -> bool:
    return _all(pc.match_substring_regex(values, f"^{pattern}$"))


def _all(found: pa.Array) -> bool:
    return pc.all(found).as_py() is not False


def _is_int(kind: pa.DataType) -> bool:
    return bool(pa.types.is_int32(kind) or pa.types.is_int64(kind))


def _is_float(kind: pa.DataType) -> bool:
    return bool(pa.types.is_float32(kind) or pa.types.is_float64(kind))


def _is_instant(*, zoned: bool) -> Callable[[pa.DataType], bool]:
    return lambda kind: bool(pa.types.is_timestamp(kind)) and bool(kind.tz) == zoned


_READERS: Final = (
    _Reader(pa.types.is_string, "text", _strings),
    _Reader(pa.types.is_null, "no values", _nulls),
    _Reader(pa.types.is_boolean, "true or false", _booleans),
    _Reader(_is_int, "whole numbers ({kind}) without leading zeros or plus signs", _integers),
    _Reader(_is_float, "numbers that a {kind} holds exactly, without leading zeros or plus signs", _floats),
    _Reader(pa.types.is_decimal128, "numbers that fit {kind}, without leading zeros or plus signs", _decimals),
    _Reader(pa.types.is_date32, "dates such as 2026-03-01", _dates),
    _Reader(pa.types.is_time64, "times such as 06:00:00.123456", _times),
    _Reader(_is_instant(zoned=False), "date-times without a zone such as 2026-03-01T06:00:00.123456", _instants),
    _Reader(_is_instant(zoned=True), "date-times with a zone such as 2026-03-01T06:00:00.123456Z", _instants),
)
