"""The rows of an increment after various table changes."""

import pytest

from offtake.errors import DeliveryError
from offtake.lake import scan
from offtake.lake.catalog import Lake
from tests.lake.lakes import TABLE, add, full, increment, numbered
from tests.lake.other_writers import compact, delete_positions


def ids(lake: Lake) -> list[int]:
    return [row["n"] for row in full(lake)]


def current(lake: Lake) -> int:
    found = scan.open_table(lake, TABLE).current_snapshot
    assert found is not None
    return found


def test_an_increment_has_the_rows_appended_since_oldest_first(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    second = add(lake, numbered(3))
    third = add(lake, numbered(4, 5))
    assert increment(lake, first) == [3, 4, 5]
    assert increment(lake, first, second) == [3]
    assert increment(lake, second) == [4, 5]
    assert increment(lake, third) == []
    assert ids(lake) == [1, 2, 3, 4, 5]
    assert [row["n"] for row in full(lake, second)] == [1, 2, 3]


def test_rows_rewritten_by_an_overwrite_are_exported_again(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    table = lake.load(TABLE)
    changed = table.scan().to_arrow().slice(0, 1)
    table.overwrite(changed, "n = 1")
    # The file with 1 and 2 was rewritten without 1, and 1 was written again.
    assert sorted(increment(lake, first)) == [1, 2]
    assert sorted(ids(lake)) == [1, 2]


def test_rows_added_and_removed_within_the_range_are_not_exported(lake: Lake) -> None:
    first = add(lake, numbered(1))
    add(lake, numbered(2, 3))
    add(lake, numbered(4))
    lake.load(TABLE).delete("n in (2, 3)")
    plan = scan.open_table(lake, TABLE).increment(first, current(lake))
    assert increment(lake, first) == [4]
    assert plan.deleted_rows == 2


def test_deletes_export_no_rows_and_are_counted(lake: Lake) -> None:
    add(lake, numbered(1, 2))
    second = add(lake, numbered(3, 4))
    lake.load(TABLE).delete("n >= 3")
    plan = scan.open_table(lake, TABLE).increment(second, current(lake))
    assert (plan.files, plan.deleted_rows) == ((), 2)
    assert ids(lake) == [1, 2]


def test_a_compaction_neither_adds_nor_hides_rows(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    second = add(lake, numbered(3))
    compact(lake.load(TABLE))
    add(lake, numbered(4))
    assert increment(lake, first) == [3, 4]
    assert increment(lake, second) == [4]
    assert sorted(ids(lake)) == [1, 2, 3, 4]


def test_rows_removed_after_a_compaction_are_not_exported(lake: Lake) -> None:
    first = add(lake, numbered(0))
    add(lake, numbered(1))
    compact(lake.load(TABLE))
    add(lake, numbered(2))
    compact(lake.load(TABLE))
    lake.load(TABLE).delete("n = 1")
    # The remaining rows of the compacted file were rewritten, and are exported again.
    assert sorted(increment(lake, first)) == [0, 2]
    lake.load(TABLE).delete("n >= 0")
    assert increment(lake, first) == []


def test_position_deletes_are_applied_in_full_and_in_increments(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    second = add(lake, numbered(3, 4, 5))
    files = {file.rows: file.path for file in scan.open_table(lake, TABLE).full(second).files}
    delete_positions(lake.load(TABLE), files[3], [0, 2])
    delete_positions(lake.load(TABLE), files[2], [1])
    assert ids(lake) == [1, 4]
    assert increment(lake, first) == [4]
    assert increment(lake, second) == []
    assert [row["n"] for row in full(lake, second)] == [1, 2, 3, 4, 5]


def test_an_increment_is_full_with_a_warning_if_the_last_exported_snapshot_expired(lake: Lake) -> None:
    first = add(lake, numbered(1))
    add(lake, numbered(2))
    last = add(lake, numbered(3))
    lake.load(TABLE).maintenance.expire_snapshots().by_id(first).commit()
    plan = scan.open_table(lake, TABLE).increment(first, last)
    assert plan.kind == "full"
    assert plan.warning is not None
    assert "no longer in the table's history" in plan.warning
    assert sum(file.rows for file in plan.files) == 3


def test_an_increment_after_a_rollback_is_full(lake: Lake) -> None:
    first = add(lake, numbered(1))
    second = add(lake, numbered(2))
    lake.load(TABLE).manage_snapshots().rollback_to_snapshot(first).commit()
    third = add(lake, numbered(3))
    assert scan.open_table(lake, TABLE).increment(second, third).kind == "full"
    assert ids(lake) == [1, 3]


def test_an_expired_snapshot_is_reported(lake: Lake) -> None:
    first = add(lake, numbered(1))
    add(lake, numbered(2))
    lake.load(TABLE).maintenance.expire_snapshots().by_id(first).commit()
    with pytest.raises(DeliveryError, match="has been removed"):
        scan.open_table(lake, TABLE).full(first)
