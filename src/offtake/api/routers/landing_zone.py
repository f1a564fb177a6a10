"""The landing zone's container and credentials (contract, section 21)."""

import ipaddress
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from offtake.api.describing import admin_examples as examples
from offtake.api.describing.operations import described
from offtake.api.gateway import BackendOf, CallerOf
from offtake.flows import problems, zones
from offtake.flows.access import EXPORT_DATASETS, VIEW_DESTINATIONS
from offtake.flows.problems import Problem
from offtake.flows.zones import CONTAINERS, Credentials

Json = dict[str, Any]

router = APIRouter(tags=["landing zone"])

TypeOf = Annotated[str | None, Query(description="dlz_destination, or user_drop_zone (the default).")]


@router.get("", **described(examples.CONTAINER))
def container(caller: CallerOf, backend: BackendOf, type: TypeOf = None) -> Json:  # noqa: A002 - the contract's name
    """The name of the sandbox's container, and for how many days it keeps a file."""
    caller.require(VIEW_DESTINATIONS)
    days = str(backend.settings.landing_zone_days)
    return {"containerName": CONTAINERS[zones.zone_type(type)], "containerTTL": days}


@router.get("/credentials", **described(examples.CREDENTIALS))
def credentials(request: Request, caller: CallerOf, backend: BackendOf, type: TypeOf = None) -> Json:  # noqa: A002 - as above
    """A shared access signature that reads and lists the container."""
    caller.require(VIEW_DESTINATIONS)
    kind = zones.zone_type(type)
    lifetime = backend.settings.landing_zone_credential_seconds * 1000
    with backend.database.writing() as session:
        return _answer(
            request, zones.credentials(session, caller, backend.vault, kind, backend.clock.now_ms(), lifetime)
        )


@router.post("/credentials", **described(examples.CREDENTIALS))
def refresh(
    request: Request,
    caller: CallerOf,
    backend: BackendOf,
    type: TypeOf = None,  # noqa: A002 - as above
    action: Annotated[str, Query(description="refresh")] = "",
) -> Json:
    """New credentials; the ones before end at once."""
    caller.require(EXPORT_DATASETS)
    if not action.strip():
        raise Problem(problems.PARAMETER_MISSING, "The query parameter action is required: action=refresh.")
    if action.strip().lower() != "refresh":
        raise Problem(problems.UNKNOWN_ACTION, f"The action {action[:100]} is unknown; use refresh.")
    kind = zones.zone_type(type)
    lifetime = backend.settings.landing_zone_credential_seconds * 1000
    with backend.database.writing() as session:
        return _answer(request, zones.refresh(session, caller, backend.vault, kind, backend.clock.now_ms(), lifetime))


def _answer(request: Request, given: Credentials) -> Json:
    return {
        "containerName": given.container,
        "SASToken": given.query,
        "storageAccountName": given.account,
        "SASUri": f"{_address(request, given)}?{given.query}",
        "expiryTime": given.expires_at // 1000,
    }


def _address(request: Request, given: Credentials) -> str:
    """The container on the caller's own origin; where that has no name but a number, clients expect the account too."""
    origin = str(request.base_url).rstrip("/")
    try:
        ipaddress.ip_address(request.base_url.hostname or "")
    except ValueError:
        return f"{origin}/{given.container}"
    return f"{origin}/{given.account}/{given.container}"
