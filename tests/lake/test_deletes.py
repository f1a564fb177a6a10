"""Which position deletes apply to which files, in full exports and increments."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.manifest import FileFormat
from pyiceberg.table.snapshots import Operation
from pyiceberg.transforms import IdentityTransform

from offtake.errors import DeliveryError
from offtake.lake import scan, table_description
from offtake.lake.catalog import Lake
from offtake.lake.delete_files import PositionDeletes
from offtake.lake.locations import local_path
from offtake.lake.positions import positions
from tests.lake.lakes import TABLE, add, full, increment, numbered
from tests.lake.other_writers import Bounds, data_files, delete_positions, row_delta


def ids(lake: Lake) -> list[int]:
    return sorted(row["n"] for row in full(lake))


def current(lake: Lake) -> int:
    found = scan.open_table(lake, TABLE).current_snapshot
    assert found is not None
    return found


def added_path(lake: Lake, snapshot: int) -> str:
    (path,) = {file.path for file in scan.open_table(lake, TABLE).full(snapshot).files} - known_before(lake, snapshot)
    return path


def known_before(lake: Lake, snapshot: int) -> set[str]:
    found = lake.load(TABLE).snapshot_by_id(snapshot)
    assert found is not None
    parent = found.parent_snapshot_id
    return set() if parent is None else {file.path for file in scan.open_table(lake, TABLE).full(parent).files}


@pytest.mark.parametrize("bounds", ["none", "exact", "range"])
def test_a_delete_file_applies_to_files_within_its_bounds(lake: Lake, bounds: Bounds) -> None:
    files = [added_path(lake, add(lake, numbered(n, n + 1))) for n in (0, 10, 20)]
    delete_positions(lake.load(TABLE), files[1], [0], bounds)
    plan = scan.open_table(lake, TABLE).full(current(lake))
    assert ids(lake) == [0, 1, 11, 20, 21]
    with_deletes = [file.path for file in plan.files if file.delete_files]
    assert with_deletes == (files if bounds == "none" else [files[1]])


def test_older_deletes_are_not_read_for_newer_files(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    delete_positions(lake.load(TABLE), added_path(lake, first), [0])
    at = add(lake, numbered(3))
    assert [len(file.delete_files) for file in scan.open_table(lake, TABLE).full(at).files] == [1, 0]
    assert ids(lake) == [2, 3]


def test_deletes_apply_to_files_of_their_partition(lake: Lake) -> None:
    first = add(lake, [{"n": 0, "k": 0}])
    with lake.load(TABLE).update_spec() as update:
        update.add_field("k", IdentityTransform())
    rows = pa.schema([("n", pa.int64()), ("k", pa.int64())])
    lake.load(TABLE).append(pa.Table.from_pylist([{"n": n, "k": n % 2} for n in range(1, 5)], rows))
    files = {path: file for path, file in data_files(lake.load(TABLE)).items() if len(file.partition)}
    row_delta(lake.load(TABLE), {path: [0] for path in files})
    plan = scan.open_table(lake, TABLE).full(current(lake))
    assert [len(file.delete_files) for file in plan.files] == [0, 1, 1]
    assert ids(lake) == [0, 3, 4]
    assert sorted(increment(lake, first)) == [3, 4]


def test_only_row_groups_with_the_data_files_path_are_read_from_a_delete_file(tmp_path: Path) -> None:
    paths = [f"file:///data/{number:05d}.parquet" for number in range(2000)]
    delete = tmp_path / "deletes.parquet"
    columns = {"file_path": [path for path in paths for _ in range(5)], "pos": list(range(5)) * len(paths)}
    pa.parquet.write_table(pa.table(columns), delete, row_group_size=1000)
    assert positions(PositionDeletes(str(delete)), paths[700]).to_pylist() == [0, 1, 2, 3, 4]
    assert positions(PositionDeletes(str(delete)), "file:///data/other.parquet").to_pylist() == []
    # Row groups for other files are not read; they may even be damaged.
    content = bytearray(delete.read_bytes())
    group = pa.parquet.ParquetFile(delete).metadata.row_group(9).column(0)
    content[group.dictionary_page_offset : group.dictionary_page_offset + 40] = bytes(40)
    delete.write_bytes(content)
    assert len(positions(PositionDeletes(str(delete)), paths[701])) == 5
    with pytest.raises(DeliveryError, match=r"deletes\.parquet"):
        positions(PositionDeletes(str(delete)), paths[1900])


@pytest.mark.parametrize("operation", [Operation.OVERWRITE, Operation.DELETE])
def test_deleted_positions_are_counted_and_rows_added_in_the_same_commit_are_exported(
    lake: Lake, operation: Operation
) -> None:
    first = add(lake, numbered(1, 2, 3))
    row_delta(lake.load(TABLE), {added_path(lake, first): [0, 1]}, operation=operation)
    assert increment(lake, first) == []
    plan = scan.open_table(lake, TABLE).increment(first, current(lake))
    assert (plan.files, plan.deleted_rows) == ((), 2)
    # A merge-on-read update: one row is replaced by another.
    at = current(lake)
    row_delta(lake.load(TABLE), {added_path(lake, first): [2]}, rows=rows(lake, 4))
    assert increment(lake, at) == [4]
    assert scan.open_table(lake, TABLE).increment(at, current(lake)).deleted_rows == 0
    assert scan.open_table(lake, TABLE).increment(first, current(lake)).deleted_rows == 2
    assert table_description.preview(lake, TABLE, 9).column("n").to_pylist() == [4]


def rows(lake: Lake, *numbers: int) -> pa.Table:
    return pa.Table.from_pylist(numbered(*numbers), lake.load(TABLE).schema().as_arrow())


def test_rows_removed_by_an_overwrite_are_counted_without_rewritten_ones(lake: Lake) -> None:
    first = add(lake, numbered(1, 2, 3, 4))
    lake.load(TABLE).delete("n = 1")
    assert scan.open_table(lake, TABLE).increment(first, current(lake)).deleted_rows == 1
    at = current(lake)
    lake.load(TABLE).overwrite(rows(lake, *range(10, 20)), "n = 2")
    # Many added rows do not hide a row that was deleted in the same range.
    assert scan.open_table(lake, TABLE).increment(at, current(lake)).deleted_rows == 1
    assert scan.open_table(lake, TABLE).increment(first, current(lake)).deleted_rows == 2


def test_one_commit_that_adds_more_than_it_removes_does_not_hide_what_another_removed(lake: Lake) -> None:
    first = add(lake, numbered(1, 2, 3))
    path = added_path(lake, first)
    row_delta(lake.load(TABLE), {path: [0]}, rows=rows(lake, 4, 5, 6, 7))
    row_delta(lake.load(TABLE), {path: [1]})
    assert scan.open_table(lake, TABLE).increment(first, current(lake)).deleted_rows == 1


@pytest.mark.parametrize("file_format", [FileFormat.AVRO, FileFormat.ORC])
def test_position_deletes_in_other_formats_are_applied(lake: Lake, file_format: FileFormat) -> None:
    files = [added_path(lake, add(lake, numbered(n, n + 1))) for n in (0, 10)]
    row_delta(lake.load(TABLE), {files[0]: [0], files[1]: [1]}, file_format=file_format)
    assert ids(lake) == [1, 10]


def test_a_missing_delete_file_is_reported(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    delete_positions(lake.load(TABLE), added_path(lake, first), [0])
    (file,) = scan.open_table(lake, TABLE).full(current(lake)).files
    local_path(file.delete_files[0].path).unlink()
    with pytest.raises(DeliveryError, match="it was deleted after the run was planned") as gone:
        full(lake)
    assert gone.value.code == "EXPORT-1410-410"
