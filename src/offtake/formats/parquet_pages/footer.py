"""The footer of a Parquet file (its metadata), and whether its columns are stored as our own encoder stores them.

Field numbers: parquet.thrift, https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

from offtake.formats.parquet_pages import thrift
from offtake.formats.parquet_pages.thrift import I64, LIST, STRUCT, Items, Struct, value

MAGIC: Final = b"PAR1"
_TAIL: Final = 8
_FIRST_READ: Final = 64 * 1024
_MOST_LENGTH: Final = 1024 * 1024
"""Limit of the metadata's length in bytes: as Python objects it takes forty times as much memory."""

# FileMetaData
_VERSION, SCHEMA, _ALL_ROWS, GROUPS, _CREATED_BY, _ORDERS, _ENCRYPTION = 1, 2, 3, 4, 6, 7, 8
# SchemaElement
_TYPE, _LENGTH, _REPETITION, _CHILDREN, _CONVERTED, _FIELD_ID, _LOGICAL = 1, 2, 3, 5, 6, 9, 10
_BYTES: Final = (6, 7)
_DECIMAL: Final = 5
# RowGroup
COLUMNS, SIZE, ROWS = 1, 2, 3


class NotRecompressibleError(Exception):
    """The file's pages cannot be recompressed; its rows must be decoded. The text says why."""


@contextmanager
def translating_thrift_errors() -> Iterator[None]:
    """Translates `ThriftError` for malformed metadata to `NotRecompressibleError`."""
    try:
        yield
    except thrift.ThriftError as error:
        raise NotRecompressibleError(f"its metadata cannot be read: {error}") from None


def footer(file: pa.NativeFile) -> Struct:
    """The file's metadata. Raises `NotRecompressibleError` if it is missing, encrypted, malformed or too large."""
    size = file.size()
    tail = file.read_at(min(size, _FIRST_READ), max(0, size - _FIRST_READ))
    if len(tail) < _TAIL or tail[-4:] != MAGIC:
        raise NotRecompressibleError("it does not end with a Parquet footer without encryption")
    length = int.from_bytes(tail[-8:-4], "little")
    if length + _TAIL > len(tail):
        if length + _TAIL > size:
            raise NotRecompressibleError("its metadata is longer than the file")
        tail = file.read_at(length + _TAIL, size - length - _TAIL)
    if length > _MOST_LENGTH:
        raise NotRecompressibleError("its metadata is too large")
    with translating_thrift_errors():
        metadata, _ = thrift.decode(tail[-_TAIL - length : -_TAIL])
    if _ENCRYPTION in metadata:
        raise NotRecompressibleError("it is encrypted")
    return metadata


def first_offset(file: pa.NativeFile) -> int:
    """The offset of the metadata that `footer` reads."""
    tail = file.read_at(_TAIL, file.size() - _TAIL)
    return int(file.size()) - _TAIL - int.from_bytes(tail[:4], "little")


def row_groups(of: Struct) -> list[Struct]:
    """The file's row groups."""
    return thrift.inners(of, GROUPS)


def rows(group: Struct) -> int:
    """The number of rows in a row group."""
    return thrift.number(group, ROWS)


def size(group: Struct) -> int:
    """The uncompressed size of a row group in bytes."""
    return thrift.number(group, SIZE)


def columns(group: Struct) -> list[Struct]:
    """The column chunks of a row group."""
    return thrift.inners(group, COLUMNS)


def leaf_columns(of: Struct) -> int:
    """The number of leaf columns in the schema."""
    return sum(_TYPE in element for element in _elements(of))


def with_row_groups(footers: Sequence[Struct], model: Struct) -> Struct:
    """The metadata for one file with all their row groups, but still without them; field ids are the model's.

    `model`: the metadata that our own encoder writes for the delivered schema. Raises `NotRecompressibleError` when the
    files' structure differs from the model's, or when they come from different writers or versions: readers use the
    writer's version to decide whether statistics are correct.
    """
    first = footers[0]
    for one in footers:
        same = (_structure(one) == _structure(first), *(one.get(key) == first.get(key) for key in _WRITER_FIELDS))
        if not all(same):
            raise NotRecompressibleError("the files come from different writers")
    ours, theirs = _elements(model), _elements(first)
    if len(ours) != len(theirs) or not all(map(_is_equivalent, theirs[1:], ours[1:])):
        raise NotRecompressibleError("its columns are stored in another form")
    elements = [
        {**element, _FIELD_ID: own[_FIELD_ID]} if _FIELD_ID in own else _without_id(element)
        for element, own in zip(theirs, ours, strict=True)
    ]
    general = {key: first[key] for key in (_VERSION, *_WRITER_FIELDS) if key in first}
    return general | {SCHEMA: (LIST, Items(STRUCT, elements))}


_WRITER_FIELDS: Final = (_CREATED_BY, _ORDERS)


def _structure(of: Struct) -> list[Struct]:
    return [_without_id(element) for element in _elements(of)]


def _elements(of: Struct) -> list[Struct]:
    return thrift.inners(of, SCHEMA)


def _without_id(element: Struct) -> Struct:
    return {key: found for key, found in element.items() if key != _FIELD_ID}


def _is_equivalent(theirs: Struct, ours: Struct) -> bool:
    """Whether levels and values have the same meaning: Arrow compares the types, but not how they are stored."""
    if any(value(theirs, key) != value(ours, key) for key in (_REPETITION, _CHILDREN)):
        return False
    kind = value(theirs, _TYPE)
    if value(ours, _CONVERTED) == _DECIMAL:
        # Stored as numbers or bytes; every reader supports both.
        return True
    if kind in _BYTES and _is_unannotated(ours) and not _is_unannotated(theirs):
        # An ENUM or BSON: bytes for Arrow, but not for every reader.
        return False
    return bool(kind == value(ours, _TYPE) and value(theirs, _LENGTH) == value(ours, _LENGTH))


def _is_unannotated(element: Struct) -> bool:
    return _CONVERTED not in element and _LOGICAL not in element


def encode_footer(of: Struct, row_groups: list[Struct]) -> bytes:
    """The end of a file: its metadata with these row groups, the length, and the magic bytes."""
    metadata = of | {
        _ALL_ROWS: (I64, sum(map(rows, row_groups))),
        GROUPS: (LIST, Items(STRUCT, row_groups)),
    }
    data = thrift.encode(metadata)
    return data + len(data).to_bytes(4, "little") + MAGIC
