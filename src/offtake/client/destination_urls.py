"""Destinations as URLs: s3://, gs://, az://, abfss:// and sftp://, with credentials from the environment or options."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from offtake.client.profiles import resolve_secret
from offtake.documents import Json
from offtake.errors import OfftakeError

Ask = Callable[[str], str | None]
"""Asks a person for a secret by its name; None when no person can be asked."""
_REFERENCES: Final = ("env:", "file:")


@dataclass(frozen=True)
class Place:
    """Where a URL points to.

    `destination`: the name of its connection spec; `auth`: the names of its authentication methods, the first one
    whose `chooses` parameter is given is used; `params`, `target`: what the URL says of the base connection and of
    the target connection; `variables`: environment variables by parameter.
    """

    destination: str
    auth: Mapping[str, str]
    variables: Mapping[str, tuple[str, ...]]
    params: Mapping[str, str] = field(default_factory=dict)
    target: Mapping[str, str] = field(default_factory=dict)


def place_of(url: str) -> Place:
    """Parse the URL of a destination. Raises `OfftakeError` for credentials in it, and for one that is not known."""
    try:
        split = urlsplit(url)
        is_valid = bool(split.hostname) and split.port != 0
    except ValueError:
        is_valid = False
    shown = url.partition("://")[0][:20]
    if not is_valid:
        raise OfftakeError(f"The destination {shown}://… is not a valid URL.")
    if split.password is not None:
        raise OfftakeError(
            f"The destination {shown}://… contains a password, which other users of this machine could see. Leave it "
            "out: it is read from the environment, from --set NAME=file:PATH, or asked for."
        )
    if split.query or split.fragment:
        raise OfftakeError(
            f"The destination {shown}://… must not have ? or #. Give credentials with --set NAME=env:VARIABLE."
        )
    known = _PLACES.get(split.scheme)
    if known is None:
        raise OfftakeError(
            f"{shown}:// is not a destination: use {', '.join(f'{one}://' for one in _PLACES)} or a folder."
        )
    return known(split)


def _bucket(
    split: SplitResult, destination: str, auth: Mapping[str, str], variables: Mapping[str, tuple[str, ...]]
) -> Place:
    if split.username or split.port:
        raise OfftakeError(f"Use {split.scheme}://BUCKET/PATH, without a user or port.")
    name = "container" if split.scheme == "az" else "bucketName"
    return Place(destination, auth, variables, {}, {name: split.netloc, "path": _path(split)})


def _s3(split: SplitResult) -> Place:
    variables = {
        "s3AccessKey": ("AWS_ACCESS_KEY_ID",),
        "s3SecretKey": ("AWS_SECRET_ACCESS_KEY",),
        "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
        "endpointUrl": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    }
    return _bucket(split, "Amazon S3", {"Assumed Role": "s3Role", "Access Key": ""}, variables)


def _gs(split: SplitResult) -> Place:
    variables = {"accessKeyId": ("GS_ACCESS_KEY_ID",), "secretAccessKey": ("GS_SECRET_ACCESS_KEY",)}
    auth = {"Google Cloud Storage authentication credentials": ""}
    return _bucket(split, "Google Cloud Storage", auth, variables)


_PRINCIPAL: Final = {
    "servicePrincipalId": ("AZURE_CLIENT_ID",),
    "servicePrincipalKey": ("AZURE_CLIENT_SECRET",),
    "tenant": ("AZURE_TENANT_ID",),
}


def _az(split: SplitResult) -> Place:
    variables = {
        "connectionString": ("AZURE_STORAGE_CONNECTION_STRING",),
        **_PRINCIPAL,
        "url": ("AZURE_STORAGE_BLOB_ENDPOINT",),
    }
    auth = {"Azure Service Principal Auth": "url", "ConnectionString": ""}
    return _bucket(split, "Azure Blob Storage", auth, variables)


def _abfss(split: SplitResult) -> Place:
    if not split.username:
        raise OfftakeError("Use abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH.")
    params = {"url": f"abfss://{split.netloc}"}
    return Place(
        "Azure Data Lake Gen2", {"Azure Service Principal Auth": ""}, _PRINCIPAL, params, {"path": _path(split)}
    )


def _sftp(split: SplitResult) -> Place:
    params = {"domain": split.hostname or ""}
    if split.username:
        params["username"] = unquote(split.username)
    if split.port:
        params["port"] = str(split.port)
    # As in curl: below the root, or below the login folder after ~.
    path = unquote(split.path) or "/"
    remote = path.removeprefix("/~/") if path.startswith("/~/") else path
    auth = {"SFTP with SSH Key": "sshKey", "SFTP with Password": ""}
    variables = {"password": ("SFTP_PASSWORD",), "passphrase": ("SFTP_PASSPHRASE",), "username": ("SFTP_USERNAME",)}
    return Place("SFTP", auth, variables, params, {"remotePath": remote})


_PLACES: Final[Mapping[str, Callable[[SplitResult], Place]]] = {
    "s3": _s3,
    "gs": _gs,
    "az": _az,
    "abfss": _abfss,
    "sftp": _sftp,
}


def _path(split: SplitResult) -> str:
    return unquote(split.path).strip("/") or "/"


def parse_settings(texts: list[str]) -> dict[str, str]:
    """Parse `NAME=VALUE` options, in the order given. Raises `OfftakeError`."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise OfftakeError(f"--set {name[:50]}: give NAME=VALUE, such as region=eu-central-1.")
        found[name] = value
    return found


def ssh_key(file: Path) -> str:
    """The content of a private key file as the parameter `sshKey` has it."""
    try:
        return base64.b64encode(file.read_bytes()).decode()
    except OSError as error:
        raise OfftakeError(f"--identity {file} cannot be read: {error.strerror}.") from None


@dataclass(frozen=True)
class Bodies:
    """The bodies that create a base connection and a target connection; `auth` None: it needs no credentials."""

    spec: Json
    auth: Json | None
    target: Json


def bodies_of(
    place: Place,
    spec: Json,
    options: Mapping[str, str],
    environment: Mapping[str, str],
    ask: Ask,
    key: str | None = None,
) -> Bodies:
    """Complete what the URL says with options, the environment and answers.

    `spec`: the destination's connection spec; `key`: of SSH. Raises `OfftakeError`, which names what is missing or not
    known, and for secrets that are given as they are.
    """
    of_target: Json = spec["targetSpec"]["spec"]["properties"]
    methods = {one["name"]: one["spec"] for one in spec["authSpec"]}
    declared = of_target | {name: each for one in methods.values() for name, each in one["properties"].items()}
    given = {name: _resolved(name, value, declared) for name, value in options.items()}
    values = (
        _from_environment(place, environment) | dict(place.params) | given | ({} if key is None else {"sshKey": key})
    )
    chosen = next(name for name, chooses in place.auth.items() if not chooses or chooses in values)
    properties = methods[chosen]["properties"]
    unused = [name for name in given if name not in properties and name not in of_target]
    if unused:
        raise OfftakeError(f"--set {unused[0]}: this is not a parameter of {chosen}.")
    params = {name: _typed(properties[name], value) for name, value in values.items() if name in properties}
    for name in methods[chosen]["required"]:
        if not params.get(name):
            params[name] = _ask(name, properties[name], place, ask)
    target = dict(place.target) | {name: _typed(of_target[name], given[name]) for name in given if name in of_target}
    return Bodies({"id": spec["id"], "version": spec["version"]}, {"specName": chosen, "params": params}, target)


def _from_environment(place: Place, environment: Mapping[str, str]) -> dict[str, str]:
    found = {
        name: environment[one]
        for name, variables in place.variables.items()
        for one in reversed(variables)
        if environment.get(one)
    }
    if "s3AccessKey" in found and environment.get("AWS_SESSION_TOKEN"):
        raise OfftakeError(
            "AWS_SESSION_TOKEN is set, but Amazon S3 destinations do not support temporary credentials. Unset it and "
            "use an access key, or --set s3Role=ARN."
        )
    return found


def _resolved(name: str, value: str, declared: Mapping[str, Json]) -> str:
    """The value of an option, with the secret that it refers to. Raises `OfftakeError`."""
    if name not in declared:
        near = get_close_matches(name, declared, 1)
        hint = f"did you mean {near[0]}?" if near else f"it has: {', '.join(declared)}."
        raise OfftakeError(f"--set {name[:50]}: the destination has no such parameter; {hint}")
    if not _is_secret(declared[name]):
        return value
    if not value.startswith(_REFERENCES):
        raise OfftakeError(
            f"--set {name}: other users of this machine can see secrets in commands. Give env:VARIABLE or file:PATH."
        )
    return resolve_secret(value)


def _is_secret(declared: Json) -> bool:
    return bool(declared.get("format") == "password")


def _typed(declared: Json, value: str) -> object:
    return value == "true" if declared.get("type") == "boolean" and value in ("true", "false") else value


def _ask(name: str, declared: Json, place: Place, ask: Ask) -> str:
    answer = ask(name) if _is_secret(declared) else None
    if answer:
        return answer
    variables = place.variables.get(name, ())
    hint = f"set {' or '.join(variables)}, or give " if variables else "give "
    value = "env:VARIABLE or file:PATH" if _is_secret(declared) else "VALUE"
    raise OfftakeError(f"{place.destination}: {name} is missing; {hint}--set {name}={value}.")
