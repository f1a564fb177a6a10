"""Which columns of a file an export reads, at every depth. Runs in worker processes: PyIceberg is not imported."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from offtake.lake.projection import ColumnNames, field_id_of, is_list


@dataclass(frozen=True)
class FileLeaf:
    """A column of a file that has values itself: its number in the file, and its names from the top.

    `names` has those of structs' fields only: without the element of a list, and the key and value of a map.
    """

    number: int
    names: tuple[str, ...]


def delivered_leaves(file: pa.Schema, target: pa.Schema, names: ColumnNames) -> list[FileLeaf] | None:
    """The file's columns whose values the target has, in the file's order, matched by field id; None for all columns.

    `names`: for a file without field ids. Where a struct, list or map of the target has no value of the file's, one
    value of it is read, because it shows which of them are null, and how long they are.
    """
    flags = _fields(list(file), list(target), names)
    if all(flags):
        return None
    if not any(flags):
        flags = _least(list(file))
    leaves = _leaves(list(file))
    return [FileLeaf(number, path) for number, (path, wanted) in enumerate(zip(leaves, flags, strict=True)) if wanted]


def leaf_count(file: pa.Schema) -> int:
    """The number of columns that have values themselves."""
    return sum(1 for _ in _leaves(list(file)))


def _fields(file: Sequence[pa.Field], target: Sequence[pa.Field], names: ColumnNames) -> list[bool]:
    """For each value inside the fields, whether it is read."""
    wanted = {field_id_of(field): field.type for field in target}
    by_name = not any(field_id_of(field) for field in file)
    flags = []
    for field in file:
        field_id = names.id_of(field.name) if by_name else field_id_of(field)
        if field_id is None or field_id not in wanted:
            flags += [False] * _count(field.type)
        else:
            flags += _of_type(field.type, wanted[field_id], names.below(field_id))
    return flags


def _of_type(file: pa.DataType, target: pa.DataType, names: ColumnNames) -> list[bool]:
    if isinstance(file, pa.BaseExtensionType):
        return _of_type(file.storage_type, target, names)
    if pa.types.is_struct(file) and pa.types.is_struct(target):
        flags = _fields(list(file), list(target), names)
        return flags if any(flags) else _least(list(file))
    if is_list(file) and pa.types.is_list(target):
        return _of_type(file.value_type, target.value_type, names.inside("element"))
    if pa.types.is_map(file) and pa.types.is_map(target):
        return [
            *[True] * _count(file.key_type),
            *_of_type(file.item_type, target.item_type, names.inside("value")),
        ]
    return [True] * _count(file)


def _least(fields: Sequence[pa.Field]) -> list[bool]:
    """Flags for one column of the fields, a primitive one if there is one."""
    simple = [index for index, field in enumerate(fields) if not pa.types.is_nested(field.type)]
    chosen = simple[0] if simple else 0
    flags: list[bool] = []
    for index, field in enumerate(fields):
        flags += _least_of(field.type) if index == chosen else [False] * _count(field.type)
    return flags


def _least_of(kind: pa.DataType) -> list[bool]:
    if pa.types.is_struct(kind):
        return _least(list(kind))
    if is_list(kind):
        return _least_of(kind.value_type)
    if pa.types.is_map(kind):
        return [True] * _count(kind.key_type) + _least_of(kind.item_type)
    return [True] * _count(kind)


def _count(kind: pa.DataType) -> int:
    if not pa.types.is_nested(kind) and not isinstance(kind, pa.BaseExtensionType):
        return 1
    return sum(1 for _ in _leaves([pa.field("", kind)]))


def _leaves(fields: Sequence[pa.Field], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for field in fields:
        yield from _leaves_of(field.type, (*above, field.name))


def _leaves_of(kind: pa.DataType, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(kind, pa.BaseExtensionType):
        yield from _leaves_of(kind.storage_type, names)
    elif pa.types.is_struct(kind):
        yield from _leaves(list(kind), names)
    elif is_list(kind):
        yield from _leaves_of(kind.value_type, names)
    elif pa.types.is_map(kind):
        yield from _leaves_of(kind.key_type, names)
        yield from _leaves_of(kind.item_type, names)
    else:
        yield names
