"""Invented examples of Flow Service's bodies and responses (contract, sections 6.6, 13 and 17)."""

from typing import Final

from offtake.documents import Json

DATASET_ID: Final = "65f0c2a1b4d3e2f1a0b9c8d7"
FLOW_ID: Final = "d4eb9e2a-1c8b-4f0e-9a57-0a6f2c3b1d11"
_SOURCE_ID: Final = "a1f8c7f2-6f0b-4a53-8a44-3f1f0a9b2c22"
_TARGET_ID: Final = "c3dab7f1-5f0b-4a53-8a44-3f1f0a9b2c33"
_BASE_ID: Final = "b2c9a6f0-4f0b-4a53-8a44-3f1f0a9b2c44"
_RUN_ID: Final = "88d6da63-dc97-460e-b781-fc795a7386d9"
_ETAG: Final = '"26013a41-0000-4200-8000-6361687a0000"'
_LAKE: Final[Json] = {"id": "23598e46-f560-407b-88d5-ea6207e49db0", "version": "1.0"}
_S3: Final[Json] = {"id": "4fce964d-3f37-408f-9778-e597338a21ee", "version": "1.0"}
_FLOW_SPEC: Final[Json] = {"id": "269ba276-16fc-47db-92b0-c1049a3c131f", "version": "1.0"}

STAMP: Final[Json] = {
    "createdAt": 1772343000123,
    "updatedAt": 1772343000123,
    "createdBy": "0A4334FA556585B77F000101@AdobeID",
    "updatedBy": "0A4334FA556585B77F000101@AdobeID",
    "createdClient": "7f3c0d9e5b1a4c2f8e6d0b9a8c7f6e5d",
    "updatedClient": "7f3c0d9e5b1a4c2f8e6d0b9a8c7f6e5d",
    "sandboxId": "7dfdcd30-0a09-41ea-8ea6-7bf93ce86c28",
    "sandboxName": "prod",
    "imsOrgId": "5555467B5D8013E50A494220@AdobeOrg",
}
_HEAD: Final[Json] = {**STAMP, "description": "A note", "state": "enabled", "version": _ETAG, "etag": _ETAG}
_BASE: Final[Json] = {"id": _BASE_ID, "connectionSpec": _S3}
_INHERITED: Final[Json] = {"inheritedAttributes": {"baseConnection": _BASE}}

CHANGED: Final[Json] = {"id": FLOW_ID, "etag": _ETAG}

NEW_CONNECTION: Final[Json] = {
    "name": "Partner's bucket",
    "connectionSpec": _S3,
    "auth": {
        "specName": "Access Key",
        "params": {"s3AccessKey": "AKIAIOSFODNN7EXAMPLE", "s3SecretKey": "40 characters"},
    },
}
# The beginning of every such key: the Base64 form of "-----BEGIN PGP PUBLIC KEY BLOCK-----".
_PUBLIC_KEY: Final = "LS0tLS1CRUdJTiBQR1AgUFVCTElDIEtFWSBCTE9DSy0tLS0t"
CONNECTION: Final[Json] = {
    "id": _BASE_ID,
    **_HEAD,
    "name": "Partner's bucket",
    "connectionSpec": _S3,
    "auth": {
        "specName": "Access Key",
        "params": {"authorizedDate": "2026-03-01", "s3AccessKey": "AKIAIOSFODNN7EXAMPLE", "s3SecretKey": "********"},
    },
    "encryption": {"specName": "File Encryption", "params": {"encryptionAlgo": "PGP/GPG", "publicKey": _PUBLIC_KEY}},
}
NEW_SOURCE: Final[Json] = {
    "name": "Loyalty members",
    "connectionSpec": _LAKE,
    "params": {"datasets": [{"dataSetId": DATASET_ID, "name": "Loyalty members"}]},
}
SOURCE: Final[Json] = {
    "id": _SOURCE_ID,
    **_HEAD,
    **NEW_SOURCE,
    "baseConnectionId": "3c7dc58e-a1ee-4e29-b3b2-a7757fb82044",
    "data": {"format": "parquet"},
    "inheritedAttributes": {"baseConnection": {"id": "3c7dc58e-a1ee-4e29-b3b2-a7757fb82044", "connectionSpec": _LAKE}},
}
NEW_TARGET: Final[Json] = {
    "name": "Partner's folder",
    "baseConnectionId": _BASE_ID,
    "connectionSpec": _S3,
    "params": {
        "mode": "Server-to-server",
        "bucketName": "partner-exports",
        "path": "exports/crm",
        "compression": "GZIP",
        "datasetFileType": "JSON",
    },
}
TARGET: Final[Json] = {"id": _TARGET_ID, **_HEAD, **NEW_TARGET, "data": {"outputType": "DATASET_EXPORT"}, **_INHERITED}
_SCHEDULE: Final[Json] = {
    "exportMode": "FIRST_FULL_THEN_INCREMENTAL",
    "timeUnit": "hour",
    "interval": 3,
    "startTime": 1772344800,
    "endTime": 1788240660,
    "foldernameTemplate": "%DATASET_ID%/%EXPORT_TIME%",
}
NEW_FLOW: Final[Json] = {
    "name": "Loyalty to partner",
    "flowSpec": _FLOW_SPEC,
    "sourceConnectionIds": [_SOURCE_ID],
    "targetConnectionIds": [_TARGET_ID],
    "transformations": [],
    "scheduleParams": _SCHEDULE,
}
FLOW: Final[Json] = {
    "id": FLOW_ID,
    **_HEAD,
    **NEW_FLOW,
    "inheritedAttributes": {
        "properties": {"isDestinationFlow": True},
        "sourceConnections": [{"id": _SOURCE_ID, "connectionSpec": _LAKE}],
        "targetConnections": [
            {
                "id": _TARGET_ID,
                "connectionSpec": _S3,
                "baseConnection": _BASE,
                "data": {"outputType": "DATASET_EXPORT"},
            }
        ],
    },
    "runs": f"/runs?property=flowId=={FLOW_ID}",
    "labels": ["core/C12"],
    "policy": {"enforcementRefs": ["/dulepolicy/marketingActions/exportToThirdParty"]},
    "lastOperation": {
        "started": 1772343060731,
        "updated": 1772343060731,
        "percentCompleted": 100,
        "status": {"value": "completed", "properties": None, "errors": []},
        "ops": [{"op": "replace", "path": "/name", "value": "Loyalty to partner"}],
        "operation": "update",
    },
    "lastRunDetails": {
        "id": _RUN_ID,
        "state": "success",
        "startedAtUTC": 1772344801888,
        "completedAtUTC": 1772344806906,
    },
    "extensions": {
        "endTimeDefaulted": False,
        "ended": False,
        "nextRunAt": 1772355600000,
        "consecutiveFailures": 0,
        "freshWithinSeconds": 14_400,
        "deliveredUpToUTC": 1772344801888,
        "lateSinceUTC": None,
    },
}
PATCH: Final[list[Json]] = [{"op": "replace", "path": "/scheduleParams", "value": {"interval": 6}}]
PATCH_SCHEMA: Final[Json] = {
    "type": "array",
    "minItems": 1,
    "maxItems": 100,
    "items": {
        "type": "object",
        "properties": {
            "op": {"type": "string", "description": "add, replace or remove, in any letter case"},
            "path": {"type": "string", "description": "A JSON pointer such as /name"},
            "value": {"description": "Any JSON value; optional for remove"},
        },
        "required": ["op", "path"],
    },
}
CONNECTION_DRAFT: Final[Json] = {
    "connection": NEW_CONNECTION,
    "params": {"bucketName": "partner-exports", "path": "exports/crm"},
}
TESTED: Final[Json] = {
    "result": False,
    "errors": [{"code": "EXPORT-2001-403", "message": "The bucket refused the upload."}],
}
EXPLORED: Final[list[Json]] = [
    {"type": "folder", "name": "crm", "path": "/exports/crm", "canPreview": False, "canFetchSchema": False}
]


def one(item: Json) -> Json:
    """The response to reading one entity."""
    return {"items": [item]}


def page(item: Json, path: str) -> Json:
    """One page of a list, with the link to the next one."""
    return {"items": [item], "_links": {"next": {"href": f"{path}?continuationToken=eyJsIjoxfQ"}}, "count": 1}
