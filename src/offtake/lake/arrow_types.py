"""How types of files become types of tables, and how rows are made to fit them."""

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

_WIDEST_DECIMAL: Final = 38


class UnfitError(Exception):
    """A type or a value that cannot become what it must; the text says what, without the value."""


def normal_schema(schema: pa.Schema) -> pa.Schema:
    """The schema in types that Iceberg has; raises `UnfitError` naming the column."""
    names = schema.names
    for name in names:
        if not name:
            raise UnfitError("a column has no name")
        if names.count(name) > 1:
            raise UnfitError(f"column {name} is there twice")
    if not names:
        raise UnfitError("there are no columns")
    return pa.schema([pa.field(field.name, _normal(field.type, field.name), field.nullable) for field in schema])


def merged(known: pa.Schema, coming: pa.Schema) -> pa.Schema:
    """`known` with the columns that only `coming` has added at the end; raises `UnfitError` where they conflict."""
    return pa.schema(_merged_fields(list(known), list(coming), ""))


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch's rows under `schema`: columns by name, missing ones null; raises `UnfitError` naming the column."""
    columns = []
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        if index < 0:
            columns.append(pa.nulls(batch.num_rows, field.type))
            continue
        columns.append(_conform(batch.column(index), field.type, field.name))
    made = [pa.field(field.name, field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(made))


_ALIKE: Final = (
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_binary_view, pa.binary()),
    (pa.types.is_date64, pa.date32()),
    (pa.types.is_time, pa.time64("us")),
    (pa.types.is_float16, pa.float32()),
    (pa.types.is_int8, pa.int32()),
    (pa.types.is_int16, pa.int32()),
    (pa.types.is_uint8, pa.int32()),
    (pa.types.is_uint16, pa.int32()),
    (pa.types.is_unsigned_integer, pa.int64()),
    # A column that never has a value could be anything; text takes whatever comes later.
    (pa.types.is_null, pa.string()),
)
_SAME: Final = (
    pa.types.is_boolean,
    pa.types.is_int32,
    pa.types.is_int64,
    pa.types.is_float32,
    pa.types.is_float64,
    pa.types.is_string,
    pa.types.is_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_date32,
)


def _normal(kind: pa.DataType, path: str) -> pa.DataType:  # noqa: PLR0911 - one return a kind reads as a table
    if isinstance(kind, pa.UuidType) or any(is_same(kind) for is_same in _SAME):
        return kind
    for is_alike, normal in _ALIKE:
        if is_alike(kind):
            return normal
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", None if kind.tz is None else "UTC")
    if pa.types.is_decimal(kind) and kind.precision <= _WIDEST_DECIMAL:
        return pa.decimal128(kind.precision, kind.scale)
    if pa.types.is_dictionary(kind):
        return _normal(kind.value_type, path)
    if pa.types.is_struct(kind) and kind.num_fields:
        inner = (kind.field(index) for index in range(kind.num_fields))
        return pa.struct([pa.field(one.name, _normal(one.type, f"{path}.{one.name}"), one.nullable) for one in inner])
    if pa.types.is_map(kind):
        return pa.map_(_normal(kind.key_type, f"{path}.key"), _normal(kind.item_type, f"{path}.value"))
    if _is_list(kind):
        return pa.list_(pa.field("element", _normal(kind.value_type, f"{path}[]"), kind.value_field.nullable))
    raise UnfitError(f"column {path} has the type {kind}, which Iceberg does not have")


def _merged_fields(known: list[pa.Field], coming: list[pa.Field], path: str) -> list[pa.Field]:
    by_name = {field.name: field for field in coming}
    fields = []
    for field in known:
        other = by_name.pop(field.name, None)
        where = f"{path}{field.name}"
        if other is None and not field.nullable:
            raise UnfitError(f"column {where} is required and is not in the file")
        fields.append(field if other is None else field.with_type(_merged(field.type, other.type, where)))
    return fields + [field.with_nullable(True) for field in by_name.values()]


def _merged(known: pa.DataType, coming: pa.DataType, path: str) -> pa.DataType:
    if known == coming:
        return known
    if pa.types.is_struct(known) and pa.types.is_struct(coming):
        return pa.struct(_merged_fields(_fields(known), _fields(coming), f"{path}."))
    if pa.types.is_map(known) and pa.types.is_map(coming):
        items = _merged(known.item_type, coming.item_type, f"{path}.value")
        return pa.map_(_merged(known.key_type, coming.key_type, f"{path}.key"), items)
    if _is_list(known) and _is_list(coming):
        return pa.list_(known.value_field.with_type(_merged(known.value_type, coming.value_type, f"{path}[]")))
    if _fits(coming, known):
        return known
    raise UnfitError(f"column {path} is {known} in the dataset and {coming} in the file")


def _fits(coming: pa.DataType, known: pa.DataType) -> bool:
    """Whether values of one kind can become the other without a change of meaning; each value is checked later."""
    types = pa.types
    if types.is_integer(coming):
        return bool(types.is_integer(known) or types.is_floating(known) or types.is_decimal(known))
    if types.is_floating(coming):
        return bool(types.is_floating(known))
    if types.is_decimal(coming):
        return bool(types.is_decimal(known))
    if types.is_string(coming):
        readable = (types.is_timestamp, types.is_date, types.is_time, types.is_decimal)
        return any(is_readable(known) for is_readable in readable)
    if types.is_timestamp(coming):
        return bool(types.is_timestamp(known) and (coming.tz is None) == (known.tz is None))
    return False


def _conform(array: pa.Array, kind: pa.DataType, path: str) -> pa.Array:
    if array.type == kind:
        return array
    if pa.types.is_dictionary(array.type):
        return _conform(array.dictionary_decode(), kind, path)
    nested = pa.types.is_nested(kind) and pa.types.is_nested(array.type)
    if not nested:
        return _cast(array, kind, path)
    # Children of a sliced array are not sliced with it; a copy from zero is.
    whole = pa.concat_arrays([array, array.slice(0, 0)]) if array.offset else array
    if pa.types.is_struct(kind):
        return _conform_struct(whole, kind, path)
    if pa.types.is_map(kind):
        keys = _conform(whole.keys, kind.key_type, f"{path}.key")
        items = _conform(whole.items, kind.item_type, f"{path}.value")
        return pa.MapArray.from_arrays(whole.offsets, keys, items, type=kind, mask=whole.is_null())
    if pa.types.is_fixed_size_list(whole.type):
        whole = whole.cast(pa.list_(whole.type.value_type))
    offsets = whole.offsets.cast(pa.int32())
    values = _conform(whole.values, kind.value_type, f"{path}[]")
    return pa.ListArray.from_arrays(offsets, values, type=kind, mask=whole.is_null())


def _conform_struct(array: pa.StructArray, kind: pa.StructType, path: str) -> pa.StructArray:
    children = []
    for field in _fields(kind):
        index = array.type.get_field_index(field.name)
        if index < 0:
            children.append(pa.nulls(len(array), field.type))
            continue
        children.append(_conform(array.field(index), field.type, f"{path}.{field.name}"))
    return pa.StructArray.from_arrays(children, fields=_fields(kind), mask=array.is_null())


def _cast(array: pa.Array, kind: pa.DataType, path: str) -> pa.Array:
    try:
        return pc.cast(array, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise UnfitError(f"column {path} holds a {array.type} value that cannot become {kind} unchanged") from None


def _fields(kind: Any) -> list[pa.Field]:  # noqa: ANN401 - a struct type, for which pyarrow has no stubs
    return [kind.field(index) for index in range(kind.num_fields)]


def _is_list(kind: pa.DataType) -> bool:
    is_variable = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(is_variable or pa.types.is_fixed_size_list(kind))
