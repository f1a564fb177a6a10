"""`/openapi.json`: FastAPI's document, with the headers of every call and the format of errors."""

from typing import Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from offtake import __version__
from offtake.api.error_types import AUDIT_FILE
from offtake.documents import Json

_OPEN: Final = ("/healthz", "/readyz", "/ims/token/", "/docs", "/dlz-", AUDIT_FILE)
_ABOUT: Final = (
    "Exports datasets (Apache Iceberg tables) on a schedule: a full export first, then incremental exports. The calls, "
    "fields and errors are compatible with the dataset export of Adobe Experience Platform's Flow Service: clients "
    "only change the host. Get a token from /ims/token/v3, and send it with the headers of each call."
)
_ORG: Final = "0A4334FA556585B77F000101@AdobeOrg"
_TEXT: Final = {"type": "string"}
_HEADERS: Final = (
    ("x-gw-ims-org-id", True, "The organisation's id; the first start writes it to admin.json.", _ORG),
    ("x-sandbox-name", False, "The sandbox's name. Without this header and x-sandbox-id: the default sandbox.", "prod"),
    ("x-sandbox-id", False, "The sandbox's id; may replace x-sandbox-name.", None),
    ("x-request-id", False, "An id that the response and the server's log repeat.", None),
)
_PROBLEM: Final[Json] = {
    "type": "object",
    "description": "An error. Errors of authentication have only error_code and message.",
    "properties": {
        "type": {**_TEXT, "description": "Ends in the service's tag, the code and the status."},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "error_code": _TEXT,
        "message": _TEXT,
        "errorMessage": _TEXT,
        "errorDetails": _TEXT,
        "report": {
            "type": "object",
            "properties": {
                "detailed-message": _TEXT,
                "request-id": _TEXT,
                "id": _TEXT,
                "type": _TEXT,
                "errors": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"path": _TEXT, "message": _TEXT}},
                },
            },
        },
    },
}


def operation_id(route: APIRoute) -> str:
    """The operation's id in the document: its tag and its function's name."""
    return f"{route.tags[0]}-{route.name}".replace(" ", "-").replace("_", "-")


def install(app: FastAPI) -> None:
    """Make the application serve the completed document; it is built once."""

    def openapi() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # the framework's documented way


def _build(app: FastAPI) -> Json:
    document = get_openapi(title="Offtake", version=__version__, description=_ABOUT, routes=app.routes)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The client id."},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _complete(operation, gated=not path.startswith(_OPEN))
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    return document


def _complete(operation: Json, *, gated: bool) -> None:
    operation["summary"] = operation.pop("description", operation["summary"]).split("\n")[0]
    for answer in operation["responses"].values():
        for content in answer.get("content", {}).values():
            content.get("schema", {}).pop("title", None)
    # Bad parameters are a 400 here, never the framework's 422.
    if "HTTPValidationError" in str(operation["responses"].get("422", "")):
        del operation["responses"]["422"]
    if not gated:
        operation["security"] = []
        return
    operation["security"] = [{"token": [], "key": []}]
    operation["parameters"] = operation.get("parameters", []) + [_header(*one) for one in _HEADERS]


def _header(name: str, required: bool, description: str, example: str | None) -> Json:
    found: Json = {"name": name, "in": "header", "required": required, "schema": _TEXT, "description": description}
    return found if example is None else found | {"example": example}
