"""Renders a destination's models as the contract's connection spec, and parses requests into those models.

Keys, titles, patterns and secrets come from the models only.
"""

from collections.abc import Collection
from dataclasses import replace
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from offtake.destinations.base import AuthMethod, Destination
from offtake.destinations.parameters import EXTENSION, Params, TargetParams
from offtake.documents import Json
from offtake.errors import FieldProblem, InvalidInputError
from offtake.formats.names import NAMES
from offtake.invalid_values import problem_of

MASK: Final = "********"
_DRAFT: Final = "http://json-schema.org/draft-07/schema#"
_PROVIDER: Final = "14e34fac-d307-11e9-bb65-2a2ae2dbcce4"
_TYPES: Final = {str: "string", SecretStr: "string", int: "integer", bool: "boolean"}
NOT_PUBLISHED: Final = ("mode",)
"""Keys that are accepted and have no effect; specs and forms leave them out."""
_SHARED: Final = [field.alias or name for name, field in TargetParams.model_fields.items()]
"""The keys that all target connections share; this project's extensions follow the contract's keys."""


def connection_spec(destination: Destination) -> Json:
    """The destination's connection spec (contract, section 8)."""
    return {
        "id": destination.connection_spec_id,
        "name": destination.name,
        "providerId": _PROVIDER,
        "version": "1.0",
        "authSpec": [_auth_spec(method) for method in destination.auth_methods],
        "encryptionSpecs": [_ENCRYPTION] if destination.encryption else [],
        "targetSpec": {"name": "User based target", "type": "UserNamespace", "spec": _target_schema(destination)},
        "attributes": {
            "category": "cloudStorage",
            "connectorName": destination.name,
            "isDestination": True,
            "isSource": False,
        },
    }


def shared_params() -> str:
    """The params that all target connections share, as a Markdown list."""
    fields = ((field.alias or name, field) for name, field in TargetParams.model_fields.items())
    return "\n".join(
        f"- `{key}`: {field.description}{' (an extension)' if is_extension(field) else ''}" for key, field in fields
    )


def parse_credentials(destination: Destination, spec_name: str, params: object) -> Params:
    """Parse `auth.params`; raises `InvalidInputError` with paths below `/auth/params`."""
    method = next(one for one in destination.auth_methods if one.name == spec_name)
    return _parse(method.model, params, "/auth/params")


def parse_target_params(destination: Destination, params: Json) -> TargetParams:
    """Parse the params of a target connection; raises `InvalidInputError` with paths below `/params`.

    `fileType` and `csvOptions` belong to audience exports and are ignored (contract, section 8).
    """
    known = {key: value for key, value in params.items() if key not in ("fileType", "csvOptions")}
    if "fileType" in params and "datasetFileType" not in params:
        raise InvalidInputError(
            [FieldProblem("/params/datasetFileType", f"is required: {' or '.join(NAMES)}", missing=True)]
        )
    parsed = _parse(destination.parameters, known, "/params")
    assert isinstance(parsed, TargetParams)  # noqa: S101 - a destination's parameters are target params
    return parsed


def changed_bindings(before: Params, after: Params) -> list[str]:
    """The keys of changed params that bind the secrets: a change requires the secrets again."""
    fields = type(after).model_fields.items()
    bind = [(field.alias or name, name) for name, field in fields if name not in after.free and not _is_secret(field)]
    return [key for key, name in bind if getattr(before, name, None) != getattr(after, name)]


def parameters_pinned(stored: Params) -> Json:
    """The params that keep their value when credentials are sent without them."""
    return {key: value for key, value in with_defaults(stored).items() if key in _aliases(stored, stored.pinned)}


def _aliases(model: Params, names: Collection[str]) -> set[str]:
    fields = type(model).model_fields
    return {fields[name].alias or name for name in names}


def _is_secret(field: FieldInfo) -> bool:
    return plain_type(field.annotation) is SecretStr


def redact(model: Params) -> Json:
    """The submitted params as the API returns them, with secrets masked."""
    return {key: MASK if isinstance(value, SecretStr) else value for key, value in _submitted(model)}


def with_defaults(model: Params) -> Json:
    """The submitted params with their secrets, for the vault only."""
    return {
        key: value.get_secret_value() if isinstance(value, SecretStr) else value for key, value in _submitted(model)
    }


def _submitted(model: Params) -> list[tuple[str, Any]]:
    return [
        (field.alias or name, getattr(model, name))
        for name, field in type(model).model_fields.items()
        if name in model.model_fields_set and getattr(model, name) is not None
    ]


def _parse(model: type[Params], params: object, prefix: str) -> Params:
    try:
        return model.model_validate(params)
    except ValidationError as error:
        allowed = ", ".join(field.alias or name for name, field in model.model_fields.items())
        raise InvalidInputError([_problem(one, prefix, allowed) for one in error.errors()]) from None


def _problem(error: Any, prefix: str, allowed: str) -> FieldProblem:  # noqa: ANN401 - pydantic's error details
    found = problem_of(error, prefix)
    if error["type"] == "extra_forbidden":
        return replace(found, message=f"{found.message}; allowed: {allowed}")
    return found


def _auth_spec(method: AuthMethod) -> Json:
    # The contract's own keys are the required ones, and come first.
    fields = sorted(method.model.model_fields.items(), key=lambda item: not item[1].is_required())
    properties = {field.alias or name: _property(field) for name, field in fields}
    required = [field.alias or name for name, field in fields if field.is_required()]
    schema = {"$schema": _DRAFT, "type": "object", "description": method.description}
    return {
        "name": method.name,
        "type": method.kind,
        "spec": schema | {"properties": properties, "required": required},
    }


def _target_schema(destination: Destination) -> Json:
    fields = {field.alias or name: field for name, field in destination.parameters.model_fields.items()}
    location = {key: _property(field) for key, field in fields.items() if key not in _SHARED}
    needed = [key for key in location if fields[key].is_required()]
    shared = {
        "fileType": _conditional(_property(fields["datasetFileType"]), "NOT_CONTAINS") | {"enum": _FILE_TYPES},
        "datasetFileType": _conditional(_property(fields["datasetFileType"]), "CONTAINS"),
        "csvOptions": _CSV_OPTIONS,
        "compression": _property(fields["compression"]) | {"enum": list(destination.compression_order)},
    }
    extensions = {key: _property(fields[key]) for key in _SHARED if key not in (*shared, *NOT_PUBLISHED)}
    return {
        "$schema": _DRAFT,
        "type": "object",
        "properties": location | shared | extensions,
        "required": [*needed, "datasetFileType", "compression", "fileType"],
    }


def _property(field: FieldInfo) -> Json:
    kind = plain_type(field.annotation)
    found: Json = {"title": field.title} if field.title else {}
    found |= {"description": field.description}
    if get_origin(kind) is Literal:
        found |= {"type": "string", "enum": list(get_args(kind))}
    else:
        found |= {"type": _TYPES[kind]}
    if kind is SecretStr:
        found["format"] = "password"
    extra = field.json_schema_extra
    return found | (extra if isinstance(extra, dict) else {})


def is_extension(field: FieldInfo) -> bool:
    """Whether the field is an extension of this project; its property in the spec has the same mark."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and EXTENSION.keys() <= extra.keys()


def plain_type(annotation: Any) -> Any:  # noqa: ANN401 - a type is whatever the annotation says
    """The annotation without `| None`."""
    if get_origin(annotation) in (Union, UnionType):
        return next(one for one in get_args(annotation) if one is not type(None))
    return annotation


def _conditional(schema: Json, operator: str) -> Json:
    return {
        "conditional": {"field": "flowSpec.attributes._workflow", "operator": operator, "value": "DATASETS"}
    } | schema


_FILE_TYPES: Final = list(dict.fromkeys(("CSV", *NAMES)))
_TEXT: Final = {"type": "string"}
_CSV_OPTIONS: Final[Json] = {
    "conditional": {"field": "fileType", "operator": "EQUALS", "value": "CSV"},
    "type": "object",
    "properties": dict.fromkeys(("delimiter", "quote", "escape", "nullValue", "emptyValue"), _TEXT),
}
_ENCRYPTION: Final[Json] = {
    "name": "File PGP/GPG Encryption",
    "type": "FileAsymmetric",
    "spec": {
        "$schema": _DRAFT,
        "type": "object",
        "properties": {
            "publicKey": {
                "title": "Public key",
                "description": "The recipient's armored PGP public key, encoded as Base64",
                "type": "string",
                "contentEncoding": "base64",
            },
            "encryptionAlgo": {"type": "string", "default": "PGPGPG", "enum": ["PGPGPG", "NONE"]},
        },
        "required": ["encryptionAlgo", "publicKey"],
    },
}
