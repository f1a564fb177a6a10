"""Reading the audit log, the latest first: pages of one query, which a `queryId` names."""

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
    """What to look for: filters that must all hold, as written, and the order.

    `newest` freezes the query: events with a later id are not part of it. `total`: how many events it found then.
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
    """A query as its id holds it. Ids are in clients' hands, so what they hold is checked as any input is."""

    p: Annotated[tuple[Text, ...], Field(max_length=_MAX_PROPERTIES)]
    o: Text
    n: Text
    t: Annotated[int, Field(ge=0, le=_MAX_START)]


_TOKEN: Final = TypeAdapter(_Token)


@dataclass(frozen=True)
class AuditPage:
    """One page of events, and the frozen query that it is a page of."""

    rows: list[AuditEvent]
    query: AuditQuery

    @property
    def total(self) -> int:
        """How many events the whole query found."""
        return self.query.total or 0


def new_query(properties: Sequence[str], order_by: str | None) -> AuditQuery:
    """The query that the parameters mean; raises 1452 for too many filters."""
    kept = tuple(one.strip() for one in properties if one.strip())
    if len(kept) > _MAX_PROPERTIES:
        raise problems.of_field("/property", f"may be given at most {_MAX_PROPERTIES} times")
    return AuditQuery(kept, (order_by or "").strip() or _LATEST_FIRST)


def read_query_id(text: str) -> AuditQuery:
    """The query that an id names; raises 1452."""
    try:
        found = opaque_tokens.decode(text, _TOKEN)
    except ValueError:
        raise problems.of_field("/queryId", "is not an id that this server gave out") from None
    return AuditQuery(found.p, found.o, found.n, found.t)


def page(session: Session, caller: Caller, query: AuditQuery, start: int, limit: int) -> AuditPage:
    """A page of the events that match and that the caller may see. Freezes a query that is new.

    With access to the log of one sandbox, a caller sees what happened in it since it was created; with access in every
    sandbox, all events of the organisation.
    """
    caller.require(VIEW_AUDIT)
    frozen = query if query.newest is not None else _freeze(session, caller, query)
    return AuditPage(_rows(session, caller, frozen, start, limit), frozen)


def latest(
    session: Session, caller: Caller, query: AuditQuery, limit: int, also: Sequence[ColumnElement[bool]] = ()
) -> list[AuditEvent]:
    """The first events of a query, of which the conditions `also` hold too."""
    caller.require(VIEW_AUDIT)
    return _rows(session, caller, query, 0, limit, also)


def limit(text: str | None) -> int:
    """How many events a page holds; raises 1452."""
    digits = (text or str(_DEFAULT_LIMIT)).strip()
    if not digits.isascii() or not digits.isdecimal() or not int(digits[:10]):
        raise problems.of_field("/limit", f"must be a whole number from 1 to {MOST}")
    return min(int(digits[:10]), MOST)


def start(text: str | None) -> int:
    """How many events to leave out; raises 1452."""
    digits = (text or "0").strip()
    if not digits.isascii() or not digits.isdecimal():
        raise problems.of_field("/start", "must be a whole number, 0 or more")
    return min(int(digits[:10]), _MAX_START)


def _freeze(session: Session, caller: Caller, query: AuditQuery) -> AuditQuery:
    newest = session.scalar(select(func.max(AuditEvent.id)).where(*_is_visible(session, caller))) or ""
    frozen = replace(query, newest=newest)
    wanted = _conditions(session, caller, frozen)
    return replace(frozen, total=session.scalar(select(func.count()).select_from(AuditEvent).where(wanted)) or 0)


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
    found = select(AuditEvent).where(_conditions(session, caller, query), *also).order_by(*keys)
    return list(session.scalars(found.offset(start).limit(limit)))


def _conditions(session: Session, caller: Caller, query: AuditQuery) -> ColumnElement[bool]:
    upto = [] if query.newest is None else [AuditEvent.id <= query.newest]
    return and_(*_is_visible(session, caller), *upto, *(audit_filters.condition(one) for one in query.properties))


def _is_visible(session: Session, caller: Caller) -> list[ColumnElement[bool]]:
    mine = [AuditEvent.org_id == caller.org_id]
    if caller.grants.allow_everywhere(VIEW_AUDIT):
        return mine
    # An earlier sandbox may have had the name.
    made_at = session.get_one(Sandbox, caller.sandbox_id).created_at
    return [*mine, AuditEvent.sandbox_name == caller.sandbox_name, AuditEvent.at >= made_at]
