"""Lists of Catalog: filters, order and offset pagination (contract, section 23.1)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, UnaryExpression, and_, false, func, or_, true
from sqlalchemy.orm import Session

from offtake.contract import problems
from offtake.contract.problems import Problem
from offtake.store import json_queries

Params = Sequence[tuple[str, str]]
Condition = ColumnElement[bool]
Compare = Literal["<", "<=", ">", ">="]

DEFAULT_LIMIT: Final = 20
MOST: Final = 100
_MAX_FILTERS: Final = 50
_MAX_VALUES: Final = 100
_MAX_WILDCARDS: Final = 10
_MAX_VALUE_LENGTH: Final = 1000
_TAGS: Final = "tags"
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")
_PROPERTY: Final = re.compile(r"([^=!<>~]+)(==|!=|<=|>=|<|>|~|=)(.*)", re.DOTALL)
_COMPARE: Final[Mapping[str, Callable[[Any, int], Condition]]] = {
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
}


SelectT = TypeVar("SelectT", bound=Select[Any])


@dataclass(frozen=True)
class Field:
    """A property for filters and order. With `wildcard`, `*` in a filter's value matches any text."""

    column: SQLColumnExpression[Any]
    kind: Literal["text", "number", "boolean"] = "text"
    wildcard: bool = False


@dataclass(frozen=True)
class Shape:
    """The parameters of one list: its fields, its column of tags, and `ranges`, which compare a field with a number.

    A range without a field matches no row. `accepted` parameters are ignored.
    """

    fields: Mapping[str, Field]
    tags: SQLColumnExpression[Any] | None = None
    ranges: Mapping[str, tuple[str | None, Compare]] = field(default_factory=dict)
    accepted: frozenset[str] = frozenset()
    order: str = "desc:created"


@dataclass(frozen=True)
class Query:
    """A parsed list request: page, filter, order, and the `properties` to return; empty for all."""

    limit: int
    start: int
    properties: frozenset[str]
    condition: Condition
    order: tuple[UnaryExpression[Any], ...]

    def paginate(self, statement: SelectT) -> SelectT:
        """The statement limited to this page."""
        return statement.where(self.condition).order_by(*self.order).offset(self.start).limit(self.limit)

    def shows(self, name: str) -> bool:
        """Whether a property is to be returned."""
        return not self.properties or name in self.properties


def read(session: Session, shape: Shape, params: Params) -> Query:
    """Parse a list's parameters; empty ones count as absent. Raises `Problem` for unknown or invalid ones."""
    filled = [(name, value.strip()) for name, value in params if value.strip()]
    if len(filled) > _MAX_FILTERS:
        raise Problem(problems.BAD_VALUE, f"A list takes at most {_MAX_FILTERS} parameters.")
    single = {name: value for name, value in filled if name in _PAGING}
    properties = frozenset(one.strip() for one in single.get("properties", "").split(",") if one.strip())
    start = single.get("start") or single.get("offset") or "0"
    limit = number("/limit", single.get("limit") or str(DEFAULT_LIMIT), 1, MOST)
    if "observableSchema" in properties and limit > DEFAULT_LIMIT:
        raise problems.of_field("/limit", f"must be at most {DEFAULT_LIMIT} with properties=observableSchema")
    return Query(
        limit=limit,
        start=number("/start", start, 0, None),
        properties=properties,
        condition=and_(true(), *(_condition(session, shape, name, value) for name, value in filled)),
        order=tuple(_orders(shape, single.get("orderBy") or single.get("sort") or shape.order)),
    )


def number(path: str, text: str, least: int, most: int | None) -> int:
    """Parse a whole number within bounds; raises 1452."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least or (most is not None and int(text) > most):
        upper = "or more" if most is None else f"to {most}"
        raise problems.of_field(path, f"must be a whole number, {least} {upper}")
    return int(text)


_PAGING: Final = frozenset({"limit", "start", "offset", "orderBy", "sort", "properties"})


def _condition(session: Session, shape: Shape, name: str, value: str) -> Condition:
    if name in _PAGING or name in shape.accepted:
        return true()
    if len(value) > _MAX_VALUE_LENGTH:
        raise problems.of_field(f"/{name[:100]}", f"is longer than {_MAX_VALUE_LENGTH} characters")
    if name == "property":
        return _property(session, shape, value)
    if name == _TAGS and shape.tags is not None:
        return and_(*(_tag(session, shape.tags, one) for one in _values(name, value)))
    if name in shape.ranges:
        target, operator = shape.ranges[name]
        bound = _parse_number(name, value)
        return false() if target is None else _COMPARE[operator](shape.fields[target].column, bound)
    if name in shape.fields:
        negated = value.startswith("!")
        values = _values(name, value[1:] if negated else value)
        equal = or_(*(_equals(name, shape.fields[name], one) for one in values))
        return _not(shape.fields[name].column, equal) if negated else equal
    known = {
        *_PAGING,
        "property",
        *shape.accepted,
        *shape.ranges,
        *shape.fields,
        *((_TAGS,) if shape.tags is not None else ()),
    }
    raise Problem(
        problems.UNKNOWN_PARAMETER, f"Unknown query parameter: {name[:200]}. Allowed: {', '.join(sorted(known))}."
    )


def _property(session: Session, shape: Shape, text: str) -> Condition:
    """The condition of `name`, `!name`, `name==value` and the like; commas do not split the value."""
    if text.startswith("!"):
        return ~_is_present(shape, text[1:].strip())
    match = _PROPERTY.fullmatch(text)
    if match is None:
        return _is_present(shape, text)
    path, operator, value = (one.strip() for one in match.groups())
    if not value:
        raise Problem(problems.EMPTY_VALUE, f"The property {path}{operator} has no value.")
    if path.startswith(f"{_TAGS}.") and shape.tags is not None:
        return _tag_property(session, shape.tags, path.removeprefix(f"{_TAGS}."), operator, value)
    found = _field(shape, path)
    if operator == "~":
        return func.lower(_text(path, found)).like(_pattern(value), escape="\\")
    if operator in _COMPARE:
        if found.kind != "number":
            raise Problem(
                problems.FILTER_KIND, f"{path} cannot be compared by {operator}, which is for numbers and times."
            )
        return _COMPARE[operator](found.column, _parse_number(path, value))
    equal = _equals(path, found, value)
    return _not(found.column, equal) if operator == "!=" else equal


def _is_present(shape: Shape, path: str) -> Condition:
    if path == _TAGS and shape.tags is not None:
        return true()
    if path.startswith(f"{_TAGS}.") and shape.tags is not None:
        return json_queries.json_entry_exists(shape.tags, path.removeprefix(f"{_TAGS}."))
    inner = [known for known in shape.fields if known == path or known.startswith(f"{path}.")]
    if not inner:
        _field(shape, path)
    return or_(*(shape.fields[known].column.is_not(None) for known in inner))


def _tag_property(session: Session, tags: SQLColumnExpression[Any], key: str, operator: str, value: str) -> Condition:
    if operator in _COMPARE:
        message = f"tags.{key} cannot be compared by {operator}, which is for numbers and times."
        raise Problem(problems.FILTER_KIND, message)
    if operator == "~":
        return json_queries.json_entry_contains(session, tags, key, _pattern(value), like=True)
    found = json_queries.json_entry_contains(session, tags, key, value, like=False)
    return ~found if operator == "!=" else found


def _tag(session: Session, tags: SQLColumnExpression[Any], text: str) -> Condition:
    """`tag:value`, or `tag:*` for any value."""
    key, colon, value = text.partition(":")
    if not colon or not key or not value:
        raise problems.of_field("/tags", "must be tag:value or tag:*, comma-separated")
    if value == "*":
        return json_queries.json_entry_exists(tags, key)
    return json_queries.json_entry_contains(session, tags, key, value, like=False)


def _equals(path: str, found: Field, value: str) -> Condition:
    if found.kind == "number":
        return found.column == _parse_number(path, value)
    if found.kind == "boolean":
        if value.lower() not in ("true", "false"):
            raise problems.of_field(f"/{path}", "must be true or false")
        return found.column.is_(value.lower() == "true")
    if found.wildcard and "*" in value:
        return func.lower(found.column).like(_wildcards(path, value), escape="\\")
    return found.column == value


def _not(column: SQLColumnExpression[Any], equal: Condition) -> Condition:
    # An absent value differs from every value.
    return or_(~equal, column.is_(None))


def _text(path: str, found: Field) -> SQLColumnExpression[Any]:
    if found.kind != "text":
        raise Problem(problems.FILTER_KIND, f"{path} is not text; ~ searches within text.")
    return found.column


def _pattern(value: str) -> ColumnElement[str]:
    """A case-insensitive LIKE pattern that contains the value; `^` and `$` anchor it to start and end."""
    head = "" if value.startswith("^") else "%"
    tail = "" if value.endswith("$") else "%"
    # The database lowers both sides: its rules differ from Python's.
    return func.lower(f"{head}{_escape(value.removeprefix('^').removesuffix('$'))}{tail}")


def _wildcards(path: str, value: str) -> ColumnElement[str]:
    """A LIKE pattern: `*` matches any text, `**` is a literal asterisk."""
    pieces = [_escape(one) for one in value.split("**")]
    if sum(one.count("*") for one in pieces) > _MAX_WILDCARDS:
        raise problems.of_field(f"/{path}", f"has more than {_MAX_WILDCARDS} wildcards")
    return func.lower("*".join(one.replace("*", "%") for one in pieces))


def _escape(value: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", value)


def _values(name: str, text: str) -> list[str]:
    values = [value.strip() for value in text.split(",") if value.strip()]
    if not values:
        raise Problem(problems.EMPTY_VALUE, f"The parameter {name} has no value.")
    if len(values) > _MAX_VALUES:
        raise problems.of_field(f"/{name}", f"has more than {_MAX_VALUES} values")
    return values


def _parse_number(path: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise problems.of_field(f"/{path}", "must be a whole number")
    return int(text)


def _field(shape: Shape, path: str) -> Field:
    if path not in shape.fields:
        allowed = ", ".join(sorted(shape.fields))
        raise Problem(problems.FILTER_FIELD, f"The property {path[:200]} cannot be filtered by. Allowed: {allowed}.")
    return shape.fields[path]


def _orders(shape: Shape, text: str) -> Sequence[UnaryExpression[Any]]:
    """Parse `asc:created,desc:name`; a direction applies until the next part. The id comes last: the order is total."""
    orders: list[UnaryExpression[Any]] = []
    descending = False
    for part in text.split(",")[:_MAX_FILTERS]:
        direction, colon, name = part.strip().rpartition(":")
        if colon and direction.lower() not in ("asc", "desc"):
            raise Problem(problems.ORDER_FORM, f"orderBy {part[:200]!r} is malformed; write asc:name or desc:name.")
        descending = direction.lower() == "desc" if colon else descending
        if name not in shape.fields:
            allowed = ", ".join(sorted(shape.fields))
            raise Problem(problems.ORDER_FIELD, f"The list cannot be ordered by {name[:200]}. Allowed: {allowed}.")
        orders.append(_order(shape.fields[name], descending))
    return [*orders, _order(shape.fields["id"], descending)]


def _order(found: Field, descending: bool) -> UnaryExpression[Any]:
    # SQLite and PostgreSQL sort nulls differently.
    never_null = not getattr(found.column, "nullable", True) or found.kind == "boolean"
    column = found.column if never_null else func.coalesce(found.column, 0 if found.kind == "number" else "")
    return column.desc() if descending else column.asc()
