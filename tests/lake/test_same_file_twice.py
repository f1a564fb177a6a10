"""A data file that a table contains several times: its rows are exported as often."""

from offtake.lake import scan, table_files
from offtake.lake.catalog import Lake
from tests.lake.lakes import TABLE, Row, add, full, increment, numbered
from tests.lake.other_writers import append_again, compact, data_files, delete_positions


def numbers(rows: list[Row]) -> list[int]:
    return sorted(row["n"] for row in rows)


def again(lake: Lake, times: int = 1) -> int:
    """Append the table's newest file `times` times in one commit. Returns the snapshot."""
    table = lake.load(TABLE)
    append_again(table, *[next(iter(data_files(table).values()))] * times)
    snapshot = scan.open_table(lake, TABLE).current_snapshot
    assert snapshot is not None
    return snapshot


def test_a_file_added_by_several_snapshots_is_exported_as_often(lake: Lake) -> None:
    first = add(lake, numbered(0))
    second = add(lake, numbered(1))
    third = again(lake)
    again(lake)
    assert increment(lake, first) == [1, 1, 1]
    assert increment(lake, second) == [1, 1]
    assert increment(lake, third) == [1]
    assert numbers(full(lake)) == [0, 1, 1, 1]


def test_a_file_added_several_times_by_one_snapshot_is_exported_as_often(lake: Lake) -> None:
    first = add(lake, numbered(1))
    again(lake, times=2)
    assert increment(lake, first) == [1, 1]
    assert numbers(full(lake)) == [1, 1, 1]


def test_only_entries_of_the_range_are_exported_after_a_mixed_compaction(lake: Lake) -> None:
    first = add(lake, numbered(1))
    again(lake)
    compact(lake.load(TABLE))
    assert numbers(full(lake)) == [1, 1]
    assert increment(lake, first) == [1]


def test_all_entries_are_exported_after_a_compaction_of_entries_of_the_range(lake: Lake) -> None:
    first = add(lake, numbered(0))
    add(lake, numbered(1))
    again(lake)
    compact(lake.load(TABLE), set(data_files(lake.load(TABLE))) - {path_of(lake, first)})
    assert increment(lake, first) == [1, 1]


def path_of(lake: Lake, snapshot: int) -> str:
    (file,) = scan.open_table(lake, TABLE).full(snapshot).files
    return file.path


def test_deleted_positions_apply_only_to_the_entries_at_that_time(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    second = again(lake)
    delete_positions(lake.load(TABLE), path_of(lake, first), [0], "exact")
    assert numbers(full(lake)) == [2, 2]
    assert increment(lake, first) == [2]
    again(lake)
    assert numbers(full(lake)) == [1, 2, 2, 2]
    assert sorted(increment(lake, second)) == [1, 2]


def test_an_overwrite_of_both_entries_exports_its_rows(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    again(lake)
    lake.load(TABLE).delete("n = 1")
    assert numbers(full(lake)) == [2, 2]
    assert increment(lake, first) == [2, 2]


def test_a_backup_contains_the_file_once(lake: Lake) -> None:
    add(lake, numbered(1))
    again(lake, times=2)
    uris = [file.uri for file in table_files.files_of(lake.load(TABLE).metadata_location)]
    assert len(uris) == len(set(uris))
