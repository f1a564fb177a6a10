"""Invented examples of landing zones, sandboxes, roles and the audit log (contract, sections 21, 26 and 27)."""

from typing import Final

from offtake.api.openapi.examples import STAMP
from offtake.documents import Json

_ACCOUNT: Final = STAMP["createdBy"]
_SAS: Final = "sv=2022-11-02&si=dlz-b1f4060b-5a4c-4f5e-9d7b-0b8d7c2f1a55&sr=c&sp=rdl&se=2026-05-30T12%3A00%3A00Z&sig=…"

CONTAINER: Final[Json] = {"containerName": "dlz-destination", "containerTTL": "7"}
CREDENTIALS: Final[Json] = {
    "containerName": "dlz-destination",
    "SASToken": _SAS,
    "storageAccountName": "dlz7dfdcd300a0941ea8ea6",
    "SASUri": f"https://offtake.example.org/dlz-destination?{_SAS}",
    "expiryTime": 1780142400,
}

NEW_SANDBOX: Final[Json] = {"name": "dev", "title": "Development", "type": "development"}
SANDBOX: Final[Json] = {
    "id": "7dfdcd30-0a09-41ea-8ea6-7bf93ce86c28",
    "name": "dev",
    "title": "Development",
    "state": "active",
    "type": "development",
    "region": "local",
    "isDefault": False,
    "eTag": 2,
    "etag": 2,
    "createdDate": "2026-03-01 12:00:00",
    "lastModifiedDate": "2026-03-02 09:30:00",
    "createdBy": _ACCOUNT,
    "modifiedBy": _ACCOUNT,
}
_PAGE_LINK: Final[Json] = {"page": {"href": "/…?limit={limit}&offset={offset}", "templated": True}}
SANDBOXES: Final[Json] = {"sandboxes": [SANDBOX], "_page": {"limit": 200, "count": 1}, "_links": _PAGE_LINK}
SANDBOX_TYPES: Final[Json] = {"sandboxTypes": ["production", "development"]}

REFERENCE: Final[Json] = {
    "permissions": {"view-datasets": {"datasets": ["read"], "dataset-data": ["read"], "schemas": ["read"]}},
    "resource-types": {"datasets": ["read", "write", "delete"]},
}
ASKED_POLICIES: Final = ["/permissions/view-destinations", "/resource-types/datasets"]
POLICIES: Final[Json] = {"policies": {"/permissions/view-destinations": ["*"], "/resource-types/datasets": ["read"]}}

NEW_ROLE: Final[Json] = {
    "name": "Exporters",
    "description": "Export datasets from prod.",
    "roleType": "user-defined",
    "permissionSets": ["view-destinations", "view-datasets", "manage-and-activate-dataset-destinations"],
    "sandboxes": ["prod"],
    "subjectAttributes": {"labels": ["core/C1"]},
}
ROLE: Final[Json] = {
    "id": "3dfa045d-de58-4dfd-8ea9-e4e2c1b6d809",
    "recordType": "role",
    **NEW_ROLE,
    "imsOrgID": STAMP["imsOrgId"],
    "createdBy": _ACCOUNT,
    "createdAt": STAMP["createdAt"],
    "modifiedBy": _ACCOUNT,
    "modifiedAt": STAMP["updatedAt"],
}
ROLE_PATCH: Final[Json] = {"op": "add", "path": "/permissionSets", "value": "view-sandboxes"}
SUBJECT_PATCH: Final[Json] = {"op": "add", "path": "/user", "value": _ACCOUNT}
_SUBJECT: Final[Json] = {
    "roleId": ROLE["id"],
    "subjectId": _ACCOUNT,
    "subjectType": "user",
    "clientId": STAMP["createdClient"],
    "name": "partner",
}
_LISTED: Final[Json] = {"_page": {"start": 0, "limit": 20, "count": 1}, "_links": {"self": {"href": "/…"}}}
ROLES: Final[Json] = {"items": [ROLE], **_LISTED}
SUBJECTS: Final[Json] = {"items": [_SUBJECT], **_LISTED}
PATCHED_SUBJECTS: Final[Json] = {"subjects": [_SUBJECT], **_LISTED}
NO_POLICIES: Final[Json] = {"items": [], **_LISTED}
PRODUCTS: Final[Json] = {"products": [{"id": "offtake", "name": "Offtake", "serviceCode": "offtake"}]}
CATEGORIES: Final[Json] = {"categories": [{"name": "Destinations"}]}
PERMISSION_SETS: Final[Json] = {
    "permission-sets": [
        {
            "id": "view-datasets",
            "name": "View Datasets",
            "category": "Data Management",
            "permissions": [{"resource": "datasets", "actions": ["read"]}],
        }
    ]
}

_QUERY_ID: Final = "eyJwIjogW10sICJvIjogIi10aW1lc3RhbXAifQ"
_EVENTS_URL: Final = "https://offtake.example.com/data/foundation/audit/events"

EVENTS: Final[Json] = {
    "_embedded": {
        "events": [
            {
                "id": "01KJM8QF0G3V9T5Y7W2Z4X6A8B",
                "timestamp": "2026-03-01T12:00:00.000+0000",
                "userEmail": _ACCOUNT,
                "userIpAddresses": ["203.0.113.7"],
                "action": "Update",
                "assetType": "Destination",
                "assetId": "d4eb9e2a-1c8b-4f0e-9a57-0a6f2c3b1d11",
                "assetName": "Loyalty to partner",
                "status": "Success",
                "failureCode": "",
                "imsOrgId": STAMP["imsOrgId"],
                "sandboxName": "prod",
                "requestId": "kZ0c3",
                "enhancedEvents": [],
                "clientId": STAMP["createdClient"],
                "before": {"name": "Loyalty"},
                "after": {"name": "Loyalty to partner"},
            }
        ]
    },
    "_links": {
        "self": {"href": _EVENTS_URL},
        "next": {"href": f"{_EVENTS_URL}?queryId={_QUERY_ID}&start=1&limit=1"},
        "page": {"href": f"{_EVENTS_URL}?queryId={_QUERY_ID}&limit=1{{&start}}", "templated": True},
    },
    "page": {"size": 1, "totalElements": 2, "totalPages": 2, "number": 1},
    "queryId": _QUERY_ID,
}
