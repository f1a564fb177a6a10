"""Extensions of flows that read the history of their tables: backfills, and verification of their continuity."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.openapi import extension_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.api.routers.flow_extensions import started
from offtake.contract import bodies, problems
from offtake.contract.bodies import Body
from offtake.contract.caller import EXPORT_DATASETS, VIEW_DATASETS, VIEW_DESTINATIONS
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.flows import backfill, flow_verification, flows, runs
from offtake.flows.backfill import BackfillRefusedError, Range, Tables

router = APIRouter(tags=["flows"])

SnapshotId = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Instant = Annotated[int, Field(ge=0, lt=2**48)]


class SnapshotRange(Body):
    """The rows after one snapshot, up to and including another. Null: from the start, or up to the current snapshot."""

    from_snapshot_id: SnapshotId | None = None
    to_snapshot_id: SnapshotId | None = None


class Period(Body):
    """The rows committed after `since` until `until` (epoch milliseconds). `since` null: all rows until then."""

    since: Instant | None = None
    until: Instant


class BackfillBody(Body):
    """`POST /flows/{id}/backfill`: a run to repeat, a range of snapshots, or a period; without datasets, all."""

    run_id: str | None = None
    snapshots: SnapshotRange | None = None
    period: Period | None = None
    datasets: list[str] = Field(default_factory=list, max_length=1000)


@router.post(
    "/flows/{flow_id}/backfill",
    status_code=201,
    **document_operation(
        examples.BACKFILL_STARTED, status=201, body=BackfillBody, body_example=examples.BACKFILL, errors=(502,)
    ),
)
def start_backfill(caller: CallerOf, backend: BackendOf, flow_id: str, body: JsonBody) -> Json:
    """Deliver a run, a range of snapshots or a period again, into a new folder (an extension)."""
    caller.require(EXPORT_DATASETS)
    caller.require(VIEW_DATASETS)
    wanted = bodies.parse_body(BackfillBody, body)
    if [wanted.run_id, wanted.snapshots, wanted.period].count(None) != 2:  # noqa: PLR2004 - all but one
        raise problems.of_field("/", "must have one of runId, snapshots and period")
    now_ms = backend.clock.now_ms()
    tables = Tables(backend.database, backend.lake, caller)
    try:
        with backend.database.reading() as session:
            flow = flows.find(session, caller, flow_id)
            repeated = runs.find(session, caller, wanted.run_id) if wanted.run_id is not None else None
        if repeated is not None:
            checked = backfill.of_run(tables, flow, repeated, wanted.datasets)
        elif wanted.snapshots is not None:
            bounds = Range(wanted.snapshots.from_snapshot_id, wanted.snapshots.to_snapshot_id)
            checked = backfill.of_range(tables, flow, bounds, wanted.datasets)
        elif wanted.period is not None:
            checked = backfill.of_dates(tables, flow, wanted.period.since, wanted.period.until, wanted.datasets)
        with backend.database.writing() as session:
            row = backfill.request(session, caller, flow_id, checked, now_ms)
    except BackfillRefusedError as error:
        raise Problem(problems.WRONG_ACTION, str(error), flows.KIND, flow_id) from None
    datasets = [
        {
            "dataSetId": dataset_id,
            "exportKind": "full" if pin["full"] else "incremental",
            "fromSnapshotId": pin["from_snapshot"],
            "toSnapshotId": pin["to_snapshot"],
        }
        for dataset_id, pin in (row.pins or {}).items()
    ]
    return started(row) | {"folder": row.folder, "datasets": datasets}


@router.get("/flows/{flow_id}/verification", **document_operation(examples.FLOW_VERIFICATION, errors=(502,)))
def verification(caller: CallerOf, backend: BackendOf, flow_id: str) -> Json:
    """Verify that a flow's runs cover its datasets' history without gaps or overlaps (an extension)."""
    caller.require(VIEW_DESTINATIONS)
    caller.require(VIEW_DATASETS)
    with backend.database.reading() as session:
        flow = flows.find(session, caller, flow_id)
    found = flow_verification.verify_flow(backend.database, backend.lake, caller, flow)
    return {
        "id": flow_id,
        "proven": not any(one.continuity and one.continuity.faults for one in found),
        "datasets": [one.to_json() for one in found],
    }
