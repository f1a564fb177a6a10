"""Every answer to an operation that the vendor describes is as the vendor describes it, or is an allowed deviation."""

import json
import re
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, Final, cast

import httpx2
from jsonschema import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from openapi_schema_validator import OAS30Validator, oas30_format_checker

from tests.vendor.deviations import DEVIATIONS, NARROWED, PENDING, UNLISTED_REFUSALS, WRAPPED, Deviation
from tests.vendor.extract import DOCUMENTS, HERE

Json = dict[str, Any]

# The documents' alternatives overlap: they say oneOf where only anyOf can be meant.
_Validator: Final[type[Validator]] = extend(  # type: ignore[no-untyped-call] # the types of jsonschema lack it
    OAS30Validator, {"oneOf": OAS30Validator.VALIDATORS["anyOf"]}
)


@dataclass(frozen=True)
class Operation:
    """A method and a path of one document."""

    document: str
    method: str
    path: str
    pattern: re.Pattern[str]

    def __str__(self) -> str:
        return f"{self.document} {self.method} {self.path}"

    @property
    def responses(self) -> Json:
        """The schema of each status it lists, None where that has no JSON body."""
        listed: Json = document(self.document)["operations"][f"{self.method} {self.path}"]["responses"]
        return listed


def check_response(response: httpx2.Response) -> None:
    """An httpx2 event hook: fails when the response is not as the vendor describes it."""
    request = response.request
    body = None
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind.endswith("json") and kind != "application/x-ndjson" and response.read():
        body = json.loads(response.content)
    found = problems(request.method, request.url.path, response.status_code, body, projected=_projected(request))
    assert not found, "\n".join(["not as the vendor describes it:", *found])


def problems(method: str, path: str, status: int, body: object, *, projected: bool = False) -> list[str]:
    """What differs from the vendor's description, a sentence each; nothing when no document describes the call.

    The answer to a request that names the properties it wants (`projected`) may lack any.
    """
    described = _describing(method, path)
    if not described:
        return []
    # Of success only the document that wins may speak; a refusal may be listed by any.
    for operation in described[:1] if status < HTTPStatus.BAD_REQUEST else described:
        if str(status) in operation.responses:
            found = _differences(operation, status, body, projected)
            return sorted(f"{operation} {status}: at {one}" for one in found)
    operation = described[0]
    if status in UNLISTED_REFUSALS or _allowed(operation, status, ""):
        return []
    return [f"{operation}: lists no status {status}, only {', '.join(operation.responses)}"]


@cache
def document(name: str) -> Json:
    """The extract of a document."""
    loaded: Json = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


@cache
def operations() -> tuple[Operation, ...]:
    """Every operation of every document: exact paths before templates, then by the documents' precedence."""
    every = [_operation(name, *key.split(" ")) for name in DOCUMENTS for key in document(name)["operations"]]
    return tuple(sorted(every, key=lambda one: one.path.count("{")))


def _operation(name: str, method: str, path: str) -> Operation:
    steps = re.split(r"\{\w+\}", document(name)["basePath"] + path.rstrip("/"))
    return Operation(name, method, path, re.compile("[^/]+".join(map(re.escape, steps)) + "/?"))


def _describing(method: str, path: str) -> list[Operation]:
    """The operations that describe a call, the one that wins first."""
    found = [one for one in operations() if one.method == method and one.pattern.fullmatch(path)]
    return [one for one in found if one.path.count("{") == found[0].path.count("{")]


def _projected(request: httpx2.Request) -> bool:
    parameters = request.url.params
    named = [one for one in parameters.get_list("property") if re.fullmatch(r"[\w.,\[\] ]+", one)]
    return bool(named or parameters.get("properties") or b"projectionFields" in request.read())


def _differences(operation: Operation, status: int, body: Any, projected: bool) -> set[str]:
    validator = _validator(operation, str(status))
    if validator is None:
        return set()
    return {
        f"{place or 'the body'}: {error.message[:300]}"
        for error in validator.iter_errors(body)
        for place in _places(error)
        if not (_allowed(operation, status, place) or (projected and place.endswith("?")))
    }


@cache
def _validator(operation: Operation, status: str) -> Validator | None:
    schema = operation.responses[status]
    if schema is None:
        return None
    definitions = document(operation.document)["definitions"]
    if str(operation) in NARROWED and status == "200":
        schema = {"$ref": f"#/definitions/{NARROWED[str(operation)]}"}
    if str(operation) in WRAPPED and status == "200":
        listed = {"items": {"type": "array", "items": schema}}
        schema = {"anyOf": [{"required": ["items"]}, {"required": ["count"]}], "properties": listed}
    return _Validator(schema | {"definitions": definitions}, format_checker=oas30_format_checker)


def _places(error: ValidationError) -> list[str]:
    here = "".join(f"/{step}" for step in error.absolute_path)
    wanted, body = cast(Any, error.validator_value), cast(Any, error.instance)
    if error.validator == "required":
        return [f"{here}/{name}?" for name in wanted if name not in body]
    return [here]


def _allowed(operation: Operation, status: int, place: str) -> bool:
    return any(_same_place(one.place, place) for one in _of_operation(operation, status))


@cache
def _of_operation(operation: Operation, status: int) -> list[Deviation]:
    return [one for one in DEVIATIONS + PENDING if str(operation) in one.operations and one.status == status]


def _same_place(allowed: str, place: str) -> bool:
    allowed_steps, steps = allowed.split("/"), place.split("/")
    return len(allowed_steps) == len(steps) and all(
        one in ("*", other) for one, other in zip(allowed_steps, steps, strict=True)
    )
