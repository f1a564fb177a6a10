"""How types of files become types of tables, and how rows are made to fit them."""

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

_WIDEST_DECIMAL: Final = 38


class UnfitError(Exception):
    """A type or a value that cannot become what it must; the text says what, without the value."""


def normal_schema(schema: pa.Schema) -> pa.Schema:
    """The schema in types that Iceberg has, or that could yet become any; raises `UnfitError` naming the column."""
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


def settled(schema: pa.Schema) -> pa.Schema:
    """The schema with what could be any type as text, which takes whatever comes later."""
    return pa.schema([field.with_type(_settled(field.type, field.name)) for field in schema])


def agree(known: pa.Schema, coming: pa.Schema) -> bool:
    """Whether files of the one schema can stand in a table of the other: what both have is of one type."""
    return _agree(pa.struct(list(known)), pa.struct(list(coming)))


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
    pa.types.is_null,
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
    if pa.types.is_struct(kind):
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
    if known == coming or pa.types.is_null(coming):
        return known
    if pa.types.is_null(known):
        return coming
    nested = _merged_nested(known, coming, path)
    if nested is not None:
        return nested
    if _fits(coming, known):
        return known
    raise UnfitError(f"column {path} is {known} in the dataset and {coming} in the file")


def _merged_nested(known: pa.DataType, coming: pa.DataType, path: str) -> pa.DataType | None:
    """Both are structs, maps or lists; or the file has objects where the table has a map, as JSON writes them."""
    if pa.types.is_struct(known) and pa.types.is_struct(coming):
        return pa.struct(_merged_fields(_fields(known), _fields(coming), f"{path}."))
    if _is_list(known) and _is_list(coming):
        return pa.list_(known.value_field.with_type(_merged(known.value_type, coming.value_type, f"{path}[]")))
    if pa.types.is_map(known) and pa.types.is_map(coming):
        items = _merged(known.item_type, coming.item_type, f"{path}.value")
        return pa.map_(_merged(known.key_type, coming.key_type, f"{path}.key"), items)
    if pa.types.is_map(known) and pa.types.is_string(known.key_type) and pa.types.is_struct(coming):
        items = known.item_type
        for field in _fields(coming):
            items = _merged(items, field.type, f"{path}.{field.name}")
        return pa.map_(known.key_type, items)
    return None


def _agree(known: pa.DataType, coming: pa.DataType) -> bool:
    if pa.types.is_struct(known) and pa.types.is_struct(coming):
        ours = {field.name: field.type for field in _fields(known)}
        return all(_agree(ours[field.name], field.type) for field in _fields(coming) if field.name in ours)
    if _is_list(known) and _is_list(coming):
        return _agree(known.value_type, coming.value_type)
    if pa.types.is_map(known) and pa.types.is_map(coming):
        return _agree(known.key_type, coming.key_type) and _agree(known.item_type, coming.item_type)
    return bool(known == coming)


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


def _settled(kind: pa.DataType, path: str) -> pa.DataType:
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        if not kind.num_fields:
            raise UnfitError(f"column {path} has only empty objects, which tell no type")
        return pa.struct([one.with_type(_settled(one.type, f"{path}.{one.name}")) for one in _fields(kind)])
    if pa.types.is_map(kind):
        return pa.map_(_settled(kind.key_type, f"{path}.key"), _settled(kind.item_type, f"{path}.value"))
    if _is_list(kind):
        return pa.list_(kind.value_field.with_type(_settled(kind.value_type, f"{path}[]")))
    return kind


def _conform(array: pa.Array, kind: pa.DataType, path: str) -> pa.Array:
    if array.type == kind:
        return array
    if pa.types.is_dictionary(array.type):
        return _conform(array.dictionary_decode(), kind, path)
    if pa.types.is_nested(kind) and pa.types.is_nested(array.type):
        # Children of a sliced array are not sliced with it; a copy from zero is.
        return _conform_nested(pa.concat_arrays([array, array.slice(0, 0)]) if array.offset else array, kind, path)
    return _cast(array, kind, path)


def _conform_nested(array: pa.Array, kind: pa.DataType, path: str) -> pa.Array:
    if pa.types.is_struct(kind):
        return _conform_struct(array, kind, path)
    if pa.types.is_map(kind) and pa.types.is_struct(array.type):
        return _map_of_struct(array, kind, path)
    if pa.types.is_map(kind):
        keys = _conform(array.keys, kind.key_type, f"{path}.key")
        items = _conform(array.items, kind.item_type, f"{path}.value")
        return pa.MapArray.from_arrays(array.offsets, keys, items, type=kind, mask=array.is_null())
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    values = _conform(array.values, kind.value_type, f"{path}[]")
    return pa.ListArray.from_arrays(array.offsets.cast(pa.int32()), values, type=kind, mask=array.is_null())


def _conform_struct(array: pa.StructArray, kind: pa.StructType, path: str) -> pa.StructArray:
    children = []
    for field in _fields(kind):
        index = array.type.get_field_index(field.name)
        if index < 0:
            children.append(pa.nulls(len(array), field.type))
            continue
        children.append(_conform(array.field(index), field.type, f"{path}.{field.name}"))
    return pa.StructArray.from_arrays(children, fields=_fields(kind), mask=array.is_null())


def _map_of_struct(array: pa.StructArray, kind: pa.MapType, path: str) -> pa.MapArray:
    """A map of each struct's fields that are not null, as JSON writes maps."""
    names = [field.name for field in _fields(array.type)]
    columns = [
        _conform(column, kind.item_type, f"{path}.{name}") for name, column in zip(names, array.flatten(), strict=True)
    ]
    rows = pa.arange(0, len(array))
    of_row = pa.concat_arrays([rows for _ in names] or [rows.slice(0, 0)])
    keys = pa.concat_arrays([pa.repeat(name, len(array)) for name in names] or [pa.array([], pa.string())])
    items = pa.concat_arrays(columns or [pa.array([], kind.item_type)])
    kept = items.is_valid()
    of_row, keys, items = of_row.filter(kept), keys.filter(kept), items.filter(kept)
    order = pc.array_sort_indices(of_row)  # stable: fields keep their order
    counts = pc.value_counts(of_row)
    lengths = pc.fill_null(counts.field("counts").take(pc.index_in(rows, counts.field("values"))), 0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
    return pa.MapArray.from_arrays(offsets, keys.take(order), items.take(order), type=kind, mask=array.is_null())


def _cast(array: pa.Array, kind: pa.DataType, path: str) -> pa.Array:
    try:
        if pa.types.is_time(kind) and pa.types.is_string(array.type):
            # Arrow reads times of day only as part of a timestamp.
            array = pc.cast(pc.binary_join_element_wise("1970-01-01", array, "T"), pa.timestamp("us"))
        return pc.cast(array, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise UnfitError(f"column {path} holds a {array.type} value that cannot become {kind} unchanged") from None


def _fields(kind: Any) -> list[pa.Field]:  # noqa: ANN401 - a struct type, for which pyarrow has no stubs
    return [kind.field(index) for index in range(kind.num_fields)]


def _is_list(kind: pa.DataType) -> bool:
    is_variable = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(is_variable or pa.types.is_fixed_size_list(kind))
