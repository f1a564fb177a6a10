"""Rows deleted by position. Runs in worker processes: PyIceberg is not imported."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from offtake.lake import deletion_vectors
from offtake.lake.delete_files import DeletionVector, PositionDeletes
from offtake.lake.parquet_files import translating_errors
from offtake.lake.row_files import ParquetRows, open_rows
from offtake.lake.storage.access import FileAccess

_ROWS: Final = 65_536


def positions(delete_file: PositionDeletes | DeletionVector, path: str, access: FileAccess | None = None) -> pa.Array:
    """The positions of the rows of the data file `path` that the delete file deletes.

    Raises `DeliveryError` when the delete file cannot be read.
    """
    with translating_errors([delete_file.path]):
        if isinstance(delete_file, DeletionVector):
            return deletion_vectors.read_positions(delete_file, access)
        return _positions(delete_file, path, access)


def deleted_positions(
    path: str, delete_files: Iterable[PositionDeletes | DeletionVector], access: FileAccess | None
) -> pa.Array | None:
    """The positions of the data file's rows that the delete files delete, ascending, or None when there are none."""
    found = [one for one in (positions(delete_file, path, access) for delete_file in delete_files) if len(one)]
    if len(found) < 2:  # noqa: PLR2004 - one file's positions are sorted
        return found[0] if found else None
    merged = pa.concat_arrays(found)
    return merged.take(pa.compute.sort_indices(merged))


@lru_cache(maxsize=4)
def _positions(delete_file: PositionDeletes, path: str, access: FileAccess | None) -> pa.Array:
    with open_rows(delete_file.path, delete_file.format, access) as file:
        groups = _candidate_groups(file.file, path) if isinstance(file, ParquetRows) else None
        matching = [
            batch.filter(pa.compute.equal(batch["file_path"].cast(pa.string()), path))["pos"].cast(pa.int64())
            for batch in file.batches(_ROWS, groups, ["file_path", "pos"])
        ]
    found = pa.concat_arrays([one for one in matching if len(one)]) if any(map(len, matching)) else pa.nulls(0, "int64")
    return found.take(pa.compute.sort_indices(found))


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
    """The batch without the rows at the deleted positions, which ascend; its first row has position `first`."""
    # Only those within the batch: a file can have millions of deleted rows.
    start, end = pa.compute.search_sorted(deleted, pa.array([first, first + batch.num_rows])).to_pylist()
    if start == end:
        return batch
    kept = pa.compute.is_in(pa.arange(first, first + batch.num_rows), value_set=deleted.slice(start, end - start))
    return batch.filter(pa.compute.invert(kept))
