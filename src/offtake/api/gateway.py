"""What every call passes before its resource: token, key, organisation, sandbox, content type, body."""

import json
from typing import Annotated, Any, Final, NoReturn

from fastapi import Depends, Request

from offtake.api.errors import ContentTypeError, GatewayError
from offtake.flows import access, problems
from offtake.flows.access import Caller, Identity
from offtake.flows.problems import FlowProblem
from offtake.scheduling.backend import Backend

_LARGEST_BODY: Final = 1024 * 1024
_LONGEST_REQUEST_ID: Final = 128


def backend_of(request: Request) -> Backend:
    """The deployment this server serves."""
    backend: Backend = request.app.state.backend
    return backend


BackendOf = Annotated[Backend, Depends(backend_of)]


def caller_of(request: Request, backend: BackendOf) -> Caller:
    """Who calls, checked in the contract's fixed order (section 3.1)."""
    identity = _identity(request, backend)
    _check_organisation(request, identity)
    sandbox_name = request.headers.get("x-sandbox-name", "").strip()
    if request.headers.get("x-sandbox-id"):
        raise FlowProblem(problems.SANDBOX_ID_NOT_ALLOWED, "x-sandbox-id is for service tokens; leave it out.")
    if not sandbox_name and backend.settings.strict_sandbox_header:
        raise FlowProblem(problems.SANDBOX_MISSING, "The header x-sandbox-name is missing.")
    sandbox = access.find_sandbox(backend.database, identity.org_id, sandbox_name or None)
    return access.caller_of(backend.database, identity, sandbox)


CallerOf = Annotated[Caller, Depends(caller_of)]


async def json_body(request: Request, _caller: CallerOf) -> object:
    """The request's JSON document; raises when it is missing, too large or malformed."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ContentTypeError("A valid content-type must be specified")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            raise FlowProblem(problems.BAD_VALUE, f"The request body is larger than {_LARGEST_BODY} bytes.")
    if not body.strip():
        raise FlowProblem(problems.EMPTY_BODY, "The request body is empty.")
    return _parse(bytes(body))


JsonBody = Annotated[Any, Depends(json_body)]


def request_id(request: Request) -> str:
    """The caller's own request id when it is a plain one, else empty."""
    given = request.headers.get("x-request-id", "")
    plain = given.isascii() and given.isprintable() and len(given) <= _LONGEST_REQUEST_ID
    return given if plain else ""


def _identity(request: Request, backend: Backend) -> Identity:
    authorization = request.headers.get("authorization", "").strip()
    api_key = request.headers.get("x-api-key", "").strip()
    if not authorization:
        raise GatewayError("403010", "Oauth token is missing.")
    if not api_key:
        raise GatewayError("403000", "Api Key is required")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise GatewayError("401013", "Oauth token is not valid")
    try:
        identity = access.read_token(backend.database, backend.vault, backend.clock, token.strip())
    except access.BadTokenError:
        raise GatewayError("401013", "Oauth token is not valid") from None
    if identity.client_id != api_key:
        raise GatewayError("403003", "Api Key is invalid")
    return identity


def _check_organisation(request: Request, identity: Identity) -> None:
    org_id = request.headers.get("x-gw-ims-org-id", "").strip()
    if not org_id:
        raise GatewayError("400003", "Missing header")
    if org_id != identity.org_id:
        raise GatewayError("403025", "Profile is not valid")


def _parse(body: bytes) -> object:
    try:
        return json.loads(body, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise FlowProblem(problems.EMPTY_BODY, f"The request body is not valid JSON: {error.msg} at {where}.") from None
    except (ValueError, RecursionError):
        raise FlowProblem(problems.EMPTY_BODY, "The request body is not valid JSON in UTF-8.") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
