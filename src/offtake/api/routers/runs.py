"""Runs (contract, section 17)."""

from typing import Any

from fastapi import APIRouter

from offtake.api import lists
from offtake.api.gateway import BackendOf, CallerOf
from offtake.api.lists import ListOf
from offtake.flows import reading, runs
from offtake.flows.access import VIEW_DESTINATIONS

Json = dict[str, Any]

router = APIRouter(tags=["runs"])


@router.get("/runs")
def list_all(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """The sandbox's runs; `property=flowId==<id>` for those of a flow."""
    caller.require(VIEW_DESTINATIONS)
    query = params.query()
    with backend.database.reading() as session:
        page = reading.runs(session, caller, query)
        return lists.answer("/runs", query, page, lambda row: runs.render(session, row, caller))


@router.get("/runs/{run_id}")
def get(caller: CallerOf, backend: BackendOf, run_id: str) -> Json:
    """One run."""
    caller.require(VIEW_DESTINATIONS)
    with backend.database.reading() as session:
        return {"items": [runs.render(session, reading.run(session, caller, run_id), caller)]}
