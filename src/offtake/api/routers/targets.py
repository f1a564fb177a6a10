"""Target connections: the folder and the file format of an export (contract, sections 6.4 and 13.3)."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from offtake.api import lists, responses
from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.lists import ListOf
from offtake.api.openapi import examples
from offtake.api.openapi.operations import document_operation
from offtake.api.responses import IfMatch, Op, SubOp
from offtake.contract.caller import VIEW_DESTINATIONS
from offtake.documents import Json
from offtake.flows import connection_checks, provider_actions, queries, target_connections

Force = Annotated[
    bool, Query(description="Delete it even if files are still to be removed through it; they are then left behind.")
]


router = APIRouter(tags=["target connections"])


@router.post(
    "/targetConnections",
    status_code=201,
    **document_operation(
        examples.CHANGED,
        status=201,
        body=target_connections.NewTargetConnection,
        body_example=examples.NEW_TARGET,
        errors=(409, 422),
    ),
)
def create(caller: CallerOf, backend: BackendOf, body: JsonBody, response: Response) -> Json:
    """Create a target connection."""
    if backend.settings.check_connections:
        sandbox_location = backend.sandbox_location(caller)
        with backend.database.dry_run() as session:
            row = target_connections.create(session, caller, body, backend.clock.now_ms())
            prepared = connection_checks.prepare_for(session, caller, backend.vault, row, sandbox_location)
        connection_checks.check(prepared, backend.pin_store, "/params")
    with backend.database.writing() as session:
        row = target_connections.create(session, caller, body, backend.clock.now_ms())
        return responses.update_response(response, row)


@router.get("/targetConnections", **document_operation(examples.page(examples.TARGET, "/targetConnections")))
def list_all(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """List target connections."""
    caller.require(VIEW_DESTINATIONS)
    query = params.query()
    with backend.database.reading() as session:
        page = queries.target_connections(session, caller, query)
        return lists.answer(
            "/targetConnections", query, page, lambda rows: target_connections.render_all(session, rows, caller)
        )


@router.get("/targetConnections/{row_id}", **document_operation(examples.one(examples.TARGET)))
def get(caller: CallerOf, backend: BackendOf, row_id: str, response: Response) -> Json:
    """Get a target connection."""
    caller.require(VIEW_DESTINATIONS)
    with backend.database.reading() as session:
        row = queries.target_connection(session, caller, row_id)
        return responses.one(response, target_connections.render(session, row, caller))


@router.patch(
    "/targetConnections/{row_id}",
    **document_operation(examples.CHANGED, body=examples.PATCH_SCHEMA, body_example=examples.PATCH, errors=(409, 412)),
)
def update(
    caller: CallerOf, backend: BackendOf, row_id: str, body: JsonBody, response: Response, if_match: IfMatch = None
) -> Json:
    """Update a target connection (JSON Patch)."""
    with backend.database.writing() as session:
        row = target_connections.update(session, caller, row_id, body, if_match, backend.clock.now_ms())
        return responses.update_response(response, row)


@router.delete(
    "/targetConnections/{row_id}", status_code=202, response_class=Response, **document_operation(errors=(409,))
)
def delete(caller: CallerOf, backend: BackendOf, row_id: str, force: Force = False) -> Response:
    """Delete a target connection that is not in use; refused while files are still to be removed through it."""
    with backend.database.writing() as session:
        target_connections.delete(session, caller, row_id, backend.clock.now_ms(), force=force)
    return responses.deletion_response()


@router.post("/targetConnections/{row_id}/action", **document_operation())
def act(caller: CallerOf, backend: BackendOf, row_id: str, op: Op = None, sub_op: SubOp = None) -> Json:
    """Finish an action of a provider; always refused, because no action is ever pending."""
    with backend.database.reading() as session:
        provider_actions.refuse(caller, queries.target_connection(session, caller, row_id), op, sub_op)
