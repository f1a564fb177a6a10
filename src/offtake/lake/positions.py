"""Rows deleted by position-delete files. Runs in worker processes: PyIceberg is not imported."""

from collections.abc import Iterable
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from offtake.lake.parquet_files import open_parquet, translating_errors
from offtake.lake.storage.access import FileAccess


def positions(delete_file: str, path: str, access: FileAccess | None = None) -> pa.ChunkedArray:
    """The positions of the rows of the data file `path` that a position-delete file in Parquet deletes.

    Raises `DeliveryError` when the delete file cannot be read.
    """
    with translating_errors([delete_file]):
        return _positions(delete_file, path, access)


def deleted_positions(path: str, delete_files: Iterable[str], access: FileAccess | None) -> pa.Array | None:
    """The positions of the data file's rows that the delete files delete, or None when there are none."""
    found = [positions(delete_file, path, access) for delete_file in delete_files]
    chunks = [chunk for one in found for chunk in one.chunks]
    return pa.chunked_array(chunks, pa.int64()).combine_chunks() if chunks else None


@lru_cache(maxsize=4)
def _positions(delete_file: str, path: str, access: FileAccess | None) -> pa.ChunkedArray:
    with open_parquet(delete_file, access) as file:
        matching = [
            batch.filter(pa.compute.equal(batch["file_path"].cast(pa.string()), path))["pos"].cast(pa.int64())
            for batch in file.iter_batches(
                65_536, row_groups=_candidate_groups(file, path), columns=["file_path", "pos"]
            )
        ]
    return pa.chunked_array([one for one in matching if len(one)], pa.int64())


def _candidate_groups(file: pq.ParquetFile, path: str) -> list[int]:
    """The row groups whose statistics can include the data file's path; delete files are sorted by path."""
    column = file.schema_arrow.get_field_index("file_path")
    found = []
    for index in range(file.metadata.num_row_groups):
        statistics = file.metadata.row_group(index).column(column).statistics
        if statistics is None or not statistics.has_min_max or statistics.min <= path <= statistics.max:
            found.append(index)
    return found


def without(batch: pa.RecordBatch, first: int, deleted: pa.Array) -> pa.RecordBatch:
    """The batch without the rows at the deleted positions; its first row has position `first` in the file."""
    positions = pa.arange(first, first + batch.num_rows)
    return batch.filter(pa.compute.invert(pa.compute.is_in(positions, value_set=deleted)))
