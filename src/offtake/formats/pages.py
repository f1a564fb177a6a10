"""Parquet files whose pages are compressed anew without decoding a value: row groups as they lie, under another codec.

A page is a header and an encoded run of values that the column chunk's codec has compressed. What holds for the values
(encodings, statistics, dictionaries, bloom filters, the column index) stays; sizes, offsets, checksums and the offset
index are made anew. What is unusual in any way is refused, before or within the file: decoding can always be done.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from offtake.formats import footer, gzipping, thrift
from offtake.formats.footer import UnsuitedError
from offtake.formats.thrift import BINARY, FALSE, I16, I32, I64, LIST, STRUCT, Items, Struct, value

UNCOMPRESSED, GZIP = 0, 2
_CODECS: Final = {UNCOMPRESSED: None, 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}

# PageHeader
_KIND, _PLAIN_SIZE, _SIZE, _CRC, _DATA_V1, _DICTIONARY, _DATA_V2 = 1, 2, 3, 4, 5, 7, 8
_DATA, _OF_DICTIONARY, _DATA_2 = 0, 2, 3
_VALUES: Final = 1
_DEFINITIONS, _REPETITIONS, _IS_COMPRESSED = 5, 6, 7
# ColumnChunk
_FILE_PATH, _FILE_OFFSET, _META, _OFFSETS_AT, _OFFSETS_SIZE, _INDEX_AT, _INDEX_SIZE, _CRYPTO = 1, 2, 3, 4, 5, 6, 7, 8
# ColumnMetaData
_PATH, _CODEC, _COUNT, _PLAIN_TOTAL, _TOTAL, _PAGES_AT, _INDEX_PAGE_AT, _DICTIONARY_AT = 3, 4, 5, 6, 7, 9, 10, 11
_BLOOM_AT, _BLOOM_SIZE = 14, 15
# RowGroup
_GROUP_AT, _GROUP_TOTAL, _ORDINAL = 5, 6, 7
# OffsetIndex and PageLocation
_LOCATIONS, _AT, _LENGTH = 1, 1, 2

_NO_PATH: Final = Items(BINARY, [])
_WINDOW: Final = 4 * 1024 * 1024
_HEADER: Final = 4096
"""Bytes that a page's header fits into, but for long statistics."""
_MOST_PAGE: Final = 128 * 1024 * 1024
"""Of a page without compression, which is in memory as a whole, as in decoding. DuckDB's have up to 100 MB."""
_CHUNK: Final = 1024 * 1024
_MOST_ORDINAL: Final = 2**15 - 1


@dataclass(frozen=True)
class Source:
    """Row groups `[first, last)` of an open file, and the file's metadata."""

    file: pa.NativeFile
    footer: Struct
    first: int
    last: int

    @property
    def groups(self) -> list[Struct]:
        """The metadata of those row groups."""
        return footer.groups(self.footer)[self.first : self.last]

    @property
    def is_whole(self) -> bool:
        """Whether these are all row groups that the file has."""
        return self.first == 0 and self.last == len(footer.groups(self.footer))


def have_codec(source: Source, codec: int) -> bool:
    """Whether the row groups are compressed by that codec already."""
    return all(
        thrift.number(_meta(chunk), _CODEC) == codec for group in source.groups for chunk in footer.columns(group)
    )


def unmoved(source: Source) -> list[Struct]:
    """The metadata of row groups that stay where they are, which not every writer says right."""
    return [
        group | {_GROUP_AT: (I64, _begins(_meta(column)))}
        for group in source.groups
        for column in footer.columns(group)[:1]
    ]


def recompressed(sources: Sequence[Source], end: Struct, codec: int, level: int) -> Iterator[bytes]:
    """The bytes of one file that has the sources' row groups with all pages under `codec` (`UNCOMPRESSED` or `GZIP`).

    `end`: what `footer.joined` gives; `level`: gzip's. In chunks of about 1 MiB; the same sources give the same bytes.
    Raises `UnsuitedError` when a page is not as expected, and what reading the files raises.
    """
    with footer.judged():
        yield from _recompressed(sources, end, codec, level)


def _recompressed(sources: Sequence[Source], end: Struct, codec: int, level: int) -> Iterator[bytes]:
    out = _Out()
    groups: list[Struct] = []
    made: list[_Chunk] = []
    leaves = footer.leaves(end)
    out.put(footer.MAGIC)
    for source in sources:
        for group in source.groups:
            _check_group(group, leaves)
            chunks: list[_Chunk] = []
            for column in footer.columns(group):
                pages = _compressed(source.file, column, codec, level)
                chunks.append((yield from _chunk(source.file, column, codec, pages, out)))
            groups.append(_group(group, chunks, len(groups)))
            made += chunks
    for chunk in made:
        _put_indexes(chunk, out)
        yield from out.full()
    out.put(footer.written(end, groups))
    yield out.taken()


def _check_group(group: Struct, leaves: int) -> None:
    """What is told of the group is what is there: as many rows as values of each column that is no part of another."""
    columns = [_meta(column) for column in footer.columns(group)]
    flat = [column for column in columns if _depth(column) == 1]
    if not leaves or len(columns) != leaves:
        raise UnsuitedError("a row group does not have the columns that there are")
    if any(thrift.number(column, _COUNT) != footer.rows(group) for column in flat):
        raise UnsuitedError("a row group has more or fewer rows than values")


def _depth(meta: Struct) -> int:
    kind, path = meta.get(_PATH, (LIST, _NO_PATH))
    return len(path.values) if kind == LIST else 0


class _Out:
    """What was made and not yet taken, and how much was made in all."""

    def __init__(self) -> None:
        self.position = 0
        self._held: list[bytes] = []
        self._size = 0

    def put(self, piece: bytes) -> None:
        self._held.append(piece)
        self._size += len(piece)
        self.position += len(piece)

    def full(self) -> Iterator[bytes]:
        if self._size >= _CHUNK:
            yield self.taken()

    def taken(self) -> bytes:
        held, self._held, self._size = self._held, [], 0
        return b"".join(held)


@dataclass(frozen=True)
class _Page:
    """A page under the new codec: header and body, its size when neither is compressed, and whether it holds rows."""

    data: bytes
    plain_size: int
    has_rows: bool


@dataclass
class _Chunk:
    """A column chunk where it lies now, and what is still to be written behind the row groups.

    Of that only the offset index is held: bloom filters of many columns and row groups are large.
    """

    file: pa.NativeFile
    old: Struct
    described: Struct
    begins: int
    size: int
    plain_size: int
    offset_index: bytes | None


def _chunk(
    file: pa.NativeFile, column: Struct, codec: int, pages: Iterable[_Page], out: _Out
) -> Generator[bytes, None, _Chunk]:
    """Put a chunk's pages out; returns what it is then."""
    old, begins = _meta(column), out.position
    plain_size, dictionary_at = 0, None
    places: list[tuple[int, int]] = []
    for page in pages:
        if page.has_rows:
            places.append((out.position, len(page.data)))
        else:
            dictionary_at = out.position
        plain_size += page.plain_size
        out.put(page.data)
        yield from out.full()
    if not places:
        raise UnsuitedError("a column has no pages")
    meta = {key: found for key, found in old.items() if key not in (_INDEX_PAGE_AT, _DICTIONARY_AT, _BLOOM_AT)}
    meta[_CODEC] = (I32, codec)
    meta[_PLAIN_TOTAL] = (I64, plain_size)
    meta[_TOTAL] = (I64, out.position - begins)
    meta[_PAGES_AT] = (I64, places[0][0])
    if dictionary_at is not None:
        meta[_DICTIONARY_AT] = (I64, dictionary_at)
    # The place of metadata that is not written beside the pages; zero says that there is none.
    described: Struct = {_FILE_OFFSET: (I64, 0), _META: (STRUCT, meta)}
    offsets = _offset_index(file, column, places)
    return _Chunk(file, column, described, begins, out.position - begins, plain_size, offsets)


def _group(old: Struct, chunks: Sequence[_Chunk], number: int) -> Struct:
    made = old | {
        footer.COLUMNS: (LIST, Items(STRUCT, [chunk.described for chunk in chunks])),
        footer.SIZE: (I64, sum(chunk.plain_size for chunk in chunks)),
        _GROUP_AT: (I64, chunks[0].begins),
        _GROUP_TOTAL: (I64, sum(chunk.size for chunk in chunks)),
        _ORDINAL: (I16, number),
    }
    if number > _MOST_ORDINAL:
        del made[_ORDINAL]
    return made


def _put_indexes(chunk: _Chunk, out: _Out) -> None:
    described, meta = chunk.described, _meta(chunk.described)
    bloom = _bytes(chunk.file, _meta(chunk.old), _BLOOM_AT, _BLOOM_SIZE)
    if bloom is None:
        meta.pop(_BLOOM_SIZE, None)
    else:
        meta[_BLOOM_AT] = (I64, out.position)
        out.put(bloom)
    if chunk.offset_index is None:
        return
    column_index = _bytes(chunk.file, chunk.old, _INDEX_AT, _INDEX_SIZE)
    if column_index is not None:
        described |= {_INDEX_AT: (I64, out.position), _INDEX_SIZE: (I32, len(column_index))}
        out.put(column_index)
    described |= {_OFFSETS_AT: (I64, out.position), _OFFSETS_SIZE: (I32, len(chunk.offset_index))}
    out.put(chunk.offset_index)


def _offset_index(file: pa.NativeFile, column: Struct, places: Sequence[tuple[int, int]]) -> bytes | None:
    """The offset index with the pages where they are now; None when there was none."""
    data = _bytes(file, column, _OFFSETS_AT, _OFFSETS_SIZE)
    if data is None:
        return None
    index, _ = thrift.decode(data)
    locations = thrift.inners(index, _LOCATIONS)
    if len(locations) != len(places):
        raise UnsuitedError("an offset index does not have the pages that there are")
    for location, (at, size) in zip(locations, places, strict=True):
        location[_AT], location[_LENGTH] = (I64, at), (I32, size)
    return thrift.encode(index)


def _bytes(file: pa.NativeFile, of: Struct, at: int, size: int) -> bytes | None:
    """What lies where two fields say; None when they do not say."""
    if at not in of or size not in of:
        return None
    begins, length = thrift.number(of, at), thrift.number(of, size)
    _check_range(file, begins, begins + length)
    found: bytes = file.read_at(length, begins)
    return found


def _check_range(file: pa.NativeFile, begins: int, ends: int) -> None:
    if not len(footer.MAGIC) <= begins <= ends <= file.size():
        raise UnsuitedError("its metadata names a place that it does not have")


def _meta(chunk: Struct) -> Struct:
    if _CRYPTO in chunk or _FILE_PATH in chunk:
        raise UnsuitedError("a column is encrypted or lies in another file")
    return thrift.inner(chunk, _META)


def _compressed(file: pa.NativeFile, column: Struct, codec: int, level: int) -> Iterator[_Page]:
    """The chunk's pages under the new codec, in order."""
    meta = _meta(column)
    old = thrift.number(meta, _CODEC)
    if old == codec:
        return (_unchanged(header, body) for header, body in _stored(file, meta))
    if old not in _CODECS:
        raise UnsuitedError(f"its codec has the number {old}")
    return (_page(header, body, _CODECS[old], codec, level) for header, body in _stored(file, meta))


def _begins(meta: Struct) -> int:
    pages_at = thrift.number(meta, _PAGES_AT)
    return min(pages_at, thrift.number(meta, _DICTIONARY_AT, 0) or pages_at)


_Stored = tuple[Struct, memoryview]
"""A page as it is in the file: its header, and its body."""


def _stored(file: pa.NativeFile, meta: Struct) -> Iterator[_Stored]:
    """The pages of a chunk as they lie in the file."""
    pages_at, left = thrift.number(meta, _PAGES_AT), thrift.number(meta, _COUNT)
    at = _begins(meta)
    end = at + thrift.number(meta, _TOTAL)
    _check_range(file, at, end)
    _check_range(file, pages_at, end)
    window = _Window(file, end)
    while at < end:
        header, length = window.header(at)
        size = thrift.number(header, _SIZE)
        if size < 0 or at + length + size > end:
            raise UnsuitedError("a page is longer than its column chunk")
        if not 0 <= thrift.number(header, _PLAIN_SIZE) <= _MOST_PAGE:
            raise UnsuitedError("a page is large")
        body = window.bytes(at + length, size)
        if _CRC in header and gzipping.checksum(body) != thrift.number(header, _CRC) & 0xFFFFFFFF:
            raise UnsuitedError("a page does not have its checksum")
        yield header, body
        left -= _count(header)
        at += length + size
    if left:
        raise UnsuitedError("a column chunk has more or fewer values than its metadata says")


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
                raise UnsuitedError("the file ends within a column chunk")
        return self._data[at - self._begins : at - self._begins + size]


def _count(header: Struct) -> int:
    """How many values a page has, nulls included."""
    kind = thrift.number(header, _KIND)
    if kind == _OF_DICTIONARY:
        return 0
    if kind not in (_DATA, _DATA_2):
        raise UnsuitedError(f"there is a page of kind {kind}")
    return thrift.number(thrift.inner(header, _DATA_V1 if kind == _DATA else _DATA_V2), _VALUES)


def _has_rows(header: Struct) -> bool:
    return thrift.number(header, _KIND) != _OF_DICTIONARY


def _unchanged(header: Struct, body: memoryview) -> _Page:
    data = thrift.encode(header)
    return _Page(data + body, len(data) + thrift.number(header, _PLAIN_SIZE), _has_rows(header))


def _page(old: Struct, body: memoryview, stored: str | None, codec: int, level: int) -> _Page:
    """The page under `codec`, which is not the one that it is stored under."""
    header = dict(old)
    levels = memoryview(b"")
    inner = thrift.inner(old, _DATA_V2) if thrift.number(old, _KIND) == _DATA_2 else None
    if inner is not None:
        # The second version's levels lie uncompressed in front.
        size = thrift.number(inner, _DEFINITIONS, 0) + thrift.number(inner, _REPETITIONS, 0)
        if not 0 <= size <= len(body):
            raise UnsuitedError("a page's levels are longer than it is")
        levels, body = body[:size], body[size:]
        if not value(inner, _IS_COMPRESSED, True):
            stored = None
    plain_size = thrift.number(old, _PLAIN_SIZE)
    plain = _plain(stored, body, plain_size - len(levels))
    compresses = codec == GZIP and (inner is None or len(plain) > 0)
    packed = gzipping.packed(plain, level) if compresses else plain
    if inner is not None:
        header[_DATA_V2] = (STRUCT, inner | {_IS_COMPRESSED: (FALSE, compresses)})
    header[_SIZE] = (I32, len(levels) + len(packed))
    if _CRC in old:
        header[_CRC] = (I32, _signed(gzipping.checksum(packed, gzipping.checksum(levels))))
    data = thrift.encode(header)
    return _Page(b"".join((data, levels, packed)), len(data) + plain_size, _has_rows(old))


def _plain(stored: str | None, body: memoryview, size: int) -> memoryview:
    """What a codec has made the bytes of, which must be exactly so many."""
    if stored is None or not (len(body) or size):
        if len(body) != size:
            raise UnsuitedError("a page does not have the size that its header says")
        return body
    codec = pa.Codec(stored)
    try:
        plain = memoryview(codec.decompress(body, size))
    except (OSError, pa.ArrowException) as error:
        raise UnsuitedError(f"a page cannot be decompressed: {error}") from None
    if _has_other_size(codec, body, size):
        raise UnsuitedError("a page does not have the size that its header says")
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
