"""What a list can be filtered and ordered by: expressions such as `name==a,b` and `-updatedAt` (contract, 5.4, 5.5)."""

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
_MOST_ORDERS: Final = 20
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")
_BOOLEANS: Final = {"true": true(), "false": false()}


@dataclass(frozen=True)
class Field:
    """One path that can be filtered by, and what of a row it stands for.

    `text` is compared without regard to letter case, `id` is stored in lower case, `number` can be compared by size.
    `sortable` fields can be ordered by. With `among`, the column is of other rows, of which any one will do: `among`
    turns a condition on them into one on the row.
    """

    column: SQLColumnExpression[Any]
    kind: Kind = "text"
    sortable: bool = False
    among: Callable[[ColumnElement[bool]], ColumnElement[bool]] | None = None


Fields = Mapping[str, Field]


@dataclass(frozen=True)
class Expression:
    """A filter as it was written, with one value or several."""

    path: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """A path to order by."""

    path: str
    descending: bool


def is_filter(text: str) -> bool:
    """Whether a `property` filters; one without an operator names properties to return."""
    return re.search(r"[=!<>~]", text) is not None


def parse(text: str) -> Expression:
    """`path==a,b` and the like; raises 1440, 1443, 1450 and 1453."""
    match = _EXPRESSION.fullmatch(text.strip())
    if match is None:
        raise Problem(problems.FILTER_OPERATOR, f"The property {text!r} cannot be read; write path==value.")
    path, operator, value = match.groups()
    if operator == "~":
        raise Problem(problems.FILTER_TILDE, "The operator ~ is not supported.")
    if operator not in ("==", "!=", *_COMPARE):
        raise Problem(
            problems.FILTER_OPERATOR, f"The operator {operator} is not known; use one of ==, !=, <, <=, >, >=."
        )
    values = tuple(one.strip() for one in value.split(",") if one.strip())
    if not values:
        raise Problem(problems.EMPTY_VALUE, f"The property {path}{operator} has no value.")
    if len(values) > 1 and operator != "==":
        raise Problem(problems.FILTER_VALUES, f"The operator {operator} takes one value; only == takes several.")
    return Expression(path, operator, values)


def parse_all(texts: Iterable[str]) -> list[Expression]:
    """Every filter of a request; raises as `parse` does, and 1455 when they have more values than are answered."""
    found: list[Expression] = []
    for text in texts:
        found.append(parse(text))
        if sum(len(one.values) for one in found) > MOST_VALUES:
            raise problems.of_field("/property", f"has more than {MOST_VALUES} values in all filters together")
    return found


def to_sql(expression: Expression, fields: Fields) -> ColumnElement[bool]:
    """The expression as SQL; raises 1448, 1449 and 1454."""
    field = _field(expression.path, fields)
    made = _condition(expression, field)
    if field.among is None:
        return made
    # "Not any" is what `!=` means of a list.
    if expression.operator == "!=":
        return ~field.among(_condition(Expression(expression.path, "==", expression.values), field))
    return field.among(made)


def parse_orders(text: str, fields: Fields) -> tuple[Order, ...]:
    """`name`, `+name` or `-name`, several with commas; raises 1432 and 1433."""
    names = text.split(",")
    if len(names) > _MOST_ORDERS:
        raise Problem(problems.ORDER_FORM, f"orderby has {len(names)} names; at most {_MOST_ORDERS} are taken.")
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
                problems.FILTER_KIND, f"{expression.path} has no order: {expression.operator} is for numbers and times."
            )
        return _COMPARE[expression.operator](field.column, values[0])
    column = func.lower(field.column) if field.kind == "text" else field.column
    # One value is compared as one: with IN, SQLite would sort a million rows instead of reading an index in order.
    several = len(values) > 1 and field.kind != "boolean"
    equal = column.in_(values) if several else or_(*(column == value for value in values))
    # What is absent differs from everything.
    return equal if expression.operator == "==" else or_(~equal, field.column.is_(None))


def _value(text: str, path: str, kind: Kind) -> object:
    if kind == "boolean":
        if text.lower() not in _BOOLEANS:
            raise Problem(problems.BAD_VALUE_TYPE, f"{path} is true or false, not {text[:100]!r}.")
        return _BOOLEANS[text.lower()]
    if kind == "number":
        if not _NUMBER.fullmatch(text):
            raise Problem(problems.BAD_VALUE_TYPE, f"{path} is a whole number, not {text[:100]!r}.")
        return int(text)
    # SQLite lowers ASCII letters only: compared with what Python lowers, a name such as Ärzte would not be found.
    return func.lower(text) if kind == "text" else text.lower()


def matches_document(expressions: Sequence[Expression], document: Mapping[str, Any]) -> bool:
    """Whether a document that no table holds meets every expression, by its scalar fields at any depth."""
    return all(_matches(one, document) for one in expressions)


def _matches(expression: Expression, document: Mapping[str, Any]) -> bool:
    value: Any = document
    for step in expression.path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    found = str(value).lower() in {one.lower() for one in expression.values}
    return found if expression.operator == "==" else not found
