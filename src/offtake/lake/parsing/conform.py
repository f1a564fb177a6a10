"""Casting parsed rows to the dataset's columns without changing any value."""

from decimal import Decimal
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from offtake.lake.parsing.errors import SchemaMismatchError, shorten
from offtake.lake.parsing.kinds import ELEMENT, VALUE, Path, fields_of, is_number, name_of
from offtake.lake.parsing.numbers import cast_number
from offtake.lake.parsing.options import Nanoseconds
from offtake.lake.parsing.text_types import is_written_plainly, written_text
from offtake.lake.parsing.text_values import read_text
from offtake.lake.type_names import type_name

_NS_PER_US: Final = 1000
"""Nanoseconds per microsecond."""


def cast_to_schema(batch: pa.RecordBatch, schema: pa.Schema, nanoseconds: Nanoseconds = "text") -> pa.RecordBatch:
    """The batch in `schema`: columns by name, missing ones null. Raises `SchemaMismatchError` naming the column."""
    columns = []
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        if index < 0:
            columns.append(pa.nulls(batch.num_rows, field.type))
        else:
            columns.append(_Caster(nanoseconds).column(batch.column(index), field.type, (field.name,)))
        if not field.nullable and columns[-1].null_count:
            raise SchemaMismatchError(f"column {field.name} is required, but a value is missing")
    fields = [pa.field(field.name, field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


class _Caster:
    def __init__(self, nanoseconds: Nanoseconds) -> None:
        self._truncate = nanoseconds == "truncate"

    def column(self, array: pa.Array, kind: pa.DataType, path: Path) -> pa.Array:
        if array.type == kind:
            return array
        if array.null_count == len(array):
            return pa.nulls(len(array), kind)
        if pa.types.is_dictionary(array.type):
            return self.column(array.dictionary_decode(), kind, path)
        if isinstance(array.type, pa.BaseExtensionType) and not isinstance(kind, pa.BaseExtensionType):
            return self.column(array.storage, kind, path)
        if pa.types.is_nested(kind) and pa.types.is_nested(array.type):
            # Slicing an array does not slice its children; a copy has an offset of zero.
            return self._nested(pa.concat_arrays([array, array.slice(0, 0)]) if array.offset else array, kind, path)
        return self._values(array, kind, path)

    def _nested(self, array: pa.Array, kind: pa.DataType, path: Path) -> pa.Array:
        if pa.types.is_struct(kind):
            return self._struct(array, kind, path)
        if pa.types.is_map(kind) and pa.types.is_struct(array.type):
            return self._map_of_struct(array, kind, path)
        if pa.types.is_map(kind):
            keys = self.column(array.keys, kind.key_type, (*path, "key"))
            items = self.column(array.items, kind.item_type, (*path, VALUE))
            return pa.MapArray.from_arrays(array.offsets, keys, items, type=kind, mask=_mask(array))
        if not pa.types.is_list(array.type):
            array = array.cast(pa.list_(array.type.value_type))
        values = array.values
        if pa.types.is_null(values.type):
            # For lists with only nulls, pyarrow's JSON reader returns fewer values than the offsets need.
            values = pa.nulls(array.offsets[-1].as_py(), kind.value_type)
        values = self.column(values, kind.value_type, (*path, ELEMENT))
        lists = pa.ListArray.from_arrays(array.offsets.cast(pa.int32()), values, type=kind, mask=_mask(array))
        if not kind.value_field.nullable and lists.flatten().null_count:
            raise SchemaMismatchError(f"column {name_of((*path, ELEMENT))} is required, but a value is missing")
        return lists

    def _struct(self, array: pa.StructArray, kind: pa.StructType, path: Path) -> pa.StructArray:
        children = []
        for field in fields_of(kind):
            index = array.type.get_field_index(field.name)
            field_path = (*path, field.name)
            if index < 0:
                child = pa.nulls(len(array), field.type)
            else:
                child = self.column(array.field(index), field.type, field_path)
            children.append(child if field.nullable else _fill_nulls(child, array, field_path))
        return pa.StructArray.from_arrays(children, fields=fields_of(kind), mask=_mask(array))

    def _map_of_struct(self, array: pa.StructArray, kind: pa.MapType, path: Path) -> pa.MapArray:
        """Each struct (a JSON object) as a map of its fields that are not null."""
        names = [field.name for field in fields_of(array.type)]
        columns = [
            self.column(column, kind.item_type, (*path, name))
            for name, column in zip(names, array.flatten(), strict=True)
        ]
        rows = pa.arange(0, len(array))
        of_row = pa.concat_arrays([rows for _ in names] or [rows.slice(0, 0)])
        keys = pa.concat_arrays([pa.repeat(name, len(array)) for name in names] or [pa.array([], pa.string())])
        items = pa.concat_arrays(columns or [pa.array([], kind.item_type)])
        is_valid = items.is_valid()
        of_row, keys, items = of_row.filter(is_valid), keys.filter(is_valid), items.filter(is_valid)
        order = pc.array_sort_indices(of_row)  # stable: fields keep their order
        counts = pc.value_counts(of_row)
        lengths = pc.fill_null(counts.field("counts").take(pc.index_in(rows, counts.field("values"))), 0)
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
        return pa.MapArray.from_arrays(offsets, keys.take(order), items.take(order), type=kind, mask=_mask(array))

    def _values(self, array: pa.Array, kind: pa.DataType, path: Path) -> pa.Array:
        try:
            if _is_text(array.type) and not _is_text(kind):
                return read_text(array.cast(pa.string()), kind, name_of(path), truncate=self._truncate)
            if is_number(array.type) and is_number(kind):
                return cast_number(array, kind)
            if _is_nanosecond(array.type):
                return self._times(array, kind)
            if _is_text(kind) and is_written_plainly(array.type):
                return _as_exported_text(array)
            if isinstance(kind, pa.UuidType):
                return pa.ExtensionArray.from_storage(kind, array.cast(kind.storage_type))
            return array.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            what = "a number" if is_number(array.type) else f"a {type_name(array.type)} value"
            message = f"column {name_of(path)} has {what} that cannot be converted to {type_name(kind)} exactly"
            raise SchemaMismatchError(message, _hint(array)) from None

    def _times(self, array: pa.Array, kind: pa.DataType) -> pa.Array:
        """Times in nanoseconds as text with all nine digits, or in microseconds."""
        if _is_text(kind):
            return _nanosecond_text(array)
        return array.cast(kind, safe=not self._truncate)


def has_nanoseconds(array: pa.Array) -> bool:
    """Whether any of the times has a fraction of a microsecond."""
    numbers = array.cast(pa.int64())
    truncated = pc.multiply(pc.divide(numbers, _NS_PER_US), _NS_PER_US)
    return bool(pc.any(pc.not_equal(truncated, numbers)).as_py())


def _nanosecond_text(array: pa.Array) -> pa.Array:
    """Timestamps and times of day as ISO 8601 text with nine digits of fraction, and `Z` if they have a zone."""
    if pa.types.is_timestamp(array.type):
        zone = "Z" if array.type.tz is not None else ""
        text = pc.replace_substring(array.cast(pa.timestamp("ns")).cast(pa.string()), " ", "T", max_replacements=1)
        return pc.binary_join_element_wise(text, zone, "") if zone else text
    return array.cast(pa.string())


def _fill_nulls(child: pa.Array, parent: pa.StructArray, path: Path) -> pa.Array:
    """Fill a required field's nulls where its struct is null; the Parquet writer would refuse them as missing."""
    if not child.null_count:
        return child
    if pc.any(pc.and_(child.is_null(), parent.is_valid())).as_py():
        raise SchemaMismatchError(f"column {name_of(path)} is required, but a value is missing")
    rows = pa.arange(0, len(child))
    any_value = pa.concat_arrays([child, _some_value(child.type)])
    return any_value.take(pc.if_else(child.is_valid(), rows, pa.scalar(len(child), pa.int64())))


def _some_value(kind: pa.DataType) -> pa.Array:  # noqa: PLR0911 - one return per type
    """An array with one arbitrary value of the type; it is hidden by a null struct."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, _some_value(kind.storage_type))
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays([_some_value(one.type) for one in fields_of(kind)], fields=fields_of(kind))
    if pa.types.is_nested(kind):
        return pa.array([[]], kind)
    if pa.types.is_fixed_size_binary(kind):
        return pa.array([bytes(kind.byte_width)], kind)
    if _is_text(kind) or pa.types.is_binary(kind):
        return pa.array([b""], pa.binary()).cast(kind)
    if pa.types.is_decimal(kind):
        return pa.array([Decimal(0)], kind)
    return pa.array([0], pa.int32() if pa.types.is_date(kind) else pa.int64()).cast(kind)


def _as_exported_text(array: pa.Array) -> pa.Array:
    """The values as the text that exports write."""
    texts = written_text(array)
    if len(texts) != len(array) - array.null_count:
        raise pa.ArrowInvalid("NaN and infinities cannot be written as text")
    return pc.replace_with_mask(pa.nulls(len(array), pa.string()), array.is_valid(), texts)


def _hint(array: pa.Array) -> str:
    """The value, if there is only one."""
    filled = array.drop_null()
    if len(filled) != 1:
        return ""
    text = str(filled[0])
    is_padded = pa.types.is_decimal(array.type) and "." in text and "E" not in text
    return f"The value is {shorten(text.rstrip('0').rstrip('.') if is_padded else text)}"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_nanosecond(kind: pa.DataType) -> bool:
    return bool((pa.types.is_timestamp(kind) or pa.types.is_time(kind)) and kind.unit == "ns")


def _mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None
