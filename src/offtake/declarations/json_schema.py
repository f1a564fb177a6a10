"""The JSON Schema of documents for editors, generated from the models and the destinations' declarations."""

from typing import Any, Final

from offtake.alerts.channels.base import ChannelKind
from offtake.alerts.channels.registry import KINDS
from offtake.declarations import destinations, secrets
from offtake.declarations.models import MODELS
from offtake.destinations import schema
from offtake.destinations.base import AuthMethod, Destination
from offtake.destinations.registry import DESTINATIONS
from offtake.documents import Json
from offtake.lake.catalogs.declarations import TYPES

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final[Json] = {"type": "string", "pattern": secrets.PATTERN}
_NOT_JSON_SCHEMA: Final = ("uiAttributes", "x-extension", "conditional")


def json_schema() -> Json:
    """The schema of one document of any kind."""
    definitions: Json = {}
    kinds = {}
    for kind, model in MODELS.items():
        found: Json = model.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
        definitions |= found.pop("$defs", {})
        kinds[kind] = _without_titles(found)
    kinds["connection"]["properties"]["destination"] |= {"enum": [destinations.word_of(one) for one in DESTINATIONS]}
    kinds["connection"]["allOf"] = [_credentials(one, method) for one in DESTINATIONS for method in one.auth_methods]
    kinds["catalog"]["allOf"] = [_catalog(name) for name in TYPES]
    kinds["flow"]["properties"]["params"] |= {"properties": _target_params(), "additionalProperties": False}
    kinds["flow"]["oneOf"] = [{"required": [one]} for one in ("every", "daily", "once")]
    kinds["flow"]["anyOf"] = [{"required": [one]} for one in ("dataset", "datasets")]
    kinds["alert-channel"]["allOf"] = [_channel(one) for one in KINDS.values()]
    definitions = {name: _without_titles(one) for name, one in definitions.items()} | kinds
    return {
        "$schema": _DRAFT,
        "title": "A document of offtake apply",
        "type": "object",
        "properties": {"kind": {"enum": list(MODELS)}},
        "required": ["kind"],
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}}, "then": {"$ref": f"#/$defs/{kind}"}} for kind in MODELS
        ],
        "$defs": definitions,
    }


def _credentials(destination: Destination, method: AuthMethod) -> Json:
    """The params of one way to authenticate."""
    word, auth = destinations.word_of(destination), destinations.auth_word_of(method)
    spec = next(one for one in schema.connection_spec(destination)["authSpec"] if one["name"] == method.name)["spec"]
    secret = destinations.must_be_referenced(method.model)
    properties = {
        key: _field(value) | (_REFERENCE if key in secret else {}) for key, value in spec["properties"].items()
    }
    chosen: Json = {"destination": {"const": word}}
    several = len(destination.auth_methods) > 1
    chosen |= {"auth": {"enum": [auth, method.name]}} if several else {}
    return {
        "if": {"properties": chosen, "required": list(chosen)},
        "then": {"properties": {"params": {"properties": properties, "additionalProperties": False}}},
    }


def _catalog(name: str) -> Json:
    properties: Json = {}
    for one in TYPES[name].properties:
        found: Json = {"type": "string", "description": one.description}
        found |= {"enum": list(one.values)} if one.values else {}
        properties[one.name] = found | (_REFERENCE if one.secret else {})
    required = [one.name for one in TYPES[name].properties if one.required and not one.secret]
    then = {"properties": properties} | ({"required": required} if required else {})
    return {"if": {"properties": {"type": {"const": name}}}, "then": {"properties": {"properties": then}}}


def _channel(kind: ChannelKind) -> Json:
    """The settings of one type of alert channel."""
    secret = kind.model.secrets()
    fields = {field.alias or name: field for name, field in kind.model.model_fields.items()}
    found = kind.model.model_json_schema()["properties"]
    properties = {
        key: _REFERENCE | {"description": one.description} if key in secret else _without_titles(found[key])
        for key, one in fields.items()
    }
    then: Json = {"properties": properties, "additionalProperties": False}
    required = [key for key, one in fields.items() if one.is_required() and key not in secret]
    then |= {"required": required} if required else {}
    whole: Json = {"properties": {"settings": then}} | ({"required": ["settings"]} if required else {})
    return {"if": {"properties": {"type": {"const": kind.name}}}, "then": whole}


def _target_params() -> Json:
    """The params that are not fields of a flow's document; which of them fit is checked by the destination."""
    found: Json = {}
    fields = {"datasetFileType", "compression", "includeFileManifest", "fileType", "csvOptions"}
    for one in DESTINATIONS:
        spec = schema.connection_spec(one)["targetSpec"]["spec"]["properties"]
        found |= {key: _field(value) for key, value in spec.items() if key not in fields}
    return {key: value for key, value in found.items() if key not in ("path", "remotePath", "bucketName", "container")}


def _field(found: Json) -> Json:
    return {key: value for key, value in found.items() if key not in _NOT_JSON_SCHEMA}


def _without_titles(found: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """The schema without the titles that Pydantic derives from names."""
    if isinstance(found, list):
        return [_without_titles(one) for one in found]
    if not isinstance(found, dict):
        return found
    return {
        key: _without_titles(value) for key, value in found.items() if not (key == "title" and isinstance(value, str))
    }
