"""Chooses columns of a table by path, and finds them again by field id, so that a choice follows renamed columns.

A choice holds the ids of all values that its columns had when they were chosen. What is added later, also inside a
chosen struct, is another column and is not delivered.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import IcebergType, ListType, MapType, NestedField, StructType

from offtake.errors import OfftakeError
from offtake.lake.column_choice import LONGEST_PATH, ChosenColumn, ColumnChoice
from offtake.lake.column_paths import PathField, children, nearest, parse_path, walk

_MOST_SUGGESTIONS: Final = 10
_SHOWN: Final = 20


class UnfitChoiceError(OfftakeError):
    """The table does not have the chosen columns any more; the text says which, and how that was recognised."""


class UnknownColumnsError(OfftakeError):
    """Paths that cannot be chosen: by their index, the reason with the nearest known paths."""

    def __init__(self, problems: Mapping[int, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(problems.values()))


@dataclass(frozen=True)
class Selection:
    """A choice applied to a schema: the delivered schema, and the ids of the chosen columns by their present paths.

    `later`: paths of chosen columns that were added after the schema.
    """

    schema: Schema
    columns: Mapping[str, int] = field(default_factory=dict)
    later: tuple[str, ...] = ()


def choose(table: Table, schema: Schema, paths: Sequence[str]) -> ColumnChoice:
    """The choice of these columns of the schema; raises `UnknownColumnsError`."""
    fields = list(walk(schema))
    known = {one.names: one for one in fields}
    found: dict[int, PathField] = {}
    problems: dict[int, str] = {}
    for index, text in enumerate(paths):
        names = parse_path(text)
        column = None if names is None else known.get(names)
        if column is None:
            problems[index] = _unknown(text, fields, suggest=len(problems) < _MOST_SUGGESTIONS)
        elif column.below_key:
            whole = PathField(column.names[: column.names.index("key", 1)], 0, column.type).path
            problems[index] = f"{text[:LONGEST_PATH]} is in the key of a map, which is not delivered alone; use {whole}"
        else:
            found[index] = column
    problems |= _overlaps(found)
    if problems:
        raise UnknownColumnsError(dict(sorted(problems.items())))
    chosen = (ChosenColumn(one.path, one.field_id, tuple(_leaves(one, known))) for one in found.values())
    return ColumnChoice(str(table.metadata.table_uuid), tuple(chosen))


def select(table: Table, schema: Schema, choice: ColumnChoice) -> Selection:
    """The schema with the chosen columns only, in the schema's order; raises `UnfitChoiceError`.

    `schema` is one of the table's. Chosen columns that only the table's current schema has are left out.
    """
    _check_same_table(table, choice)
    wanted = {leaf for one in choice.columns for _, leaf in one.leaves}
    kept = [one for one in (_pruned(one, wanted) for one in schema.fields) if one is not None]
    present = {one.field_id: one.path for one in walk(Schema(*kept))}
    current = table.schema().field_ids
    columns, later = {}, []
    for one in choice.columns:
        if one.field_id in present:
            columns[present[one.field_id]] = one.field_id
        elif one.field_id in current and one.field_id not in schema.field_ids:
            later.append(one.path)
        else:
            raise UnfitChoiceError(f"the chosen column {one.path} was dropped from the table")
    if not columns:
        raise UnfitChoiceError(f"the table had none of the chosen columns ({', '.join(later)}) yet")
    return Selection(Schema(*kept, schema_id=schema.schema_id), columns, tuple(later))


def _unknown(text: str, fields: Sequence[PathField], *, suggest: bool) -> str:
    shown = text[:LONGEST_PATH]
    if parse_path(text) is None:
        return f"{shown or 'an empty text'} is not a path: separate names by dots, quote names with dots by backticks"
    why = f"the table has no column {shown}"
    if not suggest:
        return why
    close = nearest(text, fields)
    if close:
        return f"{why}; do you mean {' or '.join(close)}?"
    top = [one.path for one in fields if len(one.names) == 1]
    return f"{why}; it has {', '.join(top[:_SHOWN])}" + (f" and {len(top) - _SHOWN} more" if len(top) > _SHOWN else "")


def _overlaps(found: Mapping[int, PathField]) -> dict[int, str]:
    """By index, columns that were chosen twice, and columns inside other chosen ones."""
    first: dict[tuple[str, ...], int] = {}
    problems = {}
    for index, column in found.items():
        if column.names in first:
            problems[index] = f"{column.path} occurs twice"
        first.setdefault(column.names, index)
    for index, column in found.items():
        around = (column.names[:length] for length in range(1, len(column.names)))
        outer = next((one for one in around if one in first), None)
        if outer is not None:
            problems[index] = f"{column.path} is inside {found[first[outer]].path}, which is chosen too"
    return problems


def _leaves(column: PathField, known: Mapping[tuple[str, ...], PathField]) -> list[tuple[str, int]]:
    """The values inside the column, with the keys of the maps around it."""
    keys: list[tuple[str, int]] = []
    for length in range(1, len(column.names)):
        outer = known[column.names[:length]]
        if isinstance(outer.type, MapType):
            keys += _inside(next(children(outer)))
    return [*keys, *_inside(column)]


def _inside(column: PathField) -> list[tuple[str, int]]:
    if column.is_leaf:
        return [(column.path, column.field_id)]
    return [leaf for one in children(column) for leaf in _inside(one)]


def _pruned(one: NestedField, wanted: Collection[int]) -> NestedField | None:
    kind = _pruned_type(one.field_type, one.field_id, wanted)
    return None if kind is None else one.model_copy(update={"field_type": kind})


def _pruned_type(kind: IcebergType, field_id: int, wanted: Collection[int]) -> IcebergType | None:
    """The type with the wanted values only; None without any."""
    if isinstance(kind, StructType):
        fields = [one for one in (_pruned(one, wanted) for one in kind.fields) if one is not None]
        return StructType(*fields) if fields or field_id in wanted else None
    if isinstance(kind, ListType):
        element = _pruned_type(kind.element_type, kind.element_id, wanted)
        if element is None:
            return None
        return ListType(kind.element_id, element, kind.element_required)
    if isinstance(kind, MapType):
        value = _pruned_type(kind.value_type, kind.value_id, wanted)
        if value is None:
            return None
        return MapType(kind.key_id, kind.key_type, kind.value_id, value, kind.value_required)
    return kind if field_id in wanted else None


def _check_same_table(table: Table, choice: ColumnChoice) -> None:
    """Raise `UnfitChoiceError` if another table has the name now, unless its columns have the same names and ids.

    Version 1 of Iceberg's format allows tables without a UUID, which get another one each time they are loaded.
    """
    if str(table.metadata.table_uuid) == choice.table:
        return
    known = {one.path: one.field_id for one in walk(table.schema())}
    for one in choice.columns:
        for path, field_id in ((one.path, one.field_id), *one.leaves):
            if known.get(path) != field_id:
                raise UnfitChoiceError(
                    f"the table was replaced by another one, in which {path} is not the column that was chosen"
                )
