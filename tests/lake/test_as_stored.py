"""Files are copied as stored only if their rows and columns need no change, for any history of the table."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import IntegerType, LongType, NestedField, StringType, StructType

from offtake.errors import DeliveryError
from offtake.lake import reading, scan, slicing
from offtake.lake.catalog import Lake
from offtake.lake.locations import local_path
from offtake.lake.parts import FileSlice, TableSchema, narrow_types
from offtake.lake.projection import ColumnNames, is_identity
from tests.lake.lakes import TABLE, add, full, numbered
from tests.lake.other_writers import compact, data_files, delete_positions
from tests.lake.test_columns import append, create, hive

FORMER: list[dict[str, Any]] = [{"n": 1, "a": "a1", "b": "b1"}]
LATER: list[dict[str, Any]] = [{"n": 2, "a": "a2", "b": "b2"}]


@pytest.fixture(params=["with ids", "without"])
def table(lake: Lake, request: pytest.FixtureRequest) -> Lake:
    """A table with one file, with or without field ids."""
    if request.param == "with ids":
        n, a, b = NestedField(1, "n", LongType()), NestedField(2, "a", StringType()), NestedField(3, "b", StringType())
        create(lake, Schema(n, a, b))
        append(lake, FORMER)
    else:
        add(lake, FORMER)
    return lake


def parts(lake: Lake) -> tuple[TableSchema, list[list[FileSlice]]]:
    """The current snapshot's files, each as a separate part."""
    at = scan.open_table(lake, TABLE).current_snapshot
    assert at is not None
    files = scan.open_table(lake, TABLE).full(at).files
    return scan.open_table(lake, TABLE).schema(at), slicing.slices(files, 1, 2**62)


def goes(lake: Lake) -> list[bool]:
    """For each file, in order: whether it is copied as stored."""
    schema, found = parts(lake)
    said = []
    for part in found:
        with reading.unchanged_row_groups(part, schema) as stored:
            said.append(stored is not None)
    with reading.unchanged_row_groups([piece for part in found for piece in part], schema) as stored:
        assert (stored is not None) == all(said)
    return said


def test_files_with_unchanged_columns_are_copied(table: Lake) -> None:
    assert goes(table) == [True]
    append(table, LATER)
    assert goes(table) == [True, True]
    assert full(table) == FORMER + LATER


def test_ranges_of_row_groups_are_kept_and_files_are_closed(lake: Lake) -> None:
    snapshot = add(lake, numbered(*range(20)))
    (file,) = scan.open_table(lake, TABLE).full(snapshot).files
    pq.write_table(pq.read_table(local_path(file.path)), local_path(file.path), row_group_size=3)
    schema = scan.open_table(lake, TABLE).schema(snapshot)
    pieces = [piece for part in slicing.slices([file], 2**62, 6) for piece in part]
    with reading.unchanged_row_groups(pieces, schema) as stored:
        assert stored is not None
        assert [one[1:] for one in stored] == [(0, 2), (2, 4), (4, 6), (6, 7)]
        assert not any(one[0].closed for one in stored)
    assert all(one[0].closed for one in stored)


def changed(lake: Lake, *changes: Callable[[Any], Any]) -> None:
    for change in changes:
        with lake.load(TABLE).update_schema() as update:
            change(update)


def drop_and_add_the_last(lake: Lake) -> None:
    changed(lake, lambda update: update.delete_column("b"), lambda update: update.add_column("b", StringType()))


def swap(lake: Lake) -> None:
    """Names, positions and types are unchanged, but the fields are other ones."""
    changed(
        lake,
        lambda update: update.rename_column("a", "c"),
        lambda update: update.rename_column("b", "a"),
        lambda update: update.rename_column("c", "b"),
        lambda update: update.move_after("b", "a"),
    )


CHANGES: dict[str, Callable[[Lake], None]] = {
    "added": lambda lake: changed(lake, lambda update: update.add_column("c", LongType())),
    "dropped": lambda lake: changed(lake, lambda update: update.delete_column("b")),
    "renamed": lambda lake: changed(lake, lambda update: update.rename_column("b", "c")),
    "moved": lambda lake: changed(lake, lambda update: update.move_first("b")),
    "dropped and added again": drop_and_add_the_last,
    "swapped": swap,
}


@pytest.mark.parametrize("change", CHANGES)
def test_files_from_before_a_column_change_are_not_copied(table: Lake, change: str) -> None:
    CHANGES[change](table)
    names = table.load(TABLE).schema().column_names
    append(table, [{name: 3 if name in ("n", "c") and change != "renamed" else "x" for name in names} | {"n": 2}])
    assert goes(table) == [False, True]


def test_files_with_widened_columns_are_not_copied(lake: Lake) -> None:
    create(lake, Schema(NestedField(1, "n", IntegerType())))
    append(lake, [{"n": 1}])
    changed(lake, lambda update: update.update_column("n", LongType()))
    append(lake, [{"n": 2**40}])
    assert goes(lake) == [False, True]


@pytest.mark.parametrize(
    "change",
    [
        lambda update: update.rename_column(("place", "street"), "road"),
        lambda update: update.delete_column(("place", "zip")),
        lambda update: update.move_first(("place", "zip")),
        lambda update: update.update_column(("place", "zip"), LongType()),
        lambda update: update.add_column(("place", "city"), StringType()),
    ],
    ids=["renamed", "dropped", "moved", "widened", "added"],
)
def test_files_from_before_a_change_of_nested_fields_are_not_copied(lake: Lake, change: Callable[[Any], Any]) -> None:
    place = StructType(NestedField(3, "street", StringType()), NestedField(4, "zip", IntegerType()))
    create(lake, Schema(NestedField(1, "n", LongType()), NestedField(2, "place", place)))
    append(lake, [{"n": 1, "place": {"street": "s", "zip": 1}}])
    assert goes(lake) == [True]
    changed(lake, change)
    append(lake, [{"n": 2, "place": None}])
    assert goes(lake) == [False, True]


def test_files_with_ambiguous_column_names_are_not_copied_and_refused_when_read(lake: Lake) -> None:
    first = add(lake, FORMER)
    swap(lake)
    append(lake, LATER)
    lake.load(TABLE).maintenance.expire_snapshots().by_id(first).commit()
    assert goes(lake) == [False, True]
    with pytest.raises(DeliveryError, match="it is unknown which columns the file has"):
        full(lake)


def test_files_without_their_partition_columns_are_not_copied(lake: Lake) -> None:
    create(lake, Schema(NestedField(1, "n", LongType()), NestedField(2, "part", StringType())))
    with lake.load(TABLE).update_spec() as update:
        update.add_field("part", IdentityTransform(), "part")
    hive(lake, pa.table({"n": [1, 2]}), Record("x"))
    hive(lake, pa.table({"n": [1, 2], "part": ["x", "x"]}), Record("x"))
    assert goes(lake) == [False, True]


def test_files_with_deleted_rows_are_not_copied_until_they_are_compacted(table: Lake) -> None:
    append(table, LATER)
    (first, _) = [piece.path for part in parts(table)[1] for piece in part]
    delete_positions(table.load(TABLE), first, [0], "exact")
    assert goes(table) == [False, True]
    assert full(table) == LATER
    compact(table.load(TABLE), drop_deletes=True)
    assert goes(table) == [True]
    assert full(table) == LATER


@pytest.mark.parametrize(
    ("broken", "code"), [("gone", "EXPORT-1410-410"), ("cut off", "EXPORT-1500-500"), ("not text", "EXPORT-1500-500")]
)
def test_errors_name_unreadable_files(lake: Lake, broken: str, code: str) -> None:
    add(lake, FORMER)
    schema, (part,) = parts(lake)
    (file,) = map(local_path, data_files(lake.load(TABLE)))
    whole = file.read_bytes()
    if broken == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[:-9] if broken == "cut off" else whole.replace(b"\x18\x01a", b"\x18\x01\xff"))
    for read in (reading.unchanged_row_groups(part, schema).__enter__, lambda: list(reading.read(part, schema))):
        with pytest.raises(DeliveryError) as refused:
            read()
        assert refused.value.code == code
        assert file.name in refused.value.message


ALIKE: list[tuple[pa.DataType, pa.DataType, bool]] = [
    (pa.large_string(), pa.string(), True),
    (pa.string_view(), pa.string(), True),
    (pa.large_binary(), pa.binary(), True),
    (pa.large_list(pa.large_string()), pa.list_(pa.string()), True),
    (pa.list_(pa.field("item", pa.int64())), pa.list_(pa.field("element", pa.int64())), True),
    (pa.dictionary(pa.int32(), pa.string()), pa.string(), False),
    (pa.list_(pa.field("element", pa.int64(), nullable=False)), pa.list_(pa.int64()), False),
    (pa.timestamp("ns"), pa.timestamp("us"), False),
    (pa.timestamp("us", "Europe/Zurich"), pa.timestamp("us", "UTC"), False),
    (pa.timestamp("us"), pa.timestamp("us", "UTC"), False),
    (pa.decimal128(9, 2), pa.decimal128(10, 2), False),
    (pa.int32(), pa.int64(), False),
    (pa.binary(16), pa.uuid(), False),
    (pa.string(), pa.binary(), False),
]


@pytest.mark.parametrize(("stored", "wanted", "alike"), ALIKE, ids=str)
def test_arrow_types_that_are_equal_in_parquet_are_copied(
    stored: pa.DataType, wanted: pa.DataType, alike: bool
) -> None:
    target = pa.schema([pa.field("x", wanted, metadata={"PARQUET:field_id": "1"})])
    assert is_identity(narrow_types(pa.schema([("x", stored)])), target, ColumnNames.of(target)) == alike
