"""Tokens for OAuth client credentials (contract, section 2)."""

import asyncio
import math
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.types import Message

from offtake.access import tokens
from offtake.access.sign_ins import SignInRefusedError, SignIns
from offtake.api.dependencies import BackendOf, read_body
from offtake.contract.problems import Problem

router = APIRouter(tags=["tokens"])

_LARGEST_FORM: Final = 16 * 1024
_FORM_SECONDS: Final = 10.0
_TEXT: Final = {"type": "string"}
_REFUSED: Final[dict[str, Any]] = {
    "application/json": {"schema": {"type": "object", "properties": {"error": _TEXT, "error_description": _TEXT}}}
}
_DESCRIBED: Final[dict[str, Any]] = {
    "responses": {
        200: {
            "content": {
                "application/json": {
                    "schema": {"type": "object"},
                    "example": {"access_token": "eyJ…", "token_type": "bearer", "expires_in": 86_399},
                }
            }
        },
        400: {"description": "The grant, the id or the secret is wrong (RFC 6749).", "content": _REFUSED},
        429: {"description": "Too many wrong secrets; retry after `Retry-After` seconds.", "content": _REFUSED},
        503: {"description": "Too many sign-ins are waiting; retry after `Retry-After` seconds.", "content": _REFUSED},
    },
    "openapi_extra": {
        "parameters": [
            {"name": name, "in": "query", "schema": _TEXT, "description": "As in the form, which overrides the query."}
            for name in ("grant_type", "client_id", "client_secret", "scope")
        ],
        "requestBody": {
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "grant_type": {"const": "client_credentials"},
                            "client_id": _TEXT,
                            "client_secret": _TEXT,
                            "scope": _TEXT,
                        },
                    }
                }
            }
        },
    },
}


@router.post("/ims/token/v2", response_model=None, name="token_v2", **_DESCRIBED)
@router.post("/ims/token/v3", response_model=None, **_DESCRIBED)
async def token(request: Request, backend: BackendOf) -> dict[str, Any] | JSONResponse:
    """Issue a bearer token for a client id and secret, sent in the form or in the query."""
    try:
        async with asyncio.timeout(_FORM_SECONDS):
            sent = await _parameters(request)
    except TimeoutError:
        return _refuse("invalid_request", f"The form was not received within {_FORM_SECONDS:.0f} seconds.", 408)
    except Problem as error:
        return _refuse("invalid_request", str(error), error.code.status)
    if sent.get("grant_type") != "client_credentials":
        return _refuse("unsupported_grant_type", "grant_type must be client_credentials")
    sign_ins: SignIns = request.app.state.sign_ins
    remote = request.client.host if request.client else ""
    client_id, client_secret = sent.get("client_id", ""), sent.get("client_secret", "")
    try:
        client = await sign_ins.check(backend.database, client_id, client_secret, remote)
    except tokens.BadCredentialsError as error:
        return _refuse("invalid_client", str(error))
    except SignInRefusedError as error:
        return _refuse("temporarily_unavailable", error.message, error.status, error.retry_after)
    issued = await run_in_threadpool(tokens.issue, backend.database, backend.vault, backend.clock, client)
    return {"access_token": issued, "token_type": "bearer", "expires_in": tokens.TOKEN_SECONDS}


async def _parameters(request: Request) -> dict[str, str]:
    """The parameters in the form or else in the query. The form is limited to 16 KiB: the caller is anonymous."""
    body = await read_body(request, _LARGEST_FORM)

    async def replay() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    form = await Request(request.scope, replay).form(max_files=0, max_fields=32)
    return {**request.query_params, **{key: value for key, value in form.items() if isinstance(value, str)}}


def _refuse(error: str, description: str, status: int = 400, retry_after: float | None = None) -> JSONResponse:
    headers = {} if retry_after is None else {"Retry-After": str(math.ceil(retry_after))}
    return JSONResponse({"error": error, "error_description": description}, status, headers)
