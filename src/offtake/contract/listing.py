"""Lists with keyset pagination: pages neither skip nor repeat rows while rows are added (contract, 5.3 and 5.5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

import pydantic
from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, SQLColumnExpression, UnaryExpression, and_, func, or_, select, true, tuple_
from sqlalchemy.orm import Session

from offtake.contract import bodies, filters, opaque_tokens, problems
from offtake.contract.caller import Caller
from offtake.contract.filters import Field, Fields, Order
from offtake.contract.problems import Problem
from offtake.store.tables import Stamp

RowT = TypeVar("RowT", bound=Stamp)

MOST: Final = 100
MOST_SEARCHED: Final = 1000
_NEWEST_FIRST: Final = "-updatedAt"
_MAX_EXPRESSIONS: Final = 50
_BEYOND_COLUMNS: Final = 2**63


@dataclass(frozen=True)
class ListQuery:
    """A list request as sent: `properties` and `order_by` are parsed by `page`, which knows the fields.

    `after`: the order keys of the last row of the previous page.
    """

    limit: int
    properties: tuple[str, ...] = ()
    order_by: str = _NEWEST_FIRST
    count: bool = False
    after: tuple[Any, ...] | None = None

    @property
    def expressions(self) -> tuple[str, ...]:
        """The properties that are filters."""
        return tuple(one for one in self.properties if filters.is_filter(one))

    @property
    def projection(self) -> frozenset[str]:
        """The properties to return; empty for all."""
        lists = (one for one in self.properties if not filters.is_filter(one))
        return frozenset(name.strip().split(".")[0] for one in lists for name in one.split(","))


@dataclass(frozen=True)
class Page(Generic[RowT]):
    """One page of rows and the token of the next page; with `count`, no rows but their total."""

    rows: list[RowT]
    token: str | None = None
    total: int | None = None


def list_query(
    limit: str | None,
    properties: Sequence[str],
    token: str | None,
    *,
    order_by: str | None = None,
    count: str | None = None,
    default_limit: int = MOST,
    most: int = MOST,
) -> ListQuery:
    """Parse the parameters; a continuation token contains its own query and overrides them."""
    if token:
        return _read_token(token)
    counted = _boolean("/count", count)
    if counted and limit:
        raise Problem(problems.COUNT_AND_LIMIT, "Send limit or count=true, not both.")
    filled = tuple(one.strip() for one in properties if one.strip())
    if len(filled) > _MAX_EXPRESSIONS:
        raise problems.of_field("/property", f"may be sent at most {_MAX_EXPRESSIONS} times")
    return ListQuery(_limit(limit, default_limit, most), filled, (order_by or "").strip() or _NEWEST_FIRST, counted)


def first_thousand(properties: tuple[str, ...] = ()) -> ListQuery:
    """The query of the command line: the latest 1000 rows."""
    return ListQuery(MOST_SEARCHED, properties)


def page(
    session: Session,
    caller: Caller,
    table: type[RowT],
    fields: Fields,
    query: ListQuery,
    visible: ColumnElement[bool] | None = None,
) -> Page[RowT]:
    """One page of the rows in the caller's sandbox that match every filter and the condition `visible`."""
    expressions = filters.parse_all(query.expressions)
    in_scope = and_(table.sandbox_id == caller.sandbox_id, true() if visible is None else visible)
    condition = and_(in_scope, *(filters.to_sql(one, fields) for one in expressions))
    if query.count:
        return Page([], total=session.scalar(select(func.count()).select_from(table).where(condition)) or 0)
    keys = _keys(fields, filters.parse_orders(query.order_by, fields))
    if query.after is not None:
        condition = and_(condition, _rows_after(keys, query.after))
    statement = select(table, *(key.column for key in keys)).where(condition).order_by(*(key.order() for key in keys))
    results = session.execute(statement.limit(query.limit + 1)).all()
    rows = [result[0] for result in results]
    if len(rows) <= query.limit:
        return Page(rows)
    return Page(rows[: query.limit], _token(query, list(results[query.limit - 1])[1:]))


@dataclass(frozen=True)
class _Key:
    """One column of the order; never null, so that it can be compared."""

    column: SQLColumnExpression[Any]
    descending: bool
    type: type[int] | type[str]

    def order(self) -> UnaryExpression[Any]:
        return self.column.desc() if self.descending else self.column.asc()

    def beyond(self, value: object) -> ColumnElement[bool]:
        return self.column < value if self.descending else self.column > value


def _keys(fields: Fields, orders: Sequence[Order]) -> list[_Key]:
    """The keys of the order; the id comes last, so that the order is total."""
    keys = [_key(fields[order.path], order.descending) for order in orders]
    return [*keys, _key(fields["id"], keys[-1].descending)]


def _key(field: Field, descending: bool) -> _Key:
    kind = int if field.kind == "number" else str
    # Without COALESCE, the index of a non-null column can be used.
    column = field.column if not getattr(field.column, "nullable", True) else func.coalesce(field.column, kind())
    return _Key(column, descending, kind)


def _rows_after(keys: Sequence[_Key], after: tuple[Any, ...]) -> ColumnElement[bool]:
    """The condition for rows after the one with these keys."""
    if [type(value) for value in after] != [key.type for key in keys]:
        raise _bad_token()
    if len({key.descending for key in keys}) == 1:
        # A row-value comparison can use an index.
        columns, values = tuple_(*(key.column for key in keys)), tuple_(*after)
        return columns < values if keys[0].descending else columns > values
    steps = []
    for index, key in enumerate(keys):
        same = [earlier.column == value for earlier, value in zip(keys[:index], after, strict=False)]
        steps.append(and_(*same, key.beyond(after[index])))
    return or_(*steps)


def _limit(text: str | None, default: int, most: int) -> int:
    if not text:
        return default
    digits = text.strip()
    if not digits.isascii() or not digits.isdecimal() or not int(digits[:10]):
        raise problems.of_field("/limit", f"must be a whole number from 1 to {most}")
    return min(int(digits[:10]), most)


def _boolean(path: str, text: str | None) -> bool:
    value = (text or "false").strip().lower()
    if value not in ("true", "false"):
        raise problems.of_field(path, "must be true or false")
    return value == "true"


@dataclass(frozen=True)
class _Token:
    """The content of a continuation token: limit, filters, order, and the keys of the previous page's last row."""

    l: Annotated[int, pydantic.Field(ge=1, le=MOST_SEARCHED)]  # noqa: E741 - existing tokens use these short keys
    p: tuple[str, ...]
    o: str
    a: tuple[Annotated[int, pydantic.Field(strict=True, gt=-_BEYOND_COLUMNS, lt=_BEYOND_COLUMNS)] | str, ...]


_TOKEN: Final = TypeAdapter(_Token)


def _token(query: ListQuery, after: list[Any]) -> str:
    return opaque_tokens.encode({"l": query.limit, "p": query.properties, "o": query.order_by, "a": after})


def _read_token(token: str) -> ListQuery:
    try:
        found = opaque_tokens.decode(token, _TOKEN)
    except (ValueError, RecursionError):
        raise _bad_token() from None
    properties = found.p[:_MAX_EXPRESSIONS]
    for text in (*properties, found.o, *(one for one in found.a if isinstance(one, str))):
        bodies.check_text(text, "/continuationToken")
    return ListQuery(found.l, properties, found.o, after=found.a)


def _bad_token() -> Problem:
    return problems.of_field("/continuationToken", "is not a continuation token of this server")
