"""Where the own lake and the uploads are, from the settings; errors name the environment variable."""

import json
import re
import shlex
import threading
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Final
from uuid import uuid4

from pydantic import SecretStr

from offtake.errors import DeliveryError, InvalidInputError, OfftakeError
from offtake.lake.catalogs.declarations import FILES, IDENTITY, CatalogType, check
from offtake.lake.locations import LocationError, is_local
from offtake.lake.storage import files, objects
from offtake.lake.storage.access import FileAccess, Kind, kind_of
from offtake.network.egress import Network
from offtake.settings import Settings

WAREHOUSE: Final = "OFFTAKE_WAREHOUSE"
UPLOADS: Final = "OFFTAKE_UPLOAD_DIR"
STORAGE: Final = "OFFTAKE_STORAGE"

_SCHEMES: Final = re.compile(r"(s3|abfss|gs)://([^/]+)(/.*)?", re.DOTALL)
_REMOTE: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:/?/")
_PREFIXES: Final[dict[Kind, str]] = {"s3": "s3.", "gs": "gcs.", "azure": "adls."}
_CHECK_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 10.0
_STORES: Final = CatalogType(
    "files",
    "",
    "",
    tuple(one for one in FILES.properties if one.name.startswith(tuple(_PREFIXES.values()))),
)


def warehouse_access(settings: Settings, network: Network) -> FileAccess | None:
    """How the warehouse is opened; None for a folder. Raises `OfftakeError` for another location or property."""
    return _access(WAREHOUSE, settings.lake_warehouse, settings.storage, network)


def uploads_access(settings: Settings, network: Network) -> FileAccess | None:
    """How the uploads are opened; None for a folder. Raises `OfftakeError` as `warehouse_access`."""
    return _access(UPLOADS, settings.uploads_location, settings.storage, network)


def uploads_folder(settings: Settings) -> Path | None:
    """The folder of the uploads; None for a place in an object store. Raises `OfftakeError` as `uploads_access`."""
    return settings.uploads_root if _kind(UPLOADS, settings.uploads_location) is None else None


def check_storage(settings: Settings, network: Network) -> None:
    """Write, read, list and delete an object in each store; raises `OfftakeError` with the remedy.

    The check of a store that does not answer fails after a minute. Folders are not checked.
    """
    for name, access in (
        (WAREHOUSE, warehouse_access(settings, network)),
        (UPLOADS, uploads_access(settings, network)),
    ):
        if access is not None:
            _within(_CHECK_SECONDS, name, access)


def _access(name: str, location: str, storage: SecretStr | None, network: Network) -> FileAccess | None:
    kind = _kind(name, location)
    given = _properties(storage)
    if kind is None:
        return None
    own = {key: value for key, value in given.items() if key.startswith(_PREFIXES[kind])}
    if not any(key in own for key in _CREDENTIALS[kind]):
        own[IDENTITY] = kind
    # Hosts of the operator's settings may be private addresses.
    return FileAccess(kind, own, network.for_operator(), root=location.rstrip("/"))


_CREDENTIALS: Final[dict[Kind, tuple[str, ...]]] = {
    "s3": ("s3.access-key-id", "s3.anonymous"),
    "gs": ("gcs.service-account-key", "gcs.oauth2.token", "gcs.anonymous"),
    "azure": ("adls.account-key", "adls.sas-token", "adls.client-secret"),
}
"""Without any of these, the server's own identity is used."""


def _kind(name: str, location: str) -> Kind | None:
    """The kind of store; None for a folder. Raises `OfftakeError` for everything that cannot be written."""
    store = _SCHEMES.fullmatch(location)
    if store is not None:
        if any(step in (".", "..", "") for step in (store[3] or "/x").rstrip("/").split("/")[1:]):
            raise OfftakeError(f"{name}: {location} must not have empty, . or .. steps in its path.")
        return kind_of(location)
    if not _REMOTE.match(location) or location.lower().startswith("file:"):
        try:
            is_local(location)
        except LocationError as error:
            raise OfftakeError(f"{name}: {error}") from None
        return None
    raise OfftakeError(
        f"{name} must be a path, or start with file:, s3://, abfss:// or gs:// and name a bucket or container; "
        f"{location[:200]} does not."
    )


def _properties(storage: SecretStr | None) -> dict[str, str]:
    """The properties of the setting. Raises `OfftakeError` for unknown ones; no value is in the message."""
    text = storage.get_secret_value().strip() if storage is not None else ""
    found = _object(text) if text.startswith("{") else _pairs(text)
    problems = [problem for name in found if (problem := _unknown(name)) is not None]
    if problems:
        raise OfftakeError(f"{STORAGE}: {'; '.join(problems)}.")
    try:
        check(_STORES, found, is_operator=True)
    except InvalidInputError as error:
        wrong = "; ".join(f"{one.path.rpartition('/')[2]} {one.message}" for one in error.problems)
        raise OfftakeError(f"{STORAGE}: {wrong}.") from None
    return found


def _object(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        raise OfftakeError(f"{STORAGE} starts like a JSON object, but is not one.") from None
    # A key of Google's is a JSON object itself.
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}


def _pairs(text: str) -> dict[str, str]:
    try:
        words = shlex.split(text, comments=False)
    except ValueError:
        raise OfftakeError(f"{STORAGE} has a quotation mark without its partner.") from None
    if any("=" not in word for word in words):
        raise OfftakeError(
            f"{STORAGE} must be a JSON object, or name=value pairs separated by spaces, such as "
            "s3.endpoint=https://minio.example.org s3.access-key-id=… s3.secret-access-key=…"
        )
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _unknown(name: str) -> str | None:
    if _STORES.find(name) is not None:
        return None
    near = get_close_matches(name, [one.name for one in _STORES.properties], 1)
    return f"{name[:100]} is unknown" + (f"; did you mean {near[0]}?" if near else "")


def _within(seconds: float, name: str, access: FileAccess) -> None:
    """Try the store, in a thread: the driver can wait for minutes for an identity or a host that does not answer."""
    failed: list[Exception] = []

    def run() -> None:
        try:
            _try(access)
        except Exception as error:  # noqa: BLE001 - raised below, in the calling thread
            failed.append(error)

    thread = threading.Thread(target=run, name="storage-check", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise OfftakeError(
            f"{name}: {access.root} did not answer within {seconds:.0f} seconds. Check its name, the endpoint and the "
            f"credentials in {STORAGE}, and the network."
        )
    for error in failed:
        if isinstance(error, OfftakeError | OSError):
            raise OfftakeError(f"{name}: {access.root} cannot be used: {_text(error)}") from None
        raise error


def _try(access: FileAccess) -> None:
    # Other timeouts than those of the work that follows: here, an operator waits.
    network = replace(access.network, read_timeout=min(_ANSWER_SECONDS, access.network.read_timeout))
    access = replace(access, network=network)
    folder = f"{access.root}/.offtake-check"
    location = f"{folder}/{uuid4().hex}"
    objects.put_small(access, location, b"written at the start of a server, to test the storage")
    try:
        files.read_whole(location, access)
        if not any(one.location == location for one in objects.files_in(access, folder)):
            raise OfftakeError(f"the object {location} was written, but is not listed.")
    finally:
        objects.delete(access, [location])


def _text(error: Exception) -> str:
    if isinstance(error, DeliveryError):
        return f"{error.message} {error.remedy}"
    return str(error)
