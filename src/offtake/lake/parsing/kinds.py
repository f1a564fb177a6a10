"""Kinds: the types of JSON values as Arrow types, and how the kinds of several blocks and files are merged.

The kind of numbers is a type that holds all of them exactly; `numbers.NumberStats` has more. A null type, or a struct
without fields, means unknown.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import pyarrow as pa

from offtake.lake.parsing.numbers import EXACT, WHOLE
from offtake.lake.type_names import type_name

Path = tuple[str, ...]
"""The path of a column or nested value: field names, `[]` for a list's elements, `{}` for a map's values."""
ELEMENT = "[]"
MAX_FIELDS: Final = 10_000
VALUE = "{}"


class KindConflictError(Exception):
    """Kinds of values that cannot be in one column; the message names the column and both kinds."""


def name_of(path: Path) -> str:
    """The path for messages: `order.items[].price`."""
    name = ""
    for step in path:
        if step in (ELEMENT, VALUE):
            name += "[]" if step == ELEMENT else ".value"
        else:
            name += f".{step}" if name else step
    return name


def fields_of(kind: Any) -> list[pa.Field]:  # noqa: ANN401 - a struct type; pyarrow has no stubs
    """The fields of a struct type."""
    return [kind.field(index) for index in range(kind.num_fields)]


def is_list(kind: pa.DataType) -> bool:
    """Whether the type is a list, large list or fixed-size list."""
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests)


def map_leaves(kind: pa.DataType, change: Callable[[pa.DataType, Path], pa.DataType], path: Path = ()) -> pa.DataType:
    """The type with `change` applied to each leaf type; maps count as leaves."""
    if pa.types.is_struct(kind):
        return pa.struct([one.with_type(map_leaves(one.type, change, (*path, one.name))) for one in fields_of(kind)])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(map_leaves(kind.value_type, change, (*path, ELEMENT))))
    return change(kind, path)


def any_leaf(kind: pa.DataType, test: Callable[[pa.DataType], bool]) -> bool:
    """Whether any leaf type passes the test; the keys and values of maps count as leaves."""
    if pa.types.is_nested(kind):
        return any(any_leaf(field.type, test) for field in fields_of(kind))
    return test(kind)


def depth_of(kind: pa.DataType) -> int:
    """The number of nesting levels; 0 for a primitive type."""
    if not pa.types.is_nested(kind):
        return 0
    return 1 + max((depth_of(field.type) for field in fields_of(kind)), default=0)


def count_fields(kind: pa.DataType) -> int:
    """The number of fields of the type, at all depths."""
    return sum(1 + count_fields(one.type) for one in fields_of(kind)) if pa.types.is_nested(kind) else 0


def merge_kinds(one: pa.DataType, other: pa.DataType, path: Path = ()) -> pa.DataType:
    """The kind of a column with values of both kinds. Raises `KindConflictError`."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return pa.struct(merge_fields(fields_of(one), fields_of(other), path))
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(pa.field("element", merge_kinds(one.value_type, other.value_type, (*path, ELEMENT))))
    if is_number(one) and is_number(other):
        return max(one, other, key=_NUMBERS.index)
    raise KindConflictError(f"column {name_of(path)} has both {word_for(one)} and {word_for(other)}")


def merge_fields(one: Iterable[pa.Field], other: Iterable[pa.Field], path: Path = ()) -> list[pa.Field]:
    """The fields of both; fields that only the second has are last."""
    merged = {field.name: field.type for field in one}
    for field in other:
        kind = merged.get(field.name, pa.null())
        merged[field.name] = merge_kinds(kind, field.type, (*path, field.name))
    return [pa.field(name, kind) for name, kind in merged.items()]


_NUMBERS: Final = (pa.int64(), WHOLE, EXACT, pa.float64())
"""Kinds of numbers, narrowest first. Doubles are last: they hold numbers that no decimal holds."""


def is_number(kind: pa.DataType) -> bool:
    """Whether the kind is numeric."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def word_for(kind: pa.DataType) -> str:
    """The word for values of a kind in messages."""
    if is_number(kind):
        return "numbers"
    if pa.types.is_string(kind):
        return "text"
    if pa.types.is_boolean(kind):
        return "true or false"
    if pa.types.is_struct(kind):
        return "objects"
    return "arrays" if is_list(kind) else type_name(kind)
