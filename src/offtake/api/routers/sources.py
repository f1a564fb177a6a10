"""Source connections: the datasets to export (contract, sections 6.3 and 13.1)."""

from fastapi import APIRouter, Response

from offtake.api import lists, responses
from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.lists import ListOf
from offtake.api.openapi import examples
from offtake.api.openapi.operations import document_operation
from offtake.api.responses import IfMatch, Op, SubOp
from offtake.contract.caller import VIEW_DESTINATIONS
from offtake.documents import Json
from offtake.flows import provider_actions, queries, source_connections

router = APIRouter(tags=["source connections"])


@router.post(
    "/sourceConnections",
    status_code=201,
    **document_operation(
        examples.CHANGED,
        status=201,
        body=source_connections.NewSourceConnection,
        body_example=examples.NEW_SOURCE,
        errors=(409, 422, 502),
    ),
)
def create(caller: CallerOf, backend: BackendOf, body: JsonBody, response: Response) -> Json:
    """Create a source connection."""
    source_connections.check_refs(backend.database, backend.lake, caller, body)
    columns = source_connections.choose_columns(backend.database, backend.lake, caller, body)
    with backend.database.writing() as session:
        row = source_connections.create(session, caller, body, backend.clock.now_ms(), columns)
        return responses.update_response(response, row)


@router.get("/sourceConnections", **document_operation(examples.page(examples.SOURCE, "/sourceConnections")))
def list_all(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """List source connections."""
    caller.require(VIEW_DESTINATIONS)
    query = params.query()
    with backend.database.reading() as session:
        page = queries.source_connections(session, caller, query)
        return lists.answer(
            "/sourceConnections", query, page, lambda rows: source_connections.render_all(session, rows, caller)
        )


@router.get("/sourceConnections/{row_id}", **document_operation(examples.one(examples.SOURCE)))
def get(caller: CallerOf, backend: BackendOf, row_id: str, response: Response) -> Json:
    """Get a source connection."""
    caller.require(VIEW_DESTINATIONS)
    with backend.database.reading() as session:
        row = queries.source_connection(session, caller, row_id)
        return responses.one(response, source_connections.render(session, row, caller))


@router.patch(
    "/sourceConnections/{row_id}",
    **document_operation(examples.CHANGED, body=examples.PATCH_SCHEMA, body_example=examples.PATCH, errors=(409, 412)),
)
def update(
    caller: CallerOf, backend: BackendOf, row_id: str, body: JsonBody, response: Response, if_match: IfMatch = None
) -> Json:
    """Update a source connection (JSON Patch)."""
    with backend.database.writing() as session:
        row = source_connections.update(session, caller, row_id, body, if_match, backend.clock.now_ms())
        return responses.update_response(response, row)


@router.delete(
    "/sourceConnections/{row_id}", status_code=202, response_class=Response, **document_operation(errors=(409,))
)
def delete(caller: CallerOf, backend: BackendOf, row_id: str) -> Response:
    """Delete a source connection that is not in use."""
    with backend.database.writing() as session:
        source_connections.delete(session, caller, row_id, backend.clock.now_ms())
    return responses.deletion_response()


@router.post("/sourceConnections/{row_id}/action", **document_operation())
def act(caller: CallerOf, backend: BackendOf, row_id: str, op: Op = None, sub_op: SubOp = None) -> Json:
    """Finish an action of a provider; always refused, because no action is ever pending."""
    with backend.database.reading() as session:
        provider_actions.refuse(caller, queries.source_connection(session, caller, row_id), op, sub_op)
