"""Tables by other writers: their types, text and metadata are read correctly, or refused by name."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import (
    BooleanType,
    DateType,
    FixedType,
    IcebergType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    UUIDType,
)

from offtake.errors import DeliveryError
from offtake.lake import manifest_cache, parts, reading, scan, slicing, table_description, text
from offtake.lake.catalog import Lake
from offtake.lake.locations import local_path
from offtake.lake.parquet_files import unreadable
from tests.lake.lakes import TABLE, Row, add, add_files, full, ndjson, numbered
from tests.lake.other_writers import data_files
from tests.lake.test_columns import create, hive

ZURICH = "Zürich".encode()
BAD = b"a\xff\xc3(b"


def binary(*values: bytes | None) -> pa.Array:
    return pa.array(values, pa.binary())


def untrue(*values: bytes | None) -> pa.Array:
    """A string array with bytes that are not all UTF-8."""
    return binary(*values).view(pa.string())


def one_column(lake: Lake, kind: IcebergType, column: pa.Array) -> None:
    """A table with a data file by another writer with that column."""
    create(lake, Schema(NestedField(1, "x", kind)))
    hive(lake, pa.table({"x": column}), Record())


def values(lake: Lake) -> list[Any]:
    return [row["x"] for row in full(lake)]


def pieces(lake: Lake) -> tuple[list[parts.FileSlice], parts.TableSchema]:
    at = scan.open_table(lake, TABLE).current_snapshot
    assert at is not None
    (part,) = slicing.slices(scan.open_table(lake, TABLE).full(at).files, 2**62, 2**62)
    return part, scan.open_table(lake, TABLE).schema(at)


def rewrite(lake: Lake, rows: pa.Table, **options: Any) -> None:
    """The table's only file, rewritten as by another writer."""
    (file,) = data_files(lake.load(TABLE))
    pq.write_table(rows, local_path(file), **options)


TEXTS = StructType(
    NestedField(2, "a", StringType(), required=False),
    NestedField(3, "l", ListType(4, StringType(), element_required=False)),
    NestedField(5, "m", MapType(6, StringType(), 7, StringType(), value_required=False)),
)


def nested(text_array: Callable[..., pa.Array], value: bytes) -> pa.Array:
    """A struct, a list and a map of text, with the value at every position."""
    items = text_array(value, b"x", None)
    keys = text_array(value, b"k", b"l")
    listed = pa.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), items)
    mapped = pa.MapArray.from_arrays(pa.array([0, 2, 3], pa.int32()), keys, items)
    return pa.StructArray.from_arrays([text_array(value, None), listed, mapped], names=["a", "l", "m"])


def test_text_without_the_string_annotation_is_read_at_every_depth(lake: Lake) -> None:
    one_column(lake, TEXTS, nested(binary, ZURICH))
    assert values(lake) == [
        {"a": "Zürich", "l": ["Zürich", "x"], "m": {"Zürich": "Zürich", "k": "x"}},
        {"a": None, "l": [None], "m": {"l": None}},
    ]
    with reading.unchanged_row_groups(*pieces(lake)) as stored:
        assert stored is None


@pytest.mark.parametrize("kind", [pa.large_binary(), pa.binary_view()], ids=str)
def test_text_in_large_bytes_and_views_is_text(lake: Lake, kind: pa.DataType) -> None:
    one_column(lake, StringType(), pa.array([ZURICH, None], kind))
    assert values(lake) == ["Zürich", None]


def passes(lake: Lake, invalid_text: text.InvalidText = "fail") -> bool:
    """Whether the table's files are copied as stored."""
    with reading.unchanged_row_groups(*pieces(lake), invalid_text=invalid_text) as stored:
        return stored is not None


def replaced(lake: Lake) -> list[Any]:
    batches = reading.read(*pieces(lake), invalid_text="replace")
    return [row["x"] for batch in batches for row in batch.to_pylist(maps_as_pydicts="strict")]


@pytest.mark.parametrize("make", [binary, untrue])
def test_invalid_utf_8_is_refused_with_column_and_file_or_replaced(lake: Lake, make: Callable[..., pa.Array]) -> None:
    one_column(lake, StringType(), make(b"x", BAD))
    (file,) = data_files(lake.load(TABLE))
    reads: list[Callable[[], object]] = [lambda: list(reading.read(*pieces(lake)))]
    # Text without the string annotation is never copied as stored.
    reads += [lambda: passes(lake)] if make is untrue else []
    for read in reads:
        with pytest.raises(DeliveryError, match=r"Column x of the dataset's file .* not UTF-8") as failed:
            read()
        assert failed.value.code == "EXPORT-1500-500"
        assert file in failed.value.message
    assert not passes(lake, "replace")
    assert replaced(lake) == ["x", BAD.decode("utf-8", "replace")]
    assert table_description.preview(lake, TABLE, 2).to_pylist() == [{"x": one} for one in replaced(lake)]


@pytest.mark.parametrize("path", ["a", "l.element", "m.key", "m.value"])
def test_invalid_utf_8_is_found_at_every_depth(lake: Lake, path: str) -> None:
    good, bad = nested(untrue, b"ok"), nested(untrue, BAD)
    maps = good.field("m"), bad.field("m")
    keyed = pa.MapArray.from_arrays(maps[0].offsets, maps[1].keys, maps[0].items)
    valued = pa.MapArray.from_arrays(maps[0].offsets, maps[0].keys, maps[1].items)
    spoilt = {"a": bad.field("a"), "l": bad.field("l"), "m": keyed if path == "m.key" else valued}
    only = path.partition(".")[0]
    children = [spoilt[name] if name == only else good.field(name) for name in spoilt]
    one_column(lake, TEXTS, pa.StructArray.from_arrays(children, names=list(spoilt)))
    with pytest.raises(DeliveryError, match=rf"Column x\.{path} of") as failed:
        full(lake)
    assert failed.value.code == "EXPORT-1500-500"
    assert "\ufffd" in str(replaced(lake))


@given(st.lists(st.none() | st.binary(max_size=8), max_size=6), st.integers(0, 6))
def test_invalid_utf_8_is_replaced_as_in_python(values: list[bytes | None], first: int) -> None:
    column = untrue(*values)
    listed = pa.ListArray.from_arrays(pa.array([0, *range(len(values) + 1)], pa.int32()), column)
    batch = pa.RecordBatch.from_arrays([column, listed.slice(1)], names=["x", "l"]).slice(first)
    made = text.replace(batch)
    right = [None if one is None else one.decode("utf-8", "replace") for one in values[first:]]
    assert made.column(0).to_pylist() == right
    assert made.column(1).to_pylist() == [[one] for one in right]
    made.validate(full=first == 0)
    is_valid = right == [None if one is None else one.decode("utf-8", "ignore") for one in values[first:]]
    assert is_valid == text.is_valid(pa.Table.from_batches([batch]))


def test_dropped_columns_can_have_any_bytes(lake: Lake) -> None:
    create(lake, Schema(NestedField(1, "n", LongType())))
    hive(lake, pa.table({"n": [1], "other": untrue(BAD)}), Record())
    assert full(lake) == [{"n": 1}]


def test_text_is_checked_except_in_our_own_files(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, ndjson(tmp_path / "a.ndjson", [{"x": "Zürich"}]))
    (file,) = map(local_path, data_files(lake.load(TABLE)))
    written = pq.ParquetFile(file)
    assert text.is_marked(written.metadata.metadata, file.name)
    # The mark is invalid in a file of another writer that copied the metadata.
    assert not text.is_marked(written.metadata.metadata, "other.parquet")
    mark = {text.MARK: "other.parquet"}
    pq.write_table(pa.table({"x": untrue(BAD)}).replace_schema_metadata(mark), file)
    with pytest.raises(DeliveryError, match="not UTF-8"):
        passes(lake)
    # A file with our mark is trusted, and not read again.
    pq.write_table(pa.table({"x": untrue(BAD)}).replace_schema_metadata({text.MARK: file.name}), file)
    assert passes(lake)


def test_binary_columns_do_not_affect_the_text_mark(lake: Lake) -> None:
    add(lake, [{"x": BAD}], pa.schema([("x", pa.binary())]))
    (file,) = map(local_path, data_files(lake.load(TABLE)))
    assert text.is_marked(pq.read_metadata(file).metadata, file.name)
    assert not text.is_valid(pa.table({"x": untrue(BAD)}))


SECOND = 1_000_000
FAR = [-62_135_596_800 * SECOND, -11_676_096_000 * SECOND, 0, 253_402_300_799 * SECOND, None]
"""Years 1, 1600, 1970 and 9999."""


def test_int96_timestamps_are_exact_in_every_year_and_at_every_depth(lake: Lake) -> None:
    kind = StructType(NestedField(2, "t", TimestampType()), NestedField(3, "l", ListType(4, TimestampType(), False)))
    far = pa.array([one if one is None else one + 1 for one in FAR], pa.timestamp("us"))
    listed = pa.ListArray.from_arrays(pa.array(range(6), pa.int32()), far)
    column = pa.StructArray.from_arrays([far, listed], names=["t", "l"])
    one_column(lake, kind, column)
    rewrite(lake, pa.table({"x": column}), use_deprecated_int96_timestamps=True)
    assert not passes(lake)
    assert values(lake) == column.to_pylist()


def test_nanoseconds_in_a_microsecond_column_are_exact_or_refused(lake: Lake) -> None:
    one_column(lake, TimestampType(), pa.array([1_000, None, -2_000], pa.timestamp("ns")))
    assert [one and one.microsecond for one in values(lake)] == [1, None, 999_998]
    assert not passes(lake)
    rewrite(lake, pa.table({"x": pa.array([1_001, None, 1_001], pa.timestamp("ns"))}))
    with pytest.raises(DeliveryError, match=r"column x has values of timestamp\[ns\] that timestamp\[us\]") as failed:
        full(lake)
    assert failed.value.code == "EXPORT-1500-500"


ONE = UUID(int=1)


def extended(kind: pa.DataType, storage: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, storage)


LARGE_JSON = extended(pa.json_(pa.large_string()), pa.array(["1"], pa.large_string()))
FORMS: list[tuple[str, IcebergType, pa.Array, list[Any]]] = [
    ("bool8", BooleanType(), extended(pa.bool8(), pa.array([1, 0, None], pa.int8())), [True, False, None]),
    ("json", StringType(), extended(pa.json_(), pa.array(['{"a":1}', None])), ['{"a":1}', None]),
    ("large json", StringType(), LARGE_JSON, ["1"]),
    ("fixed", UUIDType(), pa.array([ONE.bytes, None], pa.binary(16)), [ONE, None]),
    ("text", UUIDType(), pa.array([str(ONE), None]), [ONE, None]),
    ("uuid", FixedType(16), extended(pa.uuid(), pa.array([ONE.bytes], pa.binary(16))), [ONE.bytes]),
    ("large", StringType(), pa.array(["a"], pa.large_string()), ["a"]),
    ("view", StringType(), pa.array(["a"], pa.string_view()), ["a"]),
    ("dictionary", StringType(), pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
    ("fixed list", ListType(2, LongType(), False), pa.array([[1, 2], None], pa.list_(pa.int64(), 2)), [[1, 2], None]),
    ("date", DateType(), pa.array([-719162, 2932896], pa.date32()), ["0001-01-01", "9999-12-31"]),
]


@pytest.mark.parametrize(("kind", "column", "right"), [one[1:] for one in FORMS], ids=[one[0] for one in FORMS])
def test_other_arrow_forms_of_a_type_are_converted_to_the_tables_type(
    lake: Lake, kind: IcebergType, column: pa.Array, right: list[Any]
) -> None:
    one_column(lake, kind, column)
    assert list(map(str, values(lake))) == list(map(str, right))
    if not isinstance(kind, BooleanType):
        # Without Arrow's own schema, Parquet has the same types.
        rewrite(lake, pa.table({"x": column}), store_schema=False)
        assert list(map(str, values(lake))) == list(map(str, right))


def test_text_that_is_not_a_uuid_is_refused(lake: Lake) -> None:
    one_column(lake, UUIDType(), pa.array(["not one"]))
    with pytest.raises(DeliveryError, match="column x is text in the file and uuid in the table"):
        full(lake)


@pytest.mark.parametrize("day", [-1_000_000, 3_000_000, 2**31 - 1])
def test_partitions_with_dates_beyond_the_calendar_can_be_planned(
    lake: Lake, day: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PyIceberg cannot write partitions with such names.
    monkeypatch.setattr(PartitionSpec, "partition_to_path", lambda *_: "day")
    create(lake, Schema(NestedField(1, "n", LongType()), NestedField(2, "day", DateType())))
    with lake.load(TABLE).update_spec() as update:
        update.add_field("day", IdentityTransform())
    hive(lake, pa.table({"n": [1]}), Record(day))
    (batch,) = reading.read(*pieces(lake))
    assert batch.column("day").cast(pa.int32()).to_pylist() == [day]


def metadata(lake: Lake, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the table's metadata to that of another writer."""
    path = local_path(lake.load(TABLE).metadata_location)
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def columns(*fields: Row) -> Callable[[Row], None]:
    return lambda document: document["schemas"][0]["fields"].extend(fields)


def column(name: str, kind: object) -> Row:
    return {"id": 90, "name": name, "type": kind, "required": False}


def deep(depth: int) -> object:
    kind: object = "long"
    for number in range(depth):
        field = {"id": 1000 + number, "name": "x", "type": kind, "required": False}
        kind = {"type": "struct", "fields": [field]}
    return kind


def make_a_view(document: Row) -> None:
    schemas = document["schemas"]
    document.clear()
    document.update({"view-uuid": str(ONE), "format-version": 1, "current-version-id": 1, "schemas": schemas})


TWICE = {"type": "struct", "fields": [column("a", "long") | {"id": 91}, column("a", "long") | {"id": 92}]}
REFUSED: dict[str, tuple[Callable[[Row], None], str]] = {
    "a name twice": (columns(column("n", "long")), "two columns whose full name is n"),
    "a name twice in a struct": (columns(column("s", TWICE)), r"two columns whose full name is s\.a"),
    "too deep": (columns(column("s", deep(200))), "nested too deeply"),
    "variant": (columns(column("v", "variant")), "a column of the unsupported type variant"),
    "in a list": (
        columns(column("v", {"type": "list", "element-id": 91, "element": "variant", "element-required": False})),
        "a column of the unsupported type variant",
    ),
    "version": (lambda document: document.update({"format-version": 4}), "version 4 of Iceberg's format"),
    "view": (make_a_view, "a view, not a table"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unsupported_metadata_is_refused_with_the_cause(lake: Lake, case: str) -> None:
    add(lake, numbered(1))
    change, cause = REFUSED[case]
    metadata(lake, change)
    with pytest.raises(DeliveryError, match=f"The metadata of {TABLE} cannot be read: .*{cause}") as failed:
        scan.open_table(lake, TABLE)
    assert failed.value.code == "EXPORT-1500-500"


def test_columns_of_64_levels_and_names_with_dots_are_read(lake: Lake) -> None:
    add(lake, numbered(1))
    metadata(lake, columns(column("a.b", deep(64))))
    # In a thread with a fresh stack: the test itself already uses much of Python's recursion limit.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(full, lake).result() == [numbered(1)[0] | {"a.b": None}]


def test_unsupported_and_missing_locations_are_reported(lake: Lake) -> None:
    add(lake, numbered(1))
    metadata(lake, lambda document: document["snapshots"][0].update({"manifest-list": "ftp://host/list.avro"}))
    with pytest.raises(
        DeliveryError, match=r"The location ftp://host/list\.avro has the unsupported scheme ftp"
    ) as failed:
        pieces(lake)
    assert failed.value.code == "EXPORT-1500-500"
    metadata(lake, lambda document: document["snapshots"][0].update({"manifest-list": "file:///nowhere/list.avro"}))
    with pytest.raises(DeliveryError, match=r"/nowhere/list\.avro") as failed:
        pieces(lake)
    assert failed.value.code == "EXPORT-1410-410"


@pytest.mark.parametrize("content", [b"", b"Obj\1nonsense", "half"])
def test_damaged_manifests_are_refused(lake: Lake, content: bytes | str) -> None:
    at = add(lake, numbered(1))
    (manifest,) = (path for path in local_path(lake.location(TABLE)).rglob("*.avro") if "snap" not in path.name)
    whole = manifest.read_bytes()
    manifest.write_bytes(content if isinstance(content, bytes) else whole[: len(whole) // 2])
    manifest_cache.forget()
    with pytest.raises(DeliveryError, match=f"The metadata of {TABLE} cannot be read: ") as failed:
        scan.open_table(lake, TABLE).full(at)
    assert failed.value.code == "EXPORT-1500-500"


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda path: path.write_bytes(b"a,b\n1,2\n" * 9), "not a Parquet file, or it is truncated"),
        (lambda path: path.write_bytes(b""), "not a Parquet file, or it is truncated|size is 0 bytes"),
        (lambda path: (path.unlink(), path.mkdir()), "directory"),
    ],
    ids=["not Parquet", "empty", "a folder"],
)
def test_an_unreadable_data_file_is_not_reported_as_deleted(
    lake: Lake, spoil: Callable[[Path], Any], cause: str
) -> None:
    add(lake, numbered(1))
    (file,) = map(local_path, data_files(lake.load(TABLE)))
    spoil(file)
    for read in (lambda: full(lake), lambda: passes(lake)):
        with pytest.raises(DeliveryError, match=cause) as failed:
            read()
        assert failed.value.code == "EXPORT-1500-500"
        assert file.name in failed.value.message
        assert "removed" not in str(failed.value)


def test_a_file_without_permission_is_reported() -> None:
    # As root, every file can be read.
    error = unreadable("file:///a.parquet", PermissionError(13, "Permission denied"))
    assert (error.code, "permission denied" in error.message) == ("EXPORT-1500-500", True)
