"""Connection specs, flow specs, and the datasets that can be exported (contract, sections 8, 10 and 12)."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from offtake.api.gateway import BackendOf, CallerOf
from offtake.flows import eligible, specs
from offtake.flows.access import VIEW_DATASETS, VIEW_DESTINATIONS

Json = dict[str, Any]

router = APIRouter(tags=["specs"])


@router.get("/connectionSpecs")
def connection_specs(caller: CallerOf, property: Annotated[list[str] | None, Query()] = None) -> Json:  # noqa: A002 - the contract's name
    """Every connection spec, in one page."""
    caller.require(VIEW_DESTINATIONS)
    return _all(specs.matching(specs.connection_specs(), property or []))


@router.get("/connectionSpecs/{spec_id}")
def connection_spec(caller: CallerOf, spec_id: str) -> Json:
    """One connection spec."""
    caller.require(VIEW_DESTINATIONS)
    return {"items": [specs.connection_spec(spec_id)]}


@router.get("/connectionSpecs/{spec_id}/configs")
def configs(caller: CallerOf, backend: BackendOf, spec_id: str, request: Request) -> Json:
    """The datasets that can be exported."""
    caller.require(VIEW_DESTINATIONS)
    caller.require(VIEW_DATASETS)
    with backend.database.reading() as session:
        return eligible.datasets(session, caller, spec_id, dict(request.query_params))


@router.get("/flowSpecs")
def flow_specs(caller: CallerOf, property: Annotated[list[str] | None, Query()] = None) -> Json:  # noqa: A002 - the contract's name
    """Every flow spec, in one page."""
    caller.require(VIEW_DESTINATIONS)
    return _all(specs.matching(specs.flow_specs(), property or []))


@router.get("/flowSpecs/{spec_id}")
def flow_spec(caller: CallerOf, spec_id: str) -> Json:
    """One flow spec."""
    caller.require(VIEW_DESTINATIONS)
    return {"items": [specs.flow_spec(spec_id)]}


def _all(items: list[Json]) -> Json:
    return {"items": items, "_links": {}, "count": len(items)}
