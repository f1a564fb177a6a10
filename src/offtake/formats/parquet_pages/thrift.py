"""Thrift's compact protocol, as far as Parquet's metadata uses it; unknown fields are preserved.

Thrift libraries drop fields that are not in their schema, but rewritten metadata must keep fields that later versions
of the format add. Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
_UUID: Final = 13
_MOST_DEPTH: Final = 64
_LONG_LIST: Final = 15
_NEAR: Final = 15
_MORE: Final = 0x80
_MOST_BITS: Final = 63
_MOST: Final = 2**64 - 1


class ThriftError(ValueError):
    """Bytes that are not a valid structure of Thrift's compact protocol, or lack a field that Parquet requires."""


class TruncatedError(ThriftError):
    """Bytes that end within a structure."""


@dataclass(slots=True)
class Items:
    """A list or set: the wire type of its elements, and their values."""

    kind: int
    values: list[Any]


Struct = dict[int, tuple[int, Any]]
"""Fields by their number: pairs of wire type and value."""


def value(of: Struct, field: int, default: Any = None) -> Any:  # noqa: ANN401 - a field may be of any type
    """The value of a field, or the default when it is missing."""
    found = of.get(field)
    return default if found is None else found[1]


def number(of: Struct, field: int, default: int | None = None) -> int:
    """The value of an integer field. Raises `ThriftError` for another type, or when it is missing without a default."""
    kind, found = of.get(field, (I64, default))
    if kind not in (I16, I32, I64) or found is None:
        raise ThriftError(f"field {field} is not an integer")
    return int(found)


def inner(of: Struct, field: int) -> Struct:
    """The value of a structure field. Raises `ThriftError` for another type, or when it is missing."""
    found = of.get(field)
    if found is None or found[0] != STRUCT:
        raise ThriftError(f"field {field} is not a structure")
    fields: Struct = found[1]
    return fields


def inners(of: Struct, field: int) -> list[Struct]:
    """The value of a field with a list of structures. Raises `ThriftError` for another type, or when it is missing."""
    found = of.get(field)
    if found is None or found[0] != LIST or found[1].kind != STRUCT:
        raise ThriftError(f"field {field} is not a list of structures")
    elements: list[Struct] = found[1].values
    return elements


def decode(data: bytes | memoryview, position: int = 0) -> tuple[Struct, int]:
    """The structure that starts at a position, and its end position.

    Raises `ThriftError` for invalid bytes, `TruncatedError` when the bytes end within the structure.
    """
    try:
        return _struct(data, position, 0)
    except (IndexError, struct.error):
        raise TruncatedError("the bytes end within a structure") from None


def encode(fields: Struct) -> bytes:
    """The structure's bytes, with its fields ordered by number."""
    out = bytearray()
    _put_struct(out, fields)
    return bytes(out)


def _varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    byte = data[position]
    position += 1
    if byte < _MORE:
        return byte, position
    result, shift = byte & 0x7F, 7
    while True:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < _MORE:
            break
        shift += 7
        if shift > _MOST_BITS:
            raise ThriftError("a number is longer than 64 bits")
    if result > _MOST:
        raise ThriftError("a number is longer than 64 bits")
    return result, position


def _struct(data: bytes | memoryview, position: int, depth: int) -> tuple[Struct, int]:
    if depth > _MOST_DEPTH:
        raise ThriftError("structures are nested too deeply")
    fields: Struct = {}
    field = 0
    while True:
        head = data[position]
        position += 1
        if head == 0:
            return fields, position
        kind = head & 0x0F
        if head >> 4:
            field += head >> 4
        else:
            number, position = _varint(data, position)
            field = (number >> 1) ^ -(number & 1)
        if kind <= FALSE:
            fields[field] = (TRUE, kind == TRUE)
        else:
            found, position = _value(data, position, kind, depth)
            fields[field] = (kind, found)


def _value(data: bytes | memoryview, position: int, kind: int, depth: int) -> tuple[Any, int]:
    read = _READERS.get(kind)
    if read is None:
        raise ThriftError(f"type {kind} does not occur in Parquet's metadata")
    return read(data, position, depth)


def _number(data: bytes | memoryview, position: int, _depth: int) -> tuple[int, int]:
    number, position = _varint(data, position)
    return (number >> 1) ^ -(number & 1), position


def _binary(data: bytes | memoryview, position: int, _depth: int) -> tuple[bytes, int]:
    length, position = _varint(data, position)
    return _bytes(data, position, length)


def _truth(data: bytes | memoryview, position: int, _depth: int) -> tuple[bool, int]:
    # Only for elements of lists; the value of a boolean field is in its header.
    return data[position] == TRUE, position + 1


def _byte(data: bytes | memoryview, position: int, _depth: int) -> tuple[int, int]:
    return data[position], position + 1


def _double(data: bytes | memoryview, position: int, _depth: int) -> tuple[float, int]:
    return struct.unpack_from("<d", data, position)[0], position + 8


def _uuid(data: bytes | memoryview, position: int, _depth: int) -> tuple[bytes, int]:
    return _bytes(data, position, 16)


def _inner(data: bytes | memoryview, position: int, depth: int) -> tuple[Struct, int]:
    return _struct(data, position, depth + 1)


def _bytes(data: bytes | memoryview, position: int, length: int) -> tuple[bytes, int]:
    end = position + length
    if end > len(data):
        raise IndexError("the bytes end within a value")
    return bytes(data[position:end]), end


def _items(data: bytes | memoryview, position: int, depth: int) -> tuple[Items, int]:
    if depth > _MOST_DEPTH:
        raise ThriftError("lists are nested too deeply")
    head = data[position]
    position += 1
    kind, size = head & 0x0F, head >> 4
    if size == _LONG_LIST:
        size, position = _varint(data, position)
    if size > len(data) - position:
        raise IndexError("the bytes end within a list")
    values = []
    for _ in range(size):
        found, position = _value(data, position, kind, depth + 1)
        values.append(found)
    return Items(kind, values), position


_READERS: Final[dict[int, Callable[[bytes | memoryview, int, int], tuple[Any, int]]]] = {
    TRUE: _truth,
    FALSE: _truth,
    BYTE: _byte,
    I16: _number,
    I32: _number,
    I64: _number,
    DOUBLE: _double,
    BINARY: _binary,
    LIST: _items,
    SET: _items,
    STRUCT: _inner,
    _UUID: _uuid,
}


def _put_varint(out: bytearray, number: int) -> None:
    while number >= _MORE:
        out.append(number & 0x7F | _MORE)
        number >>= 7
    out.append(number)


def _put_struct(out: bytearray, fields: Struct) -> None:
    last = 0
    for field in sorted(fields):
        kind, found = fields[field]
        if kind in (TRUE, FALSE):
            kind = TRUE if found else FALSE
        if 0 < field - last <= _NEAR:
            out.append((field - last) << 4 | kind)
        else:
            out.append(kind)
            _put_varint(out, _zigzag(field))
        last = field
        if kind not in (TRUE, FALSE):
            _put_value(out, kind, found)
    out.append(0)


def _zigzag(number: int) -> int:
    return (number << 1) ^ (number >> 63)


def _put_value(out: bytearray, kind: int, found: Any) -> None:  # noqa: ANN401 - a value may be of any type
    if kind in (I16, I32, I64):
        _put_varint(out, _zigzag(found))
    elif kind == BINARY:
        _put_varint(out, len(found))
        out += found
    elif kind == STRUCT:
        _put_struct(out, found)
    elif kind in (LIST, SET):
        _put_items(out, found)
    elif kind in (TRUE, FALSE):
        out.append(TRUE if found else FALSE)
    elif kind == BYTE:
        out.append(found)
    elif kind == DOUBLE:
        out += struct.pack("<d", found)
    else:
        out += found


def _put_items(out: bytearray, items: Items) -> None:
    if len(items.values) < _LONG_LIST:
        out.append(len(items.values) << 4 | items.kind)
    else:
        out.append(_LONG_LIST << 4 | items.kind)
        _put_varint(out, len(items.values))
    for one in items.values:
        _put_value(out, items.kind, one)
