"""Parquet files whose pages are compressed anew without decoding a value: row groups as they lie, under another codec.

A page is a header and an encoded run of values that the column chunk's codec has compressed. What holds for the values
(encodings, statistics, dictionaries, bloom filters, the column index) stays; sizes, offsets, checksums and the offset
index are made anew. What is unusual in any way is refused, before or within the file: decoding can always be done.
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
# ColumnMetaData, beside what `chunks` needs of it
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
        """The metadata of those row groups."""
        return footer.row_groups(self.footer)[self.first : self.last]

    @property
    def is_whole(self) -> bool:
        """Whether these are all row groups that the file has."""
        return self.first == 0 and self.last == len(footer.row_groups(self.footer))


@dataclass(frozen=True)
class Target:
    """What pages become: their codec (`UNCOMPRESSED` or `GZIP`), gzip's level.

    `only_plain`: pages in other forms than the oldest one are refused; see `chunks.check_plain`.
    """

    codec: int
    level: int
    only_plain: bool = False


def codec_available(source: StoredFile, codec: int) -> bool:
    """Whether the row groups are compressed by that codec already."""
    return all(
        thrift.number(_meta(chunk), CODEC) == codec for group in source.groups for chunk in footer.columns(group)
    )


def check(source: StoredFile, end: Struct) -> None:
    """Raise `NotRecompressibleError` unless each row group is as its metadata state, as far as metadata can show.

    These are the columns that `end` has, and as many rows as values of each column that is no part of another.
    """
    leaves = footer.leaf_columns(end)
    for group in source.groups:
        _check_group(group, leaves)


def copied_row_groups(source: StoredFile) -> list[Struct]:
    """The metadata of row groups that stay where they are, which not every writer says right."""
    return [
        group | {_GROUP_AT: (I64, chunks.first_offset(_meta(column)))}
        for group in source.groups
        for column in footer.columns(group)[:1]
    ]


def recompress(sources: Sequence[StoredFile], end: Struct, target: Target) -> Iterator[bytes]:
    """The bytes of one file that has the sources' row groups with all pages under the target's codec.

    `end`: what `footer.with_row_groups` gives. In chunks of about 1 MiB; the same sources give the same bytes.
    Raises `NotRecompressibleError` when a page is not as expected, and what reading the files raises.
    """
    with footer.translating_thrift_errors():
        yield from _recompress(sources, end, target)


def _recompress(sources: Sequence[StoredFile], end: Struct, target: Target) -> Iterator[bytes]:
    out = _CountingOutput()
    groups: list[Struct] = []
    made: list[_Chunk] = []
    out.put(footer.MAGIC)
    for source in sources:
        check(source, end)
        for group in source.groups:
            done: list[_Chunk] = []
            for column in footer.columns(group):
                pages = _pages(source.file, _meta(column), target)
                done.append((yield from _chunk(source.file, column, target.codec, pages, out)))
            groups.append(_group(group, done, len(groups)))
            made += done
    for chunk in made:
        _put_indexes(chunk, out)
        yield from out.full()
    out.put(footer.encode_footer(end, groups))
    yield out.take()


def _pages(file: pa.NativeFile, meta: Struct, target: Target) -> Iterator[Page]:
    stored = chunks.stored_size(file, meta)
    return chunks.pages(
        map(chunks.check_plain, stored) if target.only_plain else stored, meta, target.codec, target.level
    )


def _check_group(group: Struct, leaves: int) -> None:
    columns = [_meta(column) for column in footer.columns(group)]
    flat = [column for column in columns if _depth(column) == 1]
    if not leaves or len(columns) != leaves:
        raise NotRecompressibleError("a row group does not have the columns that there are")
    if any(thrift.number(column, COUNT) != footer.rows(group) for column in flat):
        raise NotRecompressibleError("a row group has more or fewer rows than values")


def _depth(meta: Struct) -> int:
    kind, path = meta.get(_PATH, (LIST, _NO_PATH))
    return len(path.values) if kind == LIST else 0


class _CountingOutput:
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
            yield self.take()

    def take(self) -> bytes:
        held, self._held, self._size = self._held, [], 0
        return b"".join(held)


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
    file: pa.NativeFile, column: Struct, codec: int, pages: Iterable[Page], out: _CountingOutput
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
        raise NotRecompressibleError("a column has no pages")
    meta = {key: found for key, found in old.items() if key not in (_INDEX_PAGE_AT, DICTIONARY_AT, _BLOOM_AT)}
    meta[CODEC] = (I32, codec)
    meta[_PLAIN_TOTAL] = (I64, plain_size)
    meta[TOTAL] = (I64, out.position - begins)
    meta[PAGES_AT] = (I64, places[0][0])
    if dictionary_at is not None:
        meta[DICTIONARY_AT] = (I64, dictionary_at)
    # The place of metadata that is not written beside the pages; zero says that there is none.
    described: Struct = {_FILE_OFFSET: (I64, 0), _META: (STRUCT, meta)}
    offsets = _offset_index(file, column, places)
    return _Chunk(file, column, described, begins, out.position - begins, plain_size, offsets)


def _group(old: Struct, done: Sequence[_Chunk], number: int) -> Struct:
    made = old | {
        footer.COLUMNS: (LIST, Items(STRUCT, [chunk.described for chunk in done])),
        footer.SIZE: (I64, sum(chunk.plain_size for chunk in done)),
        _GROUP_AT: (I64, done[0].begins),
        _GROUP_TOTAL: (I64, sum(chunk.size for chunk in done)),
        _ORDINAL: (I16, number),
    }
    if number > _MOST_ORDINAL:
        del made[_ORDINAL]
    return made


def _put_indexes(chunk: _Chunk, out: _CountingOutput) -> None:
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
        raise NotRecompressibleError("an offset index does not have the pages that there are")
    for location, (at, size) in zip(locations, places, strict=True):
        location[_AT], location[_LENGTH] = (I64, at), (I32, size)
    return thrift.encode(index)


def _bytes(file: pa.NativeFile, of: Struct, at: int, size: int) -> bytes | None:
    """What lies where two fields say; None when they do not say."""
    if at not in of or size not in of:
        return None
    begins, length = thrift.number(of, at), thrift.number(of, size)
    chunks.check_range(file, begins, begins + length)
    found: bytes = file.read_at(length, begins)
    return found


def _meta(chunk: Struct) -> Struct:
    if _CRYPTO in chunk or _FILE_PATH in chunk:
        raise NotRecompressibleError("a column is encrypted or lies in another file")
    return thrift.inner(chunk, _META)
