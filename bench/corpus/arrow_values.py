"""Values of Arrow arrays, which here are but what DuckDB and Polars hand out, one Python object each."""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, cast

import pyarrow as pa

from bench.corpus.values import Day, Instant, Map, Real, TimeOfDay, Uuid

_UNITS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1000, "ns": 1}
_BITS: Final[dict[pa.DataType, Literal[32, 64]]] = {pa.float16(): 32, pa.float32(): 32, pa.float64(): 64}
_TEXTS: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES: Final = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)
_AS_THEY_ARE: Final = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_decimal, pa.types.is_null)
_LISTS: Final = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def values(array: pa.Array, rename: Callable[[str], str] = str) -> list[Any]:  # noqa: PLR0911 - as text_of
    """An array's values, fields of structs renamed. Raises `TypeError` for types that no table holds."""
    kind = array.type
    if isinstance(kind, pa.UuidType):
        return _each(array.storage.to_pylist(), lambda raw: _uuid(raw.hex()))
    if isinstance(kind, pa.Bool8Type):
        return _each(array.storage.to_pylist(), bool)
    if isinstance(kind, pa.BaseExtensionType):
        return values(array.storage, rename)
    if pa.types.is_dictionary(kind):
        return values(array.dictionary_decode(), rename)
    if any(test(kind) for test in (*_AS_THEY_ARE, *_TEXTS, *_BYTES)):
        return cast("list[Any]", array.to_pylist())
    if kind in _BITS:
        bits = _BITS[kind]
        return _each(array.to_pylist(), lambda value: Real(float(value), bits))
    if pa.types.is_temporal(kind):
        return _times(array)
    return _nested(array, rename)


def _times(array: pa.Array) -> list[Any]:
    kind = array.type
    if pa.types.is_date32(kind):
        return _each(array.cast(pa.int32()).to_pylist(), Day)
    width = pa.int32() if pa.types.is_time32(kind) else pa.int64()
    if pa.types.is_time(kind):
        return _each(array.cast(width).to_pylist(), lambda number: TimeOfDay(number * _UNITS[kind.unit]))
    if not pa.types.is_timestamp(kind):
        raise TypeError(f"values of the type {kind}")
    is_zoned = kind.tz is not None
    return _each(array.cast(width).to_pylist(), lambda number: Instant(number * _UNITS[kind.unit], is_zoned))


def _nested(array: pa.Array, rename: Callable[[str], str]) -> list[Any]:
    kind = array.type
    valid = array.is_valid().to_pylist()
    if pa.types.is_struct(kind):
        names = [rename(kind.field(index).name) for index in range(kind.num_fields)]
        columns = [values(column, rename) for column in array.flatten()]
        rows = zip(*columns, strict=True) if columns else iter([()] * len(array))
        return [dict(zip(names, row, strict=True)) if there else None for there, row in zip(valid, rows, strict=True)]
    if pa.types.is_map(kind):
        entries = zip(values(array.keys, rename), values(array.items, rename), strict=True)
        pairs = list(entries)
        return [Map(tuple(pairs[start:end])) if there else None for there, start, end in _spans(array, valid)]
    if any(test(kind) for test in _LISTS):
        if pa.types.is_fixed_size_list(kind):
            array = array.cast(pa.list_(kind.value_type))
        elements = values(array.values, rename)
        return [elements[start:end] if there else None for there, start, end in _spans(array, valid)]
    raise TypeError(f"values of the type {kind}")


def _spans(array: pa.Array, valid: list[bool]) -> Iterator[tuple[bool, int, int]]:
    offsets = array.offsets.to_pylist()
    return zip(valid, offsets, offsets[1:], strict=False)


def _each(found: list[Any], change: Callable[[Any], object]) -> list[Any]:
    return [None if value is None else change(value) for value in found]


def _uuid(digits: str) -> Uuid:
    return Uuid("-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))
