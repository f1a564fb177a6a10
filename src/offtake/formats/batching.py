"""Splitting batches, so that memory stays bounded."""

from collections.abc import Iterator
from typing import Final

import pyarrow as pa

MOST_ROWS: Final = 8192
MOST_BYTES: Final = 4 * 1024 * 1024


def split_batches(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch's rows in order, without copying, in slices of at most 8192 rows and about 4 MiB in Arrow.

    Slices have at least one row; an empty batch has no slices.
    """
    if batch.num_rows == 0:
        return
    row_bytes = max(1, batch.nbytes // batch.num_rows)
    rows = max(1, min(MOST_ROWS, MOST_BYTES // row_bytes))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)
