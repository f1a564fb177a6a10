"""Equality deletes: rows with the keys are deleted, in older files of the same partition, by any columns."""

import resource
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import FileFormat
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, StringType

from offtake.errors import DeliveryError
from offtake.lake import scan
from offtake.lake.catalog import Lake
from offtake.lake.delete_files import EqualityDeletes
from offtake.lake.parts import FileSlice, slices_from_json, slices_to_json
from tests.lake.lakes import TABLE, add, full, increment, numbered, read
from tests.lake.other_writers import compact, data_files, delete_equal, delete_keys, delete_positions


def current(lake: Lake) -> int:
    found = scan.open_table(lake, TABLE).current_snapshot
    assert found is not None
    return found


def numbers(lake: Lake) -> list[int]:
    return sorted(row["n"] for row in full(lake))


def rows(lake: Lake, *added: int) -> pa.Table:
    return pa.Table.from_pylist(numbered(*added), lake.load(TABLE).schema().as_arrow())


def test_keys_delete_older_rows_but_not_those_of_the_same_or_later_commits(lake: Lake) -> None:
    add(lake, numbered(1, 2, 3))
    delete_equal(lake.load(TABLE), 1, 2, rows=rows(lake, 2))
    assert numbers(lake) == [2, 3]
    add(lake, numbered(1))
    assert numbers(lake) == [1, 2, 3]


def test_an_upsert_delivers_the_new_version_once(lake: Lake) -> None:
    add(lake, numbered(1, 2))
    start = current(lake)
    for _ in range(3):
        delete_equal(lake.load(TABLE), 2, 3, rows=rows(lake, 2, 3))
    assert increment(lake, start) == [2, 3]
    plan = scan.open_table(lake, TABLE).increment(start, current(lake))
    assert (plan.deleted_rows, plan.deleted_keys) == (0, 6)
    assert numbers(lake) == [1, 2, 3]


def test_rows_added_and_deleted_in_the_range_are_not_delivered_and_older_ones_not_counted(lake: Lake) -> None:
    first = add(lake, numbered(1))
    add(lake, numbered(2, 3))
    delete_equal(lake.load(TABLE), 1, 2)
    at = current(lake)
    assert increment(lake, first) == [3]
    assert scan.open_table(lake, TABLE).increment(first, at).deleted_keys == 2
    add(lake, numbered(4))
    assert increment(lake, at) == [4]
    assert scan.open_table(lake, TABLE).increment(at, current(lake)).deleted_keys == 0


def test_equality_deletes_of_a_mixed_compaction_apply_to_the_rows_of_the_range(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    add(lake, numbered(3, 4, 5))
    compact(lake.load(TABLE), rows=rows(lake, 1, 2, 3, 4, 5))
    delete_equal(lake.load(TABLE), 2, 3)
    assert increment(lake, first) == [4, 5]
    # Another compaction of the output, which applies the deletes.
    add(lake, numbered(6))
    compact(lake.load(TABLE), rows=rows(lake, 1, 4, 5, 6))
    add(lake, numbered(3))
    compact(lake.load(TABLE), rows=rows(lake, 1, 4, 5, 6, 3))
    delete_equal(lake.load(TABLE), 1, 5)
    assert sorted(increment(lake, first)) == [3, 4, 6]
    assert numbers(lake) == [3, 4, 6]


def test_keys_that_apply_to_a_part_of_a_compactions_output_cause_a_full_export(lake: Lake) -> None:
    partitioned(lake)
    first = current(lake)
    lake.load(TABLE).append(pa.table({"n": [3, 4], "k": [1, 2]}))
    files = list(data_files(lake.load(TABLE)).values())
    with lake.load(TABLE).update_spec() as update:
        update.add_field("n", IdentityTransform())
    # All files are compacted into those of another spec: rows of all partitions mix.
    compact(lake.load(TABLE), [file.file_path for file in files])
    keys, about = pa.table({"n": [3]}), next(iter(data_files(lake.load(TABLE)).values()))
    delete_keys(lake.load(TABLE), keys, about=about)
    plan = scan.open_table(lake, TABLE).increment(first, current(lake))
    assert plan.kind == "full"


def partitioned(lake: Lake) -> None:
    add(lake, [{"n": 0, "k": 0}])
    with lake.load(TABLE).update_spec() as update:
        update.add_field("k", IdentityTransform())
    lake.load(TABLE).append(pa.table({"n": [1, 1, 2], "k": [1, 2, 2]}))


def test_keys_apply_to_their_partition_and_without_partitions_to_all(lake: Lake) -> None:
    partitioned(lake)
    about = next(one for one in data_files(lake.load(TABLE)).values() if len(one.partition) and one.partition[0] == 2)
    delete_keys(lake.load(TABLE), pa.table({"n": [1]}), about=about)
    assert sorted((row["n"], row["k"]) for row in full(lake)) == [(0, 0), (1, 1), (2, 2)]
    unpartitioned = next(one for one in data_files(lake.load(TABLE)).values() if not len(one.partition))
    delete_keys(lake.load(TABLE), pa.table({"n": [0, 1]}), about=unpartitioned)
    assert [(row["n"], row["k"]) for row in full(lake)] == [(2, 2)]


VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "boolean": (pa.bool_(), [True, False, None]),
    "int": (pa.int32(), [1, -1, None]),
    "long": (pa.int64(), [2**60, 0, None]),
    "float": (pa.float32(), [1.5, float("nan"), 0.0, -0.0, None]),
    "double": (pa.float64(), [1.5, float("nan"), 0.0, -0.0, float("inf"), None]),
    "decimal": (pa.decimal128(30, 2), [Decimal("1.10"), Decimal("-1.10"), None]),
    "date": (pa.date32(), [date(2026, 1, 1), date(1, 1, 1), None]),
    "timestamp": (pa.timestamp("us"), [datetime(2026, 1, 1), datetime(9999, 1, 1), None]),
    "timestamptz": (pa.timestamp("us", "UTC"), [datetime(2026, 1, 1, tzinfo=UTC), None]),
    "string": (pa.string(), ["", "é", "a" * 100, None]),
    "uuid": (pa.uuid(), [UUID(int=1).bytes, UUID(int=2).bytes, None]),
    "binary": (pa.binary(), [b"", b"\xff", None]),
    "fixed": (pa.binary(3), [b"abc", b"\xff\0\0", None]),
}


@pytest.mark.parametrize("name", VALUES)
def test_each_value_of_each_type_deletes_its_own_rows_only(lake: Lake, name: str) -> None:
    kind, values = VALUES[name]
    schema = pa.schema([("n", pa.int64()), ("key", kind)])
    add(lake, [{"n": n, "key": value} for n, value in enumerate(values)], schema)
    start = current(lake)
    for n, value in enumerate(values):
        delete_keys(lake.load(TABLE), pa.table({"key": pa.array([value], kind)}))
        assert numbers(lake) == [other for other in range(len(values)) if other != n]
        lake.load(TABLE).manage_snapshots().rollback_to_snapshot(start).commit()


def test_keys_of_several_columns_match_rows_with_all_of_their_values(lake: Lake) -> None:
    schema = pa.schema([("n", pa.int64()), ("a", pa.string()), ("b", pa.int32()), ("c", pa.date32())])
    day = date(2026, 1, 1)
    combined = [(a, b, c) for a in ("x", "y", None) for b in (1, 2, None) for c in (day, None)]
    add(lake, [{"n": n, "a": a, "b": b, "c": c} for n, (a, b, c) in enumerate(combined)], schema)
    keys = [("x", 1, day), ("y", None, None), (None, 2, day), ("z", 1, day), (None, None, None)]
    columns = {name: [key[index] for key in keys] for index, name in enumerate("abc")}
    delete_keys(lake.load(TABLE), pa.table(columns, pa.schema([schema.field(one) for one in "abc"])))
    assert numbers(lake) == [n for n, key in enumerate(combined) if key not in keys]
    # Different columns in different delete files.
    delete_keys(lake.load(TABLE), pa.table({"b": pa.array([2], pa.int32())}))
    delete_keys(lake.load(TABLE), pa.table({"a": pa.array([None], pa.string()), "b": pa.array([1], pa.int32())}))
    gone = [*keys, *((a, 2, c) for a, _, c in combined), (None, 1, day), (None, 1, None)]
    assert numbers(lake) == [n for n, key in enumerate(combined) if key not in gone]


def test_key_columns_in_structs_are_found_and_a_null_struct_has_null_keys(lake: Lake) -> None:
    inner = pa.struct([("x", pa.int32()), ("y", pa.string())])
    schema = pa.schema([("n", pa.int64()), ("s", inner)])
    values = [{"x": 1, "y": "a"}, {"x": 2, "y": "a"}, {"x": None, "y": "a"}, None]
    add(lake, [{"n": n, "s": value} for n, value in enumerate(values)], schema)
    table = lake.load(TABLE)
    ids = [table.schema().find_field(name).field_id for name in ("s", "s.x")]

    def keys(value: int | None) -> pa.Table:
        x = pa.field("x", pa.int32(), metadata={"PARQUET:field_id": str(ids[1])})
        s = pa.field("s", pa.struct([x]), metadata={"PARQUET:field_id": str(ids[0])})
        return pa.table({"s": pa.array([{"x": value}], s.type)}, schema=pa.schema([s]))

    delete_keys(table, keys(2), ids[1:])
    assert numbers(lake) == [0, 2, 3]
    delete_keys(lake.load(TABLE), keys(None), ids[1:])
    assert numbers(lake) == [0]


def test_key_columns_are_found_when_renamed_widened_or_dropped_since(lake: Lake) -> None:
    schema = pa.schema([("n", pa.int64()), ("a", pa.int32()), ("b", pa.string())])
    add(lake, [{"n": n, "a": n, "b": f"b{n}"} for n in range(6)], schema)
    delete_keys(lake.load(TABLE), pa.table({"a": pa.array([1], pa.int32())}))
    delete_keys(lake.load(TABLE), pa.table({"b": ["b2"]}))
    with lake.load(TABLE).update_schema() as update:
        update.update_column("a", LongType())
        update.rename_column("a", "renamed")
        update.delete_column("b")
    delete_keys(lake.load(TABLE), pa.table({"renamed": pa.array([3], pa.int64())}))
    with lake.load(TABLE).update_schema() as update:
        # Another column with the name of the dropped one, and without its values.
        update.add_column("b", StringType())
    lake.load(TABLE).append(pa.table({"n": [9], "renamed": [9], "b": ["b4"]}))
    delete_keys(lake.load(TABLE), pa.table({"b": ["b4"]}))
    assert numbers(lake) == [0, 4, 5]
    with lake.load(TABLE).update_schema() as update:
        update.delete_column("renamed")
    lake.load(TABLE).append(pa.table({"n": [10], "b": ["x"]}))
    assert numbers(lake) == [0, 4, 5, 10]


def test_files_without_a_key_column_have_null_keys(lake: Lake) -> None:
    add(lake, numbered(1))
    with lake.load(TABLE).update_schema() as update:
        update.add_column("later", LongType())
    lake.load(TABLE).append(pa.table({"n": [2, 3], "city": ["a", "b"], "later": pa.array([None, 5], pa.int64())}))
    delete_keys(lake.load(TABLE), pa.table({"later": pa.array([None], pa.int64())}))
    assert numbers(lake) == [3]


def test_a_partition_column_that_is_not_in_the_file_has_the_partitions_value(lake: Lake) -> None:
    partitioned(lake)
    for file in data_files(lake.load(TABLE)).values():
        if len(file.partition):
            path = file.file_path.removeprefix("file://")
            pq.write_table(pq.read_table(path, columns=["n"]), path)
    delete_keys(lake.load(TABLE), pa.table({"k": [2]}), about=unpartitioned_file(lake))
    assert sorted((row["n"], row["k"]) for row in full(lake)) == [(0, 0), (1, 1)]


def unpartitioned_file(lake: Lake) -> Any:
    return next(one for one in data_files(lake.load(TABLE)).values() if not len(one.partition))


@pytest.mark.parametrize("file_format", [FileFormat.ORC, FileFormat.AVRO])
def test_keys_in_other_formats_are_applied(lake: Lake, file_format: FileFormat) -> None:
    add(lake, numbered(1, 2, 3))
    delete_keys(lake.load(TABLE), pa.table({"n": [2], "city": ["town 2"]}), file_format=file_format)
    delete_keys(lake.load(TABLE), pa.table({"city": ["town 3"]}), file_format=file_format)
    assert numbers(lake) == [1]


def test_bounds_of_keys_leave_out_files_without_them(lake: Lake) -> None:
    add(lake, numbered(1, 2))
    add(lake, numbered(11, 12))
    for file in data_files(lake.load(TABLE)).values():
        assert file.lower_bounds
    bounds: dict[str, Any] = {
        "lower_bounds": {1: (12).to_bytes(4, "little")},
        "upper_bounds": {1: (40).to_bytes(8, "little")},
    }
    keys = pa.table({"n": [12, 40]})
    delete_keys(lake.load(TABLE), keys, **bounds, null_value_counts={1: 0})
    plan = scan.open_table(lake, TABLE).full(current(lake))
    assert [len(file.delete_files) for file in plan.files] == [0, 1]
    assert numbers(lake) == [1, 2, 11]


def test_bounds_do_not_leave_out_null_keys(lake: Lake) -> None:
    add(lake, [{"n": 1, "city": None}, {"n": 2, "city": "b"}], pa.schema([("n", pa.int64()), ("city", pa.string())]))
    bounds: dict[str, Any] = {"lower_bounds": {2: b"x"}, "upper_bounds": {2: b"x"}}
    delete_keys(lake.load(TABLE), pa.table({"city": ["x", None]}), **bounds, null_value_counts={2: 1})
    assert numbers(lake) == [2]


def test_positions_and_keys_delete_together_in_split_files(lake: Lake) -> None:
    add(lake, numbered(*range(20)))
    (path,) = data_files(lake.load(TABLE))
    local = path.removeprefix("file://")
    pq.write_table(pq.read_table(local), local, row_group_size=3)
    delete_positions(lake.load(TABLE), path, [0, 7, 19])
    delete_equal(lake.load(TABLE), 1, 7, 13, 18)
    plan = scan.open_table(lake, TABLE).full(current(lake))
    left = [n for n in range(20) if n not in {0, 7, 19, 1, 13, 18}]
    assert [row["n"] for row in read(lake, plan.files, current(lake), most_rows=5)] == left


def test_unknown_key_columns_are_refused_by_name(lake: Lake) -> None:
    add(lake, numbered(1))
    delete_keys(lake.load(TABLE), pa.table({"n": [1]}), [77])
    with pytest.raises(DeliveryError, match="equality deletes use the field with id 77"):
        full(lake)
    lake.load(TABLE).manage_snapshots().rollback_to_snapshot(lake.load(TABLE).snapshots()[0].snapshot_id).commit()
    delete_keys(lake.load(TABLE), pa.table({"n": [1]}), [1, 2])
    with pytest.raises(DeliveryError, match="key column with field id 2 is missing"):
        full(lake)


def test_equality_deletes_without_columns_are_refused(lake: Lake) -> None:
    add(lake, numbered(1))
    delete_keys(lake.load(TABLE), pa.table({"n": [1]}), [])
    with pytest.raises(DeliveryError, match="does not say which columns"):
        scan.open_table(lake, TABLE).full(current(lake))


def test_stored_slices_share_the_delete_files_of_a_part() -> None:
    deletes = [EqualityDeletes(f"d{number}", (1, 2)) for number in range(500)]
    slices = [FileSlice(f"f{number}", 0, None, 1, 2, tuple(deletes[number:])) for number in range(500)]
    stored = slices_to_json(slices)
    assert slices_from_json(stored) == tuple(slices)
    assert len(str(stored)) < 500 * 300


def test_a_million_keys_take_bounded_memory_and_time(lake: Lake) -> None:
    count = 1_000_000
    schema = pa.schema([("n", pa.int64()), ("city", pa.string())])
    table = pa.table({"n": range(count), "city": [f"town {n}" for n in range(count)]}, schema)
    add(lake, table.slice(0, 1).to_pylist(), schema)
    lake.load(TABLE).append(table)
    delete_keys(lake.load(TABLE), table.slice(10, count - 10))
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    assert len(full(lake)) == 11
    assert time.process_time() - started < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024
