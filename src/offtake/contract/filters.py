"""Filters and orders of lists: expressions such as `name==a,b` and `-updatedAt` (contract, 5.4, 5.5)."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, SQLColumnExpression, false, func, or_, true

from offtake.contract import problems
from offtake.contract.problems import Problem

Kind = Literal["text", "id", "number", "boolean"]

_EXPRESSION: Final = re.compile(r"([^=!<>~\s]+)\s*(==|!=|<=|>=|<|>|~|=|!)\s*(.*)", re.DOTALL)
_COMPARE: Final[Mapping[str, Callable[[Any, Any], ColumnElement[bool]]]] = {
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
}
MOST_VALUES: Final = 1000
_MAX_ORDERS: Final = 20
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")
_BOOLEANS: Final = {"true": true(), "false": false()}


@dataclass(frozen=True)
class Field:
    """A path for filters, and the column that it refers to.

    `text` is compared case-insensitively, `id` is stored in lower case, `number` supports <, <=, > and >=. `sortable`
    fields can be ordered by. With `among`, the column belongs to related rows, and a match of any of them suffices:
    `among` turns a condition on them into one on the row.
    """

    column: SQLColumnExpression[Any]
    kind: Kind = "text"
    sortable: bool = False
    among: Callable[[ColumnElement[bool]], ColumnElement[bool]] | None = None


Fields = Mapping[str, Field]


@dataclass(frozen=True)
class Expression:
    """A parsed filter, with one or several values."""

    path: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """A path to order by."""

    path: str
    descending: bool


def is_filter(text: str) -> bool:
    """Whether a `property` is a filter; without an operator, it lists properties to return."""
    return re.search(r"[=!<>~]", text) is not None


def parse(text: str) -> Expression:
    """Parse `path==a,b` and the like; raises 1440, 1443, 1450 and 1453."""
    match = _EXPRESSION.fullmatch(text.strip())
    if match is None:
        raise Problem(problems.FILTER_OPERATOR, f"The property {text!r} is malformed; write path==value.")
    path, operator, value = match.groups()
    if operator == "~":
        raise Problem(problems.FILTER_TILDE, "The operator ~ is not supported.")
    if operator not in ("==", "!=", *_COMPARE):
        raise Problem(problems.FILTER_OPERATOR, f"The operator {operator} is unknown; use one of ==, !=, <, <=, >, >=.")
    values = tuple(one.strip() for one in value.split(",") if one.strip())
    if not values:
        raise Problem(problems.EMPTY_VALUE, f"The property {path}{operator} has no value.")
    if len(values) > 1 and operator != "==":
        raise Problem(problems.FILTER_VALUES, f"The operator {operator} takes one value; only == takes several.")
    return Expression(path, operator, values)


def parse_all(texts: Iterable[str]) -> list[Expression]:
    """Parse every filter of a request; raises as `parse` does, and 1452 when they have too many values together."""
    found: list[Expression] = []
    for text in texts:
        found.append(parse(text))
        if sum(len(one.values) for one in found) > MOST_VALUES:
            raise problems.of_field("/property", f"has more than {MOST_VALUES} values in all filters together")
    return found


def to_sql(expression: Expression, fields: Fields) -> ColumnElement[bool]:
    """Translate the expression into a SQL condition; raises 1448, 1449 and 1454."""
    field = _field(expression.path, fields)
    condition = _condition(expression, field)
    if field.among is None:
        return condition
    # For a list, `!=` means that no element is equal.
    if expression.operator == "!=":
        return ~field.among(_condition(Expression(expression.path, "==", expression.values), field))
    return field.among(condition)


def parse_orders(text: str, fields: Fields) -> tuple[Order, ...]:
    """Parse `name`, `+name` or `-name`, comma-separated; raises 1432 and 1433."""
    names = text.split(",")
    if len(names) > _MAX_ORDERS:
        raise Problem(problems.ORDER_FORM, f"orderby has {len(names)} names; at most {_MAX_ORDERS} are allowed.")
    return tuple(_order(one, fields) for one in names)


def _order(text: str, fields: Fields) -> Order:
    # A plus sign in a query arrives as a space.
    match = re.fullmatch(r"\s*([+-]?)([A-Za-z.]+)\s*", text)
    if match is None:
        raise Problem(problems.ORDER_FORM, f"orderby {text!r} is malformed; write name, +name or -name.")
    sign, path = match.groups()
    if path not in fields or not fields[path].sortable:
        sortable = ", ".join(sorted(name for name, field in fields.items() if field.sortable))
        raise Problem(problems.ORDER_FIELD, f"The list cannot be ordered by {path}. Allowed: {sortable}.")
    return Order(path, sign == "-")


def _field(path: str, fields: Fields) -> Field:
    if path not in fields:
        allowed = ", ".join(sorted(fields))
        raise Problem(problems.FILTER_FIELD, f"The field {path} cannot be filtered by. Allowed: {allowed}.")
    return fields[path]


def _condition(expression: Expression, field: Field) -> ColumnElement[bool]:
    values = [_value(one, expression.path, field.kind) for one in expression.values]
    if expression.operator in _COMPARE:
        if field.kind != "number":
            raise Problem(
                problems.FILTER_KIND,
                f"{expression.path} cannot be compared by {expression.operator}, which is for numbers and times.",
            )
        return _COMPARE[expression.operator](field.column, values[0])
    column = func.lower(field.column) if field.kind == "text" else field.column
    # A single value uses `=`: with IN, SQLite sorts all rows instead of reading an index in order.
    several = len(values) > 1 and field.kind != "boolean"
    equal = column.in_(values) if several else or_(*(column == value for value in values))
    # An absent value differs from every value.
    return equal if expression.operator == "==" else or_(~equal, field.column.is_(None))


def _value(text: str, path: str, kind: Kind) -> object:
    if kind == "boolean":
        if text.lower() not in _BOOLEANS:
            raise Problem(problems.BAD_VALUE_TYPE, f"{path} must be true or false, not {text[:100]!r}.")
        return _BOOLEANS[text.lower()]
    if kind == "number":
        if not _NUMBER.fullmatch(text):
            raise Problem(problems.BAD_VALUE_TYPE, f"{path} must be a whole number, not {text[:100]!r}.")
        return int(text)
    # SQLite lowers ASCII letters only: compared with text that Python has lowered, a name such as Ärzte is not found.
    return func.lower(text) if kind == "text" else text.lower()


def matches_document(expressions: Sequence[Expression], document: Mapping[str, Any]) -> bool:
    """Whether an in-memory document matches every expression, by its scalar fields at any depth."""
    return all(_matches(one, document) for one in expressions)


def _matches(expression: Expression, document: Mapping[str, Any]) -> bool:
    value: Any = document
    for step in expression.path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    found = str(value).lower() in {one.lower() for one in expression.values}
    return found if expression.operator == "==" else not found
