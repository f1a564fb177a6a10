"""What can be wrong with a request to Flow Service: one table of codes, one exception (contract, section 4.3)."""

from dataclasses import dataclass, field
from typing import Final

from offtake.errors import FieldProblem, InvalidInputError, OfftakeError


@dataclass(frozen=True)
class Code:
    """A code of the contract: its number, the HTTP status it answers with, and its title."""

    number: int
    status: int
    title: str = "Invalid request"


INTERNAL: Final = Code(1400, 500, "Internal Error")
COUNT_AND_LIMIT: Final = Code(1401, 400)
EMPTY_BODY: Final = Code(1405, 400)
STATE_IN_CREATE: Final = Code(1410, 400)
UNKNOWN_SPEC: Final = Code(1413, 400)
OTHER_SPEC: Final = Code(1414, 400)
UNKNOWN_AUTH: Final = Code(1415, 400)
NOT_FOUND: Final = Code(1439, 404, "Resource not found")
ORDER_FORM: Final = Code(1432, 400)
ORDER_FIELD: Final = Code(1433, 400)
FILTER_TILDE: Final = Code(1440, 400)
FILTER_VALUES: Final = Code(1443, 400)
WRONG_FLOW_STATE: Final = Code(1444, 400)
FILTER_KIND: Final = Code(1448, 400)
FILTER_FIELD: Final = Code(1449, 400)
FILTER_OPERATOR: Final = Code(1450, 400)
UNKNOWN_PARAMETER: Final = Code(1451, 400)
BAD_VALUE: Final = Code(1452, 400)
EMPTY_VALUE: Final = Code(1453, 400)
BAD_VALUE_TYPE: Final = Code(1454, 400)
MISSING_FIELD: Final = Code(1455, 400)
NO_SPEC_VERSION: Final = Code(1455, 422)
SANDBOX_NOT_FOUND: Final = Code(2100, 404, "Sandbox not found")
SANDBOX_MISSING: Final = Code(2105, 400, "Header is missing")
SANDBOX_ID_NOT_ALLOWED: Final = Code(2110, 400, "Headers not allowed")
PARAMETER_MISSING: Final = Code(2119, 400, "Query parameter missing")
FORBIDDEN: Final = Code(2120, 403, "Forbidden")


@dataclass
class FlowProblem(OfftakeError):  # noqa: N818 - the contract calls it a problem
    """A refusal, in the words of the contract. Nothing was written."""

    code: Code
    message: str
    resource_type: str | None = None
    resource_id: str | None = None
    fields: list[FieldProblem] = field(default_factory=list)

    def __str__(self) -> str:
        """The sentence a person reads."""
        return self.message


def not_found(resource_type: str, resource_id: str) -> FlowProblem:
    """No such resource in the caller's sandbox; `resource_type` is the plural of its path."""
    return FlowProblem(
        NOT_FOUND,
        f"The requested {resource_type} resource {resource_id} is not found. "
        "Verify the resource ID before trying again.",
        resource_type,
        resource_id,
    )


def of_fields(error: InvalidInputError) -> FlowProblem:
    """Fields that are missing or cannot be used, all at once."""
    code = MISSING_FIELD if all(problem.missing for problem in error.problems) else BAD_VALUE
    return FlowProblem(code, str(error), fields=error.problems)


def of_field(path: str, message: str, *, missing: bool = False) -> FlowProblem:
    """One field that is missing or cannot be used."""
    return of_fields(InvalidInputError([FieldProblem(path, message, missing)]))
