"""Tokens by OAuth client credentials (contract, section 2)."""

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from offtake.api.gateway import BackendOf
from offtake.flows import tokens

router = APIRouter(tags=["tokens"])

_TEXT: Final = {"type": "string"}
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
        400: {
            "description": "The grant, the id or the secret is wrong (RFC 6749).",
            "content": {
                "application/json": {
                    "schema": {"type": "object", "properties": {"error": _TEXT, "error_description": _TEXT}}
                }
            },
        },
    },
    "openapi_extra": {
        "parameters": [
            {"name": name, "in": "query", "schema": _TEXT, "description": "As in the form, which wins over the query."}
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
    """Issue a bearer token for a client id and its secret, sent in the form or in the query."""
    form = await request.form(max_files=0, max_fields=32)
    given = {**request.query_params, **{key: value for key, value in form.items() if isinstance(value, str)}}
    if given.get("grant_type") != "client_credentials":
        return _refuse("unsupported_grant_type", "grant_type must be client_credentials")
    client_id, client_secret = given.get("client_id", ""), given.get("client_secret", "")
    try:
        issued = await run_in_threadpool(
            tokens.issue, backend.database, backend.vault, backend.clock, client_id, client_secret
        )
    except tokens.BadCredentialsError as error:
        return _refuse("invalid_client", str(error))
    return {"access_token": issued, "token_type": "bearer", "expires_in": tokens.TOKEN_SECONDS}


def _refuse(error: str, description: str) -> JSONResponse:
    return JSONResponse({"error": error, "error_description": description}, 400)
