"""Column types: converting incoming types to Iceberg's, and merging them into the dataset's columns."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa

from offtake.lake.parsing.errors import SchemaMismatchError
from offtake.lake.parsing.kinds import (
    ELEMENT,
    VALUE,
    KindConflictError,
    Path,
    depth_of,
    fields_of,
    is_list,
    is_number,
    name_of,
    word_for,
)
from offtake.lake.parsing.numbers import MAX_PRECISION, NumberStats, number_stats
from offtake.lake.type_names import type_name

PLACEHOLDER: Final = "_empty"
"""The only column of a table, or field of a struct, without any: no format supports a struct without fields."""
_RESERVED: Final = (PLACEHOLDER, ELEMENT, VALUE)
MAX_DEPTH: Final = 64
"""Levels of nesting that can be imported, and exported in every format."""


@dataclass(frozen=True)
class Changes:
    """Which changes of a dataset's types are allowed.

    `promote`: Iceberg's type promotions, which need no rewrite. `stored`: returns the table's values of a column, by
    its path, if the table may be rewritten, else None. `denied`: collects the columns that needed a rewrite that was
    not allowed.
    """

    promote: bool = False
    stored: Callable[[Path], Iterator[pa.Array] | None] = lambda _path: None
    denied: list[Path] = field(default_factory=list)


def iceberg_schema(schema: pa.Schema) -> pa.Schema:
    """The schema in Iceberg's types, with null for unknown types. Raises `SchemaMismatchError` naming the column."""
    result = pa.schema([pa.field(one.name, _iceberg_type(one.type, (one.name,)), one.nullable) for one in schema])
    check_names(result)
    return result


def check_names(schema: pa.Schema) -> None:
    """Raise `SchemaMismatchError` for names that a table or an export cannot have, and for too deep nesting."""
    seen: set[str] = set()
    for path, kind in _named(list(schema), ()):
        name = name_of(path)
        if not path[-1]:
            raise SchemaMismatchError(
                "a column has no name" if len(path) == 1 else f"column {name_of(path[:-1])} has a field without a name"
            )
        if "\0" in path[-1]:
            raise SchemaMismatchError(f"column {path[-1]!r} has a NUL character in its name")
        full = ".".join({ELEMENT: "element", VALUE: "value"}.get(step, step) for step in path)
        if full in seen:
            raise SchemaMismatchError(f"column {name} exists twice")
        seen.add(full)
        if pa.types.is_map(kind) and pa.types.is_nested(kind.key_type):
            raise SchemaMismatchError(f"column {name} is a map with nested keys, which cannot be exported")
    for one in schema:
        if depth_of(one.type) > MAX_DEPTH:
            raise SchemaMismatchError(f"column {one.name} is nested deeper than {MAX_DEPTH} levels")


def check_reserved_names(schema: pa.Schema) -> None:
    """Raise `SchemaMismatchError` for names with an internal meaning: the placeholder column, steps of paths."""
    for one in schema:
        if one.name in _RESERVED:
            raise SchemaMismatchError(f"column {one.name} has a reserved name; rename it")
    for path, kind in _named(list(schema), ()):
        if pa.types.is_struct(kind) and any(one.name in _RESERVED for one in fields_of(kind)):
            raise SchemaMismatchError(
                f"column {name_of(path)} has a field with a reserved name ({', '.join(_RESERVED)})"
            )


def null_columns_as_text(schema: pa.Schema) -> pa.Schema:
    """The schema as stored in a table: string instead of null types, a placeholder field in empty structs."""
    fields = [field.with_type(_null_type_as_text(field.type)) for field in schema]
    return pa.schema(fields or [pa.field(PLACEHOLDER, pa.string())])


def undetermined(schema: pa.Schema) -> list[Path]:
    """The paths of unknown types (null, or a struct without fields); `()` for a schema without columns."""
    return list(_undetermined(pa.struct(list(schema)), ()))


def with_undetermined(schema: pa.Schema, paths: list[Path]) -> pa.Schema:
    """The inverse of `null_columns_as_text`: the schema with unknown types at `paths`."""
    return pa.schema(fields_of(_with_undetermined(pa.struct(list(schema)), (), frozenset(paths))))


def are_compatible(current: pa.Schema, incoming: pa.Schema) -> bool:
    """Whether all columns that both schemas have, at any depth, have the same type."""
    return _are_compatible(pa.struct(list(current)), pa.struct(list(incoming)))


@dataclass(frozen=True)
class Resolver:
    """Merges the columns of files into the dataset's columns.

    `numbers`: the statistics of incoming numbers, by path. `infer`: choose the types of new number columns by them.
    `whole`: the incoming columns are complete, so a missing required column is an error. `first`: the dataset does not
    exist yet.
    """

    numbers: Callable[[Path], NumberStats | None] = lambda _path: None
    changes: Changes = field(default_factory=Changes)
    infer: bool = False
    whole: bool = True
    first: bool = False

    def schema(self, current: pa.Schema, incoming: pa.Schema) -> pa.Schema:
        """The dataset's columns after the import. Raises `KindConflictError` and `SchemaMismatchError`."""
        return pa.schema(self._fields(list(current), list(incoming), ()))

    def new(self, kind: pa.DataType, path: Path) -> pa.DataType:
        """The type of a new column."""
        if pa.types.is_struct(kind):
            return pa.struct([one.with_type(self.new(one.type, (*path, one.name))) for one in fields_of(kind)])
        if is_list(kind):
            element = kind.value_field
            return pa.list_(element.with_type(self.new(element.type, (*path, ELEMENT))).with_name("element"))
        stats = self.numbers(path) if self.infer and is_number(kind) else None
        if stats is None:
            return kind
        found = stats.type()
        if found is None:
            raise SchemaMismatchError(f"column {name_of(path)} has numbers that together need more than 38 digits")
        return found

    def _fields(self, current: list[pa.Field], incoming: list[pa.Field], path: Path) -> list[pa.Field]:
        by_name = {one.name: one for one in incoming}
        merged = []
        for ours in current:
            other = by_name.pop(ours.name, None)
            field_path = (*path, ours.name)
            if other is None and not ours.nullable and self.whole:
                raise SchemaMismatchError(f"column {name_of(field_path)} is required, but missing in the file")
            merged.append(ours if other is None else ours.with_type(self.column(ours.type, other.type, field_path)))
        added = (one.with_type(self.new(one.type, (*path, one.name))) for one in by_name.values())
        return merged + [one if self.first else one.with_nullable(True) for one in added]

    def column(self, current: pa.DataType, incoming: pa.DataType, path: Path) -> pa.DataType:
        """The type of an existing column after the import of values of type `incoming`. Raises as `schema` does."""
        if pa.types.is_null(incoming):
            return current
        if pa.types.is_null(current):
            return self.new(incoming, path)
        nested = self._nested(current, incoming, path)
        if nested is not None:
            return nested
        if is_number(current) and is_number(incoming):
            return self._number(current, incoming, path)
        if _accepts(current, incoming):
            return current
        raise KindConflictError(
            f"column {name_of(path)} is {type_name(current)} in the dataset, but the file has {word_for(incoming)}"
        )

    def _nested(self, current: pa.DataType, incoming: pa.DataType, path: Path) -> pa.DataType | None:
        """The merged type when both are structs, lists or maps, or objects (JSON) for a map; else None."""
        if pa.types.is_struct(current) and pa.types.is_struct(incoming):
            return pa.struct(self._fields(fields_of(current), fields_of(incoming), path))
        if is_list(current) and is_list(incoming):
            element = self.column(current.value_type, incoming.value_type, (*path, ELEMENT))
            return pa.list_(current.value_field.with_type(element))
        if pa.types.is_map(current) and pa.types.is_map(incoming):
            keys = self._unchanging().column(current.key_type, incoming.key_type, (*path, "key"))
            return pa.map_(keys, self.column(current.item_type, incoming.item_type, (*path, VALUE)))
        if pa.types.is_map(current) and pa.types.is_string(current.key_type) and pa.types.is_struct(incoming):
            item = current.item_type
            for field in fields_of(incoming):
                item = self._unchanging().column(item, field.type, (*path, field.name))
            return pa.map_(current.key_type, item)
        return None

    def _unchanging(self) -> "Resolver":
        """A resolver for the keys and values of maps, whose types cannot change."""
        return replace(self, changes=Changes())

    def _number(self, current: pa.DataType, incoming: pa.DataType, path: Path) -> pa.DataType:
        if current == incoming:
            return current
        stats = self.numbers(path)
        if stats is None or stats.fits(current):
            return current
        return self._wider_number(current, stats, path) or current

    def _wider_number(self, current: pa.DataType, stats: NumberStats, path: Path) -> pa.DataType | None:
        """The type that holds both stored and incoming values; None when such a change is not allowed."""
        if self.changes.promote:
            for wider in promotions(current):
                if stats.fits(wider):
                    return wider
        stored = self.changes.stored(path)
        if stored is None:
            self.changes.denied.append(path)
            return None
        total: NumberStats | None = stats
        try:
            for values in stored:
                total = number_stats(values, total)
        except ValueError:
            return None
        return None if total is None else total.type()


def promotions(current: pa.DataType) -> Iterator[pa.DataType]:
    """The types that a column can be promoted to in Iceberg with unchanged values (specification, "Schema Evolution").

    Float to double is not used: 0.1 would become 0.10000000149011612.
    """
    if pa.types.is_int32(current):
        yield pa.int64()
    if pa.types.is_decimal(current) and current.precision < MAX_PRECISION:
        yield pa.decimal128(MAX_PRECISION, current.scale)


def is_promotion(current: pa.DataType, target: pa.DataType) -> bool:
    """Whether Iceberg can promote a column from the first type to the second."""
    if pa.types.is_decimal(current) and pa.types.is_decimal(target):
        return bool(current.scale == target.scale and current.precision <= target.precision)
    return target in promotions(current)


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


def _iceberg_type(kind: pa.DataType, path: Path) -> pa.DataType:  # noqa: PLR0911 - one return per type
    if isinstance(kind, pa.BaseExtensionType):
        return _iceberg_extension_type(kind, path)
    if any(is_same(kind) for is_same in _SAME):
        return kind
    for is_alike, normal in _ALIKE:
        if is_alike(kind):
            return normal
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", None if kind.tz is None else "UTC")
    if pa.types.is_decimal(kind) and kind.precision <= MAX_PRECISION and 0 <= kind.scale <= kind.precision:
        return pa.decimal128(kind.precision, kind.scale)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _iceberg_type(kind.value_type, path)
    return _iceberg_nested_type(kind, path)


def _iceberg_nested_type(kind: pa.DataType, path: Path) -> pa.DataType:
    if pa.types.is_struct(kind):
        # New fields without metadata: field ids of another table must not get into a file.
        return pa.struct(
            [pa.field(one.name, _iceberg_type(one.type, (*path, one.name)), one.nullable) for one in fields_of(kind)]
        )
    if pa.types.is_map(kind):
        return pa.map_(_iceberg_type(kind.key_type, (*path, "key")), _iceberg_type(kind.item_type, (*path, VALUE)))
    if is_list(kind):
        element = _iceberg_type(kind.value_type, (*path, ELEMENT))
        return pa.list_(pa.field("element", element, kind.value_field.nullable))
    raise SchemaMismatchError(f"column {name_of(path)} has the type {type_name(kind)}, which Iceberg does not support")


def _iceberg_extension_type(kind: pa.BaseExtensionType, path: Path) -> pa.DataType:
    if isinstance(kind, pa.UuidType):
        return kind
    if isinstance(kind, pa.JsonType | pa.Bool8Type):
        return pa.string() if isinstance(kind, pa.JsonType) else pa.bool_()
    raise SchemaMismatchError(
        f"column {name_of(path)} has the type {kind.extension_name}, which Iceberg does not support"
    )


def _named(fields: list[pa.Field], path: Path) -> Iterator[tuple[Path, pa.DataType]]:
    """Every field, at any depth, as pairs of path and type."""
    for one in fields:
        field_path = (*path, one.name)
        yield field_path, one.type
        yield from _named_within(one.type, field_path)


def _named_within(kind: pa.DataType, path: Path) -> Iterator[tuple[Path, pa.DataType]]:
    if pa.types.is_struct(kind):
        yield from _named(fields_of(kind), path)
    elif pa.types.is_map(kind):
        for step, inner in (("key", kind.key_type), (VALUE, kind.item_type)):
            yield (*path, step), inner
            yield from _named_within(inner, (*path, step))
    elif is_list(kind):
        yield (*path, ELEMENT), kind.value_type
        yield from _named_within(kind.value_type, (*path, ELEMENT))


def _accepts(current: pa.DataType, incoming: pa.DataType) -> bool:
    """Whether a column may accept values of another, non-numeric type; each value is checked when it is read."""
    types = pa.types
    if current == incoming:
        return True
    if types.is_string(incoming):
        readable = (types.is_timestamp, types.is_date, types.is_time, types.is_decimal)
        return any(is_readable(current) for is_readable in readable)
    if types.is_timestamp(incoming):
        return bool(types.is_timestamp(current) and (incoming.tz is None) == (current.tz is None))
    return False


def _are_compatible(current: pa.DataType, incoming: pa.DataType) -> bool:
    if pa.types.is_struct(current) and pa.types.is_struct(incoming):
        ours = {field.name: field.type for field in fields_of(current)}
        return all(_are_compatible(ours[field.name], field.type) for field in fields_of(incoming) if field.name in ours)
    if is_list(current) and is_list(incoming):
        return _are_compatible(current.value_type, incoming.value_type)
    if pa.types.is_map(current) and pa.types.is_map(incoming):
        return _are_compatible(current.key_type, incoming.key_type) and _are_compatible(
            current.item_type, incoming.item_type
        )
    return bool(current == incoming)


def _null_type_as_text(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        fields = [one.with_type(_null_type_as_text(one.type)) for one in fields_of(kind)]
        return pa.struct(fields or [pa.field(PLACEHOLDER, pa.string())])
    if pa.types.is_map(kind):
        return pa.map_(_null_type_as_text(kind.key_type), _null_type_as_text(kind.item_type))
    if is_list(kind):
        return pa.list_(kind.value_field.with_type(_null_type_as_text(kind.value_type)))
    return kind


def _undetermined(kind: pa.DataType, path: Path) -> Iterator[Path]:
    if pa.types.is_null(kind) or (pa.types.is_struct(kind) and not kind.num_fields):
        yield path
    elif pa.types.is_struct(kind):
        for field in fields_of(kind):
            yield from _undetermined(field.type, (*path, field.name))
    elif pa.types.is_map(kind):
        yield from _undetermined(kind.item_type, (*path, VALUE))
    elif is_list(kind):
        yield from _undetermined(kind.value_type, (*path, ELEMENT))


def _with_undetermined(kind: pa.DataType, path: Path, paths: frozenset[Path]) -> pa.DataType:
    if path in paths:
        return pa.struct([]) if pa.types.is_struct(kind) else pa.null()
    if pa.types.is_struct(kind):
        return pa.struct(
            [one.with_type(_with_undetermined(one.type, (*path, one.name), paths)) for one in fields_of(kind)]
        )
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, _with_undetermined(kind.item_type, (*path, VALUE), paths))
    if is_list(kind):
        return pa.list_(kind.value_field.with_type(_with_undetermined(kind.value_type, (*path, ELEMENT), paths)))
    return kind
