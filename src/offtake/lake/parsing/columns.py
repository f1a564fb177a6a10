"""The types of columns that come in, in forms that Iceberg has, and how the dataset's columns take them."""

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
from offtake.lake.parsing.numbers import WIDEST, NumberStats, number_stats

PLACEHOLDER: Final = "_empty"
"""The one column of a table, or field of a struct, that has none yet: no format holds a struct without fields."""
_RESERVED: Final = (PLACEHOLDER, ELEMENT, VALUE)
DEEPEST: Final = 64
"""Levels of nesting that come in, and go out again in every format."""


@dataclass(frozen=True)
class Changes:
    """Which changes of a dataset's types are open.

    `promote`: those that readers of the table follow without a rewrite. `stored` gives a column's values, by its path,
    where the table may be rewritten; else None. `denied` are the columns that would have needed a change.
    """

    promote: bool = False
    stored: Callable[[Path], Iterator[pa.Array] | None] = lambda _path: None
    denied: list[Path] = field(default_factory=list)


def iceberg_schema(schema: pa.Schema) -> pa.Schema:
    """The schema in types that Iceberg has, or null where nothing is known yet. Raises `UnfitError` by column."""
    made = pa.schema([pa.field(one.name, _iceberg_type(one.type, (one.name,)), one.nullable) for one in schema])
    check_names(made)
    return made


def check_names(schema: pa.Schema) -> None:
    """Raise `UnfitError` for names that a table or an export cannot have, and for nesting that is too deep."""
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
            raise SchemaMismatchError(f"column {name} is there twice")
        seen.add(full)
        if pa.types.is_map(kind) and pa.types.is_nested(kind.key_type):
            raise SchemaMismatchError(
                f"column {name} is a map whose keys are not single values, which no export delivers"
            )
    for one in schema:
        if depth_of(one.type) > DEEPEST:
            raise SchemaMismatchError(f"column {one.name} is nested deeper than {DEEPEST} levels")


def check_reserved_names(schema: pa.Schema) -> None:
    """Raise `UnfitError` for names that mark what is not a column: a struct without fields, steps of paths."""
    for one in schema:
        if one.name in _RESERVED:
            raise SchemaMismatchError(f"column {one.name} has a reserved name; rename it")
    for path, kind in _named(list(schema), ()):
        if pa.types.is_struct(kind) and any(one.name in _RESERVED for one in fields_of(kind)):
            raise SchemaMismatchError(
                f"column {name_of(path)} has a field with a reserved name ({', '.join(_RESERVED)})"
            )


def null_columns_as_text(schema: pa.Schema) -> pa.Schema:
    """The schema as a table has it: text for what is not known yet, and no struct without fields."""
    fields = [field.with_type(_null_type_as_text(field.type)) for field in schema]
    return pa.schema(fields or [pa.field(PLACEHOLDER, pa.string())])


def undetermined(schema: pa.Schema) -> list[Path]:
    """Where nothing is known of the type yet; `()` for a schema without columns."""
    return list(_undetermined(pa.struct(list(schema)), ()))


def with_undetermined(schema: pa.Schema, paths: list[Path]) -> pa.Schema:
    """A table's schema as it was before `null_columns_as_text`, which left `paths` undetermined."""
    return pa.schema(fields_of(_unsettled(pa.struct(list(schema)), (), frozenset(paths))))


def are_compatible(known: pa.Schema, coming: pa.Schema) -> bool:
    """Whether files of the one schema can be in a table of the other: what both have is of one type."""
    return _are_compatible(pa.struct(list(known)), pa.struct(list(coming)))


@dataclass(frozen=True)
class Resolver:
    """How the dataset's columns take what comes.

    `numbers` gives what is known of coming numbers, by path; `infer`: their types are chosen by it. `whole`: what comes
    is all that comes, so a required column that is not in it is missing. `first`: there is no dataset yet.
    """

    numbers: Callable[[Path], NumberStats | None] = lambda _path: None
    changes: Changes = field(default_factory=Changes)
    infer: bool = False
    whole: bool = True
    first: bool = False

    def schema(self, known: pa.Schema, coming: pa.Schema) -> pa.Schema:
        """The dataset's columns, and those that only `coming` has. Raises `KindConflictError` and `UnfitError`."""
        return pa.schema(self._fields(list(known), list(coming), ()))

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
            raise SchemaMismatchError(f"column {name_of(path)} holds numbers of more than 38 digits together")
        return found

    def _fields(self, known: list[pa.Field], coming: list[pa.Field], path: Path) -> list[pa.Field]:
        by_name = {one.name: one for one in coming}
        made = []
        for ours in known:
            other = by_name.pop(ours.name, None)
            where = (*path, ours.name)
            if other is None and not ours.nullable and self.whole:
                raise SchemaMismatchError(f"column {name_of(where)} is required and is not in the file")
            made.append(ours if other is None else ours.with_type(self.column(ours.type, other.type, where)))
        added = (one.with_type(self.new(one.type, (*path, one.name))) for one in by_name.values())
        return made + [one if self.first else one.with_nullable(True) for one in added]

    def column(self, known: pa.DataType, coming: pa.DataType, path: Path) -> pa.DataType:
        """The type of a known column after values of the type `coming`. Raises as `schema` does."""
        if pa.types.is_null(coming):
            return known
        if pa.types.is_null(known):
            return self.new(coming, path)
        nested = self._nested(known, coming, path)
        if nested is not None:
            return nested
        if is_number(known) and is_number(coming):
            return self._number(known, coming, path)
        if _takes(known, coming):
            return known
        raise KindConflictError(f"column {name_of(path)} is {known} in the dataset and holds {word_for(coming)}")

    def _nested(self, known: pa.DataType, coming: pa.DataType, path: Path) -> pa.DataType | None:
        """Both are structs, maps or lists; or objects come where the dataset has a map, as JSON writes them."""
        if pa.types.is_struct(known) and pa.types.is_struct(coming):
            return pa.struct(self._fields(fields_of(known), fields_of(coming), path))
        if is_list(known) and is_list(coming):
            element = self.column(known.value_type, coming.value_type, (*path, ELEMENT))
            return pa.list_(known.value_field.with_type(element))
        if pa.types.is_map(known) and pa.types.is_map(coming):
            keys = self._unchanging().column(known.key_type, coming.key_type, (*path, "key"))
            return pa.map_(keys, self.column(known.item_type, coming.item_type, (*path, VALUE)))
        if pa.types.is_map(known) and pa.types.is_string(known.key_type) and pa.types.is_struct(coming):
            item = known.item_type
            for field in fields_of(coming):
                item = self._unchanging().column(item, field.type, (*path, field.name))
            return pa.map_(known.key_type, item)
        return None

    def _unchanging(self) -> "Resolver":
        """For keys and values of maps, whose types stay."""
        return replace(self, changes=Changes())

    def _number(self, known: pa.DataType, coming: pa.DataType, path: Path) -> pa.DataType:
        if known == coming:
            return known
        stats = self.numbers(path)
        if stats is None or stats.fits(known):
            return known
        return self._changed(known, stats, path) or known

    def _changed(self, known: pa.DataType, stats: NumberStats, path: Path) -> pa.DataType | None:
        """The type that holds both what is stored and what comes; None where no such change is open."""
        if self.changes.promote:
            for wider in promotions(known):
                if stats.fits(wider):
                    return wider
        stored = self.changes.stored(path)
        if stored is None:
            self.changes.denied.append(path)
            return None
        every: NumberStats | None = stats
        try:
            for values in stored:
                every = number_stats(values, every)
        except ValueError:
            return None
        return None if every is None else every.type()


def promotions(known: pa.DataType) -> Iterator[pa.DataType]:
    """Types that Iceberg lets a column become, values unchanged (specification, "Schema Evolution").

    Not from float to double: 0.1 would become 0.10000000149011612.
    """
    if pa.types.is_int32(known):
        yield pa.int64()
    if pa.types.is_decimal(known) and known.precision < WIDEST:
        yield pa.decimal128(WIDEST, known.scale)


def is_promotion(known: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether Iceberg lets a column of the one type become the other."""
    if pa.types.is_decimal(known) and pa.types.is_decimal(wanted):
        return bool(known.scale == wanted.scale and known.precision <= wanted.precision)
    return wanted in promotions(known)


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


def _iceberg_type(kind: pa.DataType, path: Path) -> pa.DataType:  # noqa: PLR0911 - one return a kind reads as a table
    if isinstance(kind, pa.BaseExtensionType):
        return _iceberg_extension_type(kind, path)
    if any(is_same(kind) for is_same in _SAME):
        return kind
    for is_alike, normal in _ALIKE:
        if is_alike(kind):
            return normal
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", None if kind.tz is None else "UTC")
    if pa.types.is_decimal(kind) and kind.precision <= WIDEST and 0 <= kind.scale <= kind.precision:
        return pa.decimal128(kind.precision, kind.scale)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _iceberg_type(kind.value_type, path)
    return _iceberg_nested_type(kind, path)


def _iceberg_nested_type(kind: pa.DataType, path: Path) -> pa.DataType:
    if pa.types.is_struct(kind):
        # Made afresh, without metadata: a field id of another table must not get into a file.
        return pa.struct(
            [pa.field(one.name, _iceberg_type(one.type, (*path, one.name)), one.nullable) for one in fields_of(kind)]
        )
    if pa.types.is_map(kind):
        return pa.map_(_iceberg_type(kind.key_type, (*path, "key")), _iceberg_type(kind.item_type, (*path, VALUE)))
    if is_list(kind):
        element = _iceberg_type(kind.value_type, (*path, ELEMENT))
        return pa.list_(pa.field("element", element, kind.value_field.nullable))
    raise SchemaMismatchError(f"column {name_of(path)} has the type {kind}, which Iceberg does not have")


def _iceberg_extension_type(kind: pa.BaseExtensionType, path: Path) -> pa.DataType:
    if isinstance(kind, pa.UuidType):
        return kind
    if isinstance(kind, pa.JsonType | pa.Bool8Type):
        return pa.string() if isinstance(kind, pa.JsonType) else pa.bool_()
    raise SchemaMismatchError(f"column {name_of(path)} has the type {kind.extension_name}, which Iceberg does not have")


def _named(fields: list[pa.Field], path: Path) -> Iterator[tuple[Path, pa.DataType]]:
    """Every field within, by its path, with its type."""
    for one in fields:
        where = (*path, one.name)
        yield where, one.type
        yield from _named_within(one.type, where)


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


def _takes(known: pa.DataType, coming: pa.DataType) -> bool:
    """Whether a column can take values of another type that is not a number; each value is checked when it is read."""
    types = pa.types
    if known == coming:
        return True
    if types.is_string(coming):
        readable = (types.is_timestamp, types.is_date, types.is_time, types.is_decimal)
        return any(is_readable(known) for is_readable in readable)
    if types.is_timestamp(coming):
        return bool(types.is_timestamp(known) and (coming.tz is None) == (known.tz is None))
    return False


def _are_compatible(known: pa.DataType, coming: pa.DataType) -> bool:
    if pa.types.is_struct(known) and pa.types.is_struct(coming):
        ours = {field.name: field.type for field in fields_of(known)}
        return all(_are_compatible(ours[field.name], field.type) for field in fields_of(coming) if field.name in ours)
    if is_list(known) and is_list(coming):
        return _are_compatible(known.value_type, coming.value_type)
    if pa.types.is_map(known) and pa.types.is_map(coming):
        return _are_compatible(known.key_type, coming.key_type) and _are_compatible(known.item_type, coming.item_type)
    return bool(known == coming)


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


def _unsettled(kind: pa.DataType, path: Path, paths: frozenset[Path]) -> pa.DataType:
    if path in paths:
        return pa.struct([]) if pa.types.is_struct(kind) else pa.null()
    if pa.types.is_struct(kind):
        return pa.struct([one.with_type(_unsettled(one.type, (*path, one.name), paths)) for one in fields_of(kind)])
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, _unsettled(kind.item_type, (*path, VALUE), paths))
    if is_list(kind):
        return pa.list_(kind.value_field.with_type(_unsettled(kind.value_type, (*path, ELEMENT), paths)))
    return kind
