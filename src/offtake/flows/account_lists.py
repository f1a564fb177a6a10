"""Accounts (base connections) for people who look through them: pages of them, and what uses one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import SQLColumnExpression, case, func, or_, select
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.documents import Json
from offtake.flows import connections, flow_ends, queries, specs
from offtake.flows.flow_ends import FlowState
from offtake.store.runs import live_run
from offtake.store.tables import Connection, Flow, TargetConnection

PAGE: Final = 50
_MOST_SHOWN: Final = 20
_MOST_NAMED: Final = 3
AccountOrder = Literal["name", "created", "changed"]
ORDERS: Final[tuple[AccountOrder, ...]] = ("name", "created", "changed")


@dataclass(frozen=True)
class AccountQuery:
    """Which accounts, in which order. `text`: in the name, the description or the server's address."""

    text: str = ""
    spec_id: str | None = None
    order: AccountOrder = "changed"
    descending: bool = True
    offset: int = 0


@dataclass(frozen=True)
class AccountSummary:
    """An account in a list. `address`: its server; None where the vendor has many behind one name."""

    id: str
    name: str
    spec_id: str
    auth_name: str | None
    address: str | None
    encrypts: bool
    flows: int
    targets: int
    created_ms: int
    changed_ms: int


@dataclass(frozen=True)
class FlowUse:
    """A flow that delivers through an account. `state`: as `flow_ends.state_of` returns it."""

    id: str
    name: str
    state: FlowState
    last_run_state: str | None


@dataclass(frozen=True)
class PlaceUse:
    """A target connection of an account. `flows`: those that the caller may see, at most three.

    `is_used`: a flow delivers there, perhaps one that the caller may not see.
    """

    id: str
    name: str
    params: Json
    flows: Sequence[FlowUse]
    is_used: bool


@dataclass(frozen=True)
class AccountView:
    """An account with what uses it: at most 20 places, those of flows first, and their numbers.

    `unused_count`: of places without a flow. `left_runs`: the runs whose files are still to be removed at the
    destination, at most 20.
    """

    row: Connection
    places: Sequence[PlaceUse]
    place_count: int
    unused_count: int
    flow_count: int
    left_runs: Sequence[str]


def list_accounts(session: Session, caller: Caller, query: AccountQuery) -> tuple[list[AccountSummary], bool]:
    """A page of accounts, and whether there are more. Counts only flows that the caller may see."""
    caller.require(VIEW_DESTINATIONS)
    conditions = [Connection.sandbox_id == caller.sandbox_id, Connection.connection_spec_id != specs.DATA_LAKE]
    if query.text:
        columns = (Connection.name, Connection.description, Connection.address)
        conditions.append(or_(*(column.icontains(query.text, autoescape=True) for column in columns)))
    if query.spec_id:
        conditions.append(Connection.connection_spec_id == query.spec_id)
    by: dict[AccountOrder, SQLColumnExpression[str] | SQLColumnExpression[int]] = {
        "name": func.lower(Connection.name),
        "created": Connection.created_at,
        "changed": Connection.updated_at,
    }
    key = by[query.order]
    order = key.desc() if query.descending else key.asc()
    statement = select(Connection).where(*conditions).order_by(order, Connection.id)
    rows = session.scalars(statement.offset(query.offset).limit(PAGE + 1)).all()
    return _summaries(session, caller, rows[:PAGE]), len(rows) > PAGE


def count_by_spec(session: Session, caller: Caller) -> dict[str, int]:
    """The number of accounts of the sandbox, by connection spec id."""
    caller.require(VIEW_DESTINATIONS)
    counted = select(Connection.connection_spec_id, func.count()).where(Connection.sandbox_id == caller.sandbox_id)
    return {row[0]: row[1] for row in session.execute(counted.group_by(Connection.connection_spec_id))}


def find_account(session: Session, caller: Caller, row_id: str, now_ms: int) -> AccountView:
    """An account with what uses it; raises 1439."""
    caller.require(VIEW_DESTINATIONS)
    row = queries.connection(session, caller, row_id)
    (summary,) = _summaries(session, caller, [row])
    places = select(TargetConnection).filter_by(base_connection_id=row.id)
    is_used = select(Flow.id).where(Flow.target_connection_id == TargetConnection.id).exists()
    unused = select(func.count()).select_from(places.where(~is_used).subquery())
    order = case((is_used, 0), else_=1), TargetConnection.updated_at.desc(), TargetConnection.id
    left = connections.runs_with_files_left(session, [row.id]).get(row.id, [])
    return AccountView(
        row=row,
        places=_places(
            session, caller, session.scalars(places.order_by(*order).limit(_MOST_SHOWN)).all(), now_ms // 1000
        ),
        place_count=summary.targets,
        unused_count=session.scalar(unused) or 0,
        flow_count=summary.flows,
        left_runs=left[:_MOST_SHOWN],
    )


def _places(session: Session, caller: Caller, rows: Sequence[TargetConnection], now: int) -> list[PlaceUse]:
    found = []
    for row in rows:
        delivering = select(Flow).filter_by(target_connection_id=row.id)
        visible = delivering.where(labels.visible(Flow.id, caller)).order_by(func.lower(Flow.name), Flow.id)
        flows = [
            FlowUse(one.id, one.name, _state(session, one, now), one.last_run_state)
            for one in session.scalars(visible.limit(_MOST_NAMED))
        ]
        is_used = bool(flows) or session.scalar(delivering.limit(1)) is not None
        found.append(PlaceUse(row.id, row.name, row.params, flows, is_used))
    return found


def _state(session: Session, flow: Flow, now: int) -> FlowState:
    return flow_ends.state_of(flow, now, live=live_run(session, flow.id) is not None)


def _summaries(session: Session, caller: Caller, rows: Sequence[Connection]) -> list[AccountSummary]:
    ids = [row.id for row in rows]
    base = TargetConnection.base_connection_id
    counted_targets = select(base, func.count()).where(base.in_(ids)).group_by(base)
    counted_flows = (
        select(base, func.count())
        .join(Flow, Flow.target_connection_id == TargetConnection.id)
        .where(base.in_(ids), labels.visible(Flow.id, caller))
        .group_by(base)
    )
    targets = {row[0]: row[1] for row in session.execute(counted_targets)}
    flows = {row[0]: row[1] for row in session.execute(counted_flows)}
    return [
        AccountSummary(
            id=row.id,
            name=row.name,
            spec_id=row.connection_spec_id,
            auth_name=row.auth_spec_name,
            address=row.address,
            encrypts=row.encryption is not None,
            flows=flows.get(row.id, 0),
            targets=targets.get(row.id, 0),
            created_ms=row.created_at,
            changed_ms=row.updated_at,
        )
        for row in rows
    ]
