"""A flow for people: what it exports where, how far each dataset is delivered, and what is open."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.flows import column_choices, flow_ends, flows
from offtake.flows.flow_ends import FlowState
from offtake.flows.flows import stored_schedule
from offtake.flows.lateness import Lateness, lateness_of
from offtake.flows.schedule import Schedule
from offtake.flows.undelivered import Owed, owed_by
from offtake.store import disposals
from offtake.store.runs import live_run
from offtake.store.tables import Connection, Dataset, Flow, Run, RunPart, SourceConnection, TargetConnection, Watermark


@dataclass(frozen=True)
class ExportedDataset:
    """A dataset of a flow. `name` None: the caller may not see it, or it is gone.

    `ref`: its branch or tag; None for main. `columns`: the paths of the chosen columns; empty when all are delivered.
    `delivered_ms`: when rows up to `snapshot_id` were delivered, by run `run_id`; None before the first delivery.
    """

    dataset_id: str
    name: str | None
    snapshot_id: int | None
    delivered_ms: int | None
    run_id: str | None
    ref: str | None = None
    columns: Sequence[str] = ()


@dataclass(frozen=True)
class FlowView:
    """A flow with what it refers to. `held`: failed runs with files that stay delivered.

    `state`: as `flow_ends.state_of` returns it. `late`: None when it is in time.
    """

    flow: Flow
    schedule: Schedule
    state: FlowState
    ended: bool
    next_ms: int | None
    source: SourceConnection
    target: TargetConnection
    account: Connection
    datasets: Sequence[ExportedDataset]
    labels: Sequence[str]
    live: Run | None
    last: Run | None
    owed: Sequence[Owed]
    held: Sequence[tuple[Run, list[RunPart]]]
    late: Lateness | None


def find_flow(session: Session, caller: Caller, flow_id: str, now_ms: int) -> FlowView:
    """The caller's flow; raises 1439."""
    caller.require(VIEW_DESTINATIONS)
    flow = flows.find(session, caller, flow_id)
    source = session.get_one(SourceConnection, flow.source_connection_id)
    target = session.get_one(TargetConnection, flow.target_connection_id)
    last = session.get(Run, flow.last_run_id) if flow.last_run_id else None
    at, live = flow_ends.next_run(flow, now_ms // 1000), live_run(session, flow.id)
    return FlowView(
        flow=flow,
        schedule=stored_schedule(flow),
        state=flow_ends.state_of(flow, now_ms // 1000, live=live is not None),
        ended=flow_ends.is_over(flow, now_ms // 1000),
        next_ms=None if at is None else at * 1000,
        source=source,
        target=target,
        account=session.get_one(Connection, target.base_connection_id),
        datasets=exported_datasets(session, caller, flow),
        labels=labels.labels_of(session, flow.id),
        live=live,
        last=last,
        owed=owed_by(session, last) if last is not None else (),
        held=disposals.kept_runs(session, flow.id, source.dataset_ids),
        late=lateness_of(flow, now_ms, None if live is None else live.scheduled_at),
    )


def exported_datasets(session: Session, caller: Caller, flow: Flow) -> list[ExportedDataset]:
    """The datasets of the flow, and how far each is delivered."""
    source = session.get_one(SourceConnection, flow.source_connection_id)
    ids, refs, columns = source.dataset_ids, source.refs or {}, column_choices.paths_of(source)
    visible = (Dataset.sandbox_id == caller.sandbox_id, labels.visible(Dataset.id, caller))
    found = session.execute(select(Dataset.id, Dataset.name).where(Dataset.id.in_(ids), *visible))
    names = dict(found.all())
    positions = {one.dataset_id: one for one in session.scalars(select(Watermark).where(Watermark.flow_id == flow.id))}
    exported = []
    for dataset_id in ids:
        position = positions.get(dataset_id)
        snapshot, at, run_id = (position.snapshot_id, position.updated_at, position.run_id) if position else (None,) * 3
        chosen = refs.get(dataset_id), columns.get(dataset_id, ())
        exported.append(ExportedDataset(dataset_id, names.get(dataset_id), snapshot, at, run_id, *chosen))
    return exported
