"""Lists of flows for people: search, filters and orders that the contract does not have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.contract.entities import ENABLED
from offtake.flows import flow_ends
from offtake.flows.flows import stored_schedule
from offtake.flows.schedule import Schedule
from offtake.store import run_states
from offtake.store.conditions import LIVE_RUN
from offtake.store.tables import Connection, Dataset, Flow, Run, SourceConnection, TargetConnection

Order = Literal["name", "last", "next", "created"]
ORDERS: Final[tuple[Order, ...]] = ("name", "last", "next", "created")
State = Literal["enabled", "disabled", "failed", "running"]
STATES: Final[tuple[State, ...]] = ("enabled", "disabled", "failed", "running")
PAGE: Final = 50
_SHOWN_DATASETS: Final = 3
_SPARK_RUNS: Final = 14
_MOST_OFFSET: Final = 100_000


@dataclass(frozen=True)
class FlowQuery:
    """What a list of flows shows. `text`: a part of the name, or an id; `offset`: flows that earlier pages showed."""

    text: str = ""
    state: State | None = None
    destination_spec_id: str | None = None
    account_id: str | None = None
    dataset_id: str | None = None
    order: Order = "last"
    descending: bool = True
    offset: int = 0


@dataclass(frozen=True)
class FlowSummary:
    """A flow in a list. Times are epoch milliseconds. `delivered`: the rows of its last runs, oldest first.

    `live`: the status of its run in progress, if any. `datasets`: the names of the first three.
    """

    flow_id: str
    name: str
    state: str
    ended: bool
    schedule: Schedule
    destination_spec_id: str
    account_id: str
    account_name: str
    datasets: Sequence[str]
    dataset_count: int
    last_run_id: str | None
    last_state: str | None
    last_ms: int | None
    next_ms: int | None
    live: str | None
    delivered: Sequence[int]


@dataclass(frozen=True)
class FlowPage:
    """A page of flows, and whether more follow."""

    flows: Sequence[FlowSummary]
    more: bool


def list_flows(session: Session, caller: Caller, query: FlowQuery, now_ms: int) -> FlowPage:
    """A page of at most 50 flows that the caller may see."""
    caller.require(VIEW_DESTINATIONS)
    statement = (
        select(Flow, TargetConnection.connection_spec_id, Connection.id, Connection.name, SourceConnection.dataset_ids)
        .join(TargetConnection, TargetConnection.id == Flow.target_connection_id)
        .join(Connection, Connection.id == TargetConnection.base_connection_id)
        .join(SourceConnection, SourceConnection.id == Flow.source_connection_id)
        .where(*_conditions(caller, query))
    )
    offset = min(query.offset, _MOST_OFFSET)
    rows = session.execute(_ordered(statement, query).offset(offset).limit(PAGE + 1)).all()
    shown = rows[:PAGE]
    names = _dataset_names(session, caller, [one for *_, ids in shown for one in ids[:_SHOWN_DATASETS]])
    live = _live(session, [flow.id for flow, *_ in shown])
    found = [
        FlowSummary(
            flow_id=flow.id,
            name=flow.name,
            state=flow.state,
            ended=flow_ends.is_over(flow, now_ms // 1000),
            schedule=stored_schedule(flow),
            destination_spec_id=spec_id,
            account_id=account_id,
            account_name=account_name,
            datasets=[names.get(one, one) for one in ids[:_SHOWN_DATASETS]],
            dataset_count=len(ids),
            last_run_id=flow.last_run_id,
            last_state=flow.last_run_state,
            last_ms=flow.last_run_completed_at,
            next_ms=None if (at := flow_ends.next_run(flow, now_ms // 1000)) is None else at * 1000,
            live=live.get(flow.id),
            delivered=_delivered(session, caller, flow.id) if flow.last_run_id else (),
        )
        for flow, spec_id, account_id, account_name, ids in shown
    ]
    return FlowPage(found, more=len(rows) > PAGE)


def _conditions(caller: Caller, query: FlowQuery) -> list[ColumnElement[bool]]:
    found = [Flow.sandbox_id == caller.sandbox_id, labels.visible(Flow.id, caller)]
    if query.text:
        found.append(or_(Flow.name.icontains(query.text, autoescape=True), Flow.id == query.text.strip().lower()))
    if query.destination_spec_id:
        found.append(TargetConnection.connection_spec_id == query.destination_spec_id)
    if query.account_id:
        found.append(TargetConnection.base_connection_id == query.account_id)
    if query.dataset_id:
        found.append(SourceConnection.dataset_ids.as_string().contains(f'"{query.dataset_id}"', autoescape=True))
    live = select(Run.id).where(Run.flow_id == Flow.id, LIVE_RUN)
    states: dict[State, ColumnElement[bool]] = {
        "enabled": Flow.state == ENABLED,
        "disabled": Flow.state != ENABLED,
        "failed": and_(Flow.state == ENABLED, Flow.last_run_state == run_states.FAILED),
        "running": live.exists(),
    }
    return found if query.state is None else [*found, states[query.state]]


def _ordered(statement: Select[*tuple[Any, ...]], query: FlowQuery) -> Select[*tuple[Any, ...]]:
    columns = {
        "name": Flow.name,
        "last": Flow.last_run_completed_at,
        "next": Flow.next_run_s,
        "created": Flow.created_at,
    }
    column = columns[query.order]
    return statement.order_by((column.desc() if query.descending else column.asc()).nulls_last(), Flow.id)


def _dataset_names(session: Session, caller: Caller, ids: Sequence[str]) -> dict[str, str]:
    """The names of those datasets that the caller may see."""
    visible = (Dataset.sandbox_id == caller.sandbox_id, labels.visible(Dataset.id, caller))
    found = session.execute(select(Dataset.id, Dataset.name).where(Dataset.id.in_(set(ids)), *visible))
    return dict(found.tuples().all())


def _live(session: Session, flow_ids: Sequence[str]) -> dict[str, str]:
    query = select(Run.flow_id, Run.status, Run.waiting_since).where(Run.flow_id.in_(flow_ids), LIVE_RUN)
    return {
        flow_id: "processing" if status == run_states.PROCESSING else "queued" if since is None else "waiting"
        for flow_id, status, since in session.execute(query)
    }


def _delivered(session: Session, caller: Caller, flow_id: str) -> list[int]:
    mine = (Run.sandbox_id == caller.sandbox_id, Run.flow_id == flow_id, Run.completed_at.is_not(None))
    newest = select(Run.rows).where(*mine).order_by(Run.updated_at.desc(), Run.id).limit(_SPARK_RUNS)
    return [rows or 0 for rows in session.scalars(newest)][::-1]
