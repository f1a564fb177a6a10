"""FastAPI dependencies of every call: authentication, organisation, sandbox, content type and body."""

from typing import Annotated, Final

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from offtake.access import access, tokens
from offtake.api.errors import ContentTypeError, GatewayError
from offtake.api.request_log import CLIENT_ID
from offtake.contract import bodies, problems
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.deployment.backend import Backend
from offtake.store.tables import Client, Sandbox

_LARGEST_BODY: Final = 1024 * 1024
_JSON_TYPES: Final = ("application/json", "application/json-patch+json", "application/merge-patch+json")


async def backend_of(request: Request) -> Backend:
    """The server's backend. A coroutine, because FastAPI runs plain functions in the thread pool."""
    backend: Backend = request.app.state.backend
    return backend


BackendOf = Annotated[Backend, Depends(backend_of)]


def sandbox_caller(request: Request, backend: BackendOf) -> Caller:
    """Authenticate the caller and find the sandbox, in the contract's fixed order of checks (section 3.1)."""
    return _authenticate(request, backend, to_a_sandbox=True)


def organisation_caller(request: Request, backend: BackendOf) -> Caller:
    """Authenticate a caller of calls about the organisation (sandboxes, roles); ignores the sandbox headers."""
    return _authenticate(request, backend, to_a_sandbox=False)


CallerOf = Annotated[Caller, Depends(sandbox_caller)]
MemberOf = Annotated[Caller, Depends(organisation_caller)]


async def json_body(request: Request, _caller: CallerOf) -> bytes:
    """The body of a JSON request, not parsed: permissions are checked first. Raises 3413 and `ContentTypeError`."""
    return await _json(request)


async def member_body(request: Request, _caller: MemberOf) -> bytes:
    """As `json_body`, for calls about the organisation."""
    return await _json(request)


async def _json(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in _JSON_TYPES:
        raise ContentTypeError("A valid content-type must be specified")
    return await read_body(request)


async def read_body(request: Request, most: int = _LARGEST_BODY) -> bytes:
    """The request's body. Raises 3413 over `most` bytes, before reading if the `Content-Length` is larger."""
    if _content_length(request) > most:
        raise _too_large(most)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise _too_large(most)
    except ClientDisconnect:
        raise Problem(
            problems.BAD_VALUE, "The connection closed before the whole body was received. Send the request again."
        ) from None
    return bytes(body)


def _content_length(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length[:18]) if length.isascii() and length.isdecimal() else 0


def _too_large(most: int) -> Problem:
    return Problem(problems.TOO_LARGE, f"The request body is larger than {most} bytes.")


JsonBody = Annotated[bytes, Depends(json_body)]
MemberBody = Annotated[bytes, Depends(member_body)]


def _authenticate(request: Request, backend: Backend, *, to_a_sandbox: bool) -> Caller:
    token, api_key = _credentials(request)
    with backend.database.reading() as session:
        try:
            client = tokens.read(session, backend.vault, backend.clock, token, backend.issuer)
        except tokens.BadTokenError:
            raise _bad_token() from None
        if client.id != api_key:
            raise GatewayError("403003")
        setattr(request.state, CLIENT_ID, client.id)
        _check_organisation(request, client)
        sandbox = None
        if to_a_sandbox:
            name, sandbox_id = _read_sandbox_headers(request, backend, client)
            sandbox = access.find_sandbox(session, client.org_id, name, client_id=client.id, sandbox_id=sandbox_id)
            _check_sandbox_id(sandbox, sandbox_id)
        _check_address(request)
        remote = request.client.host if request.client else ""
        return access.caller_of(session, client, sandbox, remote=remote, request_id=request.state.request_id)


def _credentials(request: Request) -> tuple[str, str]:
    """The token and the API key; raises `GatewayError` when one is missing."""
    authorization = request.headers.get("authorization", "").strip()
    api_key = request.headers.get("x-api-key", "").strip()
    if not authorization:
        raise GatewayError("403010")
    if not api_key:
        raise GatewayError("403000")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise _bad_token()
    return token.strip(), api_key


def _bad_token() -> GatewayError:
    return GatewayError("401013")


def _read_sandbox_headers(request: Request, backend: Backend, client: Client) -> tuple[str | None, str | None]:
    """The sandbox's name and id as sent, None if absent; raises 2105 and 2111 to 2113."""
    name = request.headers.get("x-sandbox-name", "").strip()
    sandbox_id = request.headers.get("x-sandbox-id", "").strip().lower()
    if "*" in (name, sandbox_id):
        if client.kind == "user":
            raise Problem(problems.ALL_SANDBOXES_DENIED, "A user token cannot use * (all sandboxes); name one sandbox.")
        if name != sandbox_id:
            raise Problem(problems.SANDBOXES_DIFFER, "x-sandbox-name and x-sandbox-id must both be *, or neither.")
        raise Problem(problems.ONE_SANDBOX_ONLY, "Queries across all sandboxes are not supported; name one sandbox.")
    if not name and not sandbox_id and backend.settings.strict_sandbox_header:
        raise Problem(problems.SANDBOX_MISSING, "The headers x-sandbox-name and x-sandbox-id are missing; send one.")
    return name or None, sandbox_id or None


def _check_sandbox_id(sandbox: Sandbox, sandbox_id: str | None) -> None:
    if sandbox_id is not None and sandbox_id != sandbox.id:
        raise Problem(
            problems.OTHER_SANDBOX_ID,
            f"x-sandbox-id is not the id of sandbox {sandbox.name} in x-sandbox-name; send only one of the two.",
        )


def _check_address(request: Request) -> None:
    bodies.check_text(request.url.path, "/path")
    for name, value in request.query_params.multi_items():
        bodies.check_text(name + value, "/query")


def _check_organisation(request: Request, client: Client) -> None:
    org_id = request.headers.get("x-gw-ims-org-id", "").strip()
    if not org_id:
        raise GatewayError("400003")
    if org_id != client.org_id:
        raise GatewayError("403025")
