"""Runs (contract, section 17)."""

from fastapi import APIRouter, Response

from offtake.api import lists, responses
from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.lists import ListOf
from offtake.api.openapi import examples, run_examples
from offtake.api.openapi.operations import JSON_TYPE, document_operation
from offtake.api.responses import IfMatch, Op
from offtake.contract.caller import VIEW_DESTINATIONS
from offtake.documents import Json
from offtake.flows import flow_status, queries, run_documents, runs
from offtake.flows.run_manifests import read_manifest

router = APIRouter(tags=["runs"])


@router.get("/runs", **document_operation(examples.page(run_examples.RUN, "/runs")))
def list_all(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """List runs; filters such as `property=flowId==<id>` and `property=lastRunDetails.startedAtUTC>=<ms>`."""
    caller.require(VIEW_DESTINATIONS)
    query = params.query()
    with backend.database.reading() as session:
        page = queries.runs(session, caller, query)
        return lists.answer("/runs", query, page, lambda rows: run_documents.render_all(session, rows, caller))


@router.post(
    "/runs",
    status_code=201,
    **document_operation(
        examples.CHANGED, status=201, body=runs.RequestedRun, body_example=run_examples.NEW_RUN, errors=(409,)
    ),
)
def request(caller: CallerOf, backend: BackendOf, body: JsonBody, response: Response) -> Json:
    """Run a one-time flow now."""
    any_flow = backend.settings.allow_run_for_any_flow
    with backend.database.writing() as session:
        row = runs.request(session, caller, body, backend.clock.now_ms(), any_flow=any_flow)
        return responses.update_response(response, row)


@router.get("/runs/{run_id}", **document_operation(examples.one(run_examples.RUN)))
def get(caller: CallerOf, backend: BackendOf, run_id: str, response: Response) -> Json:
    """Get a run."""
    caller.require(VIEW_DESTINATIONS)
    with backend.database.reading() as session:
        row = runs.find(session, caller, run_id)
        return responses.one(response, run_documents.render(session, row, caller))


@router.get("/runs/{run_id}/manifest", **document_operation(run_examples.MANIFEST))
def manifest(caller: CallerOf, backend: BackendOf, run_id: str) -> Response:
    """Get the manifest of a finished run, also if none is written to the destination (an extension)."""
    caller.require(VIEW_DESTINATIONS)
    with backend.database.reading() as session:
        body = read_manifest(session, caller, run_id)
    return Response(body, media_type=JSON_TYPE)


@router.put("/runs/{run_id}", **document_operation(body={"type": "object"}, errors=(412,)))
def update(caller: CallerOf, backend: BackendOf, run_id: str, _body: JsonBody, if_match: IfMatch = None) -> Json:
    """Update a run; always refused, because only the export engine updates runs."""
    with backend.database.reading() as session:
        runs.refuse_update(session, caller, run_id, if_match)


@router.post("/runs/{run_id}/action", **document_operation(run_examples.RUN, errors=(409, 412)))
def act(
    caller: CallerOf,
    backend: BackendOf,
    run_id: str,
    response: Response,
    op: Op = None,
    if_match: IfMatch = None,
) -> Json:
    """Retry a failed run with the same snapshots (returns the new run), or cancel a run in progress."""
    with backend.database.writing() as session:
        row = runs.act(session, caller, run_id, op, if_match, backend.clock.now_ms())
        session.flush()
        shown = run_documents.render(session, row, caller)
        if row.id == run_id:
            shown["extensions"]["cancelled"] = flow_status.after_cancel(session, row)
    response.headers["etag"] = shown["etag"]
    return shown
