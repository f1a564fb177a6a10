"""The landing zone's container and credentials (contract, section 21)."""

import ipaddress
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from offtake.api.dependencies import BackendOf, CallerOf
from offtake.api.openapi import admin_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DATASETS, VIEW_DESTINATIONS
from offtake.contract.problems import Problem
from offtake.landing_zone import credentials as zone_credentials
from offtake.landing_zone import keys
from offtake.landing_zone.credentials import BucketFolder, S3Credentials
from offtake.landing_zone.keys import Credentials

Json = dict[str, Any]

router = APIRouter(tags=["landing zone"])

TypeOf = Annotated[str | None, Query(description="dlz_destination, or user_drop_zone (the default).")]


@router.get("", **document_operation(examples.CONTAINER))
def container(caller: CallerOf, backend: BackendOf, type: TypeOf = None) -> Json:  # noqa: A002 - the contract's name
    """The name of the sandbox's container, or bucket and folder, and for how many days it keeps a file."""
    caller.require(VIEW_DESTINATIONS)
    kind, days = keys.zone_type(type), backend.settings.landing_zone_retention_days
    place = backend.zone_credentials.place(caller, kind)
    if isinstance(place, BucketFolder):
        return _place(place) | {"dataTTL": {"timeUnit": "days", "timeQuantity": days}}
    return {"containerName": place, "containerTTL": str(days)}


@router.get("/credentials", **document_operation(examples.CREDENTIALS, errors=(502,)))
def credentials(request: Request, caller: CallerOf, backend: BackendOf, type: TypeOf = None) -> Json:  # noqa: A002 - as above
    """The client's own credentials: a shared access signature, or for S3 a session of at most an hour.

    They read and list; they delete for clients that may manage destinations or export datasets.
    """
    caller.require(VIEW_DESTINATIONS)
    caller.require(VIEW_DATASETS)
    kind = keys.zone_type(type)
    return _answer(request, zone_credentials.issue(backend.zone_credentials, caller, kind, backend.clock.now_ms()))


@router.post("/credentials", **document_operation(examples.CREDENTIALS, errors=(502,)))
def refresh(
    request: Request,
    caller: CallerOf,
    backend: BackendOf,
    type: TypeOf = None,  # noqa: A002 - as above
    action: Annotated[str, Query(description="refresh")] = "",
) -> Json:
    """New credentials. The client's signatures from before end; by one that may manage destinations, everybody's.

    Sessions of S3, and one client's signatures at Azure, end when they say: within an hour.
    """
    caller.require(EXPORT_DATASETS, MANAGE_DESTINATIONS)
    caller.require(VIEW_DESTINATIONS)
    caller.require(VIEW_DATASETS)
    if not action.strip():
        raise Problem(problems.PARAMETER_MISSING, "The query parameter action is required: action=refresh.")
    if action.strip().lower() != "refresh":
        raise Problem(problems.UNKNOWN_ACTION, f"The action {action[:100]} is unknown; use refresh.")
    kind = keys.zone_type(type)
    return _answer(request, zone_credentials.refresh(backend.zone_credentials, caller, kind, backend.clock.now_ms()))


def _answer(request: Request, given: Credentials | S3Credentials) -> Json:
    if isinstance(given, S3Credentials):
        secrets = {
            "awsAccessKeyId": given.session.access_key_id,
            "awsSecretAccessKey": given.session.secret_access_key,
            "awsSessionToken": given.session.token,
        }
        ends = {"expiryTime": given.session.expires_at, "endpointUrl": given.endpoint}
        return {"credentials": secrets} | _place(given.place) | ends
    return {
        "containerName": given.container,
        "SASToken": given.query,
        "storageAccountName": given.account,
        "SASUri": f"{given.address or _address(request, given)}?{given.query}",
        "expiryTime": given.expires_at // 1000,
    }


def _place(place: BucketFolder) -> Json:
    """Clients tell the two shapes apart by `dlzProvider`."""
    return {"dlzPath": {"bucketName": place.bucket, "dlzFolder": place.folder}, "dlzProvider": "Amazon S3"}


def _address(request: Request, given: Credentials) -> str:
    """The container on the caller's own origin; where that has no name but a number, clients expect the account too."""
    origin = str(request.base_url).rstrip("/")
    try:
        ipaddress.ip_address(request.base_url.hostname or "")
    except ValueError:
        return f"{origin}/{given.container}"
    return f"{origin}/{given.account}/{given.container}"
