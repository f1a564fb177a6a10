"""The landing zone's container and credentials (contract, section 21)."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from offtake.api.dependencies import BackendOf, CallerOf
from offtake.api.openapi import admin_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DATASETS, VIEW_DESTINATIONS
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.landing_zone import credentials as zone_credentials
from offtake.landing_zone import keys
from offtake.landing_zone.credentials import BucketFolder, S3Credentials
from offtake.landing_zone.keys import Credentials

router = APIRouter(tags=["landing zone"])

TypeOf = Annotated[str | None, Query(description="dlz_destination, or user_drop_zone (the default).")]


@router.get("", **document_operation(examples.CONTAINER))
def container(caller: CallerOf, backend: BackendOf, type: TypeOf = None) -> Json:  # noqa: A002 - the contract's name
    """Get the sandbox's container, or bucket and folder, and the retention of its files in days."""
    caller.require(VIEW_DESTINATIONS)
    kind, days = keys.zone_type(type), backend.settings.landing_zone_retention_days
    place = backend.zone_credentials.place(caller, kind)
    if isinstance(place, BucketFolder):
        return _place(place) | {"dataTTL": {"timeUnit": "days", "timeQuantity": days}}
    return {"containerName": place, "containerTTL": str(days)}


@router.get("/credentials", **document_operation(examples.CREDENTIALS, errors=(502,)))
def credentials(request: Request, caller: CallerOf, backend: BackendOf, type: TypeOf = None) -> Json:  # noqa: A002 - as above
    """Get the client's credentials: a shared access signature, or an S3 session of at most an hour.

    They allow to read and list; to delete only for clients that may manage destinations or export datasets.
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
    """Refresh credentials: revokes earlier signatures of the client (of all clients, by one that manages destinations).

    S3 sessions, and at Azure the signatures of one client, are not revoked: they expire within an hour.
    """
    caller.require(EXPORT_DATASETS, MANAGE_DESTINATIONS)
    caller.require(VIEW_DESTINATIONS)
    caller.require(VIEW_DATASETS)
    if not action.strip():
        raise Problem(problems.PARAMETER_MISSING, "The query parameter action is required: action=refresh.")
    if action.strip().lower() != "refresh":
        raise Problem(problems.UNKNOWN_ACTION, f"Unknown action {action[:100]}; use refresh.")
    kind = keys.zone_type(type)
    return _answer(request, zone_credentials.refresh(backend.zone_credentials, caller, kind, backend.clock.now_ms()))


def _answer(request: Request, issued: Credentials | S3Credentials) -> Json:
    if isinstance(issued, S3Credentials):
        secrets = {
            "awsAccessKeyId": issued.session.access_key_id,
            "awsSecretAccessKey": issued.session.secret_access_key,
            "awsSessionToken": issued.session.token,
        }
        expiry = {"expiryTime": issued.session.expires_at, "endpointUrl": issued.endpoint}
        return {"credentials": secrets} | _place(issued.place) | expiry
    return {
        "containerName": issued.container,
        "SASToken": issued.query,
        "storageAccountName": issued.account,
        "SASUri": zone_credentials.address_of(issued, str(request.base_url).rstrip("/")),
        "expiryTime": issued.expires_at // 1000,
    }


def _place(place: BucketFolder) -> Json:
    """The location of an S3 landing zone; clients recognise this format by `dlzProvider`."""
    return {"dlzPath": {"bucketName": place.bucket, "dlzFolder": place.folder}, "dlzProvider": "Amazon S3"}
