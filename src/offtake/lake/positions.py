"""Rows that position-delete files delete. Runs in worker processes: PyIceberg is not imported."""

from collections.abc import Iterable
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from offtake.lake.parquet_files import explain, open_parquet


def positions(delete_file: str, path: str) -> pa.ChunkedArray:
    """The positions of rows of the data file `path` that are deleted by a position-delete file in Parquet.

    Raises `DeliveryError` when it cannot be read.
    """
    with explain([delete_file]):
        return _positions(delete_file, path)


def deleted_positions(path: str, delete_files: Iterable[str]) -> pa.Array | None:
    """The positions of the data file's rows that the delete files delete, or None."""
    found = [positions(delete_file, path) for delete_file in delete_files]
    chunks = [chunk for one in found for chunk in one.chunks]
    return pa.chunked_array(chunks, pa.int64()).combine_chunks() if chunks else None


@lru_cache(maxsize=4)
def _positions(delete_file: str, path: str) -> pa.ChunkedArray:
    with open_parquet(delete_file) as file:
        kept = [
            batch.filter(pa.compute.equal(batch["file_path"].cast(pa.string()), path))["pos"].cast(pa.int64())
            for batch in file.iter_batches(65_536, row_groups=_naming(file, path), columns=["file_path", "pos"])
        ]
    return pa.chunked_array([one for one in kept if len(one)], pa.int64())


def _naming(file: pq.ParquetFile, path: str) -> list[int]:
    """The row groups that may be about the data file: paths are sorted in delete files."""
    column = file.schema_arrow.get_field_index("file_path")
    found = []
    for index in range(file.metadata.num_row_groups):
        known = file.metadata.row_group(index).column(column).statistics
        if known is None or not known.has_min_max or known.min <= path <= known.max:
            found.append(index)
    return found


def without(batch: pa.RecordBatch, first: int, deleted: pa.Array) -> pa.RecordBatch:
    """The batch, whose first row is at position `first`, without the rows at the deleted positions."""
    positions = pa.arange(first, first + batch.num_rows)
    return batch.filter(pa.compute.invert(pa.compute.is_in(positions, value_set=deleted)))
