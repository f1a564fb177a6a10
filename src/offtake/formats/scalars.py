"""Converting arrays of primitive values to forms that the NDJSON encoder writes as the type map requires.

Each function returns the array itself when there is nothing to change, so that most columns are never copied.
"""

import base64
import re
import sys
from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

_FURTHEST_DAY: Final = 91_000_000
"""About 249,000 years. For dates beyond its calendar's range, arrow-rs writes the text of an error."""
_PER_DAY: Final = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_LARGE: Final = 1e18
_LARGE_NUMBERS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9.]+e(?:1[89]|2[0-6])(?![0-9])')
_PADDING: Final = pa.array([b"", b"\0\0", b"\0"], pa.large_binary())
_UUID_DASHES: Final = (8, 12, 16, 20)


class OutOfRangeError(Exception):
    """A value that cannot be written as text; the message is its kind, for example "date"."""


class InvalidTextError(Exception):
    """Text that is not UTF-8."""


def finite(array: pa.Array) -> pa.Array:
    """Numbers as doubles, with null for NaN and infinities, which JSON does not have.

    Floats become the doubles with their shortest decimal form; for some floats the encoder writes another text.
    """
    is_finite = pc.is_finite(array)
    if pc.all(is_finite).as_py() is False:
        array = pc.if_else(is_finite, array, pa.scalar(None, array.type))
    return array.cast(pa.string()).cast(pa.float64()) if pa.types.is_float32(array.type) else array


def has_large_doubles(array: pa.Array) -> bool:
    """Whether the array has a double, at any depth, that the encoder may write with more digits than needed."""
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

    For one in a hundred round doubles from 10^18 to 10^26, arrow-rs writes for example `8.171991000000001e19` instead
    of `8.171991e19`.
    """
    return _LARGE_NUMBERS.sub(_shorten, text)


def _shorten(match: re.Match[bytes]) -> bytes:
    if match[0].startswith(b'"'):
        return match[0]
    digits, _, exponent = repr(float(match[0])).partition("e")
    return f"{digits}{'' if '.' in digits else '.0'}e{exponent.removeprefix('+')}".encode()


def valid_text(array: pa.Array) -> pa.Array:
    """The text unchanged. Raises `InvalidTextError` when some of it is not UTF-8."""
    if not is_valid(array):
        raise InvalidTextError
    return array


def is_valid(array: pa.Array) -> bool:
    """Whether all text in the array, including structs and lists, is UTF-8."""
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
    """Whether all text is ASCII. Python checks all bytes at once, in a fifth of Arrow's time to check each value."""
    _, offset_buffer, data = text.buffers()
    if data is None or not len(text):
        return True
    offsets = memoryview(offset_buffer).cast("i")
    return memoryview(data)[offsets[text.offset] : offsets[text.offset + len(text)]].tobytes().isascii()


def day(array: pa.Array) -> pa.Array:
    """The dates unchanged. Raises `OutOfRangeError` for a date beyond the encoder's calendar."""
    _within(array.view(pa.int32()), -_FURTHEST_DAY, _FURTHEST_DAY, "date")
    return array


def time_of_day(array: pa.Array) -> pa.Array:
    """The times unchanged. Raises `OutOfRangeError` for a time that is not within a day."""
    _within(array.view(pa.int64()), 0, _PER_DAY[array.type.unit] - 1, "time")
    return array


def instant(array: pa.Array) -> pa.Array:
    """The timestamps, in UTC if they have a zone. Raises `OutOfRangeError` for one beyond the encoder's calendar."""
    furthest = _FURTHEST_DAY * _PER_DAY[array.type.unit]
    _within(array.view(pa.int64()), -furthest, furthest, "timestamp")
    if array.type.tz in (None, "UTC"):
        return array
    return array.cast(pa.timestamp(array.type.unit, "UTC"))


def uuid_text(array: pa.Array) -> pa.Array:
    """UUIDs as text with 8-4-4-4-12 digits."""
    stored = array.storage
    if stored.null_count == len(stored):
        return pa.nulls(len(stored), pa.string())
    first, last = stored.offset * 16, (stored.offset + len(stored)) * 16
    digits = memoryview(stored.buffers()[1])[first:last].hex().encode()
    # One digit position of all values at a time: Arrow's text kernels take five times as long.
    text = bytearray(b"-") * (36 * len(stored))
    for digit in range(32):
        dashes = sum(digit >= start for start in _UUID_DASHES)
        text[digit + dashes :: 36] = digits[digit::32]
    texts = pa.Array.from_buffers(pa.binary(36), len(stored), [None, pa.py_buffer(text)]).cast(pa.string())
    return texts if not stored.null_count else pc.if_else(stored.is_valid(), texts, pa.scalar(None, pa.string()))


def base64_text(array: pa.Array) -> pa.Array:
    """Bytes as Base64 text (RFC 4648, with padding).

    Every value is padded to a multiple of three bytes, so that all values can be encoded in one call; then the
    characters of the padding are replaced by `=`.
    """
    values = array.cast(pa.large_binary())
    length = pc.binary_length(values)
    over = pc.subtract(length, pc.multiply(pc.divide(length, 3), 3))
    padded = pc.binary_join_element_wise(values, _PADDING.take(over), pa.scalar(b"", pa.large_binary()))
    validity, starts, data = padded.buffers()
    offsets = pa.Array.from_buffers(pa.int64(), len(padded) + 1, [None, starts])
    text = pa.py_buffer(base64.b64encode(memoryview(data)[: offsets[-1].as_py()]))
    offsets = pc.multiply(pc.divide(offsets, 3), 4)
    encoded = pa.Array.from_buffers(pa.large_binary(), len(padded), [validity, offsets.buffers()[1], text])
    for left, mark in ((1, b"=="), (2, b"=")):
        marked = pc.binary_replace_slice(encoded, -len(mark), sys.maxsize, mark)
        encoded = pc.if_else(pc.equal(over, left), marked, encoded)
    return encoded.view(pa.large_string())


def _within(numbers: pa.Array, least: int, most: int, what: str) -> None:
    found = pc.min_max(numbers).as_py()
    if found["min"] is not None and (found["min"] < least or found["max"] > most):
        raise OutOfRangeError(what)
