"""Column projection: converts a file's batches to the delivered schema, matching columns by field id at every depth.

Columns that were added, dropped, renamed, reordered or widened since the file was written follow Iceberg's
specification ("Column Projection"): a column that the file lacks gets its partition value, else its initial default,
else null. PyIceberg's own projection turns null lists and maps into empty ones, so it is not used.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from uuid import UUID

import pyarrow as pa

_FIELD_ID: Final = b"PARQUET:field_id"

Column = Callable[[pa.Array], pa.Array]
"""Converts an array as stored in the file to the delivered array."""


class ProjectionError(Exception):
    """A file's columns or values cannot be converted to the schema; the text says which and why."""

    def __init__(
        self, message: str, remedy: str = "Compact the table, so that the file is rewritten with its current columns."
    ) -> None:
        self.remedy = remedy
        super().__init__(message)


@dataclass(frozen=True)
class ColumnNames:
    """Maps the names in a file without field ids to fields: `fields` in the form of Iceberg's name mapping."""

    fields: Sequence[Mapping[str, Any]]

    @staticmethod
    def of(fields: Iterable[pa.Field]) -> "ColumnNames":
        """The mapping from the fields' own names."""
        return ColumnNames(
            [
                {"field-id": field_id_of(field), "names": [field.name], "fields": _mapping_inside(field.type)}
                for field in fields
            ]
        )

    def id_of(self, name: str) -> int | None:
        """The id of the field with that name, or None."""
        found = self._by_name.get(name)
        return None if found is None else found.get("field-id")

    def below(self, field_id: int) -> "ColumnNames":
        """The names in a struct, given its field id."""
        return _names_in(self._by_id.get(field_id))

    def inside(self, part: str) -> "ColumnNames":
        """The names in a list's `element`, or in a map's `key` or `value`."""
        return _names_in(self._by_name.get(part))

    @cached_property
    def _by_name(self) -> dict[str, Mapping[str, Any]]:
        """The fields by each of their names; the first of several counts."""
        # Not a search for each column: wide tables have 50,000.
        return {name: one for one in reversed(self.fields) for name in one["names"]}

    @cached_property
    def _by_id(self) -> dict[int, Mapping[str, Any]]:
        return {one["field-id"]: one for one in reversed(self.fields) if one.get("field-id") is not None}


def _names_in(field: Mapping[str, Any] | None) -> ColumnNames:
    return ColumnNames((field or {}).get("fields") or ())


Missing = Callable[[int, pa.DataType], pa.Scalar | None]
"""The value, by field id, of a column that a file lacks; None when it has neither a partition value nor a default."""


def projection(
    file: pa.Schema, target: pa.Schema, names: ColumnNames, missing: Missing
) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    """A function that converts the file's batches to the target schema, whose fields must all have ids.

    `names` are used for columns of the file without ids. Raises `ProjectionError`.
    """
    found = _StructReader(missing).children(file, target, names, "")
    if _is_identity(found, file, target):
        return lambda batch: pa.RecordBatch.from_arrays(batch.columns, schema=target)

    def project(batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(_arrays(found, batch.column, batch.num_rows), schema=target)

    return project


def is_identity(file: pa.Schema, target: pa.Schema, names: ColumnNames) -> bool:
    """Whether the file's columns equal the target columns, in order, without any conversion."""
    try:
        found = _StructReader(lambda _field_id, _type: None).children(file, target, names, "")
    except ProjectionError:
        return False
    return file.names == target.names and _is_identity(found, file, target)


def _is_identity(found: "Sequence[_Child]", file: pa.Schema, target: pa.Schema) -> bool:
    in_place = all(column is None and index == position for position, (index, column) in enumerate(found))
    return bool(in_place and file.types == target.types)


_Child = tuple[int | None, Callable[[Any], pa.Array] | None]
"""A field's index in the file and its conversion (None: unchanged). Without an index: the values, made for a length."""


def _arrays(found: Sequence[_Child], column: Callable[[int], pa.Array], length: int) -> list[pa.Array]:
    arrays = []
    for index, change in found:
        if index is None:
            assert change is not None  # noqa: S101 - for mypy
            arrays.append(change(length))
        else:
            arrays.append(column(index) if change is None else change(column(index)))
    return arrays


@dataclass(frozen=True)
class _StructReader:
    missing: Missing

    def children(
        self, file: Sequence[pa.Field], target: Sequence[pa.Field], names: ColumnNames, path: str
    ) -> list[_Child]:
        by_name = not any(field_id_of(field) for field in file)
        ids = (names.id_of(field.name) if by_name else field_id_of(field) for field in file)
        index_by_id = {field_id: index for index, field_id in enumerate(ids)}
        children: list[_Child] = []
        for field in target:
            field_id = field_id_of(field)
            assert field_id is not None  # noqa: S101 - all fields of the target schema have ids
            if field_id in index_by_id:
                index, below = index_by_id[field_id], names.below(field_id)
                children.append((index, self.column(file[index].type, field.type, below, f"{path}{field.name}")))
            else:
                children.append((None, self._absent(field_id, field, f"{path}{field.name}")))
        return children

    def column(self, file: pa.DataType, target: pa.DataType, names: ColumnNames, path: str) -> Column | None:
        """The conversion of a column's arrays; None when they need none."""
        if pa.types.is_dictionary(file):
            return _then(pa.DictionaryArray.dictionary_decode, self.column(file.value_type, target, names, path))
        if isinstance(file, pa.Bool8Type) and pa.types.is_boolean(target):
            return lambda array: array.storage.cast(target)
        if isinstance(file, pa.BaseExtensionType) and file != target:
            return _then(lambda array: array.storage, self.column(file.storage_type, target, names, path))
        for is_kind, change in _NESTED.items():
            if is_kind(target) and (is_kind(file) or (change is _StructReader.of_list and is_list(file))):
                return change(self, file, target, names, path)
        return None if file == target else _leaf(file, target, path)

    def of_struct(self, file: pa.StructType, target: pa.StructType, names: ColumnNames, path: str) -> Column | None:
        """`column` for a struct."""
        fields = list(target)
        found = self.children(list(file), fields, names, f"{path}.")
        if file == target and all(
            change is None and index == position for position, (index, change) in enumerate(found)
        ):
            return None

        def change(array: pa.StructArray) -> pa.StructArray:
            children = _arrays(found, array.field, len(array))
            if not children:
                return pa.array([None if null else {} for null in array.is_null().to_pylist()], target)
            return pa.StructArray.from_arrays(children, fields=fields, mask=array.is_null())

        return change

    def of_list(self, file: pa.DataType, target: pa.ListType, names: ColumnNames, path: str) -> Column | None:
        """`column` for a list."""
        # Fixed-size lists, large lists and list views are cast to plain lists first.
        plain = file if pa.types.is_list(file) else pa.list_(file.value_field)
        inner = self.column(plain.value_type, target.value_type, names.inside("element"), f"{path}.element")
        if file == target and inner is None:
            return None

        def change(array: pa.ListArray) -> pa.ListArray:
            array = array if array.type == plain else array.cast(plain)
            values = array.values if inner is None else inner(array.values)
            # The validity and offset buffers stay valid: the conversion keeps the number and order of values.
            return pa.Array.from_buffers(target, len(array), array.buffers()[:2], -1, array.offset, [values])

        return change

    def of_map(self, file: pa.MapType, target: pa.MapType, names: ColumnNames, path: str) -> Column | None:
        """`column` for a map."""
        key = self.column(file.key_type, target.key_type, names.inside("key"), f"{path}.key")
        item = self.column(file.item_type, target.item_type, names.inside("value"), f"{path}.value")
        if file == target and key is None and item is None:
            return None

        def change(array: pa.MapArray) -> pa.MapArray:
            keys = array.keys if key is None else key(array.keys)
            items = array.items if item is None else item(array.items)
            pairs = pa.StructArray.from_arrays([keys, items], fields=[target.key_field, target.item_field])
            return pa.Array.from_buffers(target, len(array), array.buffers()[:2], -1, array.offset, [pairs])

        return change

    def _absent(self, field_id: int, field: pa.Field, path: str) -> Callable[[int], pa.Array]:
        value = self.missing(field_id, field.type)
        if value is not None and (value.is_valid or field.nullable):
            return lambda length: pa.repeat(value, length)
        if not field.nullable:
            raise ProjectionError(f"column {path} is required, but missing in the file")
        return lambda length: pa.nulls(length, field.type)


_NESTED: Final = {
    pa.types.is_struct: _StructReader.of_struct,
    pa.types.is_map: _StructReader.of_map,
    pa.types.is_list: _StructReader.of_list,
}


def _leaf(file: pa.DataType, target: pa.DataType, path: str) -> Column:
    if isinstance(target, pa.BaseExtensionType) and file == target.storage_type:
        return lambda array: pa.ExtensionArray.from_storage(target, array)
    if isinstance(target, pa.UuidType) and _is_one_of(file, pa.string(), _TEXT):
        return lambda array: _uuids(array, path)
    if isinstance(target, pa.UuidType) and _is_one_of(file, pa.binary(), _VARIABLE_BYTES):
        return lambda array: pa.ExtensionArray.from_storage(target, _cast(array, target.storage_type, path))
    if pa.types.is_string(target) and _is_one_of(file, pa.binary(), _VARIABLE_BYTES):
        # Text without the string annotation. Like all text, it is checked for UTF-8 later.
        return lambda array: array.cast(pa.binary()).view(target)
    if not _widens(file, target):
        raise ProjectionError(f"column {path} is {file} in the file and {target} in the table")
    return lambda array: _cast(array, target, path)


def _cast(array: pa.Array, target: pa.DataType, path: str) -> pa.Array:
    try:
        return array.cast(target)
    except pa.ArrowInvalid:
        raise ProjectionError(
            f"column {path} has values of {array.type} that {target}, the table's type, cannot hold exactly",
            "Rewrite the file with values that fit the table's type, or change the column to a type that holds them.",
        ) from None


def _uuids(array: pa.Array, path: str) -> pa.Array:
    try:
        values = [None if one is None else UUID(one).bytes for one in array.to_pylist()]
    except (ValueError, UnicodeDecodeError):
        raise ProjectionError(
            f"column {path} is text in the file and uuid in the table, and some values are not UUIDs",
            "Correct the values in the file, or change the column's type to string.",
        ) from None
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array(values, pa.binary(16)))


def _mapping_inside(kind: pa.DataType) -> Sequence[Mapping[str, Any]]:
    if pa.types.is_struct(kind):
        return ColumnNames.of(kind).fields
    if pa.types.is_list(kind):
        return [{"names": ["element"], "fields": _mapping_inside(kind.value_type)}]
    if pa.types.is_map(kind):
        parts = {"key": kind.key_type, "value": kind.item_type}
        return [{"names": [part], "fields": _mapping_inside(inner)} for part, inner in parts.items()]
    return ()


def _then(first: Column, second: Column | None) -> Column:
    return first if second is None else lambda array: second(first(array))


def _widens(file: pa.DataType, target: pa.DataType) -> bool:
    """Whether `target` holds every value of `file`: Iceberg's promotions, and other Arrow forms of the same type."""
    kinds = pa.types
    if kinds.is_integer(target) and kinds.is_integer(file):
        signed = kinds.is_signed_integer(file)
        return bool(file.bit_width <= target.bit_width if signed else file.bit_width < target.bit_width)
    if kinds.is_floating(target) and kinds.is_floating(file):
        return bool(file.bit_width <= target.bit_width)
    if kinds.is_decimal(target) and kinds.is_decimal(file):
        return bool(file.scale == target.scale and file.precision <= target.precision)
    if kinds.is_timestamp(target):
        # A cast that would lose precision fails. INT96 timestamps never have a time zone.
        return kinds.is_date32(file) or (kinds.is_timestamp(file) and (file.tz is None or target.tz is not None))
    if kinds.is_time(target):
        return bool(kinds.is_time(file))
    return _is_one_of(file, target, _TEXT) or _is_one_of(file, target, _BYTES)


_TEXT: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_VARIABLE_BYTES: Final = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
_BYTES: Final = (*_VARIABLE_BYTES, pa.types.is_fixed_size_binary)


def _is_one_of(file: pa.DataType, target: pa.DataType, kinds: Sequence[Callable[[pa.DataType], bool]]) -> bool:
    return any(kind(file) for kind in kinds) and any(kind(target) for kind in kinds)


def is_list(kind: pa.DataType) -> bool:
    """Whether it is one of Arrow's types of lists."""
    tests = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return any(test(kind) for test in tests)


def field_id_of(field: pa.Field) -> int | None:
    """The field's id in Iceberg, or None."""
    found = (field.metadata or {}).get(_FIELD_ID)
    return None if found is None else int(found)


def has_field_ids(file: pa.Schema) -> bool:
    """Whether any column of the file has a field id."""
    return any(field_id_of(field) is not None for field in file)
