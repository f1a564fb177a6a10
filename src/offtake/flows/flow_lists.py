"""Lists of flows for people: search, filters and orders that the contract does not have."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, union_all
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.contract import entities
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.contract.entities import ENABLED
from offtake.flows import flow_ends
from offtake.flows.flow_ends import FlowState
from offtake.flows.flows import stored_schedule
from offtake.flows.schedule import Schedule
from offtake.store import json_queries, run_states
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

    `state`: as `flow_ends.state_of` returns it.
    `live`: the status of its run in progress, if any. `datasets`: the names of the first three.
    """

    flow_id: str
    name: str
    state: FlowState
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
    # Ids only: the order is found over all flows, and the rest is loaded for those that are shown.
    statement = select(Flow.id).where(*_conditions(session, caller, query))
    offset = min(query.offset, _MOST_OFFSET)
    ids = session.scalars(_ordered(statement, query).offset(offset).limit(PAGE + 1)).all()
    flows = entities.by_id(session, Flow, ids[:PAGE])
    shown = [flows[one] for one in ids[:PAGE] if one in flows]
    return FlowPage(_summaries(session, caller, shown, now_ms), more=len(ids) > PAGE)


def names(session: Session, caller: Caller, most: int, also: str | None = None) -> dict[str, str]:
    """The names of the flows that the caller may see, by id, sorted by name: at most `most`, and of the flow `also`."""
    caller.require(VIEW_DESTINATIONS)
    mine = select(Flow.id, Flow.name).where(Flow.sandbox_id == caller.sandbox_id, labels.visible(Flow.id, caller))
    found = dict(session.execute(mine.order_by(func.lower(Flow.name), Flow.id).limit(most)).all())
    return found | dict(session.execute(mine.where(Flow.id == also)).all()) if also else found


def _summaries(session: Session, caller: Caller, flows: Sequence[Flow], now_ms: int) -> list[FlowSummary]:
    targets = entities.by_id(session, TargetConnection, [flow.target_connection_id for flow in flows])
    accounts = entities.by_id(session, Connection, [target.base_connection_id for target in targets.values()])
    sources = entities.by_id(session, SourceConnection, [flow.source_connection_id for flow in flows])
    shown = [one for source in sources.values() for one in source.dataset_ids[:_SHOWN_DATASETS]]
    names, live = _dataset_names(session, caller, shown), _live(session, [flow.id for flow in flows])
    delivered = _delivered(session, caller, [flow.id for flow in flows if flow.last_run_id])
    found = []
    for flow in flows:
        target, ids = targets[flow.target_connection_id], sources[flow.source_connection_id].dataset_ids
        at = flow_ends.next_run(flow, now_ms // 1000)
        summary = FlowSummary(
            flow_id=flow.id,
            name=flow.name,
            state=flow_ends.state_of(flow, now_ms // 1000, live=flow.id in live),
            schedule=stored_schedule(flow),
            destination_spec_id=target.connection_spec_id,
            account_id=target.base_connection_id,
            account_name=accounts[target.base_connection_id].name,
            datasets=[names.get(one, one) for one in ids[:_SHOWN_DATASETS]],
            dataset_count=len(ids),
            last_run_id=flow.last_run_id,
            last_state=flow.last_run_state,
            last_ms=flow.last_run_completed_at,
            next_ms=None if at is None else at * 1000,
            live=live.get(flow.id),
            delivered=delivered.get(flow.id, ()),
        )
        found.append(summary)
    return found


def _conditions(session: Session, caller: Caller, query: FlowQuery) -> list[ColumnElement[bool]]:
    found = [Flow.sandbox_id == caller.sandbox_id, labels.visible(Flow.id, caller)]
    if query.text:
        found.append(or_(Flow.name.icontains(query.text, autoescape=True), Flow.id == query.text.strip().lower()))
    targets = select(TargetConnection.id)
    if query.destination_spec_id:
        to_spec = targets.where(TargetConnection.connection_spec_id == query.destination_spec_id)
        found.append(Flow.target_connection_id.in_(to_spec))
    if query.account_id:
        to_account = targets.where(TargetConnection.base_connection_id == query.account_id)
        found.append(Flow.target_connection_id.in_(to_account))
    if query.dataset_id:
        has_it = json_queries.json_list_contains(session, SourceConnection.dataset_ids, query.dataset_id)
        found.append(Flow.source_connection_id.in_(select(SourceConnection.id).where(has_it)))
    live = select(Run.id).where(Run.flow_id == Flow.id, LIVE_RUN)
    states: dict[State, ColumnElement[bool]] = {
        "enabled": Flow.state == ENABLED,
        "disabled": Flow.state != ENABLED,
        "failed": and_(Flow.state == ENABLED, Flow.last_run_state == run_states.FAILED),
        "running": live.exists(),
    }
    return found if query.state is None else [*found, states[query.state]]


def _ordered(statement: Select[str], query: FlowQuery) -> Select[str]:
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
    return dict(found.all())


def _live(session: Session, flow_ids: Sequence[str]) -> dict[str, str]:
    query = select(Run.flow_id, Run.status, Run.waiting_since).where(Run.flow_id.in_(flow_ids), LIVE_RUN)
    return {
        flow_id: "processing" if status == run_states.PROCESSING else "queued" if since is None else "waiting"
        for flow_id, status, since in session.execute(query)
    }


def _delivered(session: Session, caller: Caller, flow_ids: Sequence[str]) -> dict[str, list[int]]:
    """The rows of the last runs of each flow, oldest first: one statement, which reads only these runs."""
    if not flow_ids:
        return {}
    mine = (Run.sandbox_id == caller.sandbox_id, Run.completed_at.is_not(None))
    newest = select(Run.flow_id, Run.rows, Run.updated_at, Run.id).where(*mine)
    newest = newest.order_by(Run.updated_at.desc(), Run.id.desc()).limit(_SPARK_RUNS)
    each = [select(newest.where(Run.flow_id == one).subquery()) for one in flow_ids]
    found = defaultdict[str, list[tuple[int, str, int]]](list)
    for flow_id, rows, updated_at, run_id in session.execute(union_all(*each)):
        found[flow_id].append((updated_at, run_id, rows or 0))
    return {flow_id: [rows for _, _, rows in sorted(runs)] for flow_id, runs in found.items()}
