"""Columns of a table for workers: those that a file lacks, and single ones by field id, also dropped ones.

PyIceberg is imported only when needed.
"""

import base64
import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import pyarrow as pa

from offtake.lake.parts import TableSchema, narrow_types
from offtake.lake.projection import Missing, ProjectionError, field_id_of


def missing_values(partition: Iterable[tuple[int, str | None]], schema: TableSchema) -> Missing:
    """The values of columns that a file lacks: partition values, else initial defaults."""
    values = dict(partition)

    def value(field_id: int, kind: pa.DataType) -> pa.Scalar | None:
        from pyiceberg.conversions import from_bytes  # noqa: PLC0415 - saves memory in workers

        field = _field(field_id, schema)
        if field_id not in values:
            return None if field.initial_default is None else pa.scalar(field.initial_default, kind)
        stored = values[field_id]
        return pa.scalar(None if stored is None else from_bytes(field.field_type, base64.b64decode(stored)), kind)

    return value


def pruned_column(field_id: int, schema: TableSchema) -> pa.Schema:
    """The top-level column that is or contains the field, without its other fields; all optional.

    Raises `ProjectionError` when the table has no such field outside of lists and maps.
    """
    found = _pruned(schema.table_schema, field_id)
    if found is None:
        found = next((one for one in map(_arrow, schema.former) if _pruned(one, field_id)), None)
        found = None if found is None else _pruned(found, field_id)
    if found is None:
        raise ProjectionError(
            f"equality deletes use the field with id {field_id}, which the table's schemas do not have",
            "Compact the table, so that its data files no longer contain the deleted rows.",
        )
    return pa.schema([found])


def _pruned(fields: Iterable[pa.Field], field_id: int) -> pa.Field | None:
    for field in fields:
        if field_id_of(field) == field_id:
            return field.with_nullable(True)
        if pa.types.is_struct(field.type):
            inner = _pruned([field.type.field(index) for index in range(field.type.num_fields)], field_id)
            if inner is not None:
                return field.with_type(pa.struct([inner])).with_nullable(True)
    return None


def _field(field_id: int, schema: TableSchema) -> Any:  # noqa: ANN401 - PyIceberg's NestedField, imported late
    for one in (schema.iceberg, *schema.former):
        parsed = _iceberg(one)
        if field_id in parsed.field_ids:
            return parsed.find_field(field_id)
    raise ProjectionError(f"the table's schemas do not have the field with id {field_id}")


@lru_cache(maxsize=8)
def _iceberg(schema: str) -> Any:  # noqa: ANN401 - PyIceberg's Schema, imported late
    from pyiceberg.schema import Schema  # noqa: PLC0415 - saves memory in workers

    return Schema.model_validate(json.loads(schema))


@lru_cache(maxsize=8)
def _arrow(schema: str) -> pa.Schema:
    from pyiceberg.io.pyarrow import schema_to_pyarrow  # noqa: PLC0415 - only for dropped columns

    return narrow_types(schema_to_pyarrow(_iceberg(schema), include_field_ids=True))
