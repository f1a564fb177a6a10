"""Gzipped NDJSON: arrow-rs encodes, a block at a time is compressed, each into a gzip member of its own.

Members one after another are one gzip file (RFC 1952, section 2.2). Whatever reads gzip reads it: `gunzip`, DuckDB,
Polars, pandas, pyarrow and Spark were tried.
"""

import io
from collections.abc import Iterable, Iterator
from typing import IO, Final, cast

import arro3.io
import pyarrow as pa

from offtake.formats.cutting import cut
from offtake.formats.gzipping import packed
from offtake.formats.losses import LossCounter
from offtake.formats.scalars import has_large_doubles, shorten_doubles
from offtake.formats.types import check, for_json

BLOCK: Final = 2 * 1024 * 1024
"""Bytes of text in a member: smaller ones compress worse, and of larger ones the system fetches memory anew each time.

The latter costs 5 % of a part's time at 4 MiB, for a thousandth of its size.
"""
LEVEL: Final = 2


def encode(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], level: int = LEVEL, losses: LossCounter | None = None
) -> Iterator[bytes]:
    """The bytes of one gzip file, a JSON object a line, one member at a time; holds one small batch and one block.

    The same rows give the same bytes, however they are cut into batches. No rows give an empty member. Counts in
    `losses` what JSON has no form for and leaves out. Raises `DeliveryError` for a column or value that JSON cannot
    hold; what `batches` raise passes through.
    """
    check(schema)
    text, counter = _Text(level), losses or LossCounter()
    for piece in (piece for batch in batches for piece in cut(batch)):
        _write(piece, text, counter)
        yield from text.taken()
    text.end()
    yield from text.taken()


def lines(batch: pa.RecordBatch) -> bytes:
    """A small batch as text, a JSON object a line; raises `DeliveryError` as `encode` does."""
    text = io.BytesIO()
    _write(batch, text, LossCounter())
    return text.getvalue()


class _Text:
    """A file in whose place members of gzip come out; of the text it keeps one block, in the same memory."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._block = memoryview(bytearray(BLOCK))
        self._used = 0
        self._members: list[bytes] = []

    def write(self, data: bytes) -> int:
        at, size = 0, len(data)
        while size - at >= BLOCK - self._used:
            until = at + BLOCK - self._used
            self._block[self._used :] = data[at:until]
            self._used, at = BLOCK, until
            self.end()
        self._block[self._used : self._used + size - at] = data[at:]
        self._used += size - at
        return size

    def end(self) -> None:
        """The text so far is a member."""
        self._members.append(packed(self._block[: self._used], self._level))
        self._used = 0

    def taken(self) -> list[bytes]:
        """The members that have come since the last time."""
        members, self._members = self._members, []
        return members

    def seek(self, _offset: int, _whence: int = 0) -> int:
        """The encoder asks where it is before it writes, and nothing else."""
        return 0

    def flush(self) -> None:
        """Nothing lies between."""


def _write(batch: pa.RecordBatch, text: _Text | io.BytesIO, losses: LossCounter) -> None:
    if batch.num_columns == 0:
        text.write(b"{}\n" * int(batch.num_rows))
    else:
        rows = for_json(_from_zero(batch), losses)
        if not any(map(has_large_doubles, rows.columns)):
            arro3.io.write_ndjson(rows, cast(IO[bytes], text))
            return
        lines = io.BytesIO()
        arro3.io.write_ndjson(rows, lines)
        text.write(shorten_doubles(lines.getvalue()))


def _from_zero(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Nested columns that begin at their first row: the encoder panics at slices of structs in structs."""
    columns = [_copy(one) if one.offset and pa.types.is_nested(one.type) else one for one in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _copy(column: pa.Array) -> pa.Array:
    # One array alone would come back as it is.
    return pa.concat_arrays([column, column.slice(0, 0)])
