"""The URL prefix of each service, and its tag in error types (contract, sections 1 and 4)."""

from typing import Final

TOKENS: Final = "/ims/token"
FLOW_SERVICE: Final = "/data/foundation/flowservice"
ACTIVATION: Final = "/data/core/activation/disflowprovider"
LANDING_ZONE: Final = "/data/foundation/connectors/landingzone"
CATALOG: Final = "/data/foundation/catalog"
DATASETS: Final = "/data/foundation/dataset"
INGESTION: Final = "/data/foundation/import"
DATA_ACCESS: Final = "/data/foundation/export"
SANDBOXES: Final = "/data/foundation/sandbox-management"
ACCESS_CONTROL: Final = "/data/foundation/access-control"
AUDIT: Final = "/data/foundation/audit"
AUDIT_FILE: Final = f"{AUDIT}/files/export.csv"

_TAGS: Final = {
    CATALOG: "CATALOG",
    DATASETS: "DATASET",
    INGESTION: "INGEST",
    DATA_ACCESS: "ACCESS",
    SANDBOXES: "SMS",
    ACCESS_CONTROL: "ACL",
    AUDIT: "AUDIT",
    LANDING_ZONE: "ZONE",
}


_PREFIXES: Final = (FLOW_SERVICE, ACTIVATION, *_TAGS)


def service_prefix(path: str) -> str:
    """The URL prefix of the service that the path belongs to; empty for paths outside of the services."""
    return next((prefix for prefix in _PREFIXES if path.startswith(f"{prefix}/")), "")


def error_tag(path: str) -> str:
    """The tag of the service that the path belongs to: the first word of an error type."""
    return next((tag for prefix, tag in _TAGS.items() if path.startswith(prefix)), "FLOW")
