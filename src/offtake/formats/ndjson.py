"""Gzipped NDJSON: arrow-rs encodes the rows, and the text is compressed block by block (`gzip_stream`)."""

import functools
import io
from collections.abc import Iterable, Iterator
from typing import IO, Final, cast

import arro3.io
import pyarrow as pa

from offtake.formats import names
from offtake.formats.batching import split_batches
from offtake.formats.declaration import FileFormat, Format, WriteOptions
from offtake.formats.gzip_stream import MEMBERS, GzipOptions, GzipStream, Members
from offtake.formats.losses import LossCounter
from offtake.formats.scalars import has_large_doubles, shorten_doubles
from offtake.formats.types import check_supported, to_json_types

LEVEL: Final = 2


def encode(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    level: int = LEVEL,
    losses: LossCounter | None = None,
    *,
    members: Members = "single",
) -> Iterator[bytes]:
    """The bytes of one gzip file with one JSON object per line. Memory: one small batch and one block of text.

    Deterministic, however the rows are split into batches. Without rows it is an empty gzip member. Counts in `losses`
    the values that JSON cannot represent and that are omitted. Raises `DeliveryError` for a column or value that JSON
    cannot hold, and what `batches` raise.
    """
    check_supported(schema)
    stream, counter = GzipStream(level, members), losses or LossCounter()
    text = _ChunkedText(stream)
    for piece in (piece for batch in batches for piece in split_batches(batch)):
        _write(piece, text, counter)
        yield from stream.take()
    stream.finish()
    yield from stream.take()


def lines(batch: pa.RecordBatch) -> bytes:
    """A small batch as text with one JSON object per line. Raises `DeliveryError` as `encode` does."""
    text = io.BytesIO()
    _write(batch, text, LossCounter())
    return text.getvalue()


class _ChunkedText:
    """The file object that the encoder writes to; passes the text to the gzip stream."""

    def __init__(self, stream: GzipStream) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        self._stream.write(data)
        return len(data)

    def seek(self, _offset: int, _whence: int = 0) -> int:
        """The encoder calls this only to get the position before it writes."""
        return 0

    def flush(self) -> None:
        """No-op: nothing is buffered."""


def _write(batch: pa.RecordBatch, text: _ChunkedText | io.BytesIO, losses: LossCounter) -> None:
    if batch.num_columns == 0:
        text.write(b"{}\n" * int(batch.num_rows))
    else:
        rows = to_json_types(_from_zero(batch), losses)
        if not any(map(has_large_doubles, rows.columns)):
            arro3.io.write_ndjson(rows, cast(IO[bytes], text))
            return
        lines = io.BytesIO()
        arro3.io.write_ndjson(rows, lines)
        text.write(shorten_doubles(lines.getvalue()))


def _from_zero(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with copies of sliced nested columns: the encoder panics for slices of structs in structs."""
    columns = [_copy(one) if one.offset and pa.types.is_nested(one.type) else one for one in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _copy(column: pa.Array) -> pa.Array:
    # With a single array, `concat_arrays` would return it unchanged.
    return pa.concat_arrays([column, column.slice(0, 0)])


def _writer(_compression: str, options: WriteOptions) -> Format:
    """Files are also compressed for `NONE`, which requests in the vendor's documents use."""
    return _WRITERS[options.members]


_WRITERS: Final = {
    members: Format(".json.gz", functools.partial(encode, members=members), LEVEL) for members in MEMBERS
}
FORMAT: Final = FileFormat(
    name=names.JSON,
    media_types=names.MEDIA_TYPES_OF[names.JSON],
    gzip=lambda settings: GzipOptions(settings.json_gzip_level, settings.json_gzip_members),
    writer=_writer,
)
