"""Destinations by the words of documents, from their declarations in `offtake.destinations`."""

from typing import Final

from pydantic import SecretStr

from offtake.declarations.problems import nearest
from offtake.destinations import schema
from offtake.destinations.base import AuthMethod, Destination
from offtake.destinations.parameters import Params
from offtake.destinations.registry import DESTINATIONS
from offtake.documents import Json
from offtake.errors import OfftakeError

VERSION: Final = "1.0"
MASK: Final = schema.MASK
_WORDS: Final = {
    "Amazon S3": "s3",
    "Azure Blob Storage": "azure-blob",
    "Azure Data Lake Gen2": "adls",
    "Data Landing Zone": "landing-zone",
    "Google Cloud Storage": "gcs",
    "SFTP": "sftp",
}
_AUTH_WORDS: Final = {
    "Access Key": "access-key",
    "Assumed Role": "assumed-role",
    "ConnectionString": "connection-string",
    "Azure Service Principal Auth": "service-principal",
    "Google Cloud Storage authentication credentials": "hmac-key",
    "SFTP with Password": "password",
    "SFTP with SSH Key": "ssh-key",
}
_NOT_SECRET: Final = frozenset({"s3Role"})
"""Params that the contract masks, but that are not secret: the ARN of a role."""


def word_of(destination: Destination) -> str:
    """The word of documents and commands for a destination."""
    return _WORDS.get(destination.name, destination.name)


def auth_word_of(method: AuthMethod) -> str:
    """The word of documents and commands for a way to authenticate."""
    return _AUTH_WORDS.get(method.name, method.name)


def find(text: str) -> Destination:
    """The destination with that word or name. Raises `OfftakeError` with the nearest one."""
    wanted = text.strip().lower()
    for one in DESTINATIONS:
        if wanted in (word_of(one), one.name.lower()):
            return one
    raise OfftakeError(f"{text[:100]!r} is not a destination; {nearest(wanted, map(word_of, DESTINATIONS))}")


def of_connection_spec(spec_id: str) -> Destination | None:
    """The destination with that connection spec; None for specs that Offtake does not have."""
    return next((one for one in DESTINATIONS if one.connection_spec_id == spec_id), None)


def find_auth(destination: Destination, text: str | None) -> AuthMethod | None:
    """The way to authenticate with that word or `specName`; None for destinations without credentials.

    Without a text, the only one. Raises `OfftakeError`.
    """
    methods = destination.auth_methods
    words = [auth_word_of(one) for one in methods]
    if not methods:
        if text is not None:
            raise OfftakeError(f"is not for {word_of(destination)}, which has no credentials")
        return None
    if text is None:
        if len(methods) == 1:
            return methods[0]
        raise OfftakeError(f"is required: one of {', '.join(words)}")
    wanted = text.strip().lower()
    found = next((one for one in methods if wanted in (auth_word_of(one), one.name.lower())), None)
    if found is None:
        raise OfftakeError(f"{text[:100]!r} is unknown; {nearest(wanted, words)}")
    return found


def keys_of(model: type[Params]) -> list[str]:
    """The keys of params, by the contract's names."""
    return [field.alias or name for name, field in model.model_fields.items()]


def secret_keys(model: type[Params]) -> set[str]:
    """The keys whose values the server stores encrypted, and masks."""
    return {
        field.alias or name
        for name, field in model.model_fields.items()
        if schema.plain_type(field.annotation) is SecretStr
    }


def must_be_referenced(model: type[Params]) -> set[str]:
    """The keys whose values may be in a document only by reference."""
    return secret_keys(model) - _NOT_SECRET


def encoded_keys(model: type[Params]) -> set[str]:
    """The keys whose values are files in Base64."""
    fields = model.model_fields.items()
    extras = {field.alias or name: field.json_schema_extra for name, field in fields}
    return {key for key, extra in extras.items() if isinstance(extra, dict) and "contentEncoding" in extra}


def binding_keys(model: type[Params]) -> set[str]:
    """The keys that decide where secrets are sent: a change requires all secrets again."""
    secret = secret_keys(model)
    fields = model.model_fields.items()
    return {field.alias or name for name, field in fields if name not in model.free} - secret


def defaults_of(model: type[Params]) -> Json:
    """The declared defaults, without keys whose default is None."""
    fields = ((field.alias or name, field) for name, field in model.model_fields.items())
    return {key: field.default for key, field in fields if not field.is_required() and field.default is not None}
