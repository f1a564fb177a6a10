"""Exports of chosen columns: paths, choices by field id, and the rows that are read."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.exceptions import ValidationError
from pyiceberg.manifest import FileFormat
from pyiceberg.schema import Schema
from pyiceberg.types import IntegerType, ListType, LongType, MapType, NestedField, StringType, StructType

from offtake.errors import DeliveryError
from offtake.lake import column_lookup, ingest, reading, scan, slicing
from offtake.lake.catalog import Lake
from offtake.lake.column_choice import ColumnChoice
from offtake.lake.column_lookup import UnknownColumnsError
from offtake.lake.column_paths import format_path, parse_path, walk
from offtake.lake.locations import local_path
from offtake.lake.parquet_files import OpenParquet
from offtake.lake.parts import FileSlice, TableSchema
from tests.lake.lakes import TABLE, Row, add, full, increment, lake_in, numbered, read
from tests.lake.other_writers import append_rows, compact, data_files, delete_keys, delete_positions

ADDRESS = pa.struct([("city", pa.string()), ("street", pa.string())])
ITEM = pa.struct([("sku", pa.string()), ("price", pa.int64())])
SCHEMA = pa.schema(
    [
        ("n", pa.int64()),
        ("name", pa.string()),
        ("address", ADDRESS),
        ("items", pa.list_(ITEM)),
        ("tags", pa.map_(pa.string(), ITEM)),
        ("a.b", pa.string()),
    ]
)
ROWS: list[Row] = [
    {
        "n": 1,
        "name": "Ada",
        "address": {"city": "Bern", "street": "Weg"},
        "items": [{"sku": "x", "price": 2}, None, {"sku": None, "price": 3}],
        "tags": [("k", {"sku": "y", "price": 4})],
        "a.b": "dot",
    },
    {"n": 2, "name": None, "address": None, "items": [], "tags": None, "a.b": None},
]
FORMATS = [FileFormat.PARQUET, FileFormat.ORC, FileFormat.AVRO]


def choose(lake: Lake, *paths: str) -> ColumnChoice:
    table = lake.load(TABLE)
    return column_lookup.choose(table, table.schema(), paths)


def refused(lake: Lake, *paths: str) -> dict[int, str]:
    with pytest.raises(UnknownColumnsError) as found:
        choose(lake, *paths)
    return found.value.problems


@pytest.fixture
def orders(lake: Lake) -> Lake:
    add(lake, ROWS, SCHEMA)
    return lake


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ("`a.b`", ("a.b",)),
        ("`a.b`.c", ("a.b", "c")),
        ("x.`a``b`", ("x", "a`b")),
        ("with space", ("with space",)),
        ("", None),
        (".", None),
        ("a.", None),
        (".a", None),
        ("a..b", None),
        ("`a", None),
        ("`a`b", None),
        ("a`b", None),
    ],
)
def test_paths_are_parsed(text: str, names: tuple[str, ...] | None) -> None:
    assert parse_path(text) == names


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_formatted_paths_are_parsed_to_the_same_names(names: list[str]) -> None:
    assert parse_path(format_path(names)) == tuple(names)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["name", "n"], [{"n": 1, "name": "Ada"}, {"n": 2, "name": None}]),
        (["address.city"], [{"address": {"city": "Bern"}}, {"address": None}]),
        (["address"], [{"address": {"city": "Bern", "street": "Weg"}}, {"address": None}]),
        (["items.element.sku"], [{"items": [{"sku": "x"}, None, {"sku": None}]}, {"items": []}]),
        (["tags.value.price", "n"], [{"n": 1, "tags": {"k": {"price": 4}}}, {"n": 2, "tags": None}]),
        (["tags.value"], [{"tags": {"k": {"sku": "y", "price": 4}}}, {"tags": None}]),
        (["`a.b`"], [{"a.b": "dot"}, {"a.b": None}]),
    ],
)
def test_only_the_chosen_columns_are_delivered(orders: Lake, paths: list[str], expected: list[Row]) -> None:
    assert full(orders, choice=choose(orders, *paths)) == expected


def test_unknown_paths_are_refused_with_the_nearest_known_ones(orders: Lake) -> None:
    assert refused(orders, "adress", "n", "Name", "a.b", "items.sku", "address.cty", "zzzzzz", "`x") == {
        0: "the table has no column adress; do you mean address or address.city or address.street?",
        2: "the table has no column Name; do you mean name?",
        3: "the table has no column a.b; do you mean `a.b`?",
        4: "the table has no column items.sku; do you mean items.element.sku?",
        5: "the table has no column address.cty; do you mean address.city or address or address.street?",
        6: "the table has no column zzzzzz; it has n, name, address, items, tags, `a.b`",
        7: "`x is not a path: separate names by dots, quote names with dots by backticks",
    }


def test_overlapping_and_repeated_paths_and_keys_of_maps_are_refused(orders: Lake) -> None:
    assert refused(orders, "n", "address.city", "`n`", "address", "tags.key", "items", "items.element.sku") == {
        1: "address.city is inside address, which is chosen too",
        2: "n occurs twice",
        4: "tags.key is in the key of a map, which is not delivered alone; use tags",
        6: "items.element.sku is inside items, which is chosen too",
    }


def test_a_choice_is_stored_and_loaded(orders: Lake) -> None:
    choice = choose(orders, "address", "tags.value.price")
    assert ColumnChoice.from_json(choice.to_json()) == choice
    schema = opened_schema(orders, choice)
    assert TableSchema.from_json(schema.to_json()) == schema
    assert list(schema.columns) == ["address", "tags.value.price"]


def opened_schema(lake: Lake, choice: ColumnChoice) -> TableSchema:
    table = scan.open_table(lake, TABLE)
    assert table.current_snapshot is not None
    return table.schema(table.current_snapshot, table.select(table.current_snapshot, choice))


def test_a_renamed_column_is_followed_and_its_old_name_means_the_new_column(orders: Lake) -> None:
    choice = choose(orders, "n", "name")
    with orders.load(TABLE).update_schema() as change:
        change.rename_column("name", "person")
    with orders.load(TABLE).update_schema() as change:
        change.add_column("name", StringType())
    secret = pa.table({"n": [3], "person": ["Bo"], "name": ["secret"]})
    orders.load(TABLE).append(secret)
    assert full(orders, choice=choice) == [
        {"n": 1, "person": "Ada"},
        {"n": 2, "person": None},
        {"n": 3, "person": "Bo"},
    ]
    assert list(opened_schema(orders, choice).columns) == ["n", "person"]
    assert full(orders, choice=choose(orders, "name"))[2] == {"name": "secret"}


def test_a_dropped_column_is_refused_also_when_its_name_is_used_again(orders: Lake) -> None:
    choice = choose(orders, "n", "name")
    with orders.load(TABLE).update_schema() as change:
        change.delete_column("name")
    assert full(orders, choice=choice)[0] == {"n": 1, "name": "Ada"}, "the snapshot still has it"
    with orders.load(TABLE).update_schema() as change:
        change.add_column("name", StringType())
    add(orders, [{"n": 3, "name": "secret"}])
    with pytest.raises(DeliveryError, match="the chosen column name was dropped") as found:
        full(orders, choice=choice)
    assert "Create a source connection" in str(found.value)
    assert not found.value.transient


def test_columns_that_are_added_later_are_not_delivered_also_inside_chosen_structs(orders: Lake) -> None:
    choice = choose(orders, "address", "items")
    with orders.load(TABLE).update_schema() as change:
        change.add_column("secret", StringType())
        change.add_column(("address", "secret"), StringType())
        change.add_column(("items", "secret"), StringType())
    secret = {"address": {"city": "Rom", "street": "Via", "secret": "s"}, "items": [{"sku": "z", "secret": "s"}]}
    add(orders, [{"n": 3, "secret": "s", **secret}])
    assert full(orders, choice=choice)[2] == {
        "address": {"city": "Rom", "street": "Via"},
        "items": [{"sku": "z", "price": None}],
    }
    assert "secret" not in str(opened_schema(orders, choice).arrow_schema)


def test_a_dropped_field_of_a_chosen_struct_is_left_out_until_none_is_left(orders: Lake) -> None:
    choice = choose(orders, "n", "address")
    with orders.load(TABLE).update_schema() as change:
        change.delete_column(("address", "street"))
    add(orders, [{"n": 3, "address": {"city": "Rom"}}])
    assert [row["address"] for row in full(orders, choice=choice)] == [{"city": "Bern"}, None, {"city": "Rom"}]
    with orders.load(TABLE).update_schema() as change:
        change.delete_column("address")
    add(orders, [{"n": 4}])
    with pytest.raises(DeliveryError, match="the chosen column address was dropped"):
        full(orders, choice=choice)


def test_a_snapshot_from_before_a_chosen_column_is_delivered_without_it(orders: Lake) -> None:
    before = scan.open_table(orders, TABLE).current_snapshot
    assert before is not None
    with orders.load(TABLE).update_schema() as change:
        change.add_column("extra", StringType())
    choice = choose(orders, "n", "extra")
    assert full(orders, choice=choice) == [{"n": 1}, {"n": 2}]
    assert scan.open_table(orders, TABLE).select(before, choice).later == ("extra",)
    add(orders, [{"n": 3, "extra": "e"}])
    assert full(orders, choice=choice)[2] == {"n": 3, "extra": "e"}
    assert full(orders, choice=choose(orders, "extra"))[0] == {"extra": None}
    with pytest.raises(DeliveryError, match=r"had none of the chosen columns \(extra\) yet"):
        full(orders, before, choose(orders, "extra"))


def test_a_struct_whose_only_chosen_field_is_not_in_an_older_file_keeps_its_nulls(orders: Lake) -> None:
    with orders.load(TABLE).update_schema() as change:
        change.add_column(("address", "zip"), StringType())
        change.add_column(("items", "unit"), StringType())
        change.add_column(("tags", "unit"), StringType())
    add(orders, [{"n": 3}])
    choice = choose(orders, "address.zip", "items.element.unit", "tags.value.unit")
    assert full(orders, choice=choice)[:2] == [
        {"address": {"zip": None}, "items": [{"unit": None}, None, {"unit": None}], "tags": {"k": {"unit": None}}},
        {"address": None, "items": [], "tags": None},
    ]


def replaced(lake: Lake, *names: str) -> None:
    """Another table under the name, with text columns."""
    lake.catalog.drop_table(TABLE)
    fields = [NestedField(number, name, StringType()) for number, name in enumerate(names, 1)]
    lake.catalog.create_table(TABLE, Schema(*fields))
    add(lake, [{name: f"of {name}" for name in names}])


def test_a_replaced_table_is_refused_unless_its_columns_have_the_same_names_and_ids(lake: Lake) -> None:
    add(lake, [{"name": "Ada", "secret": "s"}])
    choice = choose(lake, "name")
    replaced(lake, "name", "secret", "more")
    assert full(lake, choice=choice) == [{"name": "of name"}]
    for names in (("secret", "name"), ("secret",), ("secret", "x")):
        replaced(lake, *names)
        with pytest.raises(DeliveryError, match="replaced by another one, in which name is not the column"):
            full(lake, choice=choice)


@pytest.mark.parametrize("file_format", FORMATS)
def test_deletes_apply_by_columns_that_are_not_chosen(lake: Lake, file_format: FileFormat) -> None:
    add(lake, numbered(1))
    schema = pa.schema([("n", pa.int64()), ("city", pa.string())])
    path = append_rows(lake.load(TABLE), pa.Table.from_pylist(numbered(*range(2, 9)), schema), file_format)
    delete_positions(lake.load(TABLE), path, [0])
    delete_keys(lake.load(TABLE), pa.table({"n": [1, 5]}))
    choice = choose(lake, "city")
    assert [row["city"] for row in full(lake, choice=choice)] == [f"town {n}" for n in (3, 4, 6, 7, 8)]


def test_an_equality_delete_by_a_dropped_column_applies_to_chosen_ones(lake: Lake) -> None:
    add(lake, numbered(1, 2, 3))
    delete_keys(lake.load(TABLE), pa.table({"n": [2]}))
    with lake.load(TABLE).update_schema() as change:
        change.delete_column("n")
    add(lake, [{"city": "new"}])
    assert full(lake, choice=choose(lake, "city")) == [{"city": "town 1"}, {"city": "town 3"}, {"city": "new"}]


@pytest.mark.parametrize("file_format", FORMATS)
def test_other_formats_deliver_the_chosen_columns_only(lake: Lake, file_format: FileFormat) -> None:
    schema = pa.schema([field for field in SCHEMA if field.name != "a.b"])
    ingest.declare(lake, TABLE, schema)
    rows = [{name: value for name, value in row.items() if name != "a.b"} for row in ROWS]
    append_rows(lake.load(TABLE), pa.Table.from_pylist(rows, schema), file_format)
    found = full(lake, choice=choose(lake, "address.city", "items.element.price", "tags.value.sku"))
    assert found == [
        {
            "address": {"city": "Bern"},
            "items": [{"price": 2}, None, {"price": 3}],
            "tags": {"k": {"sku": "y"}},
        },
        {"address": None, "items": [], "tags": None},
    ]


def test_files_without_field_ids_are_read_by_the_names_of_all_columns(orders: Lake, tmp_path: Path) -> None:
    schema = opened_schema(orders, choose(orders, "address.city", "items.element.price"))
    path = tmp_path / "no-ids.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS, SCHEMA), path)
    piece = FileSlice(f"file://{path}", 0, None, len(ROWS), path.stat().st_size)
    (batch,) = reading.read([piece], schema)
    assert batch.to_pylist() == [
        {"address": {"city": "Bern"}, "items": [{"price": 2}, None, {"price": 3}]},
        {"address": None, "items": []},
    ]


def test_increments_after_a_compaction_deliver_chosen_columns(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    add(lake, numbered(3))
    compact(lake.load(TABLE), rows=pa.Table.from_pylist(numbered(1, 2, 3), lake.load(TABLE).schema().as_arrow()))
    add(lake, numbered(4))
    to = scan.open_table(lake, TABLE).current_snapshot
    assert to is not None
    plan = scan.open_table(lake, TABLE).increment(first, to)
    assert increment(lake, first) == [3, 4]
    assert read(lake, plan.files, to, choice=choose(lake, "city")) == [{"city": "town 3"}, {"city": "town 4"}]


def test_only_the_chosen_columns_are_read_from_a_file(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    add(lake, ROWS, SCHEMA)
    read_paths: list[list[str]] = []
    iter_batches = OpenParquet.iter_batches

    def noted(self: Any, size: int, *, columns: list[str], **more: Any) -> Any:
        read_paths.append(columns)
        return iter_batches(self, size, columns=columns, **more)

    monkeypatch.setattr(OpenParquet, "iter_batches", noted)
    full(lake, choice=choose(lake, "n", "address.city", "items.element.sku", "tags.value.price"))
    assert read_paths == [
        ["n", "address.city", "items.list.element.sku", "tags.key_value.key", "tags.key_value.value.price"]
    ]


def test_a_file_that_has_only_the_chosen_columns_is_not_copied_with_its_metadata(lake: Lake) -> None:
    add(lake, [{"n": 1}])
    (path,) = data_files(lake.load(TABLE))
    assert b"iceberg.schema" not in Path(local_path(path)).read_bytes(), "files of the own lake have no metadata"
    with lake.load(TABLE).update_schema() as change:
        change.add_column("secret", StringType())
    add(lake, [{"n": 2, "secret": "s"}])
    choice = choose(lake, "n")
    table = scan.open_table(lake, TABLE)
    assert table.current_snapshot is not None
    schema = opened_schema(lake, choice)
    for part in slicing.slices(table.full(table.current_snapshot).files, 1, 1, table.access):
        with reading.unchanged_row_groups(part, schema, table.access) as stored:
            assert stored is None


def _projected(value: Any, kind: pa.DataType, paths: Iterable[Sequence[str]]) -> Any:
    """The value with the chosen paths only: a second implementation, by names."""
    heads: dict[str, list[Sequence[str]]] = {}
    for path in paths:
        if not path:
            return value
        heads.setdefault(path[0], []).append(path[1:])
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {
            field.name: _projected(value[field.name], field.type, heads[field.name])
            for field in kind
            if field.name in heads
        }
    if pa.types.is_map(kind):
        return {key: _projected(one, kind.item_type, heads["value"]) for key, one in value.items()}
    return [_projected(one, kind.value_type, heads["element"]) for one in value]


_NAMES = st.sampled_from(["a", "b", "c", "element", "key", "value", "x.y", "q`r", "A", "é ü", "list"])
_PLAIN = st.sampled_from(["a", "b", "c", "d", "element", "key", "value", "list"])
_OF_LEAVES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-9, 9),
    pa.string(): st.sampled_from(["", "text", "ü"]),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
}
_LEAVES = st.sampled_from(list(_OF_LEAVES))


def _kinds(names: st.SearchStrategy[str]) -> st.SearchStrategy[pa.DataType]:
    def struct_of(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
        return st.dictionaries(names, inner, min_size=1, max_size=3).map(lambda fields: pa.struct(list(fields.items())))

    return struct_of(
        st.recursive(
            _LEAVES,
            lambda inner: struct_of(inner) | inner.map(pa.list_) | inner.map(lambda one: pa.map_(pa.string(), one)),
            max_leaves=6,
        )
    )


def _values(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_struct(kind):
        return st.none() | st.fixed_dictionaries({field.name: _values(field.type) for field in kind})
    if pa.types.is_map(kind):
        pairs = st.dictionaries(st.sampled_from("kl"), _values(kind.item_type), max_size=2)
        return st.none() | pairs.map(lambda one: list(one.items()))
    if pa.types.is_list(kind):
        return st.none() | st.lists(_values(kind.value_type), max_size=3)
    return st.none() | _OF_LEAVES[kind]


@given(data=st.data(), file_format=st.sampled_from(FORMATS))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_choice_of_any_rows_equals_a_projection_of_the_whole_rows(
    data: st.DataObject, file_format: FileFormat
) -> None:
    kind = data.draw(_kinds(_NAMES if file_format == FileFormat.PARQUET else _PLAIN))
    schema = pa.schema(list(kind))
    rows = data.draw(
        st.lists(st.fixed_dictionaries({one.name: _values(one.type) for one in schema}), min_size=1, max_size=5)
    )
    with tempfile.TemporaryDirectory() as folder:
        lake = lake_in(Path(folder))
        try:
            ingest.declare(lake, TABLE, schema)
            if file_format == FileFormat.PARQUET:
                add(lake, rows, schema)
            else:
                ingest.declare(lake, TABLE, schema)
                append_rows(lake.load(TABLE), pa.Table.from_pylist(rows, schema), file_format)
            fields = [one for one in walk(lake.load(TABLE).schema()) if not one.below_key]
        except ValidationError:
            return  # two columns have the same full name
        chosen: list[tuple[str, ...]] = []
        for one in data.draw(st.lists(st.sampled_from(fields), min_size=1, max_size=4)):
            if not any(one.names[: len(other)] == other or other[: len(one.names)] == one.names for other in chosen):
                chosen.append(one.names)
        whole = full(lake)
        found = full(lake, choice=choose(lake, *map(format_path, chosen)))
        lake.close()
    assert found == [_projected(row, kind, chosen) for row in whole]
    assert len(found) == len(rows)


def test_the_walk_has_every_field_of_every_depth() -> None:
    inner = StructType(NestedField(7, "x", IntegerType()))
    schema = Schema(
        NestedField(1, "a", LongType()),
        NestedField(2, "l", ListType(3, inner)),
        NestedField(4, "m", MapType(5, StringType(), 6, StructType(NestedField(8, "y", LongType())))),
    )
    assert [(one.path, one.field_id) for one in walk(schema)] == [
        ("a", 1),
        ("l", 2),
        ("l.element", 3),
        ("l.element.x", 7),
        ("m", 4),
        ("m.key", 5),
        ("m.value", 6),
        ("m.value.y", 8),
    ]
