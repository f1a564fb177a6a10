"""Base connections: accounts (contract, sections 6.2 and 13.2)."""

from fastapi import APIRouter, Request, Response

from offtake.api import lists, responses
from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.lists import ListOf, Token
from offtake.api.openapi import examples, spec_examples
from offtake.api.openapi.operations import document_operation
from offtake.api.responses import IfMatch, Op, SubOp
from offtake.contract import bodies
from offtake.contract.caller import VIEW_DATASETS, VIEW_DESTINATIONS
from offtake.documents import Json
from offtake.flows import connection_checks, connections, eligible_datasets, exploration, provider_actions, queries

_DEFAULT_LIMIT = 20

router = APIRouter(tags=["connections"])


@router.post(
    "/connections",
    status_code=201,
    **document_operation(
        examples.CHANGED,
        status=201,
        body=connections.NewConnection,
        body_example=examples.NEW_CONNECTION,
        errors=(409, 422),
    ),
)
def create(caller: CallerOf, backend: BackendOf, body: JsonBody, response: Response) -> Json:
    """Create a base connection."""
    if backend.settings.check_connections:
        sandbox_location = backend.sandbox_location(caller)
        with backend.database.dry_run() as session:
            row = connections.create(session, caller, backend.vault, backend.network, body, backend.clock.now_ms())
            prepared = connection_checks.prepare(session, caller, backend.vault, row.id, sandbox_location)
        connection_checks.check(prepared, backend.pin_store, "/auth/params")
    with backend.database.writing() as session:
        row = connections.create(session, caller, backend.vault, backend.network, body, backend.clock.now_ms())
        return responses.update_response(response, row)


@router.get("/connections", **document_operation(examples.page(examples.CONNECTION, "/connections")))
def list_all(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """List base connections."""
    caller.require(VIEW_DESTINATIONS)
    query = params.query(_DEFAULT_LIMIT)
    with backend.database.reading() as session:
        page = queries.connections(session, caller, query)
        return lists.answer("/connections", query, page, lambda rows: connections.render_all(session, rows, caller))


@router.get("/connections/{row_id}", **document_operation(examples.one(examples.CONNECTION)))
def get(caller: CallerOf, backend: BackendOf, row_id: str, response: Response) -> Json:
    """Get a base connection."""
    caller.require(VIEW_DESTINATIONS)
    with backend.database.reading() as session:
        row = queries.connection(session, caller, row_id)
        return responses.one(response, connections.render_all(session, [row], caller)[0])


@router.patch(
    "/connections/{row_id}",
    **document_operation(examples.CHANGED, body=examples.PATCH_SCHEMA, body_example=examples.PATCH, errors=(409, 412)),
)
def update(
    caller: CallerOf, backend: BackendOf, row_id: str, body: JsonBody, response: Response, if_match: IfMatch = None
) -> Json:
    """Update a base connection (JSON Patch)."""
    with backend.database.writing() as session:
        now = backend.clock.now_ms()
        row = connections.update(session, caller, backend.vault, backend.network, row_id, body, if_match, now)
        return responses.update_response(response, row)


@router.delete("/connections/{row_id}", status_code=202, response_class=Response, **document_operation(errors=(409,)))
def delete(caller: CallerOf, backend: BackendOf, row_id: str) -> Response:
    """Delete a base connection that is not in use."""
    with backend.database.writing() as session:
        connections.delete(session, caller, row_id, backend.clock.now_ms())
    return responses.deletion_response()


@router.post(
    "/connections/search",
    **document_operation(
        examples.page(examples.CONNECTION, "/connections/search"),
        body=lists.SearchBody,
        body_example=lists.SEARCH_EXAMPLE,
    ),
)
def search(caller: CallerOf, backend: BackendOf, body: JsonBody, token: Token = None) -> Json:
    """Search base connections; as the list, with the query in the body."""
    caller.require(VIEW_DESTINATIONS)
    query = lists.search_query(body, token)
    with backend.database.reading() as session:
        page = queries.connections(session, caller, query)
        return lists.answer(
            "/connections/search", query, page, lambda rows: connections.render_all(session, rows, caller)
        )


@router.get("/connections/{row_id}/test", **document_operation(examples.TESTED))
def test(caller: CallerOf, backend: BackendOf, row_id: str) -> Json:
    """Test the connection: writes and deletes a small object where its target connections deliver to."""
    sandbox_location = backend.sandbox_location(caller)
    with backend.database.reading() as session:
        prepared = connection_checks.prepare(session, caller, backend.vault, row_id, sandbox_location)
    return connection_checks.run_check(prepared, backend.pin_store)


@router.post(
    "/connections/test",
    **document_operation(
        examples.TESTED, body=connection_checks.ConnectionDraft, body_example=examples.CONNECTION_DRAFT, errors=(422,)
    ),
)
def test_draft(caller: CallerOf, backend: BackendOf, body: JsonBody) -> Json:
    """Test a connection that is not created (an extension)."""
    draft = bodies.parse_body(connection_checks.ConnectionDraft, body)
    sandbox_location, now_ms = backend.sandbox_location(caller), backend.clock.now_ms()
    with backend.database.dry_run() as session:
        row = connections.create(session, caller, backend.vault, backend.network, draft.connection, now_ms)
        session.flush()
        if draft.params is None:
            prepared = connection_checks.prepare(session, caller, backend.vault, row.id, sandbox_location)
        else:
            prepared = connection_checks.prepare_at(
                session, caller, backend.vault, row.id, draft.params, sandbox_location
            )
    return connection_checks.run_check(prepared, backend.pin_store)


@router.get("/connections/{row_id}/explore", **document_operation(examples.EXPLORED, errors=(502,)))
def explore(caller: CallerOf, backend: BackendOf, row_id: str, request: Request) -> list[Json]:
    """List a folder of the landing zone."""
    with backend.database.reading() as session:
        exploration.check_connection(session, caller, row_id)
    return exploration.explore(backend.sandbox_location(caller), request.query_params)


@router.get("/connections/{row_id}/configs", **document_operation(spec_examples.CONFIGS))
def configs(caller: CallerOf, backend: BackendOf, row_id: str, request: Request) -> Json:
    """List the datasets that can be exported through this connection."""
    caller.require(VIEW_DESTINATIONS)
    caller.require(VIEW_DATASETS)
    with backend.database.reading() as session:
        spec_id = queries.connection(session, caller, row_id).connection_spec_id
    query = request.query_params.multi_items()
    return eligible_datasets.page(backend.database, backend.lake, caller, spec_id, query)


@router.post("/connections/{row_id}/action", **document_operation())
def act(caller: CallerOf, backend: BackendOf, row_id: str, op: Op = None, sub_op: SubOp = None) -> Json:
    """Finish an action of a provider; always refused, because no action is ever pending."""
    with backend.database.reading() as session:
        provider_actions.refuse(caller, queries.connection(session, caller, row_id), op, sub_op)
