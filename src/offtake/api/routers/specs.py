"""Connection specs, flow specs, and the datasets that can be exported (contract, sections 8, 10 and 12)."""

from typing import Any

from fastapi import APIRouter, Request

from offtake.api import lists
from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.lists import ListOf
from offtake.api.openapi import examples, spec_examples
from offtake.api.openapi.operations import document_operation
from offtake.contract.caller import VIEW_DATASETS, VIEW_DESTINATIONS
from offtake.contract.listing import ListQuery, Page
from offtake.documents import Json
from offtake.flows import eligible_datasets, exploration, specs

router = APIRouter(tags=["specs"])


@router.get("/connectionSpecs", **document_operation(examples.page(spec_examples.CONNECTION_SPEC, "")))
def connection_specs(caller: CallerOf, params: ListOf) -> Json:
    """List all connection specs, in one page."""
    caller.require(VIEW_DESTINATIONS)
    return _answer(specs.connection_specs(), params.query())


@router.get("/connectionSpecs/{spec_id}", **document_operation(examples.one(spec_examples.CONNECTION_SPEC)))
def connection_spec(caller: CallerOf, spec_id: str) -> Json:
    """Get a connection spec."""
    caller.require(VIEW_DESTINATIONS)
    return {"items": [specs.connection_spec(spec_id)]}


@router.get("/connectionSpecs/{spec_id}/configs", **document_operation(spec_examples.CONFIGS))
def configs(caller: CallerOf, backend: BackendOf, spec_id: str, request: Request) -> Json:
    """List the datasets that can be exported."""
    caller.require(VIEW_DESTINATIONS)
    caller.require(VIEW_DATASETS)
    query = request.query_params.multi_items()
    return eligible_datasets.page(backend.database, backend.lake, caller, spec_id, query)


@router.get("/connectionSpecs/{spec_id}/explore", **document_operation(examples.EXPLORED, errors=(502,)))
def explore(caller: CallerOf, backend: BackendOf, spec_id: str, request: Request) -> list[Json]:
    """List a folder of the landing zone."""
    exploration.check_spec(caller, spec_id)
    return exploration.explore(backend.sandbox_location(caller), request.query_params)


@router.post("/connectionSpecs", **document_operation(body={"type": "object"}))
def create_connection_spec(caller: CallerOf, _body: JsonBody) -> Json:
    """Create a connection spec; always refused, because specs are built in."""
    specs.refuse_writing(caller)


@router.put("/connectionSpecs/{spec_id}", **document_operation(body={"type": "object"}))
def update_connection_spec(caller: CallerOf, spec_id: str, _body: JsonBody) -> Json:
    """Replace a connection spec; always refused, because specs are built in."""
    specs.connection_spec(spec_id)
    specs.refuse_writing(caller)


@router.get("/flowSpecs", **document_operation(examples.page(spec_examples.FLOW_SPEC, "")))
def flow_specs(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """List all flow specs, in one page."""
    caller.require(VIEW_DESTINATIONS)
    return _answer(specs.flow_specs(backend.schedule_rules), params.query())


@router.post(
    "/flowSpecs/search",
    **document_operation(
        examples.page(spec_examples.FLOW_SPEC, ""), body=lists.SearchBody, body_example=lists.SEARCH_EXAMPLE
    ),
)
def search_flow_specs(caller: CallerOf, backend: BackendOf, body: JsonBody) -> Json:
    """Search flow specs; as the list, with the query in the body."""
    caller.require(VIEW_DESTINATIONS)
    return _answer(specs.flow_specs(backend.schedule_rules), lists.search_query(body, None))


@router.get("/flowSpecs/{spec_id}", **document_operation(examples.one(spec_examples.FLOW_SPEC)))
def flow_spec(caller: CallerOf, backend: BackendOf, spec_id: str) -> Json:
    """Get a flow spec."""
    caller.require(VIEW_DESTINATIONS)
    return {"items": [specs.flow_spec(spec_id, backend.schedule_rules)]}


def _answer(every: list[Json], query: ListQuery) -> Json:
    """One page of all specs, regardless of the limit: clients search it for a spec by name."""
    found = specs.find_specs(every, query.expressions)
    page: Page[Any] = Page([], total=len(found)) if query.count else Page(found)
    return lists.answer("", query, page, lambda found: found)
