"""Runs that somebody asks for, beside the schedule (contract, section 20)."""

from pydantic import Field
from sqlalchemy.orm import Session

from offtake.errors import OfftakeError
from offtake.flows import dataflows, entities, runs
from offtake.flows.access import EXPORT_DATASETS, VIEW_DATASETS, Caller
from offtake.flows.entities import Body, Sent
from offtake.flows.runs import NewRun
from offtake.store.runs import live_run
from offtake.store.tables import Flow, Run, SourceConnection


class AdhocRefusedError(OfftakeError):
    """The ad-hoc run cannot be made; clients match the sentence."""


class DatasetId(Body):
    """A dataset to export now."""

    id: str


class AdhocDestination(Body):
    """A flow to run now; without datasets, all of it. `fullExport` is an extension."""

    flow_id: str
    datasets: list[DatasetId] = Field(default_factory=list)
    full_export: bool = False


class ActivationInfo(Body):
    """What to activate."""

    destinations: list[AdhocDestination] = Field(min_length=1)


class AdhocRequest(Body):
    """`POST /adhocrun`."""

    activation_info: ActivationInfo


def request(session: Session, caller: Caller, body: Sent, now_ms: int) -> list[Run]:
    """One run for each flow named, or none at all when one of them is refused."""
    caller.require(EXPORT_DATASETS)
    caller.require(VIEW_DATASETS)
    asked = entities.parse_body(AdhocRequest, body)
    return [run_now(session, caller, one, now_ms) for one in asked.activation_info.destinations]


def run_now(session: Session, caller: Caller, asked: AdhocDestination, now_ms: int) -> Run:
    """Queue a run of the flow: full where nothing was delivered yet or it is asked for, else the pending increment.

    Raises `AdhocRefusedError`.
    """
    flow = session.get(Flow, asked.flow_id)
    if flow is None or flow.sandbox_id != caller.sandbox_id:
        raise AdhocRefusedError(
            f"Invalid parameter: Flow for id {asked.flow_id} is incorrect. "
            "Error is [Adhoc run can not be executed for Flow spec=unknown: no such dataset-export flow]"
        )
    if flow.state != entities.ENABLED:
        raise AdhocRefusedError("The flow is disabled")
    wanted = [dataset.id for dataset in asked.datasets]
    exported = session.get_one(SourceConnection, flow.source_connection_id).dataset_ids
    foreign = [dataset_id for dataset_id in wanted if dataset_id not in exported]
    if foreign:
        raise AdhocRefusedError(f"Flow {flow.id} does not export dataset(s) {', '.join(foreign)}")
    live = live_run(session, flow.id)
    if live is not None:
        named = ", ".join(wanted or exported)
        raise AdhocRefusedError(f"Run already going on for dataset(s) {named} of flow {flow.id} with run id {live.id}")
    full = asked.full_export or dataflows.schedule_of(flow).one_time
    new = NewRun("adhoc", now_ms, wanted or None, full_export=full, moves_position=not asked.full_export)
    return runs.create(session, flow, new, now_ms)
