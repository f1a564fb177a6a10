"""The destination of a copy: a URL, a folder of this machine, or a base connection of the data directory."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer

from offtake.cli import output
from offtake.cli.copy_request import CopyRequest
from offtake.cli.local import operating
from offtake.client import names
from offtake.client.destination_urls import Bodies, bodies_of, place_of
from offtake.client.names import CONNECTION
from offtake.client.server import FLOW_SERVICE, Server
from offtake.destinations.registry import DESTINATIONS
from offtake.documents import Json
from offtake.errors import OfftakeError
from offtake.store.tables import Connection

_ZONE: Final = "Data Landing Zone"
_STORES: Final = {"Amazon S3": "bucketName", "Google Cloud Storage": "bucketName", "Azure Blob Storage": "container"}
_FOLDERS: Final = {"Azure Data Lake Gen2": "path", "SFTP": "remotePath", _ZONE: "path"}


@dataclass(frozen=True)
class Place:
    """Where a copy delivers to. `folder`: of this machine; else `bodies` create the connections.

    `encryption`: of the base connection that the copy uses.
    """

    bodies: Bodies
    folder: Path | None = None
    encryption: Json | None = None


def is_url(destination: str) -> bool:
    """Whether the destination is a URL."""
    return "://" in destination


def find_place(request: CopyRequest, server: Server) -> Place:
    """The destination's connections. `server`: the copy's own deployment. Raises `OfftakeError`."""
    if is_url(request.destination):
        return Place(_of_url(request, server))
    if request.options or request.ssh_key:
        raise OfftakeError("--set and --identity are for destinations that are URLs.")
    folder = _folder(request.destination)
    if folder is not None:
        return Place(Bodies(_spec_names(_spec_id(_ZONE)), None, {"path": "/"}), folder)
    return _of_connection(request)


def check_destination(destination: str) -> None:
    """Raise `OfftakeError` for a destination of an unknown form."""
    if is_url(destination):
        place_of(destination)
    elif _folder(destination) is None and ":" not in destination:
        raise OfftakeError(
            f"{destination[:200]} is not a URL, a folder, or CONNECTION:PATH. For a folder that does not exist yet: "
            f"./{destination[:200]}"
        )


def _folder(destination: str) -> Path | None:
    path = Path(destination).expanduser()
    is_path = destination.startswith(("/", "./", "../", "~")) or destination in (".", "..")
    if path.exists() and not path.is_dir():
        raise OfftakeError(f"{destination} is a file. Name a folder for the delivered files.")
    return path.resolve() if is_path or path.is_dir() else None


def _of_url(request: CopyRequest, server: Server) -> Bodies:
    place = place_of(request.destination)
    spec = server.get_one(f"{FLOW_SERVICE}/connectionSpecs/{_spec_id(place.destination)}")
    found = bodies_of(place, spec, request.options, os.environ, _ask, request.ssh_key)
    if place.destination == "SFTP" and "hostKeyFingerprint" not in (found.auth or {})["params"]:
        output.note(
            "offtake: the host key of the SFTP server is not checked. To check it: --set hostKeyFingerprint=SHA256:…"
        )
    return found


def _ask(name: str) -> str | None:
    if not sys.stdin.isatty():
        return None
    answer: str = typer.prompt(name, hide_input=True, err=True)
    return answer


def _of_connection(request: CopyRequest) -> Place:
    """A base connection of the data directory, with its credentials."""
    from offtake.api.in_process import InProcess  # noqa: PLC0415 - only for this kind of destination

    name, _, path = request.destination.partition(":")
    with operating(request.data_dir, request.sandbox) as (backend, caller):
        with Server(InProcess(backend, request.sandbox)) as server:
            found = names.find(server, CONNECTION, name)
        spec_id = found["connectionSpec"]["id"]
        kind = next((one.name for one in DESTINATIONS if one.connection_spec_id == spec_id), "")
        target = _location(kind, name, path)
        if kind == _ZONE:
            zone = backend.sandbox_location(caller).zone("dlz_destination")
            if zone.local_folder is None:
                raise OfftakeError(f"The landing zone {zone.url} is not a folder of this machine. Make a flow for it.")
            return Place(Bodies(_spec_names(spec_id), None, target), zone.local_folder, found.get("encryption"))
        with backend.database.reading() as session:
            row = session.get_one(Connection, found["id"])
            params = backend.vault.decrypt(row.id, row.auth_sealed) if row.auth_sealed is not None else {}
            auth = {"specName": row.auth_spec_name, "params": _without_none(params)}
    return Place(Bodies(_spec_names(spec_id), auth, target), encryption=found.get("encryption"))


def _location(kind: str, name: str, path: str) -> dict[str, str]:
    """The target's location from the text after the connection's name."""
    if kind in _STORES:
        bucket, _, rest = path.strip("/").partition("/")
        if not bucket:
            raise OfftakeError(f"Connection {name} is of {kind}: give {name}:{_STORES[kind]}/PATH.")
        return {_STORES[kind]: bucket, "path": rest or "/"}
    if kind in _FOLDERS:
        return {_FOLDERS[kind]: path or "/"}
    raise OfftakeError(f"Connection {name} is not a destination for files.")


def _without_none(params: Mapping[str, Any]) -> Json:
    return {name: value for name, value in params.items() if value is not None}


def _spec_id(name: str) -> str:
    return next(one.connection_spec_id for one in DESTINATIONS if one.name == name)


def _spec_names(spec_id: str) -> Json:
    return {"id": spec_id, "version": "1.0"}


def flow_spec_id(spec: Json) -> str:
    """The id of the flow spec of a connection spec."""
    return next(one.flow_spec_id for one in DESTINATIONS if one.connection_spec_id == spec["id"])
