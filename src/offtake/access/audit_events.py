"""Audit events as the API and the command line show them: the vendor's fields and Offtake's extensions."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from offtake.documents import Json
from offtake.store.tables import AuditEvent

FAILED: Final = "fail"
"""The only action that reports a failure; the others are recorded after they succeeded."""
SUCCESS: Final = "Success"
FAILURE: Final = "Failure"

ASSET_TYPES: Final = {
    "flows": "Destination",
    "connections": "Destination Account",
    "sourceConnections": "Source Connection",
    "targetConnections": "Target Connection",
    "dataSets": "Dataset",
    "lakeCatalogs": "Catalog",
    "quotas": "Quota",
    "keptNamespaces": "Namespace",
    "batches": "Batch",
    "roles": "Role",
    "clients": "Client",
    "sandboxes": "Sandbox",
    "landingZoneCredentials": "Landing Zone Credentials",
    "landingZoneFiles": "Landing Zone File",
    "managedResources": "Managed Set",
    "alertChannels": "Alert Channel",
    "alertRules": "Alert Rule",
    "alertMessages": "Alert Message",
}
"""The vendor's name of each stored resource type, or a name in its style."""

WORDS: Final[Mapping[str, str]] = {
    "flows": "dataflow",
    "connections": "account",
    "batches": "import",
    "dataSets": "dataset",
    "lakeCatalogs": "catalog",
    "quotas": "quota",
    "keptNamespaces": "namespace",
    "roles": "role",
    "clients": "client",
    "sandboxes": "sandbox",
    "targetConnections": "place",
    "sourceConnections": "choice of datasets",
    "landingZoneCredentials": "landing zone credentials",
    "landingZoneFiles": "landing zone file",
    "managedResources": "set of files",
    "alertChannels": "alert channel",
    "alertRules": "alert rule",
    "alertMessages": "alert",
}
"""The pages' word for each resource type; the most telling first, which names a group."""

_COLUMNS: Final = (
    "id", "timestamp", "userEmail", "userIpAddresses", "action", "assetType", "assetId", "assetName", "status",
    "failureCode", "imsOrgId", "sandboxName", "requestId", "clientId", "before", "after",
)  # fmt: skip


def render(row: AuditEvent) -> Json:
    """The event as a JSON document. `clientId`, `before` and `after` are extensions."""
    return {
        "id": row.id,
        "timestamp": _timestamp(row.at),
        "userEmail": row.account_id,
        "userIpAddresses": [row.remote] if row.remote else [],
        "action": row.action.title(),
        "assetType": ASSET_TYPES.get(row.resource_type, row.resource_type),
        "assetId": row.resource_id,
        **({} if row.resource_name is None else {"assetName": row.resource_name}),
        "status": FAILURE if row.action == FAILED else SUCCESS,
        "failureCode": _failure_code(row),
        "imsOrgId": row.org_id,
        **({} if row.sandbox_name is None else {"sandboxName": row.sandbox_name}),
        "requestId": row.request_id,
        "enhancedEvents": [],
        "clientId": row.client_id,
        "before": row.before,
        "after": row.after,
    }


def to_csv(rows: Iterable[AuditEvent]) -> str:
    """The events as a CSV file with a header line; lists and documents are JSON in their cells."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    for row in rows:
        event = render(row)
        writer.writerow(_cell(event.get(name)) for name in _COLUMNS)
    return file.getvalue()


def _cell(value: Any) -> str:  # noqa: ANN401 - any value of an event
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _timestamp(epoch_ms: int) -> str:
    """The instant in UTC in the vendor's format, for example 2026-03-01T12:00:00.000+0000."""
    seconds, milliseconds = divmod(epoch_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03}+0000"


def _failure_code(row: AuditEvent) -> str:
    """The code of a failed flow's first error; empty for successful actions."""
    errors = (row.after or {}).get("errors") if row.action == FAILED else None
    return str(errors[0].get("code", "")) if errors else ""
