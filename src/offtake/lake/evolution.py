"""How a table's columns change with a batch, and what of it readers of the table follow without a rewrite.

Iceberg follows new columns and promotions. A column of which only nulls have come is dropped and added with its type:
its files hold nothing of it. Every other change of type rewrites the table's files (`rewriting`).
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
"""Table property: the paths, in JSON, of columns and nested values of which no value has come that tells a type."""
DECLARED: Final = "offtake.declared"
"""Table property: the types of the columns were given when the dataset was made."""
_METRICS: Final = "write.metadata.metrics.column."


@dataclass
class SchemaChange:
    """What a batch changes of a table's columns, by their paths.

    `added` are new columns, `promoted` ones that readers follow, `retyped` have another type from now on. `determined`
    have got their first type, `filled` are objects that have got their first fields.
    """

    added: list[Path] = field(default_factory=list)
    promoted: list[Path] = field(default_factory=list)
    retyped: list[Path] = field(default_factory=list)
    determined: list[Path] = field(default_factory=list)
    filled: list[Path] = field(default_factory=list)

    @property
    def rewritten(self) -> frozenset[str]:
        """The columns whose files are rewritten: also those whose lists and maps get their first values."""
        within = (path for path in self.determined if ELEMENT in path or VALUE in path)
        return frozenset(path[0] for path in (*self.retyped, *within))

    @property
    def replaced(self) -> list[Path]:
        """Columns that are dropped and added again."""
        rewritten = self.rewritten
        return [*((name,) for name in sorted(rewritten)), *(one for one in self.determined if one[0] not in rewritten)]


def known_schema(table: Table) -> pa.Schema:
    """The table's columns in the types that files come in, of null type where nothing is known yet."""
    arrow = table.schema().as_arrow()
    plain = iceberg_schema(pa.schema([pa.field(one.name, one.type, one.nullable) for one in arrow]))
    paths = json.loads(table.properties.get(UNDETERMINED, "[]"))
    return with_undetermined(plain, [tuple(path) for path in paths])


def compare(known: pa.Schema, wanted: pa.Schema) -> SchemaChange:
    """What `wanted` changes of a table's `known` columns."""
    change = SchemaChange()
    _compare(pa.struct(list(known)), pa.struct(list(wanted)), (), change)
    return change


def evolve(transaction: Transaction, known: pa.Schema, wanted: pa.Schema, change: SchemaChange) -> None:
    """Bring the table's columns from `known` to `wanted`, each in its place."""
    if known == wanted:
        return
    # PyIceberg's way with Arrow takes long to import; servers answer before anything needs it.
    from pyiceberg.io.pyarrow import _pyarrow_to_schema_without_ids  # noqa: PLC0415 - see above

    target = null_columns_as_text(wanted)
    if change.replaced:
        types = _pyarrow_to_schema_without_ids(target)
        # A column that is required stays so: the rows that are there have a value, and so have those to come.
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for path in change.replaced:
                found = _field_at(types.as_struct(), path)
                update.delete_column(path)
                update.add_column(path, found.field_type, required=found.required)
    with transaction.update_schema() as update:
        update.union_by_name(target)
        for path in change.filled:
            if path[:1] in change.replaced:
                continue  # made afresh with its fields
            update.delete_column((*_iceberg_path(path), PLACEHOLDER))
    _restore_order(transaction, target)
    transaction.set_properties(properties_of(wanted))


def properties_of(schema: pa.Schema) -> dict[str, str]:
    """The table's property that tells what of the schema is not known yet."""
    return {UNDETERMINED: json.dumps(undetermined(schema))}


def unbounded_properties(columns: Iterable[str]) -> dict[str, str]:
    """Properties that have no bounds kept of columns: PyIceberg knows no dates outside the years 1 to 9999."""
    return {f"{_METRICS}{name}": "counts" for name in columns}


def _field_at(struct: StructType, path: Path) -> NestedField:
    """A field of a struct; by its name, for new fields have no ids."""
    found = next(one for one in struct.fields if one.name == path[0])
    if len(path) == 1:
        return found
    assert isinstance(found.field_type, StructType)  # noqa: S101 - paths of replaced columns lead through structs alone
    return _field_at(found.field_type, path[1:])


def _compare(known: pa.DataType, wanted: pa.DataType, path: Path, change: SchemaChange) -> None:
    if known == wanted:
        return
    if pa.types.is_null(known):
        if not pa.types.is_string(wanted):
            change.determined.append(path)
    elif pa.types.is_struct(known) and pa.types.is_struct(wanted):
        _compare_fields(known, wanted, path, change)
    elif pa.types.is_list(known) and pa.types.is_list(wanted):
        _compare(known.value_type, wanted.value_type, (*path, ELEMENT), change)
    elif pa.types.is_map(known) and pa.types.is_map(wanted):
        _compare(known.item_type, wanted.item_type, (*path, VALUE), change)
    elif is_promotion(known, wanted):
        change.promoted.append(path)
    else:
        change.retyped.append(path)


def _compare_fields(known: pa.DataType, wanted: pa.DataType, path: Path, change: SchemaChange) -> None:
    if not known.num_fields:
        change.filled.append(path)
        return
    types = {one.name: one.type for one in fields_of(known)}
    for one in fields_of(wanted):
        if one.name in types:
            _compare(types[one.name], one.type, (*path, one.name), change)
        else:
            change.added.append((*path, one.name))


def _restore_order(transaction: Transaction, target: pa.Schema) -> None:
    """Columns that were replaced go back to where they were; new ones stay last."""
    moves = list(_moves(transaction.table_metadata.schema().as_arrow(), target, ()))
    if moves:
        with transaction.update_schema() as update:
            for path, before in moves:
                if before is None:
                    update.move_first(path)
                else:
                    update.move_after(path, (*path[:-1], before))


def _moves(now: Iterable[pa.Field], wanted: Iterable[pa.Field], path: Path) -> Iterator[tuple[Path, str | None]]:
    types = {one.name: one.type for one in now}
    names = [one.name for one in wanted]
    if list(types) != names:
        yield from (((*path, name), before) for before, name in zip([None, *names], names, strict=False))
    for one in wanted:
        kind = types.get(one.name)
        if kind is not None and pa.types.is_struct(kind) and pa.types.is_struct(one.type):
            yield from _moves(fields_of(kind), fields_of(one.type), (*path, one.name))


def _iceberg_path(path: Path) -> Path:
    return tuple({ELEMENT: "element", VALUE: "value"}.get(step, step) for step in path)
