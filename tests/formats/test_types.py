import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from offtake.errors import DeliveryError
from offtake.formats.losses import LossCounter
from offtake.formats.types import TYPE_MAP, check_iceberg, check_supported, markdown_table, to_json_types
from tests.formats.files import batch_of, encoded, lines, parsed
from tests.formats.goldens import GOLDENS, ID, Golden, x

every_golden = pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: str(golden.array.type)[:40])
every_golden_in_parquet = pytest.mark.parametrize(
    "golden", [golden for golden in GOLDENS if golden.in_parquet], ids=lambda golden: str(golden.array.type)[:40]
)


def nested(how: str, levels: int, kind: pa.DataType | None = None) -> pa.DataType:
    """A number nested in `levels` structs, lists or maps."""
    made = kind or pa.int64()
    for _ in range(levels):
        made = {"struct": pa.struct([("a.b", made)]), "list": pa.list_(made), "map": pa.map_(pa.string(), made)}[how]
    return made


# Arrow's form of an unregistered extension type: its storage type, with the type's name in the metadata.
BY_METADATA = pa.field(
    "a",
    pa.struct([("metadata", pa.binary()), ("value", pa.binary())]),
    metadata={"ARROW:extension:name": "parquet.variant"},
)


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def test_every_rule_of_the_type_map_has_a_golden() -> None:
    assert {rule.iceberg for rule in TYPE_MAP} == {golden.rule for golden in GOLDENS}


@every_golden
def test_an_array_matches_the_rule_of_its_golden(golden: Golden) -> None:
    assert next(rule.iceberg for rule in TYPE_MAP if rule.matches(golden.array.type)) == golden.rule


@every_golden
def test_values_become_the_stated_json(golden: Golden) -> None:
    assert lines(batch_of(golden.array)) == list(golden.lines)


@every_golden
def test_slices_become_the_same_json_as_in_the_whole_array(golden: Golden) -> None:
    padded = pa.concat_arrays([golden.array, golden.array, golden.array])
    for start in range(len(golden.array) * 3):
        for length in (0, 1, 2, len(golden.array) + 1):
            expected = (list(golden.lines) * 3)[start : start + length]
            assert lines(batch_of(padded.slice(start, length))) == expected


@every_golden
def test_duckdb_reads_the_json_back(golden: Golden, duck: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    file = tmp_path / "rows.json.gz"
    file.write_bytes(encoded([batch_of(golden.array)], batch_of(golden.array).schema, "JSON"))
    options: dict[str, Any] = {"columns": {"x": golden.duckdb}, "format": "newline_delimited", "records": "true"}
    found = duck.read_json(str(file), **options).project(golden.duckdb_read).fetchall()
    assert [row[0] for row in found] == list(golden.values)


@every_golden
def test_polars_reads_the_json_back(golden: Golden) -> None:
    text = "\n".join(lines(batch_of(golden.array))).encode()
    frame = pl.read_ndjson(io.BytesIO(text), schema={"x": golden.polars})
    read = frame["x"] if golden.polars_read is None else frame.select(golden.polars_read)["x"]
    expected = golden.values if golden.polars_back is None else golden.polars_back
    assert read.to_list() == list(expected)


@every_golden_in_parquet
@pytest.mark.parametrize("compression", ["NONE", "GZIP"])
def test_duckdb_and_polars_read_the_parquet_back(
    golden: Golden, compression: str, duck: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    file = tmp_path / "rows.parquet"
    file.write_bytes(encoded([batch_of(golden.array)], batch_of(golden.array).schema, "PARQUET", compression))
    expected = [_plain(value) for value in golden.array.to_pylist(maps_as_pydicts="strict")]
    assert [_plain(row[0]) for row in duck.read_parquet(str(file)).fetchall()] == expected
    assert [_plain(value) for value in pl.read_parquet(file)["x"].to_list()] == expected


@pytest.mark.parametrize(
    ("kind", "keys", "texts"),
    [
        (pa.bool_(), [True, False], ["true", "false"]),
        (pa.int32(), [-1, 7], ["-1", "7"]),
        (pa.decimal128(9, 2), ["1.10", "-0.05"], ["1.10", "-0.05"]),
        (pa.float64(), [1.5, float("nan")], ["1.5", "nan"]),
        (pa.date32(), [0, 20_513], ["1970-01-01", "2026-03-01"]),
        (pa.time64("us"), [0, 4, 100_000], ["00:00:00", "00:00:00.000004", "00:00:00.100"]),
        (pa.timestamp("us"), [0, 1500], ["1970-01-01T00:00:00", "1970-01-01T00:00:00.001500"]),
        (pa.timestamp("us", "UTC"), [0, 10_000_000], ["1970-01-01T00:00:00Z", "1970-01-01T00:00:10Z"]),
        (pa.binary(), [b"\x00\xff", b""], ["AP8=", ""]),
        (pa.string(), ["a", "ü"], ["a", "ü"]),
    ],
    ids=str,
)
def test_keys_of_maps_become_the_text_of_their_value(kind: pa.DataType, keys: list[Any], texts: list[str]) -> None:
    made = pc.cast(pa.array(keys), kind) if pa.types.is_decimal(kind) else pa.array(keys, kind)
    numbers = pa.array(range(len(keys)), pa.int32())
    array = pa.MapArray.from_arrays(pa.array([0, len(keys)], pa.int32()), made, numbers)
    assert parsed(lines(batch_of(array))[0]) == {"x": dict(zip(texts, range(len(texts)), strict=True))}


def test_keys_of_maps_can_be_uuids() -> None:
    keys = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([ID.bytes], pa.binary(16)))
    array = pa.MapArray.from_arrays(pa.array([0, 1], pa.int32()), keys, pa.array([1]))
    assert lines(batch_of(array)) == x(f'{{"{ID}":1}}')


def test_a_repeated_map_key_is_written_once_with_its_last_value() -> None:
    rows = [[("z", 0)], [("a", 1), ("a", 2), ("b", None)], None, [], [("c", 3), ("a", 5), ("c", 4)]]
    array = pa.array(rows, pa.map_(pa.string(), pa.int32()))
    expected = x('{"z":0}', '{"a":2}', None, "{}", '{"a":5,"c":4}')
    for start in range(len(rows)):
        assert lines(batch_of(array.slice(start))) == expected[start:]


def test_values_hidden_by_a_null_are_ignored() -> None:
    far = pa.array([2**63 - 1, 0], pa.int64()).view(pa.timestamp("us"))
    hidden = pa.array([True, False])
    struct = pa.StructArray.from_arrays([far], ["at"], mask=hidden)
    listed = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), far, mask=hidden)
    mapped = pa.MapArray.from_arrays(pa.array([0, 1, 2], pa.int32()), pa.array([1, 2]), far, mask=hidden)
    assert lines(batch_of(struct)) == x(None, '{"at":"1970-01-01T00:00:00"}')
    assert lines(batch_of(listed)) == x(None, '["1970-01-01T00:00:00"]')
    assert lines(batch_of(mapped)) == x(None, '{"2":"1970-01-01T00:00:00"}')


def test_nan_and_infinity_are_omitted_from_objects_and_null_in_lists() -> None:
    row = {"f": float("nan"), "l": [1.5, float("inf")], "m": [("a", float("nan")), ("b", 1.0)]}
    kind = pa.struct([("f", pa.float64()), ("l", pa.list_(pa.float64())), ("m", pa.map_(pa.string(), pa.float64()))])
    assert lines(batch_of(pa.array([row], kind))) == x('{"l":[1.5,null],"m":{"b":1.0}}')


def test_invalid_utf_8_is_refused_with_its_column() -> None:
    offsets, data = pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"a\xffok")
    array = pa.Array.from_buffers(pa.string(), 2, [None, offsets, data])
    places, one = pa.array([0, 2], pa.int32()), pa.array(["k", "l"])
    for wrong in (
        array,
        pa.StructArray.from_arrays([array], ["inner"]),
        pa.ListArray.from_arrays(places, array),
        pa.MapArray.from_arrays(places, one, array),
        pa.MapArray.from_arrays(places, array, one),
    ):
        with pytest.raises(DeliveryError, match=r"^Column town has text that is not UTF-8\. .*invalidText") as refused:
            lines(batch_of(wrong, "town"))
        assert not refused.value.transient
    assert lines(batch_of(array.slice(1))) == x('"ok"')


def test_fractions_have_three_six_or_nine_digits_or_none() -> None:
    instants = pa.array([0, 1, 1_000, 1_000_000, 10**9], pa.timestamp("ns", "UTC"))
    expected = [f'"1970-01-01T00:00:00{fraction}Z"' for fraction in ("", ".000000001", ".000001", ".001")]
    assert lines(batch_of(instants)) == x(*expected, '"1970-01-01T00:00:01Z"')


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_nanoseconds_keep_every_digit_in_either_format(
    zone: str | None, duck: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    ends = [-(2**63), -1, 1, 1_772_344_800_123_456_789, 2**63 - 2]
    array = pa.StructArray.from_arrays([pa.array(ends, pa.int64()).view(pa.timestamp("ns", zone))], ["at"])
    mark = "Z" if zone else ""
    texts = [
        "1677-09-21T00:12:43.145224192",
        "1969-12-31T23:59:59.999999999",
        "1970-01-01T00:00:00.000000001",
        "2026-03-01T06:00:00.123456789",
        "2262-04-11T23:47:16.854775806",
    ]
    assert [parsed(line)["x"]["at"] for line in lines(batch_of(array))] == [f"{text}{mark}" for text in texts]
    file = tmp_path / "rows.parquet"
    file.write_bytes(encoded([batch_of(array)], batch_of(array).schema, "PARQUET"))
    assert pq.read_table(file)["x"].combine_chunks().field("at").view(pa.int64()).to_pylist() == ends
    assert pl.read_parquet(file)["x"].struct.field("at").to_physical().to_list() == ends
    found = duck.read_parquet(str(file)).project("replace(x.at::varchar, ' ', 'T')").fetchall()
    assert [row[0].removesuffix("+00") for row in found] == texts


def test_a_year_beyond_9999_has_a_sign() -> None:
    assert lines(batch_of(pa.array([3_674_000], pa.date32()))) == x('"+12029-01-26"')


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (pa.array([2**31 - 1], pa.date32()), "date"),
        (pa.array([2**63 - 1], pa.int64()).view(pa.timestamp("us", "UTC")), "timestamp"),
        (pa.array([-(2**63)], pa.int64()).view(pa.timestamp("ms")), "timestamp"),
        (pa.array([-1], pa.int64()).view(pa.time64("ns")), "time"),
        (pa.array([-1], pa.int64()).view(pa.time64("us")), "time"),
    ],
)
def test_a_date_or_time_out_of_range_is_refused_in_json_and_kept_in_parquet(array: pa.Array, what: str) -> None:
    nested = pa.StructArray.from_arrays([array], ["inner"])
    with pytest.raises(DeliveryError, match=rf"^Column when has a {what} .* PARQUET\.$") as refused:
        to_json_types(batch_of(nested, "when"), LossCounter())
    assert not refused.value.transient
    assert encoded([batch_of(array)], batch_of(array).schema, "PARQUET")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (pa.schema([("a", pa.int32()), ("a", pa.int32())]), "Column a exists twice"),
        (pa.schema([("a", pa.list_(pa.struct([("b", pa.int32()), ("b", pa.int32())])))]), r"Column a.item.b exists"),
        (pa.schema([("a\0b", pa.int32())]), "Column a\\\\x00b has a NUL"),
        (pa.schema([("a", pa.list_view(pa.int32()))]), "Column a has the type list_view"),
        (pa.schema([("a", pa.list_(pa.uint64()))]), "Column a.item has the type uint64"),
        (pa.schema([("a", pa.duration("s"))]), "Column a has the type duration"),
        (pa.schema([("a", pa.struct([("b", pa.month_day_nano_interval())]))]), "Column a.b has the type month_day"),
        (pa.schema([("a", pa.map_(pa.list_(pa.int32()), pa.int32()))]), "Column a is a map with nested keys"),
        (pa.schema([("a", pa.null())]), "Column a has the type null"),
        (pa.schema([("a", pa.list_(pa.json_()))]), "Column a.item has the type extension<arrow.json"),
        (pa.schema([("a", pa.bool8())]), "Column a has the type extension<arrow.bool8"),
        (pa.schema([("a", pa.opaque(pa.binary(), "VARIANT", "x"))]), "Column a has the type extension<arrow.opaque"),
        (pa.schema([("s", pa.struct([BY_METADATA]))]), "Column s.a has the type parquet.variant,"),
        (pa.schema([("a", nested("struct", 99))]), "Column a has 100 nesting levels"),
        (pa.schema([("a", nested("list", 50))]), "Column a has 101 nesting levels"),
        (pa.schema([("a", nested("map", 50))]), "Column a has 101 nesting levels"),
    ],
)
@pytest.mark.parametrize("file_type", ["JSON", "PARQUET"])
def test_unsupported_columns_are_refused_by_name(file_type: str, schema: pa.Schema, message: str) -> None:
    with pytest.raises(DeliveryError, match=message):
        check_supported(schema)
    with pytest.raises(DeliveryError, match=message):
        encoded([], schema, file_type)


GEOMETRIES = [
    ("geometry", "g"),
    ("geography(srid:4326, planar)", "g"),
    ("variant", "g"),
    ({"type": "list", "element-id": 2, "element": "geometry(srid:3857)", "element-required": False}, "g.element"),
    ({"type": "map", "key-id": 2, "key": "string", "value-id": 3, "value": "unknown"}, "g.value"),
    ({"type": "struct", "fields": [{"id": 2, "name": "in", "type": "geography", "required": False}]}, "g.in"),
]


@pytest.mark.parametrize(("kind", "path"), GEOMETRIES, ids=str)
def test_types_that_arrow_holds_as_bytes_are_refused_by_their_iceberg_name(kind: Any, path: str) -> None:
    with pytest.raises(DeliveryError, match=rf"^Column {path} has the type (geo|variant|unknown)"):
        check_iceberg({"type": "struct", "fields": [{"id": 1, "name": "g", "type": kind, "required": False}]})


def test_types_shared_by_iceberg_and_arrow_are_supported() -> None:
    kinds = ["long", "decimal(9, 2)", "fixed[16]", "timestamptz_ns", "uuid", "string"]
    fields = [{"id": number, "name": kind, "type": kind, "required": False} for number, kind in enumerate(kinds)]
    check_iceberg({"type": "struct", "fields": fields})


@pytest.mark.parametrize(("how", "levels"), [("struct", 64), ("struct", 98), ("list", 49), ("map", 49)])
def test_columns_with_the_maximum_nesting_are_encoded(how: str, levels: int) -> None:
    value: Any = 7
    for _ in range(levels):
        value = {"struct": {"a.b": value}, "list": [value], "map": [("k", value)]}[how]
    array = pa.array([value, None, value], nested(how, levels))
    for start in range(3):
        found = lines(batch_of(array.slice(start)))
        assert len(found) == 3 - start
        assert all("7" in line for line in found if line != "{}")
    read = pq.read_table(io.BytesIO(encoded([batch_of(array.slice(1))], batch_of(array).schema, "PARQUET")))
    assert read["x"].to_pylist() == array.slice(1).to_pylist()


def test_unchanged_columns_are_not_copied() -> None:
    row = {"n": 1, "s": "text", "f": 0.5, "t": 0, "l": [{"a": 1}], "m": [("k", "v")]}
    inner = [("n", pa.int64()), ("s", pa.string()), ("f", pa.float64()), ("t", pa.timestamp("us", "UTC"))]
    kind = pa.struct(
        [*inner, ("l", pa.list_(pa.struct([("a", pa.int32())]))), ("m", pa.map_(pa.string(), pa.string()))]
    )
    batch = batch_of(pa.array([row, None, row], kind))
    before = [buffer.address for buffer in batch.column(0).buffers() if buffer]
    assert [buffer.address for buffer in to_json_types(batch, LossCounter()).column(0).buffers() if buffer] == before


def test_the_documented_table_is_the_type_map() -> None:
    page = Path(__file__).parents[2] / "docs" / "types.md"
    assert markdown_table() in page.read_text(encoding="utf-8"), f"{page} should hold:\n{markdown_table()}"


def _plain(value: Any) -> Any:
    """Comparable values: NaN equals itself, UUIDs are bytes, maps are alike in both tools."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, type(ID)):
        return value.bytes
    if isinstance(value, list) and value and isinstance(value[0], dict) and set(value[0]) == {"key", "value"}:
        return {one["key"]: _plain(one["value"]) for one in value}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value if value != [] else {}
