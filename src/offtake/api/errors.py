"""Exception handlers: error responses in the contract's formats (sections 3.1, 4 and 20)."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from offtake.api.error_types import ACTIVATION, TOKENS, error_tag
from offtake.contract import problems
from offtake.contract.problems import Problem
from offtake.errors import BusyError, InvalidInputError, OfftakeError, disk_error, exhaustion
from offtake.invalid_values import problem_of
from offtake.logs import same_line
from offtake.store.database import StoreBusyError, StoreConflictError, StoreFullError

_log = logging.getLogger(__name__)


GATEWAY: Final = {
    "403010": "Oauth token is missing.",
    "401013": "Oauth token is not valid",
    "403000": "Api Key is required",
    "403003": "Api Key is invalid",
    "400003": "Missing header",
    "403025": "Profile is not valid",
}
"""The gateway's codes and their messages (contract, section 3.1)."""
GATEWAY_REMEDIES: Final = {
    "403010": "Send `Authorization: Bearer TOKEN`.",
    "401013": "Get a new token: they expire. After `offtake client rotate` or `revoke`, use the new secret.",
    "403000": "Send the client's id as `x-api-key`.",
    "403003": "Send the id of the client that the token is for.",
    "400003": "Send `x-gw-ims-org-id`.",
    "403025": "Send the organisation's id that `admin.json` or the token's client has.",
}


@dataclass
class GatewayError(OfftakeError):
    """A refusal before any service is reached; the status is the first three digits of the code."""

    error_code: str

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.error_code[:3])

    @property
    def message(self) -> str:
        """The exact text of the contract."""
        return GATEWAY[self.error_code]


class ContentTypeError(OfftakeError):
    """A request body without a JSON content type."""


class AdhocError(OfftakeError):
    """A refusal of the ad-hoc service, whose clients read the key `message`."""


def install(app: FastAPI, type_prefix: str, *, raises: bool = False) -> None:
    """Register an exception handler for each kind of error; `type_prefix` begins the `type` of problem bodies.

    `raises`: let errors of the disk and unexpected ones reach the caller of the application, in the same process.
    """

    @app.exception_handler(GatewayError)
    def gateway(request: Request, error: GatewayError) -> JSONResponse:
        return _answer(request, error.status, {"error_code": error.error_code, "message": error.message})

    @app.exception_handler(ContentTypeError)
    def content_type(request: Request, _error: ContentTypeError) -> JSONResponse:
        body = {"type": "/placeholder/type/uri", "status": 400, "title": "BadRequestError"}
        return _answer(request, 400, body | {"detail": "A valid content-type must be specified"})

    @app.exception_handler(Problem)
    def flow(request: Request, error: Problem) -> JSONResponse:
        return _answer(request, error.code.status, problem_body(request, type_prefix, error))

    @app.exception_handler(AdhocError)
    def adhoc(request: Request, error: AdhocError) -> JSONResponse:
        problem = Problem(problems.BAD_VALUE, str(error))
        return _answer(request, 400, problem_body(request, type_prefix, problem))

    @app.exception_handler(RequestValidationError)
    def parameters(request: Request, error: RequestValidationError) -> JSONResponse:
        found = [problem_of(one | {"loc": one["loc"][1:]}) for one in error.errors()]
        problem = problems.of_fields(InvalidInputError(found))
        return _answer(request, 400, problem_body(request, type_prefix, problem))

    @app.exception_handler(HTTPException)
    def routing(request: Request, error: HTTPException) -> JSONResponse:
        detail = f"{request.method} {request.url.path[:200]} is not served here."
        body = {"status": error.status_code, "title": str(error.detail), "type": "about:blank", "detail": detail}
        report = {"detailed-message": detail, "request-id": request.state.request_id}
        return _answer(request, error.status_code, body | {"report": report, "errorMessage": detail}, error.headers)

    _install_storage(app, type_prefix, raises=raises)
    if raises:
        return

    @app.exception_handler(MemoryError)
    @app.exception_handler(RuntimeError)
    def exhausted(request: Request, error: Exception) -> JSONResponse:
        return _exhausted(request, type_prefix, error)

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        return _unexpected(request, type_prefix, error)


def _install_storage(app: FastAPI, type_prefix: str, *, raises: bool) -> None:
    @app.exception_handler(StoreConflictError)
    def conflict(request: Request, error: StoreConflictError) -> JSONResponse:
        return _answer(request, 409, problem_body(request, type_prefix, Problem(problems.CONFLICT, str(error))))

    @app.exception_handler(StoreBusyError)
    def busy(request: Request, error: StoreBusyError) -> JSONResponse:
        body = problem_body(request, type_prefix, Problem(problems.BUSY, str(error)))
        return _answer(request, problems.BUSY.status, body, {"retry-after": "1"})

    @app.exception_handler(BusyError)
    def no_place(request: Request, error: BusyError) -> JSONResponse:
        body = problem_body(request, type_prefix, Problem(problems.BUSY, str(error)))
        return _answer(request, problems.BUSY.status, body, {"retry-after": "5"})

    @app.exception_handler(StoreFullError)
    def full(request: Request, error: StoreFullError) -> JSONResponse:
        return _insufficient_storage(request, type_prefix, str(error))

    if raises:
        return

    @app.exception_handler(OSError)
    def disk(request: Request, error: OSError) -> JSONResponse:
        cause = disk_error(error)
        if cause is None:
            return _exhausted(request, type_prefix, error)
        _log.error("a file cannot be written: %s", cause, extra=same_line("a file cannot be written"))
        message = (
            f"Cannot write to the disk of the data directory: {cause}. Nothing was stored. "
            "Free space or repair the disk, then retry."
        )
        return _insufficient_storage(request, type_prefix, message)


def _exhausted(request: Request, type_prefix: str, error: Exception) -> JSONResponse:
    """A 503 when the process is out of file descriptors, threads or memory; a 500 for other errors."""
    cause = exhaustion(error)
    if cause is None:
        return _unexpected(request, type_prefix, error)
    _log.error("out of resources, request refused: %s", cause, extra=same_line(cause))
    return overloaded(request, type_prefix, f"The server is out of resources: {cause}. Retry in a few seconds.")


def _unexpected(request: Request, type_prefix: str, error: Exception) -> JSONResponse:
    name = type(error).__name__
    _log.error("unexpected %s", name, exc_info=error, extra=same_line(f"unexpected {name} {request.url.path}"))
    problem = Problem(problems.INTERNAL, "Unexpected error in the server; its log has the details.")
    return _answer(request, 500, problem_body(request, type_prefix, problem))


def _insufficient_storage(request: Request, type_prefix: str, message: str) -> JSONResponse:
    body = problem_body(request, type_prefix, Problem(problems.NO_ROOM, message))
    return _answer(request, problems.NO_ROOM.status, body, {"retry-after": "30"})


def overloaded(request: Request, type_prefix: str, message: str) -> JSONResponse:
    """A 503 for a request that cannot be handled now; for token requests in OAuth's error format (RFC 6749)."""
    body: dict[str, Any] = {"error": "temporarily_unavailable", "error_description": message}
    if not request.url.path.startswith(TOKENS):
        body = problem_body(request, type_prefix, Problem(problems.OVERLOADED, message))
    return _answer(request, problems.OVERLOADED.status, body, {"retry-after": "2"})


def problem_body(request: Request, type_prefix: str, error: Problem) -> dict[str, Any]:
    """The problem body, with the keys that older and newer clients read."""
    code = error.code
    report: dict[str, Any] = {"detailed-message": error.message}
    if error.resource_type:
        report |= {"id": error.resource_id, "type": error.resource_type}
    report["request-id"] = request.state.request_id
    if error.fields:
        report["errors"] = [{"path": one.path, "message": one.message} for one in error.fields]
    needs_message = code == problems.UNKNOWN_SPEC or request.url.path.startswith(ACTIVATION)
    older = {"message": error.message} if needs_message else {}
    return {
        "type": f"{type_prefix}{error_tag(request.url.path)}-{code.number}-{code.status}",
        "title": code.title,
        "status": code.status,
        "detail": error.message,
        "report": report,
        "errorMessage": error.message,
        "errorDetails": error.message,
    } | older


def _answer(
    request: Request, status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None
) -> JSONResponse:
    # The handler of unexpected errors runs outside of the middleware that adds this header.
    return JSONResponse(body, status, {"x-request-id": request.state.request_id, **(headers or {})})
