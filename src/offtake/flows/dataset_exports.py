"""The flows that export a dataset, and up to where they have delivered it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.catalog import datasets
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.contract.entities import ENABLED
from offtake.flows import column_choices, flow_ends
from offtake.flows.flow_ends import FlowState
from offtake.store import json_queries
from offtake.store.runs import live_run
from offtake.store.tables import Flow, SourceConnection, TargetConnection, Watermark


@dataclass(frozen=True)
class Export:
    """A flow that exports a dataset. `snapshot_id`, `delivered_ms`: its position in the dataset, and when it moved.

    Both are None before its first delivery. `next_ms`: when its next run is due; None without one.

    `state`: as `flow_ends.state_of` returns it. `columns`: the paths of the chosen columns; empty when all are
    delivered.
    """

    flow_id: str
    name: str
    enabled: bool
    state: FlowState
    destination_spec_id: str
    last_run_id: str | None
    last_run_state: str | None
    last_run_ms: int | None
    snapshot_id: int | None
    delivered_ms: int | None
    next_ms: int | None
    columns: Sequence[str] = ()


def counts(session: Session, caller: Caller, dataset_ids: Collection[str]) -> dict[str, int]:
    """The number of visible flows that export each of the datasets, by id; without those that no flow exports."""
    caller.require(VIEW_DESTINATIONS)
    held = json_queries.json_list_elements(session, SourceConnection.dataset_ids)
    query = (
        select(held.c.value, func.count())
        .select_from(Flow)
        .join(SourceConnection, SourceConnection.id == Flow.source_connection_id)
        .join(held, held.c.value.in_(dataset_ids))
        .where(_visible(caller))
        .group_by(held.c.value)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def of_dataset(session: Session, caller: Caller, dataset_id: str, offset: int, most: int, now_ms: int) -> list[Export]:
    """The visible flows that export the dataset, by name, from number `offset` on; raises 1439."""
    caller.require(VIEW_DESTINATIONS)
    dataset = datasets.get(session, caller, dataset_id)
    position = and_(Watermark.flow_id == Flow.id, Watermark.dataset_id == dataset.id)
    query = (
        select(Flow, SourceConnection, TargetConnection.connection_spec_id, Watermark.snapshot_id, Watermark.updated_at)
        .join(SourceConnection, SourceConnection.id == Flow.source_connection_id)
        .join(TargetConnection, TargetConnection.id == Flow.target_connection_id)
        .outerjoin(Watermark, position)
        .where(_visible(caller), json_queries.json_list_contains(session, SourceConnection.dataset_ids, dataset.id))
    )
    rows = session.execute(query.order_by(func.lower(Flow.name), Flow.id).offset(offset).limit(most))
    return [
        Export(
            flow_id=flow.id,
            name=flow.name,
            enabled=flow.state == ENABLED,
            state=flow_ends.state_of(flow, now_ms // 1000, live=live_run(session, flow.id) is not None),
            destination_spec_id=spec_id,
            last_run_id=flow.last_run_id,
            last_run_state=flow.last_run_state,
            last_run_ms=flow.last_run_completed_at,
            snapshot_id=snapshot_id,
            delivered_ms=moved,
            next_ms=None if flow.next_run_s is None else flow.next_run_s * 1000,
            columns=column_choices.paths_of(source).get(dataset.id, ()),
        )
        for flow, source, spec_id, snapshot_id, moved in rows
    ]


def _visible(caller: Caller) -> ColumnElement[bool]:
    return and_(Flow.sandbox_id == caller.sandbox_id, labels.visible(Flow.id, caller))
