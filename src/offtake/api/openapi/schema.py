"""`/openapi.json`: what the routes tell, with the headers that every call needs and the shape of every error."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from offtake import __version__
from offtake.api.error_types import AUDIT_FILE

Json = dict[str, Any]

_OPEN: Final = ("/healthz", "/ims/token/", "/docs", "/dlz-", AUDIT_FILE)
_ABOUT: Final = (
    "Exports datasets (Apache Iceberg tables) on a schedule, in full first and then by increments. The calls, fields "
    "and errors are those of the dataset export of Adobe Experience Platform's Flow Service: clients of it work by "
    "changing the host. Get a token from /ims/token/v3, and send it with the headers below."
)
_ORG: Final = "0A4334FA556585B77F000101@AdobeOrg"
_TEXT: Final = {"type": "string"}
_HEADERS: Final = (
    ("x-gw-ims-org-id", True, "The organisation's id, which the first start wrote into admin.json.", _ORG),
    ("x-sandbox-name", False, "The sandbox; the default one without this header and x-sandbox-id.", "prod"),
    ("x-sandbox-id", False, "The sandbox's id, instead of its name, or with it; both must name the same.", None),
    ("x-request-id", False, "Comes back in the answer and in the log.", None),
)
_PROBLEM: Final[Json] = {
    "type": "object",
    "description": "What went wrong. Refusals by the gateway have error_code and message alone.",
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
    """What an operation is called in the document: its resource and what is done to it."""
    return f"{route.tags[0]}-{route.name}".replace(" ", "-").replace("_", "-")


def install(app: FastAPI) -> None:
    """Let the application answer with the whole document; it is made once."""

    def openapi() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # the framework's documented way


def _document(app: FastAPI) -> Json:
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
    # The framework's own 422 is never answered: bad parameters are a 400 with a problem.
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
