"""Parquet: the dataset's columns and nesting as stored.

Row groups that are to be delivered as they lie keep their pages, compressed anew (`pages`), and whole files that are
under the right codec already keep their bytes, but for field ids in their metadata. All else is decoded and encoded,
in row groups of bounded size.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.formats import uuids
from offtake.formats.batching import split_batches
from offtake.formats.losses import LossCounter
from offtake.formats.parquet_pages import chunks, footer, rewrite
from offtake.formats.parquet_pages.footer import NotRecompressibleError
from offtake.formats.parquet_pages.thrift import Struct
from offtake.formats.types import check_supported

_MOST_ROWS: Final = 65_536
_MOST_BYTES: Final = 16 * 1024 * 1024
LEVEL: Final = 1
"""Of gzip. Pages of 1 M nested events: level 1 makes 20.6 MB in 0.18 s, 3 19.2 MB in 0.34 s, 5 18.4 MB in 0.41 s."""
_LEAST_GROUP: Final = 512 * 1024
"""Bytes, before compression: smaller row groups of one part are decoded, and become one."""
_CHUNK: Final = 1024 * 1024

StoredGroups = tuple[pa.NativeFile, int, int | None]
"""An open file, and which of its row groups: `[first, last)`, `last` None for all from `first`."""


@dataclass(frozen=True)
class ParquetOptions:
    """How files differ from the usual form, for readers that know less of Parquet.

    `uuid_as_text`: a string of 8-4-4-4-12 digits for each UUID. `plain_encoding`: values in pages of the first version
    in the encoding PLAIN, without dictionaries.
    """

    uuid_as_text: bool = False
    plain_encoding: bool = False


USUAL: Final = ParquetOptions()


def encode_gzip(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    level: int = LEVEL,
    _losses: LossCounter | None = None,
    *,
    options: ParquetOptions = USUAL,
) -> Iterator[bytes]:
    """The bytes of one file with gzip as its column codec, a row group at a time; it is no gzipped file.

    The same schema and batches give the same bytes. Iceberg's field ids and what may be null stay as the schema
    has them; no value is left out. Raises `DeliveryError` for a column that Parquet cannot hold; what `batches` raise
    passes through.
    """
    return _encode(schema, batches, _Writing("gzip", level, options))


def encode_plain(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    _level: int = LEVEL,
    _losses: LossCounter | None = None,
    *,
    options: ParquetOptions = USUAL,
) -> Iterator[bytes]:
    """As `encode_gzip`, without compression."""
    return _encode(schema, batches, _Writing("none", None, options))


def gzip_pages(
    schema: pa.Schema, stored: Sequence[StoredGroups], level: int = LEVEL, *, options: ParquetOptions = USUAL
) -> tuple[int, Iterator[bytes]]:
    """How many rows the stored row groups have, and the bytes of one file of them, with gzip as its column codec.

    The files must have the schema's columns, in its order, and nothing else. The same files give the same bytes. Raises
    `NotRecompressibleError`, also while bytes are taken, when values must be decoded after all; what reading raises
    passes through.
    """
    return _from_pages(schema, stored, rewrite.Target(chunks.GZIP, level, only_plain=options.plain_encoding), options)


def plain_pages(
    schema: pa.Schema, stored: Sequence[StoredGroups], level: int = LEVEL, *, options: ParquetOptions = USUAL
) -> tuple[int, Iterator[bytes]]:
    """As `gzip_pages`, without compression."""
    target = rewrite.Target(chunks.UNCOMPRESSED, level, only_plain=options.plain_encoding)
    return _from_pages(schema, stored, target, options)


def _from_pages(
    schema: pa.Schema, stored: Sequence[StoredGroups], target: rewrite.Target, options: ParquetOptions
) -> tuple[int, Iterator[bytes]]:
    if options.uuid_as_text and uuids.contains_uuids(schema):
        raise NotRecompressibleError("its UUIDs are to be text")
    with footer.translating_thrift_errors():
        sources = []
        for file, first, last in stored:
            found = footer.footer(file)
            count = len(footer.row_groups(found))
            if max(first, last or 0) > count:
                raise NotRecompressibleError("it has fewer row groups than when it was planned with")
            sources.append(rewrite.StoredFile(file, found, first, count if last is None else last))
        model = _model(schema.serialize().to_pybytes())
        end = footer.with_row_groups([source.footer for source in sources], footer.footer(pa.BufferReader(model)))
        if not _reads_as(end, model):
            raise NotRecompressibleError("its columns are stored as other types")
        groups = [group for source in sources for group in source.groups]
        rows = sum(map(footer.rows, groups))
        # Whether pages are plain is seen page by page only.
        may_stand = len(sources) == 1 and sources[0].is_whole and not target.only_plain
        if may_stand and rewrite.codec_available(sources[0], target.codec):
            return rows, _as_it_stands(sources[0], end)
        if len(groups) > 1 and sum(map(footer.size, groups)) < _LEAST_GROUP * len(groups):
            raise NotRecompressibleError("its row groups are small")
        return rows, rewrite.recompress(sources, end, target)


@lru_cache(maxsize=8)
def _model(schema: bytes) -> bytes:
    """A file of our own without rows. Of the schema's bytes: schemas that differ in field ids alone are equal."""
    return b"".join(encode_plain(pa.ipc.read_schema(pa.py_buffer(schema)), ()))


def _reads_as(end: Struct, model: bytes) -> bool:
    """Whether the delivered file has the model's types for readers that know nothing but Parquet's own schema."""
    try:
        theirs = pq.read_schema(pa.BufferReader(footer.MAGIC + footer.encode_footer(end, [])))
    except (OSError, pa.ArrowException, UnicodeDecodeError):
        return False
    return bool(theirs == pq.read_schema(pa.BufferReader(model)))


def _as_it_stands(source: rewrite.StoredFile, end: Struct) -> Iterator[bytes]:
    """The bytes of a whole file, but for its metadata when they do not name the columns' field ids as `end` does.

    Raises `NotRecompressibleError` at once.
    """
    rewrite.check(source, end)
    if source.footer[footer.SCHEMA] == end[footer.SCHEMA]:
        return _bytes(source.file, source.file.size())
    named = footer.encode_footer(end, rewrite.copied_row_groups(source))
    return itertools.chain(_bytes(source.file, footer.first_offset(source.file)), [named])


def _bytes(file: pa.NativeFile, left: int) -> Iterator[bytes]:
    file.seek(0)
    while left:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:
            raise NotRecompressibleError("the file has become shorter")
        left -= len(chunk)
        yield chunk


@dataclass(frozen=True)
class _Writing:
    """The codec of the columns by pyarrow's name, gzip's level, and the options."""

    codec: str
    level: int | None
    options: ParquetOptions


def _encode(schema: pa.Schema, batches: Iterable[pa.RecordBatch], how: _Writing) -> Iterator[bytes]:
    check_supported(schema)
    delivered = schema
    if how.options.uuid_as_text and uuids.contains_uuids(schema):
        delivered = uuids.uuids_as_text(schema)
        batches = (uuids.convert(piece, delivered) for batch in batches for piece in split_batches(batch))
    written = _BufferedSink()
    # Arrow's own schema in the footer would tell pyarrow alone more than the other readers know.
    writer = pq.ParquetWriter(
        pa.PythonFile(written, mode="w"),
        delivered,
        compression=how.codec,
        compression_level=how.level,
        use_dictionary=not how.options.plain_encoding,
        write_statistics=True,
        store_schema=False,
        data_page_version="1.0",
    )
    with writer:
        for group in _groups(delivered, batches):
            writer.write_table(group, row_group_size=group.num_rows)
            yield written.take()
    yield written.take()


def _groups(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows in tables that end with the piece that fills them, none of them empty."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for piece in (piece for batch in batches for piece in split_batches(batch)):
        held.append(piece)
        rows += piece.num_rows
        size += piece.nbytes
        if rows >= _MOST_ROWS or size >= _MOST_BYTES:
            yield pa.Table.from_batches(held, schema)
            held, rows, size = [], 0, 0
    if held:
        yield pa.Table.from_batches(held, schema)


class _BufferedSink:
    """A file that only grows; what was written since the last time can be taken out of it."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def write(self, data: bytes) -> int:
        """Keep what the writer hands over."""
        self._pieces.append(data)
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        """Bytes written so far, taken ones included."""
        return self._position

    def flush(self) -> None:
        """Nothing lies between."""

    def close(self) -> None:
        """What was written can still be taken."""

    def take(self) -> bytes:
        """What was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
