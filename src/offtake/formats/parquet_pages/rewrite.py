"""Rewriting Parquet files with another codec without decoding values: row groups stay, their pages are recompressed.

A page is a header and encoded values, compressed with the column chunk's codec. Everything about the values stays
(encodings, statistics, dictionaries, bloom filters, the column index); sizes, offsets, checksums and the offset index
are computed again. Anything unusual is refused, before or within the file; the caller then decodes the rows instead.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from offtake.formats.parquet_pages import chunks, footer, thrift
from offtake.formats.parquet_pages.chunks import CODEC, COUNT, DICTIONARY_AT, PAGES_AT, TOTAL, Page
from offtake.formats.parquet_pages.footer import NotRecompressibleError
from offtake.formats.parquet_pages.thrift import BINARY, I16, I32, I64, LIST, STRUCT, Items, Struct

# ColumnChunk
_FILE_PATH, _FILE_OFFSET, _META, _OFFSETS_AT, _OFFSETS_SIZE, _INDEX_AT, _INDEX_SIZE, _CRYPTO = 1, 2, 3, 4, 5, 6, 7, 8
# ColumnMetaData, in addition to the fields in `chunks`
_PATH, _PLAIN_TOTAL, _INDEX_PAGE_AT, _BLOOM_AT, _BLOOM_SIZE = 3, 6, 10, 14, 15
# RowGroup
_GROUP_AT, _GROUP_TOTAL, _ORDINAL = 5, 6, 7
# OffsetIndex and PageLocation
_LOCATIONS, _AT, _LENGTH = 1, 1, 2

_NO_PATH: Final = Items(BINARY, [])
_CHUNK: Final = 1024 * 1024
_MOST_ORDINAL: Final = 2**15 - 1


@dataclass(frozen=True)
class StoredFile:
    """Row groups `[first, last)` of an open file, and the file's metadata."""

    file: pa.NativeFile
    footer: Struct
    first: int
    last: int

    @property
    def groups(self) -> list[Struct]:
        """The metadata of these row groups."""
        return footer.row_groups(self.footer)[self.first : self.last]

    @property
    def is_whole(self) -> bool:
        """Whether these are all row groups of the file."""
        return self.first == 0 and self.last == len(footer.row_groups(self.footer))


@dataclass(frozen=True)
class Target:
    """The new codec of the pages (`UNCOMPRESSED` or `GZIP`), and gzip's level.

    `only_plain`: refuse pages of other versions and encodings; see `chunks.check_plain`.
    """

    codec: int
    level: int
    only_plain: bool = False


def has_codec(source: StoredFile, codec: int) -> bool:
    """Whether the row groups are already compressed with that codec."""
    return all(
        thrift.number(_meta(chunk), CODEC) == codec for group in source.groups for chunk in footer.columns(group)
    )


def check(source: StoredFile, end: Struct) -> None:
    """Raise `NotRecompressibleError` unless the metadata of each row group is consistent.

    It must have the columns of `end`, and as many values as rows in each column that is not nested.
    """
    leaves = footer.leaf_columns(end)
    for group in source.groups:
        _check_group(group, leaves)


def copied_row_groups(source: StoredFile) -> list[Struct]:
    """The metadata of row groups that stay in place, with a correct file offset; some writers set a wrong one."""
    return [
        group | {_GROUP_AT: (I64, chunks.first_offset(_meta(column)))}
        for group in source.groups
        for column in footer.columns(group)[:1]
    ]


def recompress(sources: Sequence[StoredFile], end: Struct, target: Target) -> Iterator[bytes]:
    """The bytes of one file with the sources' row groups, recompressed, in chunks of about 1 MiB.

    `end`: the result of `footer.with_row_groups`. Deterministic for the same sources. Raises `NotRecompressibleError`
    for an unexpected page, and the errors of reading the files.
    """
    with footer.translating_thrift_errors():
        yield from _recompress(sources, end, target)


def _recompress(sources: Sequence[StoredFile], end: Struct, target: Target) -> Iterator[bytes]:
    out = _CountingOutput()
    groups: list[Struct] = []
    written: list[_Chunk] = []
    out.put(footer.MAGIC)
    for source in sources:
        check(source, end)
        for group in source.groups:
            done: list[_Chunk] = []
            for column in footer.columns(group):
                pages = _pages(source.file, _meta(column), target)
                done.append((yield from _chunk(source.file, column, target.codec, pages, out)))
            groups.append(_group(group, done, len(groups)))
            written += done
    for chunk in written:
        _put_indexes(chunk, out)
        yield from out.full()
    out.put(footer.encode_footer(end, groups))
    yield out.take()


def _pages(file: pa.NativeFile, meta: Struct, target: Target) -> Iterator[Page]:
    stored = chunks.stored_pages(file, meta)
    return chunks.pages(
        map(chunks.check_plain, stored) if target.only_plain else stored, meta, target.codec, target.level
    )


def _check_group(group: Struct, leaves: int) -> None:
    columns = [_meta(column) for column in footer.columns(group)]
    flat = [column for column in columns if _depth(column) == 1]
    if not leaves or len(columns) != leaves:
        raise NotRecompressibleError("a row group does not have the schema's columns")
    if any(thrift.number(column, COUNT) != footer.rows(group) for column in flat):
        raise NotRecompressibleError("a row group does not have as many values as rows")


def _depth(meta: Struct) -> int:
    kind, path = meta.get(_PATH, (LIST, _NO_PATH))
    return len(path.values) if kind == LIST else 0


class _CountingOutput:
    """Buffers output until it is taken. `position`: the number of bytes put so far."""

    def __init__(self) -> None:
        self.position = 0
        self._buffered: list[bytes] = []
        self._size = 0

    def put(self, piece: bytes) -> None:
        self._buffered.append(piece)
        self._size += len(piece)
        self.position += len(piece)

    def full(self) -> Iterator[bytes]:
        if self._size >= _CHUNK:
            yield self.take()

    def take(self) -> bytes:
        pieces, self._buffered, self._size = self._buffered, [], 0
        return b"".join(pieces)


@dataclass
class _Chunk:
    """A written column chunk, and what must still be written after the row groups.

    `new`: its new ColumnChunk metadata; `start`: its new offset. Of its indexes only the offset index is held in
    memory: the bloom filters of many columns and row groups are large.
    """

    file: pa.NativeFile
    old: Struct
    new: Struct
    start: int
    size: int
    plain_size: int
    offset_index: bytes | None


def _chunk(
    file: pa.NativeFile, column: Struct, codec: int, pages: Iterable[Page], out: _CountingOutput
) -> Generator[bytes, None, _Chunk]:
    """Write a chunk's pages. Returns the written chunk."""
    old, start = _meta(column), out.position
    plain_size, dictionary_at = 0, None
    locations: list[tuple[int, int]] = []
    for page in pages:
        if page.has_rows:
            locations.append((out.position, len(page.data)))
        else:
            dictionary_at = out.position
        plain_size += page.plain_size
        out.put(page.data)
        yield from out.full()
    if not locations:
        raise NotRecompressibleError("a column has no pages")
    meta = {key: found for key, found in old.items() if key not in (_INDEX_PAGE_AT, DICTIONARY_AT, _BLOOM_AT)}
    meta[CODEC] = (I32, codec)
    meta[_PLAIN_TOTAL] = (I64, plain_size)
    meta[TOTAL] = (I64, out.position - start)
    meta[PAGES_AT] = (I64, locations[0][0])
    if dictionary_at is not None:
        meta[DICTIONARY_AT] = (I64, dictionary_at)
    # The offset of a second copy of the metadata next to the pages; zero means that there is none.
    new: Struct = {_FILE_OFFSET: (I64, 0), _META: (STRUCT, meta)}
    offsets = _offset_index(file, column, locations)
    return _Chunk(file, column, new, start, out.position - start, plain_size, offsets)


def _group(old: Struct, done: Sequence[_Chunk], number: int) -> Struct:
    group = old | {
        footer.COLUMNS: (LIST, Items(STRUCT, [chunk.new for chunk in done])),
        footer.SIZE: (I64, sum(chunk.plain_size for chunk in done)),
        _GROUP_AT: (I64, done[0].start),
        _GROUP_TOTAL: (I64, sum(chunk.size for chunk in done)),
        _ORDINAL: (I16, number),
    }
    if number > _MOST_ORDINAL:
        del group[_ORDINAL]
    return group


def _put_indexes(chunk: _Chunk, out: _CountingOutput) -> None:
    new, meta = chunk.new, _meta(chunk.new)
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
        new |= {_INDEX_AT: (I64, out.position), _INDEX_SIZE: (I32, len(column_index))}
        out.put(column_index)
    new |= {_OFFSETS_AT: (I64, out.position), _OFFSETS_SIZE: (I32, len(chunk.offset_index))}
    out.put(chunk.offset_index)


def _offset_index(file: pa.NativeFile, column: Struct, new_locations: Sequence[tuple[int, int]]) -> bytes | None:
    """The offset index with the pages' new offsets and sizes; None when the chunk has none."""
    data = _bytes(file, column, _OFFSETS_AT, _OFFSETS_SIZE)
    if data is None:
        return None
    index, _ = thrift.decode(data)
    locations = thrift.inners(index, _LOCATIONS)
    if len(locations) != len(new_locations):
        raise NotRecompressibleError("an offset index does not match the pages")
    for location, (at, size) in zip(locations, new_locations, strict=True):
        location[_AT], location[_LENGTH] = (I64, at), (I32, size)
    return thrift.encode(index)


def _bytes(file: pa.NativeFile, of: Struct, at: int, size: int) -> bytes | None:
    """The bytes at the offset and of the size in two fields; None when a field is missing."""
    if at not in of or size not in of:
        return None
    start, length = thrift.number(of, at), thrift.number(of, size)
    chunks.check_range(file, start, start + length)
    data: bytes = file.read_at(length, start)
    return data


def _meta(chunk: Struct) -> Struct:
    if _CRYPTO in chunk or _FILE_PATH in chunk:
        raise NotRecompressibleError("a column is encrypted or stored in another file")
    return thrift.inner(chunk, _META)
