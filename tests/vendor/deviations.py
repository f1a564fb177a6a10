"""Where Offtake's answers differ from the vendor's documents, each with its reason in the contract."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Deviation:
    """Some operations' answers with `status` may differ at `place`, a JSON pointer where `*` is any one step.

    An operation is "<document> <method> <path>", as the extract has them. The place of a missing property is the
    property's and a question mark; an empty place is the status itself or the body as a whole.
    """

    operations: tuple[str, ...]
    status: int
    place: str
    reason: str


# The documents list the refusals of few operations; the contract's sections 3.1 and 4 say which there are.
UNLISTED_REFUSALS: Final = frozenset({400, 401, 403, 404, 405, 409, 412, 413, 414, 415, 416, 422, 429})

# Described as answering with an entity where the contract has a list of them (section 30, row 2).
WRAPPED: Final = frozenset(
    f"destinations GET /{resource}{one}"
    for resource in ("connections", "sourceConnections", "targetConnections")
    for one in ("", "/{id}")
)

_FLOWS: Final = ("destinations GET /flows", "destinations GET /flows/{id}")
# Described as several kinds of entity, of which Offtake serves one.
NARROWED: Final = dict.fromkeys(_FLOWS, "Batch_Flow")

_CONNECTIONS: Final = ("destinations GET /connections", "destinations GET /connections/{id}")
_SOURCES: Final = ("destinations GET /sourceConnections", "destinations GET /sourceConnections/{id}")
_TARGETS: Final = ("destinations GET /targetConnections", "destinations GET /targetConnections/{id}")
_CONFIGS: Final = ("flow-service GET /connections/{BASE_CONNECTION_ID}/configs",)
_READS_TABLES = ("destinations POST /sourceConnections", "data-access GET /datasets/{id}/preview")
_EXPLORED: Final = (
    "flow-service GET /connectionSpecs/{CONNECTION_SPEC_ID}/explore",
    "flow-service GET /connections/{BASE_CONNECTION_ID}/explore",
)
_FLOW_SPECS: Final = (
    "flow-service GET /flowSpecs",
    "flow-service GET /flowSpecs/{FLOW_SPEC_ID}",
    "flow-service POST /flowSpecs/search",
)

_NEW_BATCH: Final = ("batch-ingestion POST /batches",)
_BATCH_ACTION: Final = ("batch-ingestion POST /batches/{batchId}",)
_DATA_FILES: Final = (
    "data-access GET /files/{dataSetFileId}",
    "data-access GET /batches/{batchId}/failed",
    "data-access GET /batches/{batchId}/meta",
)
_SANDBOX: Final = tuple(
    f"sandbox {method} /sandbox-management/sandboxes/{{sandboxName}}" for method in ("GET", "PATCH")
)
_SANDBOX_ENDING: Final = ("sandbox DELETE /sandbox-management/sandboxes/{sandboxName}",)
_ROLE: Final = (
    "access-control POST /administration/roles",
    *(f"access-control {method} /administration/roles/{{ROLE_ID}}" for method in ("GET", "PATCH", "PUT")),
)
_AUDIT: Final = ("audit-query GET /audit/events",)
_LABELS_READ: Final = tuple(f"dataset-service {method} /datasets/{{DATASET_ID}}/labels" for method in ("GET", "PUT"))
_LABELS_ADDED: Final = ("dataset-service POST /datasets/{DATASET_ID}/labels",)
_GUIDES_DATES: Final = "section 26: dates as the guides have them, without zone"
_STATES: Final = "section 26: the states of the guides"

DEVIATIONS: Final = (
    Deviation(_CONNECTIONS, 200, "/items/*/auth?", "section 6.2: absent for the Data Landing Zone"),
    Deviation(_CONNECTIONS, 200, "/items/*/auth", "section 13.2: more kinds than those of S3 and SFTP; secrets masked"),
    Deviation(_SOURCES, 200, "/items/*/typeInfo?", "section 6.3: what audience flows have"),
    Deviation(_SOURCES + _TARGETS, 200, "/items/*/inheritedAttributes/baseConnection", "section 6.3: an object"),
    Deviation(_FLOWS, 200, "/items/*/description?", "section 6.1: optional"),
    Deviation(_FLOWS, 200, "/items/*/inheritedAttributes/sourceConnections", "section 6.5: an array"),
    Deviation(_FLOWS, 200, "/items/*/inheritedAttributes/targetConnections", "section 6.5: an array"),
    Deviation(_FLOWS, 200, "/items/*/scheduleParams/interval", "conflict 12: 0 is allowed; conflict 14: 8 and 24 too"),
    Deviation(("destinations GET /runs",), 200, "/items/*/metrics/statusSummary/status", "conflict 4: lower case"),
    Deviation(_NEW_BATCH, 201, "/status", "section 24: a new batch is loading"),
    Deviation(_BATCH_ACTION, 200, "/status", "section 23.3: more statuses, staged and aborted among them"),
    Deviation(_BATCH_ACTION, 200, "/inputFormat/format", "section 24: csv too"),
    Deviation(
        ("batch-ingestion POST /batches/{batchId}/datasets/{datasetId}/files/{filePath}",),
        201,
        "",
        "section 24: 201 when a large file begins",
    ),
    Deviation(("access-control DELETE /administration/roles/{ROLE_ID}",), 204, "", "section 27: 204, without a body"),
    Deviation(
        ("access-control GET /administration/products/{PRODUCT_ID}/categories",),
        200,
        "/categories",
        "section 27: shapes are not given; there are several categories",
    ),
    Deviation(
        ("access-control GET /administration/products/{PRODUCT_ID}/permission-sets",),
        200,
        "/permission-sets",
        "section 27: shapes are not given; there are several permission sets",
    ),
    Deviation(
        ("sandbox GET /sandbox-management/sandboxTypes",), 200, "/sandboxTypes/*", "section 26: an array of strings"
    ),
    Deviation(("sandbox GET /sandbox-management/",), 200, "/sandboxes/*/createdDate", _GUIDES_DATES),
    Deviation(("sandbox GET /sandbox-management/",), 200, "/sandboxes/*/lastModifiedDate", _GUIDES_DATES),
    Deviation(_NEW_BATCH, 201, "/inputFormat/format", "section 24: csv too"),
    Deviation(_DATA_FILES, 200, "", "section 25: with path, the bytes of the file"),
    Deviation(_SANDBOX, 200, "/createdDate", _GUIDES_DATES),
    Deviation(_SANDBOX, 200, "/lastModifiedDate", _GUIDES_DATES),
    Deviation(_SANDBOX_ENDING, 202, "/state", _STATES),
    Deviation(("sandbox GET /sandbox-management/sandboxes",), 200, "/sandboxes/*/createdDate", _GUIDES_DATES),
    Deviation(("sandbox GET /sandbox-management/sandboxes",), 200, "/sandboxes/*/lastModifiedDate", _GUIDES_DATES),
    Deviation(("sandbox GET /sandbox-management/sandboxes",), 200, "/sandboxes/*/state", _STATES),
    Deviation(_ROLE, 200, "/subjectAttributes/labels", "section 27: a role opens several labels"),
    Deviation(
        ("access-control GET /administration/roles",),
        200,
        "/items/*/subjectAttributes/labels",
        "section 27: a role opens several labels",
    ),
    Deviation(_CONFIGS, 200, "", "section 11: as those of a spec"),
    Deviation(_READS_TABLES, 502, "", "section 3.1: a table is in a catalog of others, which may not answer"),
    Deviation(_EXPLORED, 502, "", "section 21: the zone may be at another provider, which refuses or does not answer"),
    Deviation(_AUDIT, 200, "/_embedded/events/*/action", "revision V9: more actions than the vendor's"),
    Deviation(_AUDIT, 200, "/_embedded/events/*/assetType", "revision V9: more types than the vendor's"),
    Deviation(_LABELS_READ, 404, "/status", "section 4: a problem's status is a number"),
    Deviation(_LABELS_ADDED, 403, "/status", "section 4: a problem's status is a number"),
    Deviation(_FLOW_SPECS, 200, "/items/*/transformationSpecs", "section 10: an array"),
)

# Known defects of the server that are not yet fixed. Empty is the aim.
PENDING: Final[tuple[Deviation, ...]] = ()
