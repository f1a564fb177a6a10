"""The vendor's OpenAPI documents as facts: paths, statuses and JSON schemas, and not a sentence of their prose.

`python -m tests.vendor.extract FOLDER` reads the documents in FOLDER (repository AdobeDocs/experience-platform-apis,
Apache License 2.0) and writes one JSON file for each document next to this module. What remains of a document:

    {"basePath": "/data/foundation/…",
     "operations": {"GET /flows/{id}": {"request": schema?, "responses": {"200": schema or null}}},
     "definitions": {name: schema}}

A response is null when the document gives its status no JSON body.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

Json = dict[str, Any]

HERE: Final = Path(__file__).parent
# Where several documents describe an operation, the first wins (contract, section 0).
DOCUMENTS: Final = (
    "destinations",
    "flow-service",
    "ad-hoc-activation",
    "catalog",
    "batch-ingestion",
    "data-access",
    "sandbox",
    "access-control",
    "audit-query",
    "dataset-service",
)
# Sandbox tooling, which Offtake does not serve (contract, section 1).
_NOT_SERVED: Final = "/exim/"
_METHODS: Final = ("get", "head", "post", "put", "patch", "delete")
_PLAIN: Final = (
    "type",
    "format",
    "enum",
    "required",
    "pattern",
    "nullable",
    "uniqueItems",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
)
_SEVERAL: Final = ("allOf", "anyOf", "oneOf")


def extract(folder: Path) -> dict[str, Json]:
    """What remains of each of the documents, by its name."""
    return {name: _document(_load(folder / f"{name}.yaml")) for name in DOCUMENTS}


def written(document: Json) -> str:
    """The text of a document's file."""
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _load(path: Path) -> Json:
    with path.open(encoding="utf-8") as file:
        loaded: Json = yaml.load(file, yaml.CSafeLoader)
    return loaded


def _document(source: Json) -> Json:
    operations = {
        f"{method.upper()} {path}": _operation(source, item[method])
        for path, item in source["paths"].items()
        if not path.startswith(_NOT_SERVED)
        for method in _METHODS
        if method in item
    }
    return {
        "basePath": urlsplit(source["servers"][0]["url"]).path,
        "operations": operations,
        "definitions": _reachable(operations, source["components"]["schemas"]),
    }


def _operation(source: Json, operation: Json) -> Json:
    responses = {str(status): _body(source, one) for status, one in operation["responses"].items()}
    request = _body(source, operation.get("requestBody", {}))
    return {"responses": responses} | ({} if request is None else {"request": request})


def _body(source: Json, holder: Json) -> Json | None:
    """The schema of a response's or a request's JSON body."""
    kind, _, name = holder.get("$ref", "").removeprefix("#/components/").partition("/")
    if kind == "responses":
        return _body(source, source["components"][kind][name])
    for media_type, content in holder.get("content", {}).items():
        if media_type == "application/json" or media_type.endswith("+json"):
            return _schema(content.get("schema"))
    return None


def _schema(source: object) -> Json:
    """The keywords of a schema that say what is valid; anything else, misplaced or for people, is left out."""
    if not isinstance(source, dict):
        return {}
    if "$ref" in source:
        return {"$ref": source["$ref"].replace("#/components/schemas/", "#/definitions/")}
    kept: Json = {key: source[key] for key in _PLAIN if key in source}
    for key in _SEVERAL:
        if key in source:
            kept[key] = [_schema(one) for one in source[key]]
    for key in ("items", "additionalProperties"):
        if isinstance(source.get(key), dict):
            kept[key] = _schema(source[key])
    if isinstance(source.get("properties"), dict):
        kept["properties"] = {name: _schema(one) for name, one in source["properties"].items()}
    if source.get("additionalProperties") is False:
        kept["additionalProperties"] = False
    return kept


def _reachable(operations: Json, schemas: Json) -> Json:
    """The named schemas that the operations refer to, directly or not."""
    found: Json = {}
    wanted = _references(operations)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _schema(schemas[name])
            wanted |= _references(found[name])
    return found


def _references(value: object) -> set[str]:
    if isinstance(value, list):
        return {name for one in value for name in _references(one)}
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            return {value["$ref"].rpartition("/")[2]}
        return {name for one in value.values() for name in _references(one)}
    return set()


if __name__ == "__main__":
    for name, document in extract(Path(sys.argv[1])).items():
        (HERE / f"{name}.json").write_text(written(document), encoding="utf-8")
