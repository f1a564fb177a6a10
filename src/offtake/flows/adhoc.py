"""Ad-hoc runs, outside the schedule (contract, section 20)."""

from pydantic import Field
from sqlalchemy.orm import Session

from offtake.access import audit
from offtake.contract import bodies, entities, problems
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import EXPORT_DATASETS, VIEW_DATASETS, VIEW_DESTINATIONS, Caller
from offtake.contract.problems import Problem
from offtake.errors import OfftakeError
from offtake.flows import flows, runs
from offtake.flows.runs import NewRun
from offtake.store.runs import live_run
from offtake.store.tables import Flow, Run, SourceConnection


class AdhocRefusedError(OfftakeError):
    """The ad-hoc run is refused; clients match the message. `live_id`: the run that is going on, if that is why."""

    live_id: str | None = None


class DatasetId(Body):
    """A dataset to export now."""

    id: str


class AdhocDestination(Body):
    """A flow to run now; without datasets, all of them. `fullExport` is an extension."""

    flow_id: str
    datasets: list[DatasetId] = Field(default_factory=list)
    full_export: bool = False


class ActivationInfo(Body):
    """The flows to run."""

    destinations: list[AdhocDestination] = Field(min_length=1, max_length=100)


class AdhocRequest(Body):
    """`POST /adhocrun`."""

    activation_info: ActivationInfo


def request(session: Session, caller: Caller, body: Sent, now_ms: int) -> list[Run]:
    """Enqueue one run for each flow; none when one of them is refused."""
    _require(caller)
    document = bodies.parse_json(body) if isinstance(body, bytes) else body
    if _is_audience_request(document):
        raise AdhocRefusedError(
            "Audiences are not exported here. Send activationInfo.destinations[] with a flowId and its datasets."
        )
    if not isinstance(document, dict) or not document:
        raise Problem(problems.EMPTY_BODY, "The request body must be a JSON object that is not empty.")
    parsed = bodies.parse_document(AdhocRequest, document)
    return [_enqueue(session, caller, one, now_ms)[0] for one in parsed.activation_info.destinations]


def run_now(session: Session, caller: Caller, order: AdhocDestination, now_ms: int) -> Run:
    """Enqueue a run for a person: full if requested or if nothing was delivered yet, else the pending increment.

    The run of a one-time flow takes the place of its scheduled run: two runs would deliver everything twice. Requests
    of the API do not use up a slot (contract, section 20). Raises `AdhocRefusedError`, and 2120 without the permissions
    that `request` needs.
    """
    _require(caller)
    row, flow = _enqueue(session, caller, order, now_ms)
    exported = session.get_one(SourceConnection, flow.source_connection_id).dataset_ids
    if flows.stored_schedule(flow).one_time and set(exported) <= set(row.dataset_ids):
        flow.next_run_s = None
    return row


def _enqueue(session: Session, caller: Caller, order: AdhocDestination, now_ms: int) -> tuple[Run, Flow]:
    flow = _flow(session, caller, order.flow_id)
    if flow.state != entities.ENABLED:
        raise AdhocRefusedError("The flow is disabled")
    selected = list(dict.fromkeys(dataset.id for dataset in order.datasets))
    exported = session.get_one(SourceConnection, flow.source_connection_id).dataset_ids
    foreign = [dataset_id for dataset_id in selected if dataset_id not in exported]
    if foreign:
        raise AdhocRefusedError(f"Flow {flow.id} does not export dataset(s) {', '.join(foreign)[:500]}")
    live = live_run(session, flow.id)
    if live is not None:
        named = ", ".join(selected or exported)
        refused = AdhocRefusedError(
            f"Run already going on for dataset(s) {named} of flow {flow.id} with run id {live.id}"
        )
        refused.live_id = live.id
        raise refused
    full = order.full_export or flows.stored_schedule(flow).one_time
    at = runs.time_outside_slots(session, flow, now_ms)
    new = NewRun("adhoc", at, selected or None, full_export=full, moves_position=not order.full_export)
    row = runs.create(session, flow, new, now_ms)
    after = {"runId": row.id, "datasets": row.dataset_ids, "fullExport": order.full_export}
    audit.record(session, caller, now_ms, "run", (flows.KIND, flow.id), name=flow.name, after=after)
    return row, flow


def _require(caller: Caller) -> None:
    for permission in (EXPORT_DATASETS, VIEW_DATASETS, VIEW_DESTINATIONS):
        caller.require(permission)


def _flow(session: Session, caller: Caller, flow_id: str) -> Flow:
    try:
        return flows.find(session, caller, flow_id, lock=True)
    except Problem:
        raise AdhocRefusedError(
            f"Invalid parameter: Flow for id {flow_id[:100]} is incorrect. "
            "Error is [Adhoc run can not be executed for Flow spec=unknown: no such dataset-export flow]"
        ) from None


def _is_audience_request(document: object) -> bool:
    """Whether the body is an audience request: target connection ids with lists of audience ids."""
    info = document.get("activationInfo") if isinstance(document, dict) else None
    return isinstance(info, dict) and "destinations" not in info and any(isinstance(one, list) for one in info.values())
