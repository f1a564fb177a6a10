"""The OpenAPI body, responses and errors of a route: `@router.post(..., **document_operation(...))`."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from offtake.documents import Json

JSON_TYPE: Final = "application/json"
PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
_MEANINGS: Final[Mapping[int, str]] = {
    400: "A header, parameter or field is missing or invalid; the response names it.",
    401: "The token is not valid.",
    403: "An access header or a permission is missing; the response names it.",
    404: "The resource does not exist, or the caller may not see it.",
    409: "The resource already exists, was changed by another request, or is in use.",
    412: "If-Match is not the current version of the resource.",
    413: "The file is larger than the limit for one request.",
    414: "The URL is longer than 2000 characters.",
    415: "The file's content type is not supported.",
    416: "The range is outside of the file.",
    422: "The connection spec's version is missing.",
    502: "The landing zone's storage refused the request, or did not respond.",
    503: "The database is busy, or the disk is full; retry.",
}
_TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
_MAY_BE_NULL: Final = frozenset({"nextRunAt", "freshWithinSeconds", "deliveredUpToUTC", "lateSinceUTC"})
"""Numbers of responses that are null if there is none, although the examples have one."""
_ALWAYS: Final = (400, 401, 403, 404, 503)


def document_operation(
    example: Any = None,  # noqa: ANN401 - whatever JSON can hold
    *,
    status: int = 200,
    schema: Json | None = None,
    body: type[BaseModel] | Json | None = None,
    body_example: Any = None,  # noqa: ANN401 - whatever JSON can hold
    body_type: str = JSON_TYPE,
    errors: tuple[int, ...] = (),
    also: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """Build the route decorator's arguments that describe an operation.

    `example` is a complete response; its schema is derived from it unless `schema` is set. `body` is the body's model
    or JSON schema. `also` maps statuses to the media type of a binary response. `errors` are statuses in addition to
    those that every call can have.
    """
    responses: dict[int | str, Json] = {one: _error(one) for one in sorted({*_ALWAYS, *errors})}
    if example is not None or schema is not None:
        content: Json = {"schema": schema if schema is not None else schema_of(example)}
        content |= {} if example is None else {"example": example}
        responses[status] = {"description": "Success.", "content": {JSON_TYPE: content}}
    for code, media_type in (also or {}).items():
        answer = responses.setdefault(code, {"description": "Success.", "content": {}})
        answer["content"][media_type] = {"schema": {"type": "string", "format": "binary"}}
    found: dict[str, Any] = {"responses": responses}
    if body is not None:
        body_schema = body if isinstance(body, dict) else model_schema(body)
        content = {"schema": body_schema} | ({} if body_example is None else {"example": body_example})
        found["openapi_extra"] = {"requestBody": {"required": True, "content": {body_type: content}}}
    return found


def schema_of(example: Any) -> Json:  # noqa: ANN401 - whatever JSON can hold
    """Derive a JSON schema from an example: the types of its values; other keys are allowed."""
    if isinstance(example, dict):
        # The value of a JSON Patch operation, and of a field that changes, can be anything.
        free = ("value",) if "op" in example else ("old", "new")
        properties = {key: {} if key in free else _property(key, value) for key, value in example.items()}
        return {"type": "object", "properties": properties}
    if isinstance(example, list):
        return {"type": "array"} | ({"items": schema_of(example[0])} if example else {})
    name = _TYPES.get(type(example))
    return {"type": name} if name else {}


def _property(key: str, example: Any) -> Json:  # noqa: ANN401 - whatever JSON can hold
    found = schema_of(example)
    return found | {"type": [found["type"], "null"]} if key in _MAY_BE_NULL and "type" in found else found


def keyed_schema(example: Any) -> Json:  # noqa: ANN401 - whatever JSON can hold
    """The JSON schema of an object whose keys are ids, such as Catalog's lists."""
    return {"type": "object", "additionalProperties": schema_of(example)}


def model_schema(model: type[BaseModel]) -> Json:
    """The model's JSON schema, with every `$ref` replaced by its definition."""
    whole = model.model_json_schema(by_alias=True)
    definitions = whole.pop("$defs", {})
    inlined: Json = _inline(whole, definitions)
    return inlined


def _inline(schema: Any, definitions: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any part of a schema
    if isinstance(schema, list):
        return [_inline(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _inline(value, definitions) for key, value in schema.items()}


def _error(status: int) -> Json:
    return {"description": _MEANINGS[status], "content": {JSON_TYPE: {"schema": PROBLEM}}}
