"""The schema of a table for workers: in Arrow's and Iceberg's serialised forms."""

import base64

from pyiceberg.schema import Schema
from pyiceberg.table import Table

from offtake.lake import file_metadata
from offtake.lake.column_lookup import Selection
from offtake.lake.parts import TableSchema, narrow_types


def table_schema(table: Table, schema: Schema, chosen: Selection | None = None) -> TableSchema:
    """A schema of the table, for workers; with `chosen`, these columns of it are delivered."""
    mapping = table.name_mapping()
    return TableSchema(
        arrow=_arrow(schema if chosen is None else chosen.schema),
        iceberg=schema.model_dump_json(),
        name_mapping=mapping.model_dump_json() if mapping else None,
        older_names=file_metadata.former_names(table),
        former=_former(table, schema),
        columns={} if chosen is None else chosen.columns,
        whole=None if chosen is None else _arrow(schema),
    )


def _arrow(schema: Schema) -> str:
    # Slow to import, and a server that plans nothing does without.
    from pyiceberg.io.pyarrow import schema_to_pyarrow  # noqa: PLC0415 - see above

    arrow = narrow_types(schema_to_pyarrow(schema, include_field_ids=True)).serialize()
    return base64.b64encode(arrow).decode()


def _former(table: Table, schema: Schema) -> tuple[str, ...]:
    """Schemas with the columns that `schema` lacks, each column in its newest one."""
    known, found = set(schema.field_ids), []
    for one in sorted(table.schemas().values(), key=lambda other: other.schema_id, reverse=True):
        if not known.issuperset(one.field_ids):
            known.update(one.field_ids)
            found.append(one.model_dump_json())
    return tuple(found)
