"""The pages of a Parquet column chunk: reading them as stored, and recompressing each with another codec."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from offtake.formats import gzip_members
from offtake.formats.parquet_pages import footer, thrift
from offtake.formats.parquet_pages.footer import NotRecompressibleError
from offtake.formats.parquet_pages.thrift import FALSE, I32, STRUCT, Struct, value

UNCOMPRESSED, GZIP = 0, 2
_CODECS: Final = {UNCOMPRESSED: None, 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}

# ColumnMetaData
CODEC, COUNT, TOTAL, PAGES_AT, DICTIONARY_AT = 4, 5, 7, 9, 11
# PageHeader
_KIND, _PLAIN_SIZE, _SIZE, _CRC, _DATA_V1, _DATA_V2 = 1, 2, 3, 4, 5, 8
_DATA, _OF_DICTIONARY, _DATA_2 = 0, 2, 3
_VALUES, _ENCODING = 1, 2
_PLAIN: Final = 0
_DEFINITIONS, _REPETITIONS, _IS_COMPRESSED = 5, 6, 7

_WINDOW: Final = 4 * 1024 * 1024
_HEADER: Final = 4096
"""Bytes that hold a page's header, except one with long statistics."""
_MOST_PAGE: Final = 128 * 1024 * 1024
"""Limit of a page's uncompressed size, which is held in memory, as in decoding. DuckDB's pages have up to 100 MB."""


@dataclass(frozen=True)
class Page:
    """A recompressed page: header and body, its size uncompressed with header, and whether it is a data page."""

    data: bytes
    plain_size: int
    has_rows: bool


Stored = tuple[Struct, memoryview]
"""A page as stored in the file: its header and its body."""


def pages(stored: Iterable[Stored], meta: Struct, codec: int, level: int) -> Iterator[Page]:
    """The chunk's pages recompressed with `codec`, in order. `level`: gzip's; `meta`: the chunk's ColumnMetaData.

    Raises `NotRecompressibleError`, also during iteration, for an unexpected page, and the errors of reading the file.
    """
    old = thrift.number(meta, CODEC)
    if old == codec:
        return (_unchanged(header, body) for header, body in stored)
    if old not in _CODECS:
        raise NotRecompressibleError(f"its codec has the unknown number {old}")
    return (_page(header, body, _CODECS[old], codec, level) for header, body in stored)


def check_plain(page: Stored) -> Stored:
    """Return the page. Raises `NotRecompressibleError` unless it is a data page of version 1 with encoding PLAIN."""
    header, _ = page
    if thrift.number(header, _KIND) != _DATA or thrift.number(thrift.inner(header, _DATA_V1), _ENCODING) != _PLAIN:
        raise NotRecompressibleError("its values have another encoding than PLAIN")
    return page


def check_range(file: pa.NativeFile, first: int, last: int) -> None:
    """Raise `NotRecompressibleError` when the byte range `[first, last)` is outside the file."""
    if not len(footer.MAGIC) <= first <= last <= file.size():
        raise NotRecompressibleError("its metadata refers to an offset outside the file")


def first_offset(meta: Struct) -> int:
    """The offset of the chunk's first page."""
    pages_at = thrift.number(meta, PAGES_AT)
    return min(pages_at, thrift.number(meta, DICTIONARY_AT, 0) or pages_at)


def stored_pages(file: pa.NativeFile, meta: Struct) -> Iterator[Stored]:
    """The pages of a chunk as stored in the file. Raises as `pages` does."""
    pages_at, left = thrift.number(meta, PAGES_AT), thrift.number(meta, COUNT)
    at = first_offset(meta)
    end = at + thrift.number(meta, TOTAL)
    check_range(file, at, end)
    check_range(file, pages_at, end)
    window = _Window(file, end)
    while at < end:
        header, length = window.header(at)
        size = thrift.number(header, _SIZE)
        if size < 0 or at + length + size > end:
            raise NotRecompressibleError("a page is longer than its column chunk")
        if not 0 <= thrift.number(header, _PLAIN_SIZE) <= _MOST_PAGE:
            raise NotRecompressibleError("a page is too large")
        body = window.bytes(at + length, size)
        if _CRC in header and gzip_members.checksum(body) != thrift.number(header, _CRC) & 0xFFFFFFFF:
            raise NotRecompressibleError("a page has a wrong checksum")
        yield header, body
        left -= _count(header)
        at += length + size
    if left:
        raise NotRecompressibleError("a column chunk has another number of values than its metadata says")


class _Window:
    """Reads a column chunk with a buffer of a few megabytes, or of one page if that is larger."""

    def __init__(self, file: pa.NativeFile, end: int) -> None:
        self._file = file
        self._end = end
        self._start = 0
        self._data = memoryview(b"")

    def header(self, at: int) -> tuple[Struct, int]:
        """The page header at an offset, and its length."""
        try:
            return thrift.decode(self.bytes(at, min(_HEADER, self._end - at)))
        except thrift.TruncatedError:
            return thrift.decode(self.bytes(at, min(_WINDOW, self._end - at)))

    def bytes(self, at: int, size: int) -> memoryview:
        """`size` bytes from an offset."""
        if not self._start <= at <= at + size <= self._start + len(self._data):
            self._start = at
            self._data = memoryview(self._file.read_at(min(max(size, _WINDOW), self._end - at), at))
            if len(self._data) < size:
                raise NotRecompressibleError("the file ends within a column chunk")
        return self._data[at - self._start : at - self._start + size]


def _count(header: Struct) -> int:
    """The number of values in a page, including nulls."""
    kind = thrift.number(header, _KIND)
    if kind == _OF_DICTIONARY:
        return 0
    if kind not in (_DATA, _DATA_2):
        raise NotRecompressibleError(f"it has a page of the unknown type {kind}")
    return thrift.number(thrift.inner(header, _DATA_V1 if kind == _DATA else _DATA_V2), _VALUES)


def _has_rows(header: Struct) -> bool:
    return thrift.number(header, _KIND) != _OF_DICTIONARY


def _unchanged(header: Struct, body: memoryview) -> Page:
    data = thrift.encode(header)
    return Page(data + body, len(data) + thrift.number(header, _PLAIN_SIZE), _has_rows(header))


def _page(old: Struct, body: memoryview, stored: str | None, codec: int, level: int) -> Page:
    """The page recompressed with `codec`, which differs from its stored codec."""
    header = dict(old)
    levels = memoryview(b"")
    inner = thrift.inner(old, _DATA_V2) if thrift.number(old, _KIND) == _DATA_2 else None
    if inner is not None:
        # In version 2, the levels are stored uncompressed before the values.
        size = thrift.number(inner, _DEFINITIONS, 0) + thrift.number(inner, _REPETITIONS, 0)
        if not 0 <= size <= len(body):
            raise NotRecompressibleError("a page's levels are longer than the page")
        levels, body = body[:size], body[size:]
        if not value(inner, _IS_COMPRESSED, True):
            stored = None
    plain_size = thrift.number(old, _PLAIN_SIZE)
    plain = _plain(stored, body, plain_size - len(levels))
    compresses = codec == GZIP and (inner is None or len(plain) > 0)
    compressed = gzip_members.compress_member(plain, level) if compresses else plain
    if inner is not None:
        header[_DATA_V2] = (STRUCT, inner | {_IS_COMPRESSED: (FALSE, compresses)})
    header[_SIZE] = (I32, len(levels) + len(compressed))
    if _CRC in old:
        header[_CRC] = (I32, _signed(gzip_members.checksum(compressed, gzip_members.checksum(levels))))
    data = thrift.encode(header)
    return Page(b"".join((data, levels, compressed)), len(data) + plain_size, _has_rows(old))


def _plain(stored: str | None, body: memoryview, size: int) -> memoryview:
    """The decompressed body. Raises `NotRecompressibleError` unless it has exactly `size` bytes."""
    if stored is None or not (len(body) or size):
        if len(body) != size:
            raise NotRecompressibleError("a page has another size than its header says")
        return body
    codec = pa.Codec(stored)
    try:
        plain = memoryview(codec.decompress(body, size))
    except (OSError, pa.ArrowException) as error:
        raise NotRecompressibleError(f"a page cannot be decompressed: {error}") from None
    if _has_other_size(codec, body, size):
        raise NotRecompressibleError("a page has another size than its header says")
    return plain


def _has_other_size(codec: pa.Codec, body: memoryview, size: int) -> bool:
    """Whether the decompressed size differs; Arrow does not check it, and leaves uninitialised memory at the end."""
    if codec.name == "zstd":
        # Arrow checks the size for this codec only.
        return False
    if codec.name == "gzip":
        return int.from_bytes(body[-4:], "little") != size
    if size == 0:
        # Arrow has refused a larger result already.
        return False
    try:
        codec.decompress(body, size - 1)
    except (OSError, pa.ArrowException):
        return False
    return True


def _signed(number: int) -> int:
    return number - (1 << 32) if number >> 31 else number
