"""A data file that is in a table several times: its rows are in the table as often, and go out as often."""

from offtake.lake import scan, table_files
from offtake.lake.catalog import Lake
from tests.lake.lakes import TABLE, Row, add, full, increment, numbered
from tests.lake.other_writers import append_again, compact, data_files, delete_positions


def numbers(rows: list[Row]) -> list[int]:
    return sorted(row["n"] for row in rows)


def again(lake: Lake, times: int = 1) -> int:
    """Append the table's newest file that often in one commit; the snapshot."""
    table = lake.load(TABLE)
    append_again(table, *[next(iter(data_files(table).values()))] * times)
    snapshot = scan.current_snapshot(lake, TABLE)
    assert snapshot is not None
    return snapshot


def test_in_several_snapshots(lake: Lake) -> None:
    first = add(lake, numbered(0))
    second = add(lake, numbered(1))
    third = again(lake)
    again(lake)
    assert increment(lake, first) == [1, 1, 1]
    assert increment(lake, second) == [1, 1]
    assert increment(lake, third) == [1]
    assert numbers(full(lake)) == [0, 1, 1, 1]


def test_in_one_snapshot(lake: Lake) -> None:
    first = add(lake, numbered(1))
    again(lake, times=2)
    assert increment(lake, first) == [1, 1]
    assert numbers(full(lake)) == [1, 1, 1]


def test_only_what_came_in_the_range_is_due_of_a_compaction_of_both(lake: Lake) -> None:
    first = add(lake, numbered(1))
    again(lake)
    compact(lake.load(TABLE))
    assert numbers(full(lake)) == [1, 1]
    assert increment(lake, first) == [1]


def test_all_is_due_of_a_compaction_of_what_came_twice_in_the_range(lake: Lake) -> None:
    first = add(lake, numbered(0))
    add(lake, numbered(1))
    again(lake)
    compact(lake.load(TABLE), set(data_files(lake.load(TABLE))) - {path_of(lake, first)})
    assert increment(lake, first) == [1, 1]


def path_of(lake: Lake, snapshot: int) -> str:
    (file,) = scan.plan_full(lake, TABLE, snapshot).files
    return file.path


def test_deleted_positions_are_those_of_the_entries_that_were_there(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    second = again(lake)
    delete_positions(lake.load(TABLE), path_of(lake, first), [0], "exact")
    assert numbers(full(lake)) == [2, 2]
    assert increment(lake, first) == [2]
    again(lake)
    assert numbers(full(lake)) == [1, 2, 2, 2]
    assert sorted(increment(lake, second)) == [1, 2]


def test_an_overwrite_of_both_delivers_what_it_wrote(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    again(lake)
    lake.load(TABLE).delete("n = 1")
    assert numbers(full(lake)) == [2, 2]
    assert increment(lake, first) == [2, 2]


def test_a_backup_has_the_file_once(lake: Lake) -> None:
    add(lake, numbered(1))
    again(lake, times=2)
    uris = [file.uri for file in table_files.files_of(lake.load(TABLE).metadata_location)]
    assert len(uris) == len(set(uris))
