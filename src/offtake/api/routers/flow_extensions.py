"""Extensions of flows: their status, previews, and runs on request."""

from typing import Annotated

from fastapi import APIRouter, Query

from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.openapi import extension_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.contract import bodies, problems
from offtake.contract.bodies import Body
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.flows import adhoc, flow_previews, flow_status, flows, source_connections
from offtake.flows.adhoc import AdhocDestination, AdhocRefusedError
from offtake.store.tables import Run

router = APIRouter(tags=["flows"])
Rows = Annotated[int, Query(ge=0, le=100, description="How many rows of each dataset.")]


class RunNow(Body):
    """`POST /flows/{id}/run`."""

    full_export: bool = False


@router.get("/flows/{flow_id}/status", **document_operation(examples.FLOW_STATUS))
def status(caller: CallerOf, backend: BackendOf, flow_id: str) -> Json:
    """Get a flow's run in progress, undelivered data and files left behind (an extension)."""
    with backend.database.reading() as session:
        return flow_status.flow_status(session, backend.vault, caller, flow_id)


@router.get("/flows/{flow_id}/preview", **document_operation(examples.FLOW_PREVIEW))
def preview(caller: CallerOf, backend: BackendOf, flow_id: str, rows: Rows = 5) -> Json:
    """Get the files, the next runs and the first rows that a flow would deliver (an extension)."""
    now_ms = backend.clock.now_ms()
    return flow_previews.preview(backend.database, backend.lake, caller, flow_id, now_ms, rows)


@router.post(
    "/flows/preview",
    **document_operation(
        examples.FLOW_PREVIEW, body=flow_previews.FlowDraft, body_example=examples.FLOW_DRAFT, errors=(409,)
    ),
)
def preview_draft(caller: CallerOf, backend: BackendOf, body: JsonBody, rows: Rows = 5) -> Json:
    """Get what a flow would deliver, without creating it; raises the errors of its creation (an extension)."""
    draft = bodies.parse_body(flow_previews.FlowDraft, body)
    now_ms = backend.clock.now_ms()
    source_connections.check_refs(backend.database, backend.lake, caller, draft.source_connection)
    columns = source_connections.choose_columns(backend.database, backend.lake, caller, draft.source_connection)
    with backend.database.dry_run() as session:
        flow = flow_previews.create(session, caller, draft, columns, now_ms, backend.schedule_rules)
        plan = flow_previews.plan(session, caller, flow, now_ms, is_draft=True)
    return flow_previews.with_rows(backend.database, backend.lake, caller, plan, rows)


@router.post(
    "/flows/{flow_id}/run",
    status_code=201,
    **document_operation(examples.STARTED, status=201, body=RunNow, body_example=examples.RUN_NOW),
)
def run_now(caller: CallerOf, backend: BackendOf, flow_id: str, body: JsonBody) -> Json:
    """Run a flow now; the run of a one-time flow takes the place of its scheduled run (an extension)."""
    wanted = bodies.parse_body(RunNow, body)
    order = AdhocDestination.model_validate({"flowId": flow_id, "fullExport": wanted.full_export})
    with backend.database.writing() as session:
        flows.find(session, caller, flow_id)
        try:
            return started(adhoc.run_now(session, caller, order, backend.clock.now_ms()))
        except AdhocRefusedError as error:
            raise Problem(problems.WRONG_ACTION, str(error), flows.KIND, flow_id) from None


def started(row: Run) -> Json:
    """The response to starting a run."""
    return {"id": row.id, "flowId": row.flow_id, "status": row.status}
