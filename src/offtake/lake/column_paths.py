"""Paths of columns as text: `address.city`, `items.element.price`, `totals.value`; names with dots in backticks.

A struct's fields follow its name after a dot. The parts of a list and a map are `element`, `key` and `value`, as in
Iceberg. A name is quoted with backticks if it contains a dot, a backtick (doubled), a comma or white space.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from pyiceberg.schema import Schema
from pyiceberg.types import IcebergType, ListType, MapType, NestedField, StructType

_PART: Final = re.compile(r"`((?:[^`]|``)*)`|([^.`]+)")
_QUOTED: Final = re.compile(r"[.`,\s]")
_SUGGESTED: Final = 3
_MOST_COMPARED: Final = 2000
"""Paths that are compared with an unknown one; the comparison takes some 20 µs for each."""


@dataclass(frozen=True)
class PathField:
    """A column at any depth: its names from the top, its field id and its type.

    `below_key`: it is, or is inside, the key of a map.
    """

    names: tuple[str, ...]
    field_id: int
    type: IcebergType
    below_key: bool = False

    @property
    def path(self) -> str:
        """The path as text."""
        return format_path(self.names)

    @property
    def is_leaf(self) -> bool:
        """Whether it has values itself: it is primitive, or a struct without fields."""
        return not list(children(self))


def format_path(names: Sequence[str]) -> str:
    """The text of a path."""
    return ".".join(f"`{name.replace('`', '``')}`" if _QUOTED.search(name) or not name else name for name in names)


def parse_path(text: str) -> tuple[str, ...] | None:
    """The names in the text of a path; None if the text is not a path."""
    names: list[str] = []
    position = 0
    while found := _PART.match(text, position):
        quoted, plain = found.groups()
        names.append(plain if quoted is None else quoted.replace("``", "`"))
        position = found.end()
        if position == len(text):
            return tuple(names)
        if text[position] != ".":
            return None
        position += 1
    return None


def walk(schema: Schema) -> Iterator[PathField]:
    """All columns of the schema at all depths, each before its children."""
    for field in schema.fields:
        yield from _walk(PathField((field.name,), field.field_id, field.field_type))


def children(field: PathField) -> Iterator[PathField]:
    """The fields of a struct, the element of a list, or the key and value of a map."""
    kind = field.type
    found: Sequence[NestedField] = ()
    if isinstance(kind, StructType):
        found = kind.fields
    elif isinstance(kind, ListType):
        found = (kind.element_field,)
    elif isinstance(kind, MapType):
        found = (kind.key_field, kind.value_field)
    for one in found:
        is_key = field.below_key or (isinstance(kind, MapType) and one is found[0])
        yield PathField((*field.names, one.name), one.field_id, one.field_type, is_key)


def nearest(text: str, known: Sequence[PathField]) -> list[str]:
    """The paths that are most like an unknown one: equal but for case or quotes first."""
    plain = text.replace("`", "").casefold()
    equal = [one.path for one in known if ".".join(one.names).casefold() == plain]
    if equal:
        return equal[:_SUGGESTED]
    without_parts = [one.path for one in known if ".".join(_struct_names(one)).casefold() == plain]
    if without_parts:
        return without_parts[:_SUGGESTED]
    return get_close_matches(text, [one.path for one in known[:_MOST_COMPARED]], _SUGGESTED)


def _struct_names(field: PathField) -> list[str]:
    return [name for name in field.names if name not in ("element", "value")]


def _walk(field: PathField) -> Iterator[PathField]:
    yield field
    for one in children(field):
        yield from _walk(one)
