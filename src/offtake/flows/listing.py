"""Lists: newest change first, in pages that neither skip nor repeat while rows are added (contract, 5.3 and 5.4)."""

import base64
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from offtake.flows import problems
from offtake.flows.access import Caller
from offtake.flows.problems import FlowProblem
from offtake.store.tables import Stamp

RowT = TypeVar("RowT", bound=Stamp)
Columns = Mapping[str, InstrumentedAttribute[Any]]

MOST: Final = 100
_EXPRESSION: Final = re.compile(r"([^=!<>~\s]+)\s*(==|!=|<=|>=|<|>|~|=|!)\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class ListQuery:
    """What a caller asked of a list: `limit` 1 to 100, `properties` as sent, and where to go on."""

    limit: int
    properties: tuple[str, ...] = ()
    after: tuple[int, str] | None = None


@dataclass(frozen=True)
class Page(Generic[RowT]):
    """One page of rows, and the token that leads to the next one, if there is one."""

    rows: list[RowT]
    token: str | None


def list_query(limit: str | None, properties: Sequence[str], token: str | None, default_limit: int) -> ListQuery:
    """The query that the parameters mean; a continuation token carries its own and wins over them."""
    if token:
        return _read_token(token)
    kept = tuple(one.strip() for one in properties if one.strip())
    return ListQuery(_limit(limit, default_limit), kept)


def everything(properties: tuple[str, ...] = ()) -> ListQuery:
    """For people at a terminal: the latest thousand."""
    return ListQuery(1000, properties)


def page(session: Session, caller: Caller, table: type[RowT], columns: Columns, query: ListQuery) -> Page[RowT]:
    """The caller's rows that match every property, most recently updated first."""
    conditions = [table.sandbox_id == caller.sandbox_id, *(_condition(one, columns) for one in query.properties)]
    if query.after is not None:
        updated_at, row_id = query.after
        conditions.append(or_(table.updated_at < updated_at, and_(table.updated_at == updated_at, table.id < row_id)))
    found = select(table).where(*conditions).order_by(table.updated_at.desc(), table.id.desc()).limit(query.limit + 1)
    rows = list(session.scalars(found))
    if len(rows) <= query.limit:
        return Page(rows, None)
    rows = rows[: query.limit]
    return Page(rows, _token(query, rows[-1]))


def _limit(text: str | None, default: int) -> int:
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise problems.of_field("/limit", "must be a whole number from 1 to 100")
    return min(int(text), MOST)


def equality(expression: str, allowed: Collection[str]) -> tuple[str, list[str]]:
    """`path==a,b` as the path and its lower-case values; raises 1440, 1449, 1450 and 1453."""
    match = _EXPRESSION.fullmatch(expression.strip())
    if match is None:
        raise FlowProblem(problems.FILTER_OPERATOR, f"The property {expression!r} has no operator; use ==.")
    path, operator, value = match.groups()
    if path not in allowed:
        raise FlowProblem(
            problems.FILTER_FIELD, f"The field {path} cannot be filtered by. Allowed: {', '.join(sorted(allowed))}."
        )
    if operator == "~":
        raise FlowProblem(problems.FILTER_TILDE, "The operator ~ is not supported.")
    if operator != "==":
        raise FlowProblem(problems.FILTER_OPERATOR, f"The operator {operator} is not supported here; use ==.")
    values = [one.strip().lower() for one in value.split(",") if one.strip()]
    if not values:
        raise FlowProblem(problems.EMPTY_VALUE, f"The property {path}== has no value.")
    return path, values


def _condition(expression: str, columns: Columns) -> ColumnElement[bool]:
    path, values = equality(expression, columns)
    return func.lower(columns[path]).in_(values)


def _token(query: ListQuery, last: Stamp) -> str:
    document = {"l": query.limit, "p": query.properties, "a": [last.updated_at, last.id]}
    # Clients split the link at "=", so the token must not hold one.
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def _read_token(token: str) -> ListQuery:
    try:
        document = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        updated_at, row_id = document["a"]
        return ListQuery(int(document["l"]), tuple(map(str, document["p"])), (int(updated_at), str(row_id)))
    except (ValueError, KeyError, TypeError):
        raise problems.of_field("/continuationToken", "is not a token that this server gave out") from None
