"""UUIDs as text in Parquet, for readers without UUID support: converts schemas and batches, at every depth."""

import pyarrow as pa

from offtake.formats import nested, scalars


def contains_uuids(schema: pa.Schema) -> bool:
    """Whether any column is, or contains, a UUID."""
    return any(_contains_uuid(field.type) for field in schema)


def uuids_as_text(schema: pa.Schema) -> pa.Schema:
    """The schema with strings instead of UUIDs; names, field ids and nullability stay."""
    return pa.schema([_uuid_as_text(field) for field in schema], schema.metadata)


def convert(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in `schema`, the result of `uuids_as_text`; columns without UUIDs are not copied."""
    columns = [_convert(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _contains_uuid(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.UuidType):
        return True
    return any(_contains_uuid(kind.field(index).type) for index in range(kind.num_fields))


def _uuid_as_text(field: pa.Field) -> pa.Field:
    return field.with_type(_text_type(field.type))


def _text_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.UuidType):
        return pa.string()
    if not _contains_uuid(kind):
        return kind
    if pa.types.is_struct(kind):
        return pa.struct([_uuid_as_text(kind.field(index)) for index in range(kind.num_fields)])
    if pa.types.is_map(kind):
        return pa.map_(_uuid_as_text(kind.key_field), _uuid_as_text(kind.item_field), kind.keys_sorted)
    return pa.list_(_uuid_as_text(kind.value_field))


def _convert(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The array with text for UUIDs; `kind`: the new type. Values hidden by a null are dropped."""
    if not _contains_uuid(array.type):
        return array
    if isinstance(array.type, pa.UuidType):
        return scalars.uuid_text(array)
    mask = nested.mask(array)
    if pa.types.is_struct(kind):
        fields = [kind.field(index) for index in range(kind.num_fields)]
        children = [_convert(child, field.type) for child, field in zip(array.flatten(), fields, strict=True)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=mask)
    if pa.types.is_map(kind):
        lists = nested.as_lists(array)
        keys, items = nested.elements(lists).flatten()
        parts = (_convert(keys, kind.key_type), _convert(items, kind.item_type))
        return pa.MapArray.from_arrays(nested.offsets(lists), *parts, type=kind, mask=mask)
    return pa.ListArray.from_arrays(
        nested.offsets(array), _convert(nested.elements(array), kind.value_type), kind, mask=mask
    )
