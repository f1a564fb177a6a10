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
UNLISTED_REFUSALS: Final = frozenset({400, 401, 403, 404, 405, 409, 412, 413, 414, 415, 422, 429})

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
_FLOW_SPECS: Final = (
    "flow-service GET /flowSpecs",
    "flow-service GET /flowSpecs/{FLOW_SPEC_ID}",
    "flow-service POST /flowSpecs/search",
)

DEVIATIONS: Final = (
    Deviation(_CONNECTIONS, 200, "/items/*/auth?", "section 6.2: absent for the Data Landing Zone"),
    Deviation(_CONNECTIONS, 200, "/items/*/auth", "section 13.2: more kinds than those of S3 and SFTP; secrets masked"),
    Deviation(_SOURCES, 200, "/items/*/typeInfo?", "section 6.3: what audience flows have"),
    Deviation(_SOURCES + _TARGETS, 200, "/items/*/inheritedAttributes/baseConnection", "section 6.3: an object"),
    Deviation(_FLOWS, 200, "/items/*/description?", "section 6.1: optional"),
    Deviation(_FLOWS, 200, "/items/*/inheritedAttributes/sourceConnections", "section 6.5: an array"),
    Deviation(_FLOWS, 200, "/items/*/inheritedAttributes/targetConnections", "section 6.5: an array"),
    Deviation(_FLOWS, 200, "/items/*/scheduleParams/interval", "conflict 12: 0 is allowed; conflict 14: 24 too"),
    Deviation(("destinations GET /runs",), 200, "/items/*/metrics/statusSummary/status", "conflict 4: lower case"),
    Deviation(_CONFIGS, 200, "", "section 11: as those of a spec"),
    Deviation(_FLOW_SPECS, 200, "/items/*/transformationSpecs", "section 10: an array"),
)

# Defects of the server that are known and not yet mended. Empty is the aim.
PENDING: Final[tuple[Deviation, ...]] = ()
