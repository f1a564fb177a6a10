"""Parquet files whose pages are compressed anew without decoding a value: row groups as they lie, under another codec.

A page is a header and an encoded run of values that the column chunk's codec has compressed. What holds for the values
(encodings, statistics, dictionaries, bloom filters, the column index) stays; sizes, offsets, checksums and the offset
index are made anew. What is unusual in any way is refused, before or within the file: decoding can always be done.
"""

import struct
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from offtake.formats import footer, gzipping, thrift
from offtake.formats.footer import UnsuitedError
from offtake.formats.thrift import FALSE, I16, I32, I64, LIST, STRUCT, Items, Struct, value

UNCOMPRESSED, GZIP = 0, 2
_CODECS: Final = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}

# PageHeader
_KIND, _PLAIN_SIZE, _SIZE, _CRC, _DATA_V1, _DICTIONARY, _DATA_V2 = 1, 2, 3, 4, 5, 7, 8
_DATA, _OF_DICTIONARY, _DATA_2 = 0, 2, 3
_VALUES: Final = 1
_DEFINITIONS, _REPETITIONS, _IS_COMPRESSED = 5, 6, 7
# ColumnChunk
_FILE_PATH, _FILE_OFFSET, _META, _OFFSETS_AT, _OFFSETS_SIZE, _INDEX_AT, _INDEX_SIZE, _CRYPTO = 1, 2, 3, 4, 5, 6, 7, 8
# ColumnMetaData
_CODEC, _COUNT, _PLAIN_TOTAL, _TOTAL, _PAGES_AT, _INDEX_PAGE_AT, _DICTIONARY_AT = 4, 5, 6, 7, 9, 10, 11
_BLOOM_AT, _BLOOM_SIZE = 14, 15
# RowGroup
_GROUP_AT, _GROUP_TOTAL, _ORDINAL = 5, 6, 7
# OffsetIndex and PageLocation
_LOCATIONS, _AT, _LENGTH = 1, 1, 2

_WINDOW: Final = 4 * 1024 * 1024
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
    return all(_meta(chunk)[_CODEC][1] == codec for group in source.groups for chunk in footer.columns(group))


def recompressed(sources: Sequence[Source], end: Struct, codec: int) -> Iterator[bytes]:
    """The bytes of one file that has the sources' row groups with all pages under `codec` (`UNCOMPRESSED` or `GZIP`).

    `end`: what `footer.joined` gives. In chunks of about 1 MiB; the same sources give the same bytes. Raises
    `UnsuitedError` when a page is not as expected, and what reading the files raises.
    """
    out = _Out()
    groups: list[Struct] = []
    made: list[_Chunk] = []
    out.put(footer.MAGIC)
    for source in sources:
        for group in source.groups:
            chunks: list[_Chunk] = []
            for column in footer.columns(group):
                pages = _compressed(source.file, column, codec)
                chunks.append((yield from _chunk(source.file, column, codec, pages, out)))
            groups.append(_group(group, chunks, len(groups)))
            made += chunks
    for chunk in made:
        _put_indexes(chunk, out)
    yield out.taken()
    yield footer.written(end, groups)


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
    """A column chunk where it lies now, and what is still to be written behind the row groups."""

    described: Struct
    begins: int
    size: int
    plain_size: int
    bloom: bytes | None
    column_index: bytes | None
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
    bloom = _bytes(file, old, _BLOOM_AT, _BLOOM_SIZE)
    if bloom is None:
        meta.pop(_BLOOM_SIZE, None)
    # The place of metadata that is not written beside the pages; zero says that there is none.
    described: Struct = {_FILE_OFFSET: (I64, 0), _META: (STRUCT, meta)}
    offsets = _offset_index(file, column, places)
    columns = _bytes(file, column, _INDEX_AT, _INDEX_SIZE) if offsets is not None else None
    return _Chunk(described, begins, out.position - begins, plain_size, bloom, columns, offsets)


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
    described = chunk.described
    if chunk.bloom is not None:
        _meta(described)[_BLOOM_AT] = (I64, out.position)
        out.put(chunk.bloom)
    if chunk.column_index is not None:
        described |= {_INDEX_AT: (I64, out.position), _INDEX_SIZE: (I32, len(chunk.column_index))}
        out.put(chunk.column_index)
    if chunk.offset_index is not None:
        described |= {_OFFSETS_AT: (I64, out.position), _OFFSETS_SIZE: (I32, len(chunk.offset_index))}
        out.put(chunk.offset_index)


def _offset_index(file: pa.NativeFile, column: Struct, places: Sequence[tuple[int, int]]) -> bytes | None:
    """The offset index with the pages where they are now; None when there was none."""
    data = _bytes(file, column, _OFFSETS_AT, _OFFSETS_SIZE)
    if data is None:
        return None
    index, _ = _decoded(data, 0)
    locations: Items = value(index, _LOCATIONS)
    if len(locations.values) != len(places):
        raise UnsuitedError("an offset index does not have the pages that there are")
    for location, (at, size) in zip(locations.values, places, strict=True):
        location[_AT], location[_LENGTH] = (I64, at), (I32, size)
    return thrift.encode(index)


def _bytes(file: pa.NativeFile, of: Struct, at: int, size: int) -> bytes | None:
    """What lies where two fields say; None when they do not say."""
    if value(of, at) is None or not value(of, size):
        return None
    found: bytes = file.read_at(value(of, size), value(of, at))
    return found


def _meta(chunk: Struct) -> Struct:
    found: Struct | None = value(chunk, _META)
    if found is None or value(chunk, _CRYPTO) is not None or value(chunk, _FILE_PATH) is not None:
        raise UnsuitedError("a column is encrypted or lies in another file")
    return found


def _compressed(file: pa.NativeFile, column: Struct, codec: int) -> Iterator[_Page]:
    """The chunk's pages under the new codec, in order."""
    meta = _meta(column)
    if meta[_CODEC][1] == codec:
        return (_unchanged(header, body) for header, body in _stored(file, meta))
    decompressor = _decompressor(meta[_CODEC][1])
    return (_page(header, body, decompressor, codec) for header, body in _stored(file, meta))


_Stored = tuple[Struct, memoryview]
"""A page as it is in the file: its header, and its body."""


def _stored(file: pa.NativeFile, meta: Struct) -> Iterator[_Stored]:
    """The pages of a chunk as they lie in the file, read in windows of a few megabytes."""
    at = meta[_PAGES_AT][1]
    at = min(at, value(meta, _DICTIONARY_AT) or at)
    end, left = at + meta[_TOTAL][1], meta[_COUNT][1]
    window, begins, length = memoryview(b""), at, _WINDOW
    while at < end:
        try:
            header, body = _decoded(window, at - begins)
            after = body + value(header, _SIZE, 0)
        except UnsuitedError:
            if begins == at and len(window) == end - at:
                raise
            after = len(window) + 1
        if after > len(window):
            if begins == at and len(window) == end - at:
                raise UnsuitedError("a page is longer than its column chunk")
            length = max(_WINDOW, 2 * length if begins == at and window else _WINDOW)
            window, begins = memoryview(file.read_at(min(length, end - at), at)), at
            if not window:
                raise UnsuitedError("the file ends within a column chunk")
            continue
        yield header, window[body:after]
        left -= _count(header)
        at = begins + after
    if left:
        raise UnsuitedError("a column chunk has more or fewer values than its metadata says")


def _count(header: Struct) -> int:
    kind = value(header, _KIND)
    if kind == _OF_DICTIONARY:
        return 0
    if kind not in (_DATA, _DATA_2):
        raise UnsuitedError(f"there is a page of kind {kind}")
    found: int = value(value(header, _DATA_V1 if kind == _DATA else _DATA_V2), _VALUES)
    return found


def _decoded(data: bytes | memoryview, position: int) -> tuple[Struct, int]:
    try:
        return thrift.decode(data, position)
    except (thrift.ThriftError, IndexError, struct.error) as error:
        raise UnsuitedError(f"metadata within it cannot be read: {error}") from None


def _decompressor(codec: int) -> pa.Codec | None:
    """What undoes a codec, by its number; None for pages that are not compressed."""
    if codec not in _CODECS and codec != UNCOMPRESSED:
        raise UnsuitedError(f"its codec has the number {codec}")
    return pa.Codec(_CODECS[codec]) if codec in _CODECS else None


def _unchanged(header: Struct, body: memoryview) -> _Page:
    data = thrift.encode(header)
    return _Page(data + body, len(data) + value(header, _PLAIN_SIZE), value(header, _KIND) != _OF_DICTIONARY)


def _page(old: Struct, body: memoryview, decompressor: pa.Codec | None, codec: int) -> _Page:
    header = dict(old)
    levels = memoryview(b"")
    inner = value(old, _DATA_V2) if value(old, _KIND) == _DATA_2 else None
    if inner is not None:
        # The second version's levels lie uncompressed in front.
        size = value(inner, _DEFINITIONS, 0) + value(inner, _REPETITIONS, 0)
        levels, body = body[:size], body[size:]
        if not value(inner, _IS_COMPRESSED, True):
            decompressor = None
    plain_size = value(old, _PLAIN_SIZE)
    plain = body if decompressor is None else _plain(decompressor, body, plain_size - len(levels))
    compresses = codec == GZIP and (inner is None or len(plain) > 0)
    packed = gzipping.packed(plain) if compresses else plain
    if inner is not None:
        header[_DATA_V2] = (STRUCT, inner | {_IS_COMPRESSED: (FALSE, compresses)})
    header[_SIZE] = (I32, len(levels) + len(packed))
    if _CRC in old:
        header[_CRC] = (I32, _signed(zlib.crc32(packed, zlib.crc32(levels))))
    data = thrift.encode(header)
    return _Page(b"".join((data, levels, packed)), len(data) + plain_size, value(old, _KIND) != _OF_DICTIONARY)


def _plain(decompressor: pa.Codec, body: memoryview, size: int) -> memoryview:
    if not len(body) and not size:
        return body
    try:
        return memoryview(decompressor.decompress(body, size))
    except (OSError, pa.ArrowException) as error:
        raise UnsuitedError(f"a page cannot be decompressed: {error}") from None


def _signed(number: int) -> int:
    return number - (1 << 32) if number >> 31 else number
