"""Compactions within a range: every row of the range is exported once."""

import pyarrow as pa
import pytest
from pyiceberg.transforms import IdentityTransform

from offtake.lake import scan
from offtake.lake.catalog import Lake
from tests.lake.lakes import TABLE, add, increment, numbered
from tests.lake.other_writers import compact, data_files, delete_equal, delete_positions, row_delta


def plan(lake: Lake, after: int) -> scan.ScanPlan:
    to = scan.open_table(lake, TABLE).current_snapshot
    assert to is not None
    return scan.open_table(lake, TABLE).increment(after, to)


def paths(lake: Lake) -> set[str]:
    return set(data_files(lake.load(TABLE)))


def test_deletes_of_a_compacted_file_apply_to_the_rows_of_the_range(lake: Lake) -> None:
    first = add(lake, numbered(0))
    old = paths(lake)
    add(lake, numbered(1, 2))
    add(lake, numbered(3))
    compact(lake.load(TABLE), paths(lake) - old)
    (output,) = paths(lake) - old
    delete_positions(lake.load(TABLE), output, [1])
    assert len(increment(lake, first)) == 2
    assert [one.path for one in plan(lake, first).files] == [output]


@pytest.mark.parametrize("drop_deletes", [False, True])
def test_rows_deleted_before_a_compaction_are_not_exported(lake: Lake, drop_deletes: bool) -> None:
    first = add(lake, numbered(0))
    old = paths(lake)
    add(lake, numbered(1, 2))
    (file,) = paths(lake) - old
    delete_positions(lake.load(TABLE), file, [0])
    # The compaction's output has 0 and 2; 0 is older.
    compact(lake.load(TABLE), drop_deletes=drop_deletes)
    assert increment(lake, first) == [2]


def test_only_the_rows_of_the_range_are_exported_after_a_mixed_compaction(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    add(lake, numbered(3))
    compact(lake.load(TABLE))
    add(lake, numbered(4))
    compact(lake.load(TABLE), outputs=2)
    add(lake, numbered(5))
    assert increment(lake, first) == [3, 4, 5]
    compact(lake.load(TABLE))
    assert increment(lake, first) == [3, 4, 5]


def test_deletes_after_a_mixed_compaction_cause_a_full_export_with_a_warning(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    add(lake, numbered(3))
    compact(lake.load(TABLE))
    (output,) = paths(lake)
    delete_positions(lake.load(TABLE), output, [0])
    full = plan(lake, first)
    assert (full.kind, sum(file.rows for file in full.files), len(full.files[0].delete_files)) == ("full", 3, 1)
    assert full.warning is not None
    assert "cannot be distinguished" in full.warning
    # A further compaction does not restore the information.
    compact(lake.load(TABLE), drop_deletes=True)
    assert plan(lake, first).kind == "full"
    # From this snapshot on, increments are exact again.
    at = scan.open_table(lake, TABLE).current_snapshot
    assert at is not None
    add(lake, numbered(4))
    assert increment(lake, at) == [4]


def test_removing_one_file_of_a_mixed_compaction_causes_a_full_export(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    add(lake, numbered(3))
    compact(lake.load(TABLE), outputs=2)
    lake.load(TABLE).delete("n = 3")
    assert plan(lake, first).kind == "full"
    lake.load(TABLE).delete("n < 3")
    assert plan(lake, first).files == ()
    assert plan(lake, first).kind == "incremental"


def test_deletes_of_other_files_do_not_affect_a_mixed_compaction(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    add(lake, numbered(3))
    compact(lake.load(TABLE))
    blend = paths(lake)
    add(lake, numbered(4, 5))
    (other,) = paths(lake) - blend
    delete_positions(lake.load(TABLE), other, [0], "exact")
    assert increment(lake, first) == [3, 5]
    # Without bounds, the delete file is read.
    delete_positions(lake.load(TABLE), other, [0])
    assert increment(lake, first) == [3, 5]


def test_compactions_are_followed_by_partition(lake: Lake) -> None:
    add(lake, [{"n": 1, "k": 0}])
    with lake.load(TABLE).update_spec() as update:
        update.add_field("k", IdentityTransform())
    table = lake.load(TABLE)
    rows = pa.schema([("n", pa.int64()), ("k", pa.int64())])
    table.append(pa.Table.from_pylist([{"n": 2, "k": 0}], rows))
    first = scan.open_table(lake, TABLE).current_snapshot
    assert first is not None
    table.append(pa.Table.from_pylist([{"n": 3, "k": 0}, {"n": 4, "k": 1}, {"n": 5, "k": 1}], rows))
    compact(lake.load(TABLE), [path for path, file in data_files(lake.load(TABLE)).items() if len(file.partition)])
    of_one = [path for path, file in data_files(lake.load(TABLE)).items() if len(file.partition) and file.partition[0]]
    delete_positions(lake.load(TABLE), of_one[0], [0])
    # Partition 1 has only rows of the range, so the delete applies to its compacted file; partition 0 is mixed.
    assert increment(lake, first) == [3, 5]
    # With a new partition spec, only the compaction's input files distinguish the rows.
    with lake.load(TABLE).update_spec() as update:
        update.remove_field("k")
    compact(lake.load(TABLE))
    assert increment(lake, first) == [3, 5]


def test_rows_removed_by_equality_deletes_before_a_compaction_are_not_exported(lake: Lake) -> None:
    first = add(lake, numbered(1))
    add(lake, numbered(2, 3))
    delete_equal(lake.load(TABLE), 2)
    assert increment(lake, first) == [3]
    # PyIceberg cannot read such tables, so the rows are passed explicitly.
    compact(lake.load(TABLE), rows=pa.table({"n": [1, 3], "city": ["town 1", "town 3"]}))
    assert increment(lake, first) == [3]


def test_a_compaction_of_older_files_adds_no_rows(lake: Lake) -> None:
    add(lake, numbered(1))
    at = add(lake, numbered(2))
    compact(lake.load(TABLE))
    row_delta(lake.load(TABLE), {next(iter(paths(lake))): [0]})
    assert plan(lake, at).files == ()
    assert plan(lake, at).kind == "incremental"
    assert plan(lake, at).deleted_rows == 1
