"""Parquet: the dataset's columns and nesting as stored, in row groups of bounded size."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

_MOST_ROWS: Final = 65_536
_MOST_BYTES: Final = 32 * 1024 * 1024
_GZIP_LEVEL: Final = 1
"""Level 6 takes twice the time for files 6 % smaller; the library's default, 9, takes six times as long."""

Encode = Callable[[pa.Schema, Iterable[pa.RecordBatch]], Iterator[bytes]]


def encoder(codec: str) -> Encode:
    """An encoder whose pages are compressed with `codec`: GZIP or NONE."""
    compression: dict[str, Any] = (
        {"compression": "gzip", "compression_level": _GZIP_LEVEL} if codec == "GZIP" else {"compression": "none"}
    )

    def encode(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
        """The bytes of one file, a row group at a time; the same batches give the same bytes."""
        drained = _Drain()
        with pq.ParquetWriter(drained.file, schema, store_schema=False, **compression) as writer:
            for group in _groups(schema, batches):
                writer.write_table(group, row_group_size=max(1, group.num_rows))
                yield from drained.take()
        yield from drained.take()

    return encode


def _groups(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= _MOST_ROWS or size >= _MOST_BYTES:
            yield pa.Table.from_batches(held, schema)
            held, rows, size = [], 0, 0
    if held:
        yield pa.Table.from_batches(held, schema)


class _Drain:
    """A file that only grows; what was written since the last time can be taken out of it."""

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self._position = 0
        self.file = pa.PythonFile(self, mode="w")

    closed = False

    def write(self, data: object) -> int:
        """Keep what the writer hands over; its buffer does not outlive the call."""
        kept = bytes(data) if not isinstance(data, bytes) else data  # type: ignore[call-overload]  # any buffer
        self._written.append(kept)
        self._position += len(kept)
        return len(kept)

    def tell(self) -> int:
        """Bytes written so far, taken ones included."""
        return self._position

    def flush(self) -> None:
        """Nothing lies between."""

    def close(self) -> None:
        """What was written can still be taken."""

    def take(self) -> Iterator[bytes]:
        """What was written since the last time, as one chunk, or nothing."""
        written, self._written = self._written, []
        if written:
            yield b"".join(written)
