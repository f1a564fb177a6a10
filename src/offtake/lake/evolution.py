"""Schema evolution: how a batch changes a table's columns, and which changes need no rewrite of its files.

Iceberg supports new columns and type promotions without a rewrite. A column with only nulls so far is dropped and added
again with its type: the files hold no values of it. Every other change of type rewrites the table's files
(`rewriting`).
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
from pyiceberg.table import Table, Transaction
from pyiceberg.types import NestedField, StructType

from offtake.lake.parsing.columns import (
    PLACEHOLDER,
    iceberg_schema,
    is_promotion,
    null_columns_as_text,
    undetermined,
    with_undetermined,
)
from offtake.lake.parsing.kinds import ELEMENT, VALUE, Path, fields_of

UNDETERMINED: Final = "offtake.undetermined"
"""Table property: JSON list of the paths of columns and nested fields whose type is unknown (only nulls so far)."""
DECLARED: Final = "offtake.declared"
"""Table property: the columns' types were declared when the dataset was created."""
_METRICS: Final = "write.metadata.metrics.column."


@dataclass
class SchemaChange:
    """How a batch changes a table's columns. Each list has paths.

    `added`: new columns. `promoted`: types that Iceberg widens without a rewrite. `retyped`: any other change of type.
    `determined`: columns whose type was unknown. `filled`: objects that had no fields.
    """

    added: list[Path] = field(default_factory=list)
    promoted: list[Path] = field(default_factory=list)
    retyped: list[Path] = field(default_factory=list)
    determined: list[Path] = field(default_factory=list)
    filled: list[Path] = field(default_factory=list)

    @property
    def rewritten(self) -> frozenset[str]:
        """The columns that need a rewrite: those retyped, and those whose lists or maps get their first values."""
        within = (path for path in self.determined if ELEMENT in path or VALUE in path)
        return frozenset(path[0] for path in (*self.retyped, *within))

    @property
    def replaced(self) -> list[Path]:
        """The columns that are dropped and added again."""
        rewritten = self.rewritten
        return [*((name,) for name in sorted(rewritten)), *(one for one in self.determined if one[0] not in rewritten)]


def current_schema(table: Table) -> pa.Schema:
    """The table's columns in Arrow's types, with the null type where a type is unknown."""
    arrow = table.schema().as_arrow()
    plain = iceberg_schema(pa.schema([pa.field(one.name, one.type, one.nullable) for one in arrow]))
    paths = json.loads(table.properties.get(UNDETERMINED, "[]"))
    return with_undetermined(plain, [tuple(path) for path in paths])


def compare(current: pa.Schema, target: pa.Schema) -> SchemaChange:
    """How `target` differs from a table's `current` columns."""
    change = SchemaChange()
    _compare(pa.struct(list(current)), pa.struct(list(target)), (), change)
    return change


def evolve(transaction: Transaction, current: pa.Schema, target: pa.Schema, change: SchemaChange) -> None:
    """Change the table's columns from `current` to `target`, keeping their order."""
    if current == target:
        return
    # This module of PyIceberg takes long to import; a server must start without it.
    from pyiceberg.io.pyarrow import _pyarrow_to_schema_without_ids  # noqa: PLC0415 - see above

    stored = null_columns_as_text(target)
    if change.replaced:
        types = _pyarrow_to_schema_without_ids(stored)
        # A required column stays required: existing rows have a value, and new ones must have one.
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for path in change.replaced:
                column = _field_at(types.as_struct(), path)
                update.delete_column(path)
                update.add_column(path, column.field_type, required=column.required)
    with transaction.update_schema() as update:
        update.union_by_name(stored)
        for path in change.filled:
            if path[:1] in change.replaced:
                continue  # already added again with its fields
            update.delete_column((*_iceberg_path(path), PLACEHOLDER))
    _restore_order(transaction, stored)
    transaction.set_properties(properties_of(target))


def properties_of(schema: pa.Schema) -> dict[str, str]:
    """The table properties for the schema: which types are unknown."""
    return {UNDETERMINED: json.dumps(undetermined(schema))}


def unbounded_properties(columns: Iterable[str]) -> dict[str, str]:
    """Table properties that disable column bounds: PyIceberg cannot handle dates outside the years 1 to 9999."""
    return {f"{_METRICS}{name}": "counts" for name in columns}


def _field_at(struct: StructType, path: Path) -> NestedField:
    """A field of a struct by its path of names; new fields have no ids yet."""
    column = next(one for one in struct.fields if one.name == path[0])
    if len(path) == 1:
        return column
    assert isinstance(column.field_type, StructType)  # noqa: S101 - paths of replaced columns contain only structs
    return _field_at(column.field_type, path[1:])


def _compare(current: pa.DataType, target: pa.DataType, path: Path, change: SchemaChange) -> None:
    if current == target:
        return
    if pa.types.is_null(current):
        if not pa.types.is_string(target):
            change.determined.append(path)
    elif pa.types.is_struct(current) and pa.types.is_struct(target):
        _compare_fields(current, target, path, change)
    elif pa.types.is_list(current) and pa.types.is_list(target):
        _compare(current.value_type, target.value_type, (*path, ELEMENT), change)
    elif pa.types.is_map(current) and pa.types.is_map(target):
        _compare(current.item_type, target.item_type, (*path, VALUE), change)
    elif is_promotion(current, target):
        change.promoted.append(path)
    else:
        change.retyped.append(path)


def _compare_fields(current: pa.DataType, target: pa.DataType, path: Path, change: SchemaChange) -> None:
    if not current.num_fields:
        change.filled.append(path)
        return
    types = {one.name: one.type for one in fields_of(current)}
    for one in fields_of(target):
        if one.name in types:
            _compare(types[one.name], one.type, (*path, one.name), change)
        else:
            change.added.append((*path, one.name))


def _restore_order(transaction: Transaction, target: pa.Schema) -> None:
    """Move replaced columns back to their positions; new columns stay last."""
    moves = list(_moves(transaction.table_metadata.schema().as_arrow(), target, ()))
    if moves:
        with transaction.update_schema() as update:
            for path, before in moves:
                if before is None:
                    update.move_first(path)
                else:
                    update.move_after(path, (*path[:-1], before))


def _moves(now: Iterable[pa.Field], target: Iterable[pa.Field], path: Path) -> Iterator[tuple[Path, str | None]]:
    types = {one.name: one.type for one in now}
    names = [one.name for one in target]
    if list(types) != names:
        yield from (((*path, name), before) for before, name in zip([None, *names], names, strict=False))
    for one in target:
        kind = types.get(one.name)
        if kind is not None and pa.types.is_struct(kind) and pa.types.is_struct(one.type):
            yield from _moves(fields_of(kind), fields_of(one.type), (*path, one.name))


def _iceberg_path(path: Path) -> Path:
    return tuple({ELEMENT: "element", VALUE: "value"}.get(step, step) for step in path)
