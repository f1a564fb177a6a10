"""The pages of a Parquet column chunk: read as they lie, and each brought under another codec."""

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
"""Bytes that a page's header fits into, but for long statistics."""
_MOST_PAGE: Final = 128 * 1024 * 1024
"""Of a page without compression, which is in memory as a whole, as in decoding. DuckDB's have up to 100 MB."""


@dataclass(frozen=True)
class Page:
    """A page under the new codec: header and body, its size when neither is compressed, and whether it holds rows."""

    data: bytes
    plain_size: int
    has_rows: bool


Stored = tuple[Struct, memoryview]
"""A page as it is in the file: its header, and its body."""


def pages(found: Iterable[Stored], meta: Struct, codec: int, level: int) -> Iterator[Page]:
    """The chunk's pages under `codec`, in order; `level` is gzip's, `meta` the chunk's ColumnMetaData.

    Raises `NotRecompressibleError`, also in its midst, when a page is not as expected, and what reading the file
    raises.
    """
    old = thrift.number(meta, CODEC)
    if old == codec:
        return (_unchanged(header, body) for header, body in found)
    if old not in _CODECS:
        raise NotRecompressibleError(f"its codec has the number {old}")
    return (_page(header, body, _CODECS[old], codec, level) for header, body in found)


def check_plain(page: Stored) -> Stored:
    """The page; raises `NotRecompressibleError` unless it is of version 1 and its values have the encoding PLAIN."""
    header, _ = page
    if thrift.number(header, _KIND) != _DATA or thrift.number(thrift.inner(header, _DATA_V1), _ENCODING) != _PLAIN:
        raise NotRecompressibleError("its values are in other encodings than PLAIN")
    return page


def check_range(file: pa.NativeFile, first: int, last: int) -> None:
    """Raise `NotRecompressibleError` when the file has no bytes `[first, last)`."""
    if not len(footer.MAGIC) <= first <= last <= file.size():
        raise NotRecompressibleError("its metadata names a place that it does not have")


def first_offset(meta: Struct) -> int:
    """Where the chunk's first page lies."""
    pages_at = thrift.number(meta, PAGES_AT)
    return min(pages_at, thrift.number(meta, DICTIONARY_AT, 0) or pages_at)


def stored_size(file: pa.NativeFile, meta: Struct) -> Iterator[Stored]:
    """The pages of a chunk as they are in the file. Raises as `pages` does."""
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
            raise NotRecompressibleError("a page is large")
        body = window.bytes(at + length, size)
        if _CRC in header and gzip_members.checksum(body) != thrift.number(header, _CRC) & 0xFFFFFFFF:
            raise NotRecompressibleError("a page does not have its checksum")
        yield header, body
        left -= _count(header)
        at += length + size
    if left:
        raise NotRecompressibleError("a column chunk has more or fewer values than its metadata says")


class _Window:
    """A column chunk, of which a few megabytes are in memory, or a page that is larger."""

    def __init__(self, file: pa.NativeFile, end: int) -> None:
        self._file = file
        self._end = end
        self._begins = 0
        self._data = memoryview(b"")

    def header(self, at: int) -> tuple[Struct, int]:
        """The header that lies there, and its length."""
        try:
            return thrift.decode(self.bytes(at, min(_HEADER, self._end - at)))
        except thrift.CutOffError:
            return thrift.decode(self.bytes(at, min(_WINDOW, self._end - at)))

    def bytes(self, at: int, size: int) -> memoryview:
        """So many bytes from there on."""
        if not self._begins <= at <= at + size <= self._begins + len(self._data):
            self._begins = at
            self._data = memoryview(self._file.read_at(min(max(size, _WINDOW), self._end - at), at))
            if len(self._data) < size:
                raise NotRecompressibleError("the file ends within a column chunk")
        return self._data[at - self._begins : at - self._begins + size]


def _count(header: Struct) -> int:
    """How many values a page has, nulls included."""
    kind = thrift.number(header, _KIND)
    if kind == _OF_DICTIONARY:
        return 0
    if kind not in (_DATA, _DATA_2):
        raise NotRecompressibleError(f"there is a page of kind {kind}")
    return thrift.number(thrift.inner(header, _DATA_V1 if kind == _DATA else _DATA_V2), _VALUES)


def _has_rows(header: Struct) -> bool:
    return thrift.number(header, _KIND) != _OF_DICTIONARY


def _unchanged(header: Struct, body: memoryview) -> Page:
    data = thrift.encode(header)
    return Page(data + body, len(data) + thrift.number(header, _PLAIN_SIZE), _has_rows(header))


def _page(old: Struct, body: memoryview, stored: str | None, codec: int, level: int) -> Page:
    """The page under `codec`, which is not the one that it is stored under."""
    header = dict(old)
    levels = memoryview(b"")
    inner = thrift.inner(old, _DATA_V2) if thrift.number(old, _KIND) == _DATA_2 else None
    if inner is not None:
        # The second version's levels lie uncompressed in front.
        size = thrift.number(inner, _DEFINITIONS, 0) + thrift.number(inner, _REPETITIONS, 0)
        if not 0 <= size <= len(body):
            raise NotRecompressibleError("a page's levels are longer than it is")
        levels, body = body[:size], body[size:]
        if not value(inner, _IS_COMPRESSED, True):
            stored = None
    plain_size = thrift.number(old, _PLAIN_SIZE)
    plain = _plain(stored, body, plain_size - len(levels))
    compresses = codec == GZIP and (inner is None or len(plain) > 0)
    packed = gzip_members.compress_member(plain, level) if compresses else plain
    if inner is not None:
        header[_DATA_V2] = (STRUCT, inner | {_IS_COMPRESSED: (FALSE, compresses)})
    header[_SIZE] = (I32, len(levels) + len(packed))
    if _CRC in old:
        header[_CRC] = (I32, _signed(gzip_members.checksum(packed, gzip_members.checksum(levels))))
    data = thrift.encode(header)
    return Page(b"".join((data, levels, packed)), len(data) + plain_size, _has_rows(old))


def _plain(stored: str | None, body: memoryview, size: int) -> memoryview:
    """What a codec has made the bytes of, which must be exactly so many."""
    if stored is None or not (len(body) or size):
        if len(body) != size:
            raise NotRecompressibleError("a page does not have the size that its header says")
        return body
    codec = pa.Codec(stored)
    try:
        plain = memoryview(codec.decompress(body, size))
    except (OSError, pa.ArrowException) as error:
        raise NotRecompressibleError(f"a page cannot be decompressed: {error}") from None
    if _has_other_size(codec, body, size):
        raise NotRecompressibleError("a page does not have the size that its header says")
    return plain


def _has_other_size(codec: pa.Codec, body: memoryview, size: int) -> bool:
    """Whether not so many bytes come out: Arrow does not tell, and fills up with whatever lay in memory before."""
    if codec.name == "zstd":
        # The one codec of which it checks the size.
        return False
    if codec.name == "gzip":
        return int.from_bytes(body[-4:], "little") != size
    if size == 0:
        # What is more it has refused.
        return False
    try:
        codec.decompress(body, size - 1)
    except (OSError, pa.ArrowException):
        return False
    return True


def _signed(number: int) -> int:
    return number - (1 << 32) if number >> 31 else number
