"""Reads the audit log, newest first by default: pages of one query, identified by a `queryId`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

from pydantic import Field, TypeAdapter
from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from offtake.access import audit_filters
from offtake.contract import filters, opaque_tokens, problems
from offtake.contract.caller import VIEW_AUDIT, Caller
from offtake.store.tables import AuditEvent, Sandbox

MOST: Final = 1000
MOST_EXPORTED: Final = 10_000
_DEFAULT_LIMIT: Final = 50
_MAX_PROPERTIES: Final = 50
_MAX_START: Final = 2**31 - 1
_LATEST_FIRST: Final = "-timestamp"
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]


@dataclass(frozen=True)
class AuditQuery:
    """A query: filters that must all match, as written, and the order.

    `newest` freezes the query: it excludes events with a later id. `total`: the number of matches at that time.
    """

    properties: tuple[Text, ...] = ()
    order_by: Text = _LATEST_FIRST
    newest: Text | None = None
    total: Annotated[int, Field(ge=0, le=_MAX_START)] | None = None

    def query_id(self) -> str:
        """The query as an opaque token."""
        return opaque_tokens.encode({"p": self.properties, "o": self.order_by, "n": self.newest, "t": self.total})


@dataclass(frozen=True)
class _Token:
    """The content of a query id. Clients can change ids, so it is validated like any input."""

    p: Annotated[tuple[Text, ...], Field(max_length=_MAX_PROPERTIES)]
    o: Text
    n: Text
    t: Annotated[int, Field(ge=0, le=_MAX_START)]


_TOKEN: Final = TypeAdapter(_Token)


@dataclass(frozen=True)
class AuditPage:
    """One page of events, and its frozen query."""

    rows: list[AuditEvent]
    query: AuditQuery

    @property
    def total(self) -> int:
        """The number of matches of the whole query."""
        return self.query.total or 0


def new_query(properties: Sequence[str], order_by: str | None) -> AuditQuery:
    """Build a query from request parameters; raises 1452 for too many filters."""
    filled = tuple(one.strip() for one in properties if one.strip())
    if len(filled) > _MAX_PROPERTIES:
        raise problems.of_field("/property", f"may be sent at most {_MAX_PROPERTIES} times")
    return AuditQuery(filled, (order_by or "").strip() or _LATEST_FIRST)


def read_query_id(text: str) -> AuditQuery:
    """Decode the query in an id; raises 1452."""
    try:
        found = opaque_tokens.decode(text, _TOKEN)
    except ValueError:
        raise problems.of_field("/queryId", "is not a query id of this server") from None
    return AuditQuery(found.p, found.o, found.n, found.t)


def page(session: Session, caller: Caller, query: AuditQuery, start: int, limit: int) -> AuditPage:
    """A page of the matching events that the caller may see; freezes a new query.

    With the permission in one sandbox, a caller sees the events of that sandbox since its creation; with the permission
    in all sandboxes, all events of the organisation.
    """
    caller.require(VIEW_AUDIT)
    frozen = query if query.newest is not None else _freeze(session, caller, query)
    return AuditPage(_rows(session, caller, frozen, start, limit), frozen)


def latest(
    session: Session, caller: Caller, query: AuditQuery, limit: int, also: Sequence[ColumnElement[bool]] = ()
) -> list[AuditEvent]:
    """The first events of a query that also match the conditions `also`."""
    caller.require(VIEW_AUDIT)
    return _rows(session, caller, query, 0, limit, also)


def limit(text: str | None) -> int:
    """Parse the page size; raises 1452."""
    digits = (text or str(_DEFAULT_LIMIT)).strip()
    if not digits.isascii() or not digits.isdecimal() or not int(digits[:10]):
        raise problems.of_field("/limit", f"must be a whole number from 1 to {MOST}")
    return min(int(digits[:10]), MOST)


def start(text: str | None) -> int:
    """Parse the offset of the page; raises 1452."""
    digits = (text or "0").strip()
    if not digits.isascii() or not digits.isdecimal():
        raise problems.of_field("/start", "must be a whole number, 0 or more")
    return min(int(digits[:10]), _MAX_START)


def _freeze(session: Session, caller: Caller, query: AuditQuery) -> AuditQuery:
    newest = session.scalar(select(func.max(AuditEvent.id)).where(*_visibility(session, caller))) or ""
    frozen = replace(query, newest=newest)
    matches = _conditions(session, caller, frozen)
    return replace(frozen, total=session.scalar(select(func.count()).select_from(AuditEvent).where(matches)) or 0)


def _rows(
    session: Session,
    caller: Caller,
    query: AuditQuery,
    start: int,
    limit: int,
    also: Sequence[ColumnElement[bool]] = (),
) -> list[AuditEvent]:
    orders = filters.parse_orders(query.order_by, audit_filters.ORDERS)
    columns = [(audit_filters.ORDERS[one.path].column, one.descending) for one in orders]
    # The id comes last, so that the order is total.
    keys = [column.desc() if down else column.asc() for column, down in [*columns, (AuditEvent.id, True)]]
    statement = select(AuditEvent).where(_conditions(session, caller, query), *also).order_by(*keys)
    return list(session.scalars(statement.offset(start).limit(limit)))


def _conditions(session: Session, caller: Caller, query: AuditQuery) -> ColumnElement[bool]:
    up_to = [] if query.newest is None else [AuditEvent.id <= query.newest]
    return and_(*_visibility(session, caller), *up_to, *(audit_filters.condition(one) for one in query.properties))


def _visibility(session: Session, caller: Caller) -> list[ColumnElement[bool]]:
    of_organisation = [AuditEvent.org_id == caller.org_id]
    if caller.grants.allow_everywhere(VIEW_AUDIT):
        return of_organisation
    # A deleted sandbox may have had the same name.
    created_at = session.get_one(Sandbox, caller.sandbox_id).created_at
    return [*of_organisation, AuditEvent.sandbox_name == caller.sandbox_name, AuditEvent.at >= created_at]
