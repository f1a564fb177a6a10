"""Rows are read with one schema, whatever schema each file was written with."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.types import DoubleType, LongType, StringType

from offtake.errors import DeliveryError
from offtake.lake import scan, slicing, table_description
from offtake.lake.catalog import Lake
from offtake.lake.locations import local_path
from offtake.lake.parts import TableSchema, slices_from_json, slices_to_json
from tests.lake.lakes import TABLE, add, add_files, full, numbered, read
from tests.lake.other_writers import delete_positions


def test_columns_are_matched_by_field_id(lake: Lake) -> None:
    kind = pa.struct([("street", pa.string()), ("zip", pa.int32())])
    schema = pa.schema([("n", pa.int32()), ("gone", pa.string()), ("name", pa.string()), ("place", kind)])
    add(lake, [{"n": 1, "gone": "x", "name": "a", "place": {"street": "s", "zip": 1}}], schema)
    with lake.load(TABLE).update_schema() as update:
        update.delete_column("gone")
        update.rename_column("name", "label")
        update.rename_column(("place", "street"), "road")
        update.add_column("fresh", LongType())
        update.update_column("n", LongType())
        update.add_column(("place", "city"), StringType())
        update.move_first("place")
    add(lake, [{"n": 2**40, "label": "b", "place": {"road": "r", "zip": 2, "city": "Bern"}, "fresh": 7}])
    assert full(lake) == [
        {"place": {"road": "s", "zip": 1, "city": None}, "n": 1, "label": "a", "fresh": None},
        {"place": {"road": "r", "zip": 2, "city": "Bern"}, "n": 2**40, "label": "b", "fresh": 7},
    ]
    assert list(full(lake)[0]) == ["place", "n", "label", "fresh"]


def test_a_snapshot_is_read_with_its_own_schema(lake: Lake) -> None:
    first = add(lake, numbered(1))
    add(lake, [{"n": 2, "city": "x", "new": 1.5}])
    with lake.load(TABLE).update_schema() as update:
        update.rename_column("city", "town")
        update.add_column("later", DoubleType())
    assert full(lake, first) == numbered(1)
    # A schema change adds no snapshot: the last snapshot keeps its schema.
    assert full(lake)[1] == {"n": 2, "city": "x", "new": 1.5}


@pytest.mark.parametrize("most_rows", [1, 5, 7, 100])
def test_every_row_of_split_files_is_read_once_and_in_order(lake: Lake, most_rows: int) -> None:
    snapshot = add(lake, numbered(*range(20)))
    (file,) = scan.open_table(lake, TABLE).full(snapshot).files
    table = pq.read_table(local_path(file.path))
    pq.write_table(table, local_path(file.path), row_group_size=3)
    schema = scan.open_table(lake, TABLE).schema(snapshot)
    parts = slicing.slices([file], 2**62, most_rows)
    assert all(tuple(part) == slices_from_json(slices_to_json(part)) for part in parts)
    assert schema == TableSchema.from_json(schema.to_json())
    sizes = [sum(piece.rows for piece in part) for part in parts]
    assert sum(sizes) == 20
    assert all(size <= max(3, most_rows) for size in sizes)
    assert [row["n"] for row in read(lake, [file], snapshot, most_rows)] == list(range(20))


@pytest.mark.parametrize("most_rows", [3, 9, 100])
def test_deleted_positions_refer_to_the_whole_file_when_it_is_split(lake: Lake, most_rows: int) -> None:
    snapshot = add(lake, numbered(*range(20)))
    (file,) = scan.open_table(lake, TABLE).full(snapshot).files
    pq.write_table(pq.read_table(local_path(file.path)), local_path(file.path), row_group_size=3)
    delete_positions(lake.load(TABLE), file.path, [0, 2, 3, 10, 19])
    at = scan.open_table(lake, TABLE).current_snapshot
    assert at is not None
    rows = read(lake, scan.open_table(lake, TABLE).full(at).files, at, most_rows)
    assert [row["n"] for row in rows] == [n for n in range(20) if n not in (0, 2, 3, 10, 19)]


def test_small_files_are_read_together(lake: Lake) -> None:
    snapshot = [add(lake, numbered(n)) for n in range(10)][-1]
    parts = slicing.slices(scan.open_table(lake, TABLE).full(snapshot).files, 2**62, 4)
    assert [len(part) for part in parts] == [4, 4, 2]


@pytest.mark.parametrize("break_it", ["remove", "cut"])
def test_errors_name_an_unreadable_file(lake: Lake, break_it: str) -> None:
    snapshot = add(lake, numbered(*range(10)))
    (file,) = scan.open_table(lake, TABLE).full(snapshot).files
    path = local_path(file.path)
    if break_it == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DeliveryError, match=path.name):
        read(lake, [file], snapshot)


def test_a_description_and_a_preview_show_the_current_table(lake: Lake, tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": range(20_000)}), tmp_path / "n.parquet")
    add_files(lake, tmp_path / "n.parquet")
    add(lake, [{"n": -1, "new": "x"}])
    shown: dict[str, Any] = table_description.describe(lake, TABLE).to_json()
    assert [(one["name"], one["type"], one["required"]) for one in shown["fields"]] == [
        ("n", "long", False),
        ("new", "string", False),
    ]
    assert (shown["rows"], shown["files"], len(shown["snapshots"])) == (20_001, 2, 2)
    assert table_description.preview(lake, TABLE, 3).to_pylist() == [{"n": n, "new": None} for n in range(3)]
    assert table_description.preview(lake, TABLE, 30_000).num_rows == 20_001
