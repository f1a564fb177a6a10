"""Hypothesis strategies for rows of any types, and a second implementation of their JSON form in plain Python."""

import base64
import datetime as dt
import math
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import pyarrow as pa
from hypothesis import strategies as st

Typed = tuple[pa.DataType, st.SearchStrategy[Any]]

_INSTANTS = st.datetimes(min_value=dt.datetime(1, 1, 2), max_value=dt.datetime(9999, 12, 30))
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_BYTES = st.binary(max_size=20)
_WHOLE = st.integers(-(2**63), 2**63 - 1)

LEAVES: list[Typed] = [
    (pa.bool_(), st.booleans()),
    (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.int64(), _WHOLE),
    (pa.float64(), st.floats()),
    (pa.decimal128(20, 5), st.integers(-(10**20) + 1, 10**20 - 1).map(lambda whole: Decimal(whole).scaleb(-5))),
    (pa.date32(), st.dates()),
    (pa.time64("us"), st.times()),
    (pa.timestamp("us"), _INSTANTS),
    (pa.timestamp("us", "UTC"), _INSTANTS.map(lambda at: at.replace(tzinfo=dt.UTC))),
    (pa.string(), _TEXT),
    (pa.binary(), _BYTES),
    (pa.binary(4), st.binary(min_size=4, max_size=4)),
]
# pyarrow makes arrays of UUIDs from values, but no lists or maps of them.
_UUIDS: Typed = (pa.uuid(), st.uuids().map(lambda one: one.bytes))
_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
_KEYS = {pa.string(), pa.int64(), pa.date32(), pa.timestamp("us", "UTC"), pa.binary(), pa.bool_()}
_KEY_LEAVES = [leaf for leaf in LEAVES if leaf[0] in _KEYS]


def _list(inner: Typed) -> Typed:
    kind, values = inner
    element = st.none() | values
    return pa.list_(kind), st.lists(element, max_size=4)


def _map(key: Typed, item: Typed) -> Typed:
    entries = st.lists(st.tuples(key[1], st.none() | item[1]), max_size=4)
    return pa.map_(key[0], item[0]), entries


def _struct(fields: dict[str, Typed]) -> Typed:
    values = {name: st.none() | values for name, (_, values) in fields.items()}
    return pa.struct([(name, kind) for name, (kind, _) in fields.items()]), st.fixed_dictionaries(values)


def _structs(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    return st.dictionaries(_NAMES, inner, min_size=1, max_size=3).map(_struct)


def _nested(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    return inner.map(_list) | st.builds(_map, st.sampled_from(_KEY_LEAVES), inner) | _structs(inner)


TYPED = st.recursive(st.sampled_from(LEAVES), _nested, max_leaves=5)


@st.composite
def rows(draw: st.DrawFn) -> pa.RecordBatch:
    """A batch with up to three columns of any types."""
    columns = draw(st.dictionaries(_NAMES, TYPED | st.just(_UUIDS), min_size=1, max_size=3))
    count = draw(st.integers(0, 12))
    arrays = [
        pa.array(draw(st.lists(st.none() | values, min_size=count, max_size=count)), kind)
        for kind, values in columns.values()
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


@st.composite
def cut_rows(draw: st.DrawFn) -> list[pa.RecordBatch]:
    """A random slice of a batch."""
    whole = draw(rows())
    places = sorted(draw(st.lists(st.integers(0, whole.num_rows), min_size=2, max_size=4)))
    return [whole.slice(start, stop - start) for start, stop in pairwise(places)]


@st.composite
def rows_with_uuids(draw: st.DrawFn) -> pa.RecordBatch:
    """A batch with a column of any type, with UUIDs for fields of 16 bytes."""
    kind, values = draw(st.recursive(st.sampled_from([_SIXTEEN, *LEAVES[:2]]), _nested_uuids, max_leaves=4))
    count = draw(st.integers(0, 12))
    array = pa.array(draw(st.lists(st.none() | values, min_size=count, max_size=count)), kind)
    start = draw(st.integers(0, count))
    return pa.RecordBatch.from_arrays([_as_uuids(array)], ["x"]).slice(start)


_SIXTEEN: Typed = (pa.binary(16), st.binary(min_size=16, max_size=16))


def _nested_uuids(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    return inner.map(_list) | st.builds(_map, st.sampled_from([_SIXTEEN, *_KEY_LEAVES]), inner) | _structs(inner)


def _as_uuids(array: pa.Array) -> pa.Array:
    """The array with UUIDs instead of 16 bytes; pyarrow cannot build nested UUIDs from values."""
    kind, mask = array.type, array.is_null()
    if kind == pa.binary(16):
        return pa.ExtensionArray.from_storage(pa.uuid(), array)
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays(map(_as_uuids, array.flatten()), [one.name for one in kind], mask=mask)
    if pa.types.is_map(kind):
        return pa.MapArray.from_arrays(array.offsets, _as_uuids(array.keys), _as_uuids(array.items), mask=mask)
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(array.offsets, _as_uuids(array.values), mask=mask)
    return array


def losses_of(value: Any, kind: pa.DataType) -> Counter[str]:
    """The number of values within one from `to_pylist` that JSON cannot represent, by kind."""
    if value is None:
        return Counter()
    if pa.types.is_map(kind):
        last = {_key(key): item for key, item in value}
        nulls = sum(item is None for item in last.values())
        found = Counter({"repeatedKey": len(value) - len(last), "nullEntry": nulls})
        return sum((losses_of(item, kind.item_type) for item in last.values()), found)
    if pa.types.is_struct(kind):
        return sum((losses_of(value[field.name], field.type) for field in kind), Counter())
    if isinstance(value, list):
        return sum((losses_of(element, kind.value_type) for element in value), Counter())
    return Counter({"notANumber": int(isinstance(value, float) and not math.isfinite(value))})


def rendered_row(row: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """The expected JSON object for a row from `to_pylist`, with decimals for numbers with a point."""
    made = {field.name: rendered(row[field.name], field.type) for field in schema}
    return {name: value for name, value in made.items() if value is not None}


def rendered(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_map(kind):
        made = {_key(key): rendered(item, kind.item_type) for key, item in value}
        return {key: item for key, item in made.items() if item is not None}
    if pa.types.is_struct(kind):
        return rendered_row(value, pa.schema(kind))
    if isinstance(value, list):
        return [rendered(element, kind.value_type) for element in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, dt.datetime):
        utc = value if value.tzinfo is None else value.astimezone(dt.UTC)
        return f"{utc.date().isoformat()}T{_clock(utc.time())}{'Z' if value.tzinfo else ''}"
    if isinstance(value, dt.time):
        return _clock(value)
    return value.isoformat() if isinstance(value, dt.date) else value


def _clock(value: dt.time) -> str:
    text = value.isoformat()
    return text[:-3] if len(text) > 8 and text.endswith("000") else text


def _key(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(_scalar(value))
