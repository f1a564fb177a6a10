"""Flows (contract, section 13.4)."""

from typing import Any

from fastapi import APIRouter

from offtake.api import lists
from offtake.api.gateway import BackendOf, CallerOf, JsonBody
from offtake.api.lists import ListOf, Token
from offtake.flows import dataflows, entities, reading
from offtake.flows.access import VIEW_DESTINATIONS

Json = dict[str, Any]

router = APIRouter(tags=["flows"])


@router.post("/flows", status_code=201)
def create(caller: CallerOf, backend: BackendOf, body: JsonBody) -> Json:
    """Start delivering."""
    with backend.database.writing() as session:
        row = dataflows.create(session, caller, body, backend.clock.now_ms(), backend.schedule_rules)
        return entities.created(row)


@router.get("/flows")
def list_all(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """The sandbox's flows."""
    caller.require(VIEW_DESTINATIONS)
    query = params.query()
    with backend.database.reading() as session:
        page = reading.flows(session, caller, query)
        return lists.answer("/flows", query, page, lambda row: dataflows.render(session, row, caller))


@router.post("/flows/search")
def search(caller: CallerOf, backend: BackendOf, body: JsonBody, token: Token = None) -> Json:
    """The list, asked for in a body."""
    caller.require(VIEW_DESTINATIONS)
    query = lists.search_query(body, token)
    with backend.database.reading() as session:
        page = reading.flows(session, caller, query)
        return lists.answer("/flows/search", query, page, lambda row: dataflows.render(session, row, caller))


@router.get("/flows/{flow_id}")
def get(caller: CallerOf, backend: BackendOf, flow_id: str) -> Json:
    """One flow."""
    caller.require(VIEW_DESTINATIONS)
    with backend.database.reading() as session:
        return {"items": [dataflows.render(session, reading.flow(session, caller, flow_id), caller)]}
