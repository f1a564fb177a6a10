"""Base, source and target connections (contract, section 13)."""

from typing import Any

from fastapi import APIRouter

from offtake.api import lists
from offtake.api.gateway import BackendOf, CallerOf, JsonBody
from offtake.api.lists import ListOf, Token
from offtake.flows import connections, entities, reading, source_connections, target_connections
from offtake.flows.access import VIEW_DESTINATIONS

Json = dict[str, Any]
_DEFAULT_LIMIT = 20

router = APIRouter(tags=["connections"])


@router.post("/connections", status_code=201)
def create_connection(caller: CallerOf, backend: BackendOf, body: JsonBody) -> Json:
    """Store credentials."""
    with backend.database.writing() as session:
        return entities.created(connections.create(session, caller, backend.vault, body, backend.clock.now_ms()))


@router.post("/sourceConnections", status_code=201)
def create_source(caller: CallerOf, backend: BackendOf, body: JsonBody) -> Json:
    """Say which datasets go out."""
    with backend.database.writing() as session:
        return entities.created(source_connections.create(session, caller, body, backend.clock.now_ms()))


@router.post("/targetConnections", status_code=201)
def create_target(caller: CallerOf, backend: BackendOf, body: JsonBody) -> Json:
    """Say where they go, and in which file format."""
    with backend.database.writing() as session:
        return entities.created(target_connections.create(session, caller, body, backend.clock.now_ms()))


@router.get("/connections")
def list_connections(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """The sandbox's base connections."""
    caller.require(VIEW_DESTINATIONS)
    query = params.query(_DEFAULT_LIMIT)
    with backend.database.reading() as session:
        page = reading.connections(session, caller, query)
        return lists.answer("/connections", query, page, lambda row: connections.render(row, caller))


@router.post("/connections/search")
def search_connections(caller: CallerOf, backend: BackendOf, body: JsonBody, token: Token = None) -> Json:
    """The list of base connections, asked for in a body."""
    caller.require(VIEW_DESTINATIONS)
    query = lists.search_query(body, token)
    with backend.database.reading() as session:
        page = reading.connections(session, caller, query)
        return lists.answer("/connections/search", query, page, lambda row: connections.render(row, caller))


@router.get("/sourceConnections")
def list_sources(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """The sandbox's source connections."""
    caller.require(VIEW_DESTINATIONS)
    query = params.query()
    with backend.database.reading() as session:
        page = reading.source_connections(session, caller, query)
        return lists.answer(
            "/sourceConnections", query, page, lambda row: source_connections.render(session, row, caller)
        )


@router.get("/targetConnections")
def list_targets(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """The sandbox's target connections."""
    caller.require(VIEW_DESTINATIONS)
    query = params.query()
    with backend.database.reading() as session:
        page = reading.target_connections(session, caller, query)
        return lists.answer(
            "/targetConnections", query, page, lambda row: target_connections.render(session, row, caller)
        )


@router.get("/connections/{connection_id}")
def get_connection(caller: CallerOf, backend: BackendOf, connection_id: str) -> Json:
    """One base connection; its secrets are masked."""
    caller.require(VIEW_DESTINATIONS)
    with backend.database.reading() as session:
        return {"items": [connections.render(reading.connection(session, caller, connection_id), caller)]}


@router.get("/sourceConnections/{connection_id}")
def get_source(caller: CallerOf, backend: BackendOf, connection_id: str) -> Json:
    """One source connection."""
    caller.require(VIEW_DESTINATIONS)
    with backend.database.reading() as session:
        row = reading.source_connection(session, caller, connection_id)
        return {"items": [source_connections.render(session, row, caller)]}


@router.get("/targetConnections/{connection_id}")
def get_target(caller: CallerOf, backend: BackendOf, connection_id: str) -> Json:
    """One target connection."""
    caller.require(VIEW_DESTINATIONS)
    with backend.database.reading() as session:
        row = reading.target_connection(session, caller, connection_id)
        return {"items": [target_connections.render(session, row, caller)]}
