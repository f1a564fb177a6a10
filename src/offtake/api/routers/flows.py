"""Flows (contract, sections 13.4, 18 and 19)."""

from fastapi import APIRouter, Response

from offtake.api import lists, responses
from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.lists import ListOf, Token
from offtake.api.openapi import examples
from offtake.api.openapi.operations import document_operation
from offtake.api.responses import IfMatch, Op, SubOp
from offtake.contract.caller import VIEW_DESTINATIONS
from offtake.documents import Json
from offtake.flows import chosen_columns, flow_changes, flow_documents, flows, queries

router = APIRouter(tags=["flows"])


@router.post(
    "/flows",
    status_code=201,
    **document_operation(
        examples.CHANGED, status=201, body=flows.NewFlow, body_example=examples.NEW_FLOW, errors=(409,)
    ),
)
def create(caller: CallerOf, backend: BackendOf, body: JsonBody, response: Response) -> Json:
    """Create a flow: a scheduled export of datasets."""
    chosen_columns.check_new_flow(backend.database, backend.lake, caller, body)
    with backend.database.writing() as session:
        row = flows.create(session, caller, body, backend.clock.now_ms(), backend.schedule_rules)
        return responses.update_response(response, row)


@router.get("/flows", **document_operation(examples.page(examples.FLOW, "/flows")))
def list_all(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """List flows; `property=scheduleParams.endTime<1788240660` filters by the end of the schedule."""
    caller.require(VIEW_DESTINATIONS)
    query, now_ms = params.query(), backend.clock.now_ms()
    with backend.database.reading() as session:
        page = queries.flows(session, caller, query)
        return lists.answer(
            "/flows", query, page, lambda rows: flow_documents.render_all(session, rows, caller, now_ms)
        )


@router.post(
    "/flows/search",
    **document_operation(
        examples.page(examples.FLOW, "/flows/search"), body=lists.SearchBody, body_example=lists.SEARCH_EXAMPLE
    ),
)
def search(caller: CallerOf, backend: BackendOf, body: JsonBody, token: Token = None) -> Json:
    """Search flows; as the list, with the query in the body."""
    caller.require(VIEW_DESTINATIONS)
    query, now_ms = lists.search_query(body, token), backend.clock.now_ms()
    with backend.database.reading() as session:
        page = queries.flows(session, caller, query)
        return lists.answer(
            "/flows/search", query, page, lambda rows: flow_documents.render_all(session, rows, caller, now_ms)
        )


@router.get("/flows/{flow_id}", **document_operation(examples.one(examples.FLOW)))
def get(caller: CallerOf, backend: BackendOf, flow_id: str, response: Response) -> Json:
    """Get a flow."""
    caller.require(VIEW_DESTINATIONS)
    with backend.database.reading() as session:
        row = flows.find(session, caller, flow_id)
        return responses.one(response, flow_documents.render(session, row, caller, backend.clock.now_ms()))


@router.patch(
    "/flows/{flow_id}",
    **document_operation(examples.CHANGED, body=examples.PATCH_SCHEMA, body_example=examples.PATCH, errors=(409, 412)),
)
def update(
    caller: CallerOf, backend: BackendOf, flow_id: str, body: JsonBody, response: Response, if_match: IfMatch = None
) -> Json:
    """Update a flow (JSON Patch)."""
    now_ms = backend.clock.now_ms()
    chosen_columns.check_changed_flow(backend.database, backend.lake, caller, body)
    with backend.database.writing() as session:
        row = flow_changes.update(session, caller, flow_id, body, if_match, now_ms, backend.schedule_rules)
        return responses.update_response(response, row)


@router.delete("/flows/{flow_id}", status_code=202, response_class=Response, **document_operation(errors=(409,)))
def delete(caller: CallerOf, backend: BackendOf, flow_id: str) -> Response:
    """Delete a flow; cancels a run in progress."""
    with backend.database.writing() as session:
        flow_changes.delete(session, caller, flow_id, backend.clock.now_ms())
    return responses.deletion_response()


@router.post("/flows/{flow_id}/action", **document_operation(examples.CHANGED, errors=(409, 412)))
def act(
    caller: CallerOf,
    backend: BackendOf,
    flow_id: str,
    response: Response,
    op: Op = None,
    sub_op: SubOp = None,
    if_match: IfMatch = None,
) -> Json:
    """Enable or disable a flow."""
    with backend.database.writing() as session:
        row = flow_changes.act(session, caller, flow_id, op, sub_op, if_match, backend.clock.now_ms())
        return responses.update_response(response, row)
