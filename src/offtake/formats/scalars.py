"""What the NDJSON encoder does not write as the type map says, brought into a form it does, a whole array at a time.

Each function returns the array itself where there is nothing to change, so that most columns are never copied.
"""

import base64
import re
import sys
from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

_FURTHEST_DAY: Final = 91_000_000
"""About 249,000 years: arrow-rs writes the text of an error in place of a date that its calendar does not reach."""
_PER_DAY: Final = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_LARGE: Final = 1e18
_LARGE_NUMBERS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9.]+e(?:1[89]|2[0-6])(?![0-9])')
_PADDING: Final = pa.array([b"", b"\0\0", b"\0"], pa.large_binary())
_UUID_DASHES: Final = (8, 12, 16, 20)


class OutOfRangeError(Exception):
    """A value that has no text; the message is what kind of value it is."""


class InvalidTextError(Exception):
    """Text that is not UTF-8."""


def finite(array: pa.Array) -> pa.Array:
    """Numbers as doubles, NaN and the infinities as null: JSON has no word for them.

    Floats become the doubles of their shortest texts: of some floats the encoder writes another text than that.
    """
    is_finite = pc.is_finite(array)
    if pc.all(is_finite).as_py() is False:
        array = pc.if_else(is_finite, array, pa.scalar(None, array.type))
    return array.cast(pa.string()).cast(pa.float64()) if pa.types.is_float32(array.type) else array


def has_large_doubles(array: pa.Array) -> bool:
    """Whether a number within the array is one of those that the encoder writes with more digits than it needs."""
    if pa.types.is_float64(array.type):
        ends = pc.min_max(array).as_py()
        return ends["min"] is not None and max(ends["max"], -ends["min"]) >= _LARGE
    if pa.types.is_struct(array.type):
        return any(has_large_doubles(array.field(index)) for index in range(array.type.num_fields))
    if pa.types.is_map(array.type):
        return has_large_doubles(array.items)
    return pa.types.is_list(array.type) and has_large_doubles(array.values)


def shorten_doubles(text: bytes) -> bytes:
    """Lines of JSON with each large number in its shortest form.

    Of one in a hundred round doubles from 10^18 to 10^26, arrow-rs writes `8.171991000000001e19` for `8.171991e19`.
    """
    return _LARGE_NUMBERS.sub(_shorten, text)


def _shorten(match: re.Match[bytes]) -> bytes:
    if match[0].startswith(b'"'):
        return match[0]
    digits, _, exponent = repr(float(match[0])).partition("e")
    return f"{digits}{'' if '.' in digits else '.0'}e{exponent.removeprefix('+')}".encode()


def valid_text(array: pa.Array) -> pa.Array:
    """Text as it is; raises `InvalidTextError` when some of it is not UTF-8."""
    if not is_valid(array):
        raise InvalidTextError
    return array


def is_valid(array: pa.Array) -> bool:
    """Whether all text that the array holds, also within structs and lists, is UTF-8."""
    if all(map(_is_ascii, _texts(array))):
        return True
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _texts(array: pa.Array) -> Iterator[pa.Array]:
    if pa.types.is_string(array.type):
        yield array
    elif pa.types.is_list(array.type):
        yield from _texts(array.values)
    elif pa.types.is_struct(array.type):
        for index in range(array.type.num_fields):
            yield from _texts(array.field(index))


def _is_ascii(text: pa.Array) -> bool:
    """Whether there is nothing but ASCII: Python tells in a fifth of the time that Arrow takes, value by value."""
    _, places, data = text.buffers()
    if data is None or not len(text):
        return True
    offsets = memoryview(places).cast("i")
    return memoryview(data)[offsets[text.offset] : offsets[text.offset + len(text)]].tobytes().isascii()


def day(array: pa.Array) -> pa.Array:
    """Dates as days; raises `OutOfRangeError` for one out of the calendar's reach."""
    _within(array.view(pa.int32()), -_FURTHEST_DAY, _FURTHEST_DAY, "date")
    return array


def time_of_day(array: pa.Array) -> pa.Array:
    """Times as they are; raises `OutOfRangeError` for one that is not within a day."""
    _within(array.view(pa.int64()), 0, _PER_DAY[array.type.unit] - 1, "time")
    return array


def instant(array: pa.Array) -> pa.Array:
    """Timestamps, in UTC where they have a zone; raises `OutOfRangeError` for one out of the calendar's reach."""
    furthest = _FURTHEST_DAY * _PER_DAY[array.type.unit]
    _within(array.view(pa.int64()), -furthest, furthest, "timestamp")
    if array.type.tz in (None, "UTC"):
        return array
    return array.cast(pa.timestamp(array.type.unit, "UTC"))


def uuid_text(array: pa.Array) -> pa.Array:
    """UUIDs as text of 8-4-4-4-12 digits."""
    stored = array.storage
    if stored.null_count == len(stored):
        return pa.nulls(len(stored), pa.string())
    first, last = stored.offset * 16, (stored.offset + len(stored)) * 16
    digits = memoryview(stored.buffers()[1])[first:last].hex().encode()
    # One digit of every value at a time: Arrow's text kernels take five times as long.
    text = bytearray(b"-") * (36 * len(stored))
    for digit in range(32):
        dashes = sum(digit >= start for start in _UUID_DASHES)
        text[digit + dashes :: 36] = digits[digit::32]
    made = pa.Array.from_buffers(pa.binary(36), len(stored), [None, pa.py_buffer(text)]).cast(pa.string())
    return made if not stored.null_count else pc.if_else(stored.is_valid(), made, pa.scalar(None, pa.string()))


def base64_text(array: pa.Array) -> pa.Array:
    """Bytes as Base64 text (RFC 4648, with padding).

    Every value is filled up to a multiple of three bytes, so that encoding all of them in one go is encoding each;
    then the characters that stand for the filling are made `=`.
    """
    values = array.cast(pa.large_binary())
    length = pc.binary_length(values)
    over = pc.subtract(length, pc.multiply(pc.divide(length, 3), 3))
    filled = pc.binary_join_element_wise(values, _PADDING.take(over), pa.scalar(b"", pa.large_binary()))
    validity, starts, data = filled.buffers()
    offsets = pa.Array.from_buffers(pa.int64(), len(filled) + 1, [None, starts])
    text = pa.py_buffer(base64.b64encode(memoryview(data)[: offsets[-1].as_py()]))
    offsets = pc.multiply(pc.divide(offsets, 3), 4)
    encoded = pa.Array.from_buffers(pa.large_binary(), len(filled), [validity, offsets.buffers()[1], text])
    for left, mark in ((1, b"=="), (2, b"=")):
        marked = pc.binary_replace_slice(encoded, -len(mark), sys.maxsize, mark)
        encoded = pc.if_else(pc.equal(over, left), marked, encoded)
    return encoded.view(pa.large_string())


def _within(numbers: pa.Array, least: int, most: int, what: str) -> None:
    found = pc.min_max(numbers).as_py()
    if found["min"] is not None and (found["min"] < least or found["max"] > most):
        raise OutOfRangeError(what)
