"""Gzipped NDJSON: arrow-rs encodes, a block at a time is compressed, each into a gzip member of its own.

Members one after another are one gzip file (RFC 1952, section 2.2). Whatever reads gzip reads it: `gunzip`, DuckDB,
Polars, pandas, pyarrow and Spark were tried.
"""

from collections.abc import Iterable, Iterator
from typing import IO, Final, cast

import arro3.io
import pyarrow as pa

from offtake.formats.cutting import cut
from offtake.formats.gzipping import packed
from offtake.formats.types import check, for_json

BLOCK: Final = 4 * 1024 * 1024
"""Bytes of text in a member: larger ones compress no better, smaller ones worse."""
LEVEL: Final = 2


def encode(schema: pa.Schema, batches: Iterable[pa.RecordBatch], level: int = LEVEL) -> Iterator[bytes]:
    """The bytes of one gzip file, a JSON object a line, one member at a time; holds one small batch and one block.

    The same rows give the same bytes, however they are cut into batches. No rows give an empty member. Raises
    `DeliveryError` for a column or value that JSON cannot hold; what `batches` raise passes through.
    """
    check(schema)
    text = _Text()
    for piece in (piece for batch in batches for piece in cut(batch)):
        _write(piece, text)
        while len(text.held) >= BLOCK:
            yield packed(text.held[:BLOCK], level)
            del text.held[:BLOCK]
    yield packed(text.held, level)


def lines(batch: pa.RecordBatch) -> bytes:
    """A small batch as text, a JSON object a line; raises `DeliveryError` as `encode` does."""
    text = _Text()
    _write(batch, text)
    return bytes(text.held)


class _Text:
    """A file that keeps what is written to it."""

    def __init__(self) -> None:
        self.held = bytearray()

    def write(self, data: bytes) -> int:
        self.held += data
        return len(data)

    def seek(self, _offset: int, _whence: int = 0) -> int:
        """The encoder asks where it is before it writes, and nothing else."""
        return 0

    def flush(self) -> None:
        """Nothing lies between."""


def _write(batch: pa.RecordBatch, text: _Text) -> None:
    if batch.num_columns == 0:
        text.write(b"{}\n" * int(batch.num_rows))
    else:
        arro3.io.write_ndjson(for_json(_from_zero(batch)), cast(IO[bytes], text))


def _from_zero(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Nested columns that begin at their first row: the encoder panics at slices of structs in structs."""
    if any(column.offset and pa.types.is_nested(column.type) for column in batch.columns):
        return pa.ipc.read_record_batch(batch.serialize(), batch.schema)
    return batch
