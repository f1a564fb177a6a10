"""Errors of requests: one table of codes, one exception (contract, section 4).

`docs/errors.md` is generated from this table.
"""

from dataclasses import dataclass, field
from typing import Final

from offtake.errors import FieldProblem, InvalidInputError, OfftakeError


@dataclass(frozen=True)
class Code:
    """An error code of the contract: number, HTTP status, when it is raised, and title.

    `remedy`: what the caller or the operator should do. `retry`: whether the same request can succeed later.
    """

    number: int
    status: int
    when: str
    title: str = "Invalid request"
    remedy: str = "Correct the request as the message says."
    retry: bool = False


_HEADER: Final = "Header is missing"

INTERNAL: Final = Code(
    1400,
    500,
    "unexpected error; the server's log has the details",
    "Internal Error",
    remedy="Look up the request id in the server's log, and report the error.",
)
COUNT_AND_LIMIT: Final = Code(1401, 400, "`limit` and `count=true` are both sent")
NOT_A_PROVIDER: Final = Code(1402, 400, "an action is for providers of connectors only")
NO_IF_MATCH: Final = Code(
    1403,
    400,
    "`If-Match` is required, and missing both as a header and in the query",
    _HEADER,
    remedy="Send the resource's `etag` as `If-Match`.",
)
OTHER_VERSION: Final = Code(
    1404,
    412,
    "`If-Match` is not the entity's version",
    "Version not matching",
    remedy="Read the resource again, and send its `etag`.",
)
EMPTY_BODY: Final = Code(1405, 400, "the body is empty, malformed, or not JSON of the required kind")
BAD_ACTION: Final = Code(1406, 400, "`op` and `subOp` of an action do not match")
STATE_IN_CREATE: Final = Code(1410, 400, "`state` is sent in the creation of a flow")
UNKNOWN_SPEC: Final = Code(1413, 400, "a spec id is unknown, or of the wrong kind")
OTHER_SPEC: Final = Code(1414, 400, "a connection's spec would change, or differs from its base connection's")
UNKNOWN_AUTH: Final = Code(1415, 400, "`auth.specName` is not one of the connection spec's")
BASE_IN_USE: Final = Code(1418, 400, "deletion of a base connection that flows use", remedy="Delete the flows first.")
NOT_UPDATABLE: Final = Code(1420, 400, "the field or resource cannot be changed")
WRONG_ACTION: Final = Code(
    1422,
    400,
    "the action is not allowed in the current state",
    remedy="Read the state, and choose an action that it allows.",
)
NO_SPEC_WRITES: Final = Code(1426, 400, "a user token creates or changes a spec")
NO_RUN_WRITES: Final = Code(1427, 400, "a user token changes a run")
FLOW_NOT_FOUND: Final = Code(
    1430, 400, "a flow that a request refers to does not exist", remedy="Correct the flow's id."
)
ORDER_FORM: Final = Code(1432, 400, "`orderby` is malformed")
ORDER_FIELD: Final = Code(1433, 400, "`orderby` names a field that lists cannot be ordered by")
PATCH_OP: Final = Code(1434, 400, "a patch has an `op` other than add, replace, remove")
UNKNOWN_ACTION: Final = Code(1435, 400, "an action is unknown")
SUB_ACTION: Final = Code(1436, 400, "`subOp` is not allowed with this `op`")
NOT_FOUND: Final = Code(
    1439,
    404,
    "the resource does not exist, or the caller may not see it",
    "Resource not found",
    remedy="Check the id, the sandbox in the headers, and the caller's roles and labels.",
)
FILTER_TILDE: Final = Code(1440, 400, "a filter uses the operator `~`")
FILTER_VALUES: Final = Code(1443, 400, "an operator other than `==` has several values")
WRONG_FLOW_STATE: Final = Code(
    1444, 400, "a flow is not in the required state", remedy="Enable or disable the flow first."
)
IN_USE: Final = Code(
    1447,
    400,
    "deletion of a source, target or base connection that is in use, or of a target connection with files that are "
    "still to be removed",
    remedy="Delete the flows first; wait until the files are removed, or send `force=true` to leave them there.",
)
FILTER_KIND: Final = Code(1448, 400, "an operator is not allowed for the field")
FILTER_FIELD: Final = Code(1449, 400, "a filter names an unknown field")
FILTER_OPERATOR: Final = Code(1450, 400, "a filter has an unknown operator")
UNKNOWN_PARAMETER: Final = Code(1451, 400, "a query parameter is unknown")
BAD_VALUE: Final = Code(1452, 400, "a field has an invalid value")
EMPTY_VALUE: Final = Code(1453, 400, "a filter has no value")
BAD_VALUE_TYPE: Final = Code(1454, 400, "a filter's value is of the wrong type")
MISSING_FIELD: Final = Code(1455, 400, "a required field is missing, or a patch's path does not exist")
NO_SPEC_VERSION: Final = Code(1455, 422, "`connectionSpec.version` is missing")
BAD_STATE: Final = Code(1456, 400, "a request sets a state that only actions can set")
SANDBOX_NOT_FOUND: Final = Code(
    2100,
    404,
    "the sandbox does not exist, or is not active",
    "Sandbox not found",
    remedy="Check the sandbox's name, and the roles of the caller in it.",
)
SANDBOX_MISSING: Final = Code(
    2105, 400, "no sandbox is named, and the deployment requires one", _HEADER, remedy="Send `x-sandbox-name`."
)
NO_DEFAULT_SANDBOX: Final = Code(
    2106, 404, "the organisation has no default sandbox", "Get default sandbox error", remedy="Send `x-sandbox-name`."
)
OTHER_SANDBOX_ID: Final = Code(
    2103, 404, "`x-sandbox-name` and `x-sandbox-id` name different sandboxes", "Sandbox not found"
)
ALL_SANDBOXES_DENIED: Final = Code(2111, 403, "a user token requests sandbox `*`", "Headers with value restricted")
SANDBOXES_DIFFER: Final = Code(2112, 400, "only one of the sandbox headers is `*`", "Headers not allowed")
ONE_SANDBOX_ONLY: Final = Code(2113, 400, "sandbox `*` is requested", "Headers not allowed")
PARAMETER_MISSING: Final = Code(2119, 400, "a required query parameter is missing", "Query parameter missing")
FORBIDDEN: Final = Code(
    2120,
    403,
    "the caller lacks a permission, or a label of a flow that it changes",
    "Forbidden",
    remedy="Grant a role with the permission or label that the message names: `offtake role grant`.",
)
LABELS_EXIST: Final = Code(
    3403,
    403,
    "labels are added to a dataset that already has labels",
    "Labels exist",
    remedy="Replace the labels instead.",
)
CONFLICT: Final = Code(
    3409,
    409,
    "the resource already exists, or other resources depend on it",
    "Conflict",
    remedy="Choose another name, or remove what depends on the resource.",
)
TOO_LARGE: Final = Code(
    3413,
    413,
    "a file or a body is larger than a request may be",
    "Content too large",
    remedy="Split the file or the request.",
)
URL_TOO_LONG: Final = Code(3414, 414, "the URL is longer than 2000 characters", "URI too long")
MEDIA_TYPE: Final = Code(3415, 415, "a file has an unsupported content type", "Unsupported media type")
BAD_RANGE: Final = Code(3416, 416, "a range is not within the file", "Range not satisfiable")
BUSY: Final = Code(
    3503,
    503,
    "the database is busy",
    "Service Unavailable",
    remedy="Retry after `Retry-After`. If it persists, look for what holds SQLite's lock, or at PostgreSQL's load.",
    retry=True,
)
OVERLOADED: Final = Code(
    3508,
    503,
    "too many requests, or the server has no free memory, threads or file descriptors",
    "Service Unavailable",
    remedy="Retry after `Retry-After`. If it persists, raise the limits or add servers ([operating](operating.md)).",
    retry=True,
)
NO_ROOM: Final = Code(
    3507,
    503,
    "the server's disk is full or cannot be written",
    "Service Unavailable",
    remedy="Free disk space on the server; then retry.",
    retry=True,
)

STORAGE_AWAY: Final = Code(
    3502,
    502,
    "the storage of a landing zone or a destination refused the request or did not answer",
    "Bad Gateway",
    remedy="Check the store and the credentials that the message names; then retry.",
    retry=True,
)
CATALOG_AWAY: Final = Code(
    3504,
    502,
    "a catalog of a lakehouse refuses the request or does not answer",
    "Bad Gateway",
    remedy="Check the catalog: `offtake catalog test NAME`; then retry.",
    retry=True,
)


def codes() -> list[Code]:
    """All codes, by number."""
    found = [value for value in globals().values() if isinstance(value, Code)]
    return sorted(found, key=lambda code: (code.number, code.status))


@dataclass
class Problem(OfftakeError):  # noqa: N818 - the contract calls it a problem
    """A refused request, with a code of the contract. Nothing was written."""

    code: Code
    message: str
    resource_type: str | None = None
    resource_id: str | None = None
    fields: list[FieldProblem] = field(default_factory=list)

    def __str__(self) -> str:
        """The message for users."""
        return self.message


def not_found(resource_type: str, resource_id: str) -> Problem:
    """The error 1439: not in the caller's sandbox; `resource_type`: the plural in its path."""
    return Problem(
        NOT_FOUND,
        f"The requested {resource_type} resource {resource_id} is not found. "
        "Verify the resource ID before trying again.",
        resource_type,
        resource_id,
    )


def missing_parameter(name: str, allowed: str) -> Problem:
    """The error 2119: a required query parameter is missing."""
    return Problem(PARAMETER_MISSING, f"The query parameter {name} is required: {allowed}.")


def of_fields(error: InvalidInputError) -> Problem:
    """The error 1455 or 1452: missing or invalid fields, all at once."""
    code = MISSING_FIELD if all(problem.missing for problem in error.problems) else BAD_VALUE
    return Problem(code, str(error), fields=error.problems)


def of_field(path: str, message: str, *, missing: bool = False) -> Problem:
    """The error 1455 or 1452: one missing or invalid field."""
    return of_fields(InvalidInputError([FieldProblem(path, message, missing)]))
