"""Schema changes: rows of older files are read with the schema of the exported snapshot."""

import base64
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.conversions import to_bytes
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
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
    PrimitiveType,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from offtake.documents import SliceDocument
from offtake.errors import DeliveryError
from offtake.lake import reading, scan, slicing
from offtake.lake.catalog import Lake
from offtake.lake.delete_files import PositionDeletes
from offtake.lake.locations import local_path
from offtake.lake.parts import FileSlice, TableSchema, slices_from_json, slices_to_json
from offtake.lake.projection import ColumnNames, ProjectionError, projection
from tests.lake.lakes import TABLE, Row, add, full, numbered, read

NESTED = Schema(
    NestedField(1, "n", LongType()),
    NestedField(2, "place", StructType(NestedField(3, "street", StringType()), NestedField(4, "zip", IntegerType()))),
    NestedField(
        5,
        "items",
        ListType(
            6, StructType(NestedField(7, "sku", StringType()), NestedField(8, "q", FloatType())), element_required=False
        ),
    ),
    NestedField(
        9, "tags", MapType(10, StringType(), 11, StructType(NestedField(12, "by", StringType())), value_required=False)
    ),
)
NESTED_ROWS: list[Row] = [
    {"n": 1, "place": None, "items": None, "tags": None},
    {"n": 2, "place": {"street": None, "zip": 2}, "items": [], "tags": {}},
    {
        "n": 3,
        "place": {"street": "s", "zip": 3},
        "items": [{"sku": "a", "q": 0.5}, None, {"sku": None, "q": None}],
        "tags": {"k": {"by": "me"}, "l": None},
    },
]


def create(lake: Lake, schema: Schema) -> Table:
    lake.catalog.create_namespace_if_not_exists("sales")
    return lake.catalog.create_table(TABLE, schema, location=lake.location(TABLE))


def append(lake: Lake, rows: list[Row]) -> None:
    """As PyIceberg does, whose files have field ids."""
    table = lake.load(TABLE)
    table.append(pa.Table.from_pylist(rows, table.schema().as_arrow()))


@pytest.fixture(params=["with ids", "without"])
def nested(lake: Lake, request: pytest.FixtureRequest) -> Lake:
    """A table of nested rows, in files with field ids and in files without."""
    if request.param == "with ids":
        table = create(lake, NESTED)
        # Written with pyarrow, because PyIceberg writes null lists as empty ones.
        hive(
            lake, pa.Table.from_pylist(NESTED_ROWS, schema_to_pyarrow(table.schema(), include_field_ids=True)), Record()
        )
    else:
        add(lake, NESTED_ROWS, pa.schema([pa.field(one.name, small(one.type)) for one in NESTED.as_arrow()]))
    return lake


def small(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([(one.name, small(one.type)) for one in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(small(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(small(kind.key_type), small(kind.item_type))
    return pa.string() if pa.types.is_large_string(kind) else kind


def new_snapshot(lake: Lake) -> None:
    """Add a snapshot with the current schema; its row does not matter."""
    append(lake, [{"n": 99}])


def older(lake: Lake) -> list[Row]:
    return [row for row in full(lake) if row["n"] != 99]


def test_null_and_empty_values_are_kept_when_other_fields_change(nested: Lake) -> None:
    assert older(nested) == NESTED_ROWS
    with nested.load(TABLE).update_schema() as update:
        update.add_column("fresh", LongType())
    new_snapshot(nested)
    assert older(nested) == [row | {"fresh": None} for row in NESTED_ROWS]


def test_nested_fields_are_added_dropped_renamed_reordered_and_widened(nested: Lake) -> None:
    with nested.load(TABLE).update_schema() as update:
        update.add_column(("items", "element", "note"), StringType())
        update.rename_column(("items", "element", "sku"), "code")
        update.update_column(("items", "element", "q"), DoubleType())
        update.move_first(("items", "element", "q"))
        update.delete_column(("place", "street"))
        update.update_column(("place", "zip"), LongType())
        update.rename_column(("tags", "value", "by"), "who")
        update.add_column(("tags", "value", "at"), LongType())
        update.move_first("tags")
    new_snapshot(nested)
    rows = older(nested)
    assert list(rows[0]) == ["tags", "n", "place", "items"]
    assert rows == [
        {"n": 1, "place": None, "items": None, "tags": None},
        {"n": 2, "place": {"zip": 2}, "items": [], "tags": {}},
        {
            "n": 3,
            "place": {"zip": 3},
            "items": [{"q": 0.5, "code": "a", "note": None}, None, {"q": None, "code": None, "note": None}],
            "tags": {"k": {"who": "me", "at": None}, "l": None},
        },
    ]
    assert list(rows[2]["items"][0]) == ["q", "code", "note"]


@pytest.mark.parametrize("column", [("place", "zip"), ("items", "element", "q"), ("tags", "value", "by")])
def test_a_new_column_does_not_get_the_values_of_a_dropped_column_with_the_same_name(
    nested: Lake, column: tuple[str, ...]
) -> None:
    kind = nested.load(TABLE).schema().find_type(".".join(column))
    with nested.load(TABLE).update_schema() as update:
        update.delete_column(column)
    with nested.load(TABLE).update_schema() as update:
        update.add_column(column, kind)
    new_snapshot(nested)
    row = older(nested)[2]
    below = {"place": row["place"], "items": row["items"][0], "tags": row["tags"]["k"]}[column[0]]
    assert below[column[-1]] is None
    assert sum(value is not None for value in [*below.values(), 1]) == len(below)


@pytest.mark.parametrize("expired", [False, True])
def test_reused_column_names_are_resolved_by_the_schema_of_the_files_snapshot(lake: Lake, expired: bool) -> None:
    first = add(lake, [{"n": 1, "a": "a1", "b": "b1"}])
    with lake.load(TABLE).update_schema() as update:
        update.delete_column("a")
    with lake.load(TABLE).update_schema() as update:
        update.add_column("a", StringType())
    add(lake, [{"n": 2, "a": "a2", "b": "b2"}])
    if expired:
        lake.load(TABLE).maintenance.expire_snapshots().by_id(first).commit()
    assert full(lake) == [{"n": 1, "b": "b1", "a": None}, {"n": 2, "b": "b2", "a": "a2"}]


def test_swapped_column_names_are_resolved_or_refused_if_ambiguous(lake: Lake) -> None:
    first = add(lake, [{"n": 1, "a": "a1", "b": "b1"}])
    for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
        with lake.load(TABLE).update_schema() as update:
            update.rename_column(old, new)
    add(lake, [{"n": 2, "b": "a2", "a": "b2"}])
    assert full(lake) == [{"n": 1, "b": "a1", "a": "b1"}, {"n": 2, "b": "a2", "a": "b2"}]
    lake.load(TABLE).maintenance.expire_snapshots().by_id(first).commit()
    with pytest.raises(DeliveryError, match="it is unknown which columns the file has") as refused:
        full(lake)
    assert "Compact the table" in refused.value.remedy


WIDER: list[tuple[PrimitiveType, PrimitiveType, Any]] = [
    (IntegerType(), LongType(), -(2**31)),
    (FloatType(), DoubleType(), 0.5),
    (DecimalType(9, 2), DecimalType(30, 2), Decimal("-1234567.89")),
]


@pytest.mark.parametrize(("narrow", "wide", "value"), WIDER, ids=str)
def test_widened_columns_keep_their_values(lake: Lake, narrow: PrimitiveType, wide: PrimitiveType, value: Any) -> None:
    schema = Schema(NestedField(1, "n", narrow), NestedField(2, "l", ListType(3, narrow, element_required=False)))
    create(lake, schema)
    append(lake, [{"n": value, "l": [value, None]}])
    with lake.load(TABLE).update_schema() as update:
        update.update_column("n", wide)
        update.update_column(("l", "element"), wide)
    append(lake, [{"n": None, "l": None}])
    assert full(lake) == [{"n": value, "l": [value, None]}, {"n": None, "l": None}]
    at = scan.open_table(lake, TABLE).current_snapshot
    assert at is not None
    arrow = scan.open_table(lake, TABLE).schema(at).arrow_schema
    assert arrow.field("n").type == arrow.field("l").type.value_type


def test_a_required_column_that_became_optional(lake: Lake) -> None:
    create(lake, Schema(NestedField(1, "n", LongType(), required=True)))
    append(lake, [{"n": 1}])
    with lake.load(TABLE).update_schema() as update:
        update.make_column_optional("n")
    append(lake, [{"n": None}])
    assert full(lake) == [{"n": 1}, {"n": None}]


def test_a_column_change_without_rows_is_exported_with_the_next_snapshot(lake: Lake) -> None:
    add(lake, numbered(1))
    with lake.load(TABLE).update_schema() as update:
        update.delete_column("city")
        update.add_column("later", LongType())
    assert full(lake) == numbered(1)
    append(lake, [{"n": 2, "later": 2}])
    assert full(lake) == [{"n": 1, "later": None}, {"n": 2, "later": 2}]


def test_a_missing_column_has_its_initial_default(lake: Lake) -> None:
    snapshot = add(lake, numbered(1))
    (file,) = scan.open_table(lake, TABLE).full(snapshot).files
    schema = Schema(
        NestedField(1, "n", LongType()),
        NestedField(7, "kind", StringType(), initial_default="shop"),
        NestedField(8, "since", DateType(), required=True, initial_default=18000),
    )
    arrow = pa.schema(
        [
            pa.field(one.name, kind, one.optional, {"PARQUET:field_id": str(one.field_id)})
            for one, kind in zip(schema.fields, (pa.int64(), pa.string(), pa.date32()), strict=True)
        ]
    )
    known = scan.open_table(lake, TABLE).schema(snapshot)
    delivered = TableSchema(encoded(arrow), schema.model_dump_json(), known.name_mapping)
    rows = [
        row for batch in reading.read(slicing.slices([file], 2**62, 2**62)[0], delivered) for row in batch.to_pylist()
    ]
    assert [(row["n"], row["kind"], row["since"].isoformat()) for row in rows] == [(1, "shop", "2019-04-14")]


def encoded(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize()).decode()


IDENTITIES: list[tuple[PrimitiveType, Any, Any]] = [
    (StringType(), "Zürich", "Zürich"),
    (IntegerType(), 7, 7),
    (DateType(), 18000, "2019-04-14"),
    (TimestamptzType(), 1_500_000, "1970-01-01 00:00:01.500000+00:00"),
    (DecimalType(9, 2), Decimal("1.25"), "1.25"),
    (UUIDType(), UUID(int=5), str(UUID(int=5))),
    (BooleanType(), False, "False"),
    (LongType(), -(2**40), -(2**40)),
    (FloatType(), 0.5, 0.5),
    (TimeType(), 1_500_000, "00:00:01.500000"),
    (TimestampType(), 1_500_000, "1970-01-01 00:00:01.500000"),
    (BinaryType(), b"\0\xff", b"\0\xff"),
    (FixedType(2), b"\0\xff", b"\0\xff"),
    (StringType(), None, None),
]


@pytest.mark.parametrize("counted", [False, True], ids=["not counted", "counted"])
@pytest.mark.parametrize(("kind", "value", "seen"), IDENTITIES, ids=str)
def test_a_missing_partition_column_has_its_partition_value(
    lake: Lake, kind: PrimitiveType, value: Any, seen: Any, counted: bool
) -> None:
    create(lake, Schema(NestedField(1, "n", LongType()), NestedField(2, "part", kind)))
    with lake.load(TABLE).update_spec() as update:
        update.add_field("part", IdentityTransform(), "part")
    # A file from Hive: its partition column is only in its folder's name.
    # Manifests can nevertheless have value counts for the column.
    hive(lake, pa.table({"n": [1, 2]}), Record(value), counts={1: 2, 2: 2} if counted else None)
    assert [(row["n"], None if row["part"] is None else str(row["part"])) for row in full(lake)] == [
        (n, None if seen is None else str(seen)) for n in (1, 2)
    ]
    with lake.load(TABLE).update_spec() as update:
        update.remove_field("part")
    with lake.load(TABLE).update_schema() as update:
        update.rename_column("part", "now")
    append(lake, [{"n": 3, "now": None}])
    assert [row["now"] is None for row in full(lake)] == [seen is None, seen is None, True]


def test_a_partition_column_in_the_file_is_read_from_the_file(lake: Lake) -> None:
    create(lake, Schema(NestedField(1, "n", LongType()), NestedField(2, "k", LongType())))
    with lake.load(TABLE).update_spec() as update:
        update.add_field("k", IdentityTransform())
    append(lake, [{"n": 1, "k": 7}, {"n": 2, "k": None}])
    hive(lake, pa.table({"n": [3], "k": [8]}), Record(9), counts={1: 1, 2: 1})
    assert sorted(((row["n"], row["k"]) for row in full(lake)), key=lambda one: one[0]) == [(1, 7), (2, None), (3, 8)]


def test_a_required_column_that_is_null_in_the_partition_is_refused() -> None:
    wanted = pa.schema([pa.field("k", pa.int64(), nullable=False, metadata={"PARQUET:field_id": "1"})])
    with pytest.raises(ProjectionError, match="column k is required, but missing in the file"):
        projection(pa.schema([]), wanted, ColumnNames.of(wanted), lambda *_: pa.scalar(None, pa.int64()))


def test_a_missing_partition_column_of_type_double_is_read_exactly(lake: Lake) -> None:
    # PyIceberg's own reading of manifests decodes doubles as floats.
    create(lake, Schema(NestedField(1, "n", LongType()), NestedField(2, "k", DoubleType())))
    with lake.load(TABLE).update_spec() as update:
        update.add_field("k", IdentityTransform())
    hive(lake, pa.table({"n": [1]}), Record(None))
    assert full(lake) == [{"n": 1, "k": None}]
    hive(lake, pa.table({"n": [2]}), Record(0.1))
    assert full(lake) == [{"n": 1, "k": None}, {"n": 2, "k": 0.1}]


def hive(lake: Lake, rows: pa.Table, partition: Record, counts: dict[int, int] | None = None) -> None:
    """Add a file to the table as a migration does: without field ids, and without value counts by default."""
    table = lake.load(TABLE)
    path = local_path(table.location()) / f"{uuid4().hex}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)
    known: dict[str, Any] = {
        "content": DataFileContent.DATA,
        "file_path": f"file://{path}",
        "file_format": FileFormat.PARQUET,
        "partition": partition,
        "record_count": rows.num_rows,
        "file_size_in_bytes": path.stat().st_size,
        "value_counts": counts,
    }
    made = DataFile.from_args(**known)
    made.spec_id = table.spec().spec_id
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as producer:
        producer.append_data_file(made)


def test_stored_slices_keep_partition_values_and_schema_ids() -> None:
    piece = FileSlice("a", 0, None, 1, 2, (PositionDeletes("d"),), ((2, "Bw=="), (3, None)), 4)
    assert slices_from_json(slices_to_json([piece])) == (piece,)
    # Slices stored by versions without these fields.
    old: SliceDocument = {"path": "a", "groups": (0, None), "rows": 1, "bytes": 2, "deletes": []}
    assert slices_from_json([old]) == (FileSlice("a", 0, None, 1, 2),)
    old["deletes"] = ["d"]
    assert slices_from_json([old])[0].delete_files == (PositionDeletes("d"),)
    schema = TableSchema("a", "{}", None, {3: "[]"})
    assert TableSchema.from_json(schema.to_json()) == schema
    assert TableSchema.from_json({"arrow": "a", "iceberg": "{}", "nameMapping": None}) == TableSchema("a", "{}", None)
    assert to_bytes(IntegerType(), 7) == b"\x07\x00\x00\x00"


def test_errors_name_the_column_of_a_file_that_does_not_match(lake: Lake) -> None:
    create(
        lake, Schema(NestedField(1, "n", LongType()), NestedField(2, "s", StructType(NestedField(3, "x", LongType()))))
    )
    hive(lake, pa.table({"n": [1], "s": [{"x": "text"}]}), Record())
    with pytest.raises(DeliveryError, match=r"column s\.x is string in the file and int64 in the table") as refused:
        full(lake)
    assert refused.value.code == "EXPORT-1500-500"


def test_a_missing_required_column_is_refused(lake: Lake) -> None:
    create(lake, Schema(NestedField(1, "n", LongType()), NestedField(2, "m", LongType(), required=True)))
    hive(lake, pa.table({"n": [1]}), Record())
    with pytest.raises(DeliveryError, match="column m is required, but missing in the file"):
        full(lake)


FORMS: list[tuple[pa.DataType, pa.DataType, list[Any]]] = [
    (pa.large_string(), pa.string(), ["a", None]),
    (pa.dictionary(pa.int32(), pa.string()), pa.string(), ["a", None]),
    (pa.large_list(pa.int32()), pa.list_(pa.int64()), [[1, None], None, []]),
    (pa.list_(pa.int32(), 2), pa.list_(pa.int64()), [[1, 2], None]),
    (pa.timestamp("ns"), pa.timestamp("us"), [1_000, None]),
    (pa.timestamp("ms", "UTC"), pa.timestamp("us", "UTC"), [1, None]),
    (pa.int8(), pa.int32(), [-1, None]),
    (pa.uint32(), pa.int64(), [2**32 - 1]),
    (pa.binary(16), pa.uuid(), [b"0" * 16, None]),
    (pa.uuid(), pa.binary(16), [b"0" * 16, None]),
]


@pytest.mark.parametrize(("file", "wanted", "values"), FORMS, ids=str)
def test_other_arrow_forms_of_a_type_have_equal_values(
    file: pa.DataType, wanted: pa.DataType, values: list[Any]
) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array(values, file)], names=["x"])
    target = pa.schema([pa.field("x", wanted, metadata={"PARQUET:field_id": "1"})])
    got = projection(batch.schema, target, ColumnNames.of(target), lambda *_: None)(batch)
    got.validate(full=True)
    assert got.schema == target
    sliced = projection(batch.schema, target, ColumnNames.of(target), lambda *_: None)(batch.slice(1))
    sliced.validate(full=True)
    assert sliced.column(0).to_pylist() == got.column(0).to_pylist()[1:]
    assert got.column(0).null_count == batch.column(0).null_count


UNFIT: list[tuple[pa.DataType, pa.DataType]] = [
    (pa.int64(), pa.int32()),
    (pa.uint64(), pa.int64()),
    (pa.float64(), pa.float32()),
    (pa.int64(), pa.float64()),
    (pa.decimal128(9, 3), pa.decimal128(9, 2)),
    (pa.timestamp("us", "UTC"), pa.timestamp("us")),
    (pa.string(), pa.int64()),
    (pa.struct([("a", pa.int64())]), pa.int64()),
    (pa.int64(), pa.list_(pa.int64())),
]


@pytest.mark.parametrize(("file", "wanted"), UNFIT, ids=str)
def test_lossy_casts_are_refused(file: pa.DataType, wanted: pa.DataType) -> None:
    target = pa.schema([pa.field("x", wanted, metadata={"PARQUET:field_id": "1"})])
    with pytest.raises(ProjectionError, match="column x is"):
        projection(pa.schema([("x", file)]), target, ColumnNames.of(target), lambda *_: None)


def test_int96_timestamps_beyond_the_range_of_nanoseconds_are_read(lake: Lake, tmp_path: Path) -> None:
    create(lake, Schema(NestedField(1, "n", LongType()), NestedField(2, "t", TimestampType())))
    far = pa.array([253402300799000000], pa.timestamp("us"))  # 9999-12-31T23:59:59
    pq.write_table(pa.table({"n": [1], "t": far}), tmp_path / "x.parquet", use_deprecated_int96_timestamps=False)
    hive(lake, pa.table({"n": [1], "t": far}), Record())
    path = next(iter(local_path(lake.location(TABLE)).glob("*.parquet")))
    pq.write_table(pa.table({"n": [1], "t": far}), path, use_deprecated_int96_timestamps=True)
    assert [row["t"].isoformat() for row in full(lake)] == ["9999-12-31T23:59:59"]
    assert read(lake, [], scan.open_table(lake, TABLE).current_snapshot or 0) == []
