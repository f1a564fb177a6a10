"""The type map: how a value of each type looks in NDJSON and in Parquet.

One table, from which `docs/types.md` is made; `for_json` carries out what its NDJSON column says beyond what the
encoder does by itself.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class TypeRule:
    """One line of the table: the Iceberg type, and its form in either format."""

    iceberg: str
    ndjson: str
    parquet: str
    example: str


TYPE_MAP: Final = (
    TypeRule("boolean", "`true` or `false`", "BOOLEAN", "`true`"),
    TypeRule("int, long", "number, every digit", "INT32, INT64", "`9223372036854775807`"),
    TypeRule("float, double", "number; NaN and infinities are `null`", "FLOAT, DOUBLE", "`0.1`"),
    TypeRule("decimal(P, S)", "number with S digits after the point", "DECIMAL(P, S)", "`1.10`"),
    TypeRule("date", "ISO 8601", "DATE", '`"2026-03-01"`'),
    TypeRule("time", "ISO 8601, fraction only when there is one", "TIME(MICROS)", '`"06:00:00.000004"`'),
    TypeRule("timestamp", "ISO 8601 without a zone", "TIMESTAMP(MICROS, local)", '`"2026-03-01T06:00:00.123456"`'),
    TypeRule("timestamptz", "ISO 8601 in UTC, with `Z`", "TIMESTAMP(MICROS, UTC)", '`"2026-03-01T06:00:00Z"`'),
    TypeRule("string", "string", "STRING", '`"Bern"`'),
    TypeRule("uuid", "string, 8-4-4-4-12", "UUID", '`"0b8c5520-9999-4cff-bdf5-1f32c8c47cb9"`'),
    TypeRule("binary, fixed(L)", "string, Base64", "BINARY, FIXED_LEN_BYTE_ARRAY", '`"AP8="`'),
    TypeRule("struct", "object", "group", '`{"city":"Bern"}`'),
    TypeRule("list", "array; a null element stays `null`", "LIST", "`[1,null,3]`"),
    TypeRule("map", "object; keys that are not strings become strings", "MAP", '`{"1":"a"}`'),
    TypeRule("null", "left out (in objects and maps)", "null", ""),
)

_Change = Callable[[pa.Array], pa.Array]


def for_json(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch in the types that the encoder writes as the table says; columns that are so already are not copied."""
    columns = [_change(column) if _needs_change(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _needs_change(kind: pa.DataType) -> bool:
    if _rule(kind) is not None:
        return True
    if pa.types.is_map(kind):
        return not _is_text(kind.key_type) or _needs_change(kind.item_type)
    return any(_needs_change(kind.field(index).type) for index in range(kind.num_fields))


def _rule(kind: pa.DataType) -> _Change | None:
    if isinstance(kind, pa.UuidType):
        return _uuid_text
    if pa.types.is_dictionary(kind):
        return _decoded
    if _is_binary(kind):
        return _base64
    if pa.types.is_timestamp(kind) and kind.tz not in (None, "UTC"):
        return _in_utc
    return None


def _change(array: pa.Array) -> pa.Array:
    rule = _rule(array.type)
    if rule is not None:
        return rule(array)
    if not _needs_change(array.type):
        return array
    # Children of a sliced array are not sliced with it; a copy from zero is.
    whole = pa.concat_arrays([array, array.slice(0, 0)]) if array.offset else array
    if pa.types.is_struct(whole.type):
        return _struct(whole)
    if pa.types.is_map(whole.type):
        return _map(whole)
    return _list(whole)


def _struct(array: pa.StructArray) -> pa.StructArray:
    children = [_change(array.field(index)) for index in range(array.type.num_fields)]
    fields = [array.type.field(index).with_type(child.type) for index, child in enumerate(children)]
    return pa.StructArray.from_arrays(children, fields=fields, mask=array.is_null())


def _map(array: pa.MapArray) -> pa.MapArray:
    keys = array.keys if _is_text(array.keys.type) else _text(array.keys)
    return pa.MapArray.from_arrays(array.offsets, keys, _change(array.items), mask=array.is_null())


def _list(array: pa.Array) -> pa.Array:
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    make = pa.LargeListArray if pa.types.is_large_list(array.type) else pa.ListArray
    return make.from_arrays(array.offsets, _change(array.values), mask=array.is_null())


def _text(array: pa.Array) -> pa.Array:
    changed = _change(array)
    return changed if _is_text(changed.type) else pc.cast(changed, pa.string())


def _decoded(array: pa.DictionaryArray) -> pa.Array:
    return _change(array.dictionary_decode())


def _in_utc(array: pa.Array) -> pa.Array:
    return array.cast(pa.timestamp(array.type.unit, "UTC"))


def _base64(array: pa.Array) -> pa.Array:
    # Arrow has no kernel for this; only columns of bytes pay for the loop.
    return pa.array(
        [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()], pa.string()
    )


def _uuid_text(array: pa.Array) -> pa.Array:
    stored = array.storage.to_pylist()
    return pa.array([None if value is None else str(UUID(bytes=value)) for value in stored], pa.string())


def _is_binary(kind: pa.DataType) -> bool:
    is_variable = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return bool(is_variable or pa.types.is_fixed_size_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
