"""Data files in ORC and Avro: read by field ids, with all types and changes of columns, or refused by name."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pyarrow as pa
import pytest
from pyarrow import orc
from pyiceberg.manifest import FileFormat
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from offtake.errors import DeliveryError
from offtake.lake import scan, slicing
from offtake.lake.catalog import Lake
from offtake.lake.locations import local_path
from tests.lake.lakes import TABLE, add, full, increment, numbered
from tests.lake.other_writers import append_rows, delete_equal, delete_positions

FORMATS = [FileFormat.ORC, FileFormat.AVRO]
each_format = pytest.mark.parametrize("file_format", FORMATS)


def rows(*numbers: int) -> pa.Table:
    return pa.Table.from_pylist(numbered(*numbers), pa.schema([("n", pa.int64()), ("city", pa.string())]))


def current(lake: Lake) -> int:
    found = scan.open_table(lake, TABLE).current_snapshot
    assert found is not None
    return found


@each_format
def test_rows_are_read_with_deletes_and_in_increments(lake: Lake, file_format: FileFormat) -> None:
    first = add(lake, numbered(1))
    path = append_rows(lake.load(TABLE), rows(*range(2, 30_000)), file_format)
    assert increment(lake, first) == list(range(2, 30_000))
    delete_positions(lake.load(TABLE), path, [0, 20_000])
    delete_equal(lake.load(TABLE), 1, 5, 29_000)
    gone = {2, 20_002, 5, 29_000}
    assert increment(lake, first) == [n for n in range(2, 30_000) if n not in gone]
    assert [row["n"] for row in full(lake)] == [n for n in range(2, 30_000) if n not in gone]


@each_format
def test_changed_columns_are_matched_by_field_id(lake: Lake, file_format: FileFormat) -> None:
    inner = pa.struct([("x", pa.int32()), ("y", pa.string())])
    schema = pa.schema([("n", pa.int64()), ("a", pa.int32()), ("s", inner)])
    add(lake, [{"n": 0, "a": 0, "s": None}], schema)
    values = [{"n": 1, "a": 2, "s": {"x": 1, "y": "z"}}, {"n": 2, "a": None, "s": None}]
    append_rows(lake.load(TABLE), pa.Table.from_pylist(values, schema), file_format)
    with lake.load(TABLE).update_schema() as update:
        update.update_column("a", LongType())
        update.rename_column("a", "b")
        update.delete_column(("s", "y"))
        update.add_column(("s", "y"), StringType())
        update.rename_column("s.x", "xx")
        update.add_column("c", LongType())
    add(
        lake,
        [{"n": 3, "b": 3, "s": None, "c": 1}],
        pa.schema([("n", pa.int64()), ("b", pa.int64()), ("c", pa.int64())]),
    )
    found = [{"n": 1, "b": 2, "s": {"xx": 1, "y": None}, "c": None}, {"n": 2, "b": None, "s": None, "c": None}]
    assert full(lake)[1:3] == found


TYPES: dict[str, Any] = {
    "bool": (BooleanType(), [True, False]),
    "int": (IntegerType(), [-1, 2**31 - 1]),
    "long": (LongType(), [-1, 2**63 - 1]),
    "float": (FloatType(), [1.5, -0.0]),
    "double": (DoubleType(), [0.1, float("inf")]),
    "dec": (DecimalType(9, 2), [Decimal("1.10"), Decimal("-9999999.99")]),
    "wide": (DecimalType(38, 10), [Decimal("1.1"), Decimal("-1234567890123456789012345678.0123456789")]),
    "date": (DateType(), [date(2026, 1, 2), date(1, 1, 1)]),
    "ts": (TimestampType(), [datetime(2026, 1, 2, 3, 4, 5, 6), datetime(1969, 12, 31, 23, 59, 59, 999_999)]),
    "tz": (TimestamptzType(), [datetime(2026, 1, 2, tzinfo=UTC), datetime(1960, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]),
    "text": (StringType(), ["é", ""]),
    "bin": (BinaryType(), [b"\xff\0", b""]),
    "list": (ListType(100, LongType(), False), [[1, None], []]),
    "map": (MapType(101, StringType(), 102, LongType(), False), [[("a", 1), ("b", None)], []]),
    "struct": (
        StructType(NestedField(103, "x", LongType()), NestedField(104, "l", ListType(105, StringType(), False))),
        [{"x": 1, "l": ["a"]}, {"x": None, "l": None}],
    ),
}


@each_format
@pytest.mark.parametrize("name", TYPES)
def test_values_of_each_type_are_the_same(lake: Lake, file_format: FileFormat, name: str) -> None:
    kind, values = TYPES[name]
    schema = Schema(NestedField(1, "n", LongType()), NestedField(2, "v", kind))
    lake.catalog.create_namespace_if_not_exists("sales")
    table = lake.catalog.create_table(TABLE, schema)
    arrow = pa.array([*values, None], table.schema().as_arrow().field("v").type)
    append_rows(table, pa.table({"n": range(3), "v": arrow}), file_format)
    expected = pa.array([*values, None], arrow.type).to_pylist(maps_as_pydicts="strict")
    found = [row["v"] for row in full(lake)]
    assert repr(found) == repr(expected)


def test_types_that_orc_stores_as_others_are_converted(lake: Lake) -> None:
    schema = Schema(
        NestedField(1, "time", TimeType()), NestedField(2, "uuid", UUIDType()), NestedField(3, "fixed", FixedType(3))
    )
    lake.catalog.create_namespace_if_not_exists("sales")
    table = lake.catalog.create_table(TABLE, schema)
    columns = [
        _orc("time", pa.int64(), 1, {"iceberg.long-type": "TIME"}),
        _orc("uuid", pa.binary(), 2, {"iceberg.binary-type": "UUID"}),
        _orc("fixed", pa.binary(), 3, {"iceberg.binary-type": "FIXED", "iceberg.length": "3"}),
    ]
    path = append_rows(table, pa.table({"n": pa.array([1, 2], pa.int64())}, _ids("n")), FileFormat.ORC)
    stored = pa.table({"time": [1, None], "uuid": [UUID(int=7).bytes, None], "fixed": [b"abc", None]})
    orc.write_table(stored.cast(pa.schema(columns)), local_path(path))
    assert full(lake) == [
        {"time": time(0, 0, 0, 1), "uuid": UUID(int=7), "fixed": b"abc"},
        {"time": None, "uuid": None, "fixed": None},
    ]


def _orc(name: str, kind: pa.DataType, field_id: int, attributes: dict[str, str]) -> pa.Field:
    return pa.field(name, kind, metadata={"iceberg.id": str(field_id), **attributes})


def _ids(*names: str) -> pa.Schema:
    return pa.schema(
        [pa.field(name, pa.int64(), metadata={"PARQUET:field_id": str(n)}) for n, name in enumerate(names, start=1)]
    )


def test_orc_files_without_ids_are_read_with_the_name_mapping(lake: Lake) -> None:
    add(lake, numbered(1))
    path = append_rows(lake.load(TABLE), rows(2, 3), FileFormat.ORC)
    orc.write_table(rows(2, 3), local_path(path))
    assert [row["n"] for row in full(lake)] == [1, 2, 3]


def test_orc_timestamps_that_arrow_cannot_hold_are_refused(lake: Lake) -> None:
    schema = pa.schema([("n", pa.int64()), ("t", pa.timestamp("us"))])
    add(lake, [{"n": 1, "t": None}], schema)
    later = pa.Table.from_pylist([{"n": 1, "t": datetime(3000, 1, 1)}], schema)
    append_rows(lake.load(TABLE), later, FileFormat.ORC)
    with pytest.raises(DeliveryError, match=r"\.orc cannot be read: .*out of range"):
        full(lake)


def test_timestamps_with_nanoseconds_in_orc_are_refused_for_microseconds(lake: Lake) -> None:
    schema = pa.schema([("n", pa.int64()), ("t", pa.timestamp("us"))])
    add(lake, [{"n": 1, "t": None}], schema)
    path = append_rows(lake.load(TABLE), pa.Table.from_pylist([{"n": 1, "t": None}], schema), FileFormat.ORC)
    fields = [_orc("n", pa.int64(), 1, {}), _orc("t", pa.timestamp("ns"), 2, {})]
    orc.write_table(
        pa.table({"n": [1], "t": pa.array([1001], pa.timestamp("ns"))}, pa.schema(fields)), local_path(path)
    )
    with pytest.raises(DeliveryError, match="column t has values"):
        full(lake)


@each_format
def test_damaged_files_are_refused_by_name(lake: Lake, file_format: FileFormat) -> None:
    add(lake, numbered(1))
    path = local_path(append_rows(lake.load(TABLE), rows(*range(1000)), file_format))
    content = path.read_bytes()
    for damaged in (b"", content[:4], content[: len(content) // 2], b"\0" * len(content), content[:-30] + bytes(30)):
        path.write_bytes(damaged)
        with pytest.raises(DeliveryError, match=f"{path.name}"):
            full(lake)


def test_avro_files_without_ids_are_read_with_the_name_mapping(lake: Lake) -> None:
    add(lake, numbered(1))
    path = local_path(append_rows(lake.load(TABLE), rows(2), FileFormat.AVRO))
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"field-id"', b'"field-no"'))
    assert [row["n"] for row in full(lake)] == [1, 2]


def test_avro_maps_as_pairs_named_types_and_texts_of_uuids_are_read(lake: Lake) -> None:
    schema = Schema(
        NestedField(1, "m", MapType(10, LongType(), 11, StringType(), False)),
        NestedField(2, "u", UUIDType()),
        NestedField(3, "f", FixedType(2)),
        NestedField(4, "g", FixedType(2)),
        NestedField(5, "d", DecimalType(9, 2)),
    )
    lake.catalog.create_namespace_if_not_exists("sales")
    table = lake.catalog.create_table(TABLE, schema)
    path = local_path(append_rows(table, pa.table({"n": pa.array([1], pa.int64())}, _ids("n")), FileFormat.AVRO))
    pair = {
        "type": "record",
        "name": "pair",
        "fields": [
            {"name": "key", "type": "long", "field-id": 10},
            {"name": "value", "type": ["null", "string"], "field-id": 11},
        ],
    }
    pairs = {"type": "array", "logicalType": "map", "items": pair}
    fields = [
        {"name": "m", "type": ["null", pairs], "field-id": 1},
        {"name": "u", "type": {"type": "string", "logicalType": "uuid"}, "field-id": 2},
        {"name": "f", "type": {"type": "fixed", "name": "two", "size": 2}, "field-id": 3},
        {"name": "g", "type": "two", "field-id": 4},
        {"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, "field-id": 5},
    ]
    stored = {"m": [{"key": 7, "value": "x"}], "u": UUID(int=5), "f": b"ab", "g": b"cd", "d": Decimal("-1.25")}
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "t", "fields": fields}, [stored])
    expected = {"m": {7: "x"}, "u": UUID(int=5), "f": b"ab", "g": b"cd", "d": Decimal("-1.25")}
    assert full(lake) == [expected]


def test_avro_unions_of_several_types_are_refused(lake: Lake) -> None:
    add(lake, numbered(1))
    path = local_path(append_rows(lake.load(TABLE), rows(2), FileFormat.AVRO))
    fields = [{"name": "n", "type": ["long", "string"], "field-id": 1}]
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "t", "fields": fields}, [{"n": 1}])
    with pytest.raises(DeliveryError, match="a union of several types"):
        full(lake)


@each_format
def test_files_are_whole_parts(lake: Lake, file_format: FileFormat) -> None:
    add(lake, numbered(1))
    append_rows(lake.load(TABLE), rows(*range(100)), file_format)
    append_rows(lake.load(TABLE), rows(*range(100)), file_format)
    files = scan.open_table(lake, TABLE).full(current(lake)).files
    assert [sum(piece.rows for piece in part) for part in slicing.slices(files, 2**62, 10)] == [1, 100, 100]


def test_avro_blocks_that_expand_without_limit_are_refused(lake: Lake) -> None:
    add(lake, numbered(1))
    path = local_path(append_rows(lake.load(TABLE), rows(2), FileFormat.AVRO))
    schema = {"type": "record", "name": "t", "fields": [{"name": "city", "type": "string", "field-id": 2}]}
    with path.open("wb") as file:
        fastavro.writer(file, schema, [{"city": "x" * 200_000_000}], codec="deflate", sync_interval=1)
    with pytest.raises(DeliveryError, match="larger than 128 MiB"):
        full(lake)


@pytest.mark.parametrize("items", ["null", {"type": "fixed", "name": "nothing", "size": 0}])
def test_avro_lists_of_nothing_are_refused(lake: Lake, items: Any) -> None:
    add(lake, numbered(1))
    path = local_path(append_rows(lake.load(TABLE), rows(2), FileFormat.AVRO))
    fields = [{"name": "n", "type": "long", "field-id": 1}, {"name": "l", "type": {"type": "array", "items": items}}]
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "t", "fields": fields}, [{"n": 1, "l": []}])
    with pytest.raises(DeliveryError, match="a list of nothing"):
        full(lake)
