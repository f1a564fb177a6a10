"""Types as users write them: what is written is what is read, and what cannot be is refused by the column's name."""

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.schema import Schema
from pyiceberg.types import DecimalType, FixedType, ListType, LongType, MapType, NestedField, StringType, StructType

from offtake.catalog.column_types import (
    Column,
    ColumnTypeError,
    columns_of,
    parse_schema,
    parse_type,
    schema_of,
    split_column,
)
from offtake.lake.type_names import format_type

NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=8).filter(str.strip)
PRIMITIVES = st.one_of(
    st.sampled_from(
        (pa.bool_(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.date32(), pa.time64("us"), pa.binary())
    ),
    st.sampled_from((pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.string(), pa.uuid())),
    st.integers(1, 38).flatmap(lambda wide: st.integers(0, wide).map(lambda scale: pa.decimal128(wide, scale))),
    st.integers(1, 1000).map(pa.binary),
)


def nested(kinds: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    fields = st.lists(st.tuples(NAMES, kinds, st.booleans()), min_size=1, max_size=3, unique_by=lambda one: one[0])
    return st.one_of(
        fields.map(lambda found: pa.struct([pa.field(name, kind, nullable) for name, kind, nullable in found])),
        st.builds(lambda kind, nullable: pa.list_(pa.field("element", kind, nullable)), kinds, st.booleans()),
        st.builds(
            lambda key, kind, nullable: pa.map_(key, pa.field("value", kind, nullable)), kinds, kinds, st.booleans()
        ),
    )


TYPES = st.recursive(PRIMITIVES, nested, max_leaves=6)


@given(TYPES)
def test_a_type_that_is_written_is_read_as_it_was(kind: pa.DataType) -> None:
    assert parse_type(format_type(kind), "a") == kind


@given(st.lists(st.tuples(NAMES, TYPES, st.booleans()), min_size=1, max_size=4, unique_by=lambda one: one[0]))
def test_a_schema_that_is_written_is_read_as_it_was(found: list[Any]) -> None:
    schema = pa.schema([pa.field(name, kind, nullable) for name, kind, nullable in found])
    assert schema_of(columns_of(schema)) == schema
    document = [{"name": one.name, "type": one.type, "required": one.required} for one in columns_of(schema)]
    assert parse_schema(json.loads(json.dumps({"columns": document}))) == schema


@given(st.text(st.sampled_from("struc<>,: int()`9list map\\required[]"), max_size=30))
def test_whatever_is_written_is_a_type_or_refused(text: str) -> None:
    try:
        kind = parse_type(text, "a")
    except ColumnTypeError:
        return
    assert parse_type(format_type(kind), "a") == kind


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("id:int", Column("id", "int")),
        ("id:long:required", Column("id", "long", required=True)),
        ("a:b:string", Column("a:b", "string")),
        ("s:struct<x: int, y: list<required long>>", Column("s", "struct<x: int, y: list<required long>>")),
    ],
)
def test_a_column_is_a_name_and_a_type(text: str, column: Column) -> None:
    assert split_column(text) == column


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x", "'x' is not name:type"),
        (":int", "is not a column's name"),
        ("x:", "Column x: a type is missing"),
        ("x:text", "'text' is not a type"),
        ("x:int long", "'long' comes after the type"),
        ("x:list<int", "'>' is missing"),
        ("x:struct<>", "the name of a struct's field is missing"),
        ("x:struct<a: int, a: int>", "the field a twice"),
        ("x:decimal(39,2)", "the precision is 1 to 38"),
        ("x:decimal(3,4)", "the scale 0 to the precision"),
        ("x:fixed(0)", "the length of fixed"),
        ("x:timestamp_ns", "'timestamp_ns' is not a type"),
        ("x:" + "list<" * 40 + "int" + ">" * 40, "levels deep"),
    ],
)
def test_an_invalid_column_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(ColumnTypeError) as refused:
        split_column(text)
    assert why in str(refused.value)


def test_an_iceberg_schema_is_read_as_its_library_writes_it() -> None:
    schema = Schema(
        NestedField(1, "id", LongType(), required=True),
        NestedField(2, "prices", ListType(3, DecimalType(9, 2), element_required=True)),
        NestedField(4, "more", MapType(5, StringType(), 6, StructType(NestedField(7, "hash", FixedType(16))), False)),
    )
    assert parse_schema(json.loads(schema.model_dump_json())) == pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("prices", pa.list_(pa.field("element", pa.decimal128(9, 2), nullable=False))),
            pa.field("more", pa.map_(pa.string(), pa.struct([pa.field("hash", pa.binary(16))]))),
        ]
    )


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([], "A schema is"),
        ({"columns": []}, "1 to 10000 columns"),
        ({"columns": [{"type": "int"}]}, "columns[0] must be an object with name"),
        ({"columns": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]}, "Column a is declared twice"),
        ({"columns": [{"name": "a", "type": 5}]}, "Column a: type must be"),
        ({"columns": [{"name": "a", "type": "int", "nullable": True}]}, "'nullable' is unknown"),
        ({"columns": [{"name": "a", "type": "int", "required": "yes"}]}, "required must be true or false"),
        ({"columns": [{"name": "a\n", "type": "int"}]}, "is not a column's name"),
        ({"type": "struct", "fields": [{"name": "a", "type": "timestamp", "nullable": True}]}, "a schema of Spark"),
        ({"type": "struct", "fields": [{"name": "a", "type": {"type": "array"}}]}, "Column a: the type must be"),
        ({"type": "struct", "fields": [{"name": "a", "type": "int", "initial-default": 1}]}, "initial-default"),
        ({"type": "struct", "fields": 5}, "fields must be a list"),
    ],
)
def test_an_invalid_schema_is_refused_with_a_reason(document: Any, why: str) -> None:
    with pytest.raises(ColumnTypeError) as refused:
        parse_schema(document)
    assert why in str(refused.value)
