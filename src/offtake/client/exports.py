"""Source and target connections behind flows: made when they are needed, reused, and removed with their flow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from offtake.client.problems import ServerError
from offtake.client.server import FLOW_SERVICE, Server
from offtake.documents import Json
from offtake.errors import OfftakeError

DATA_LAKE_ID: Final = "23598e46-f560-407b-88d5-ea6207e49db0"
"""The connection spec of the contract's source."""
DATA_LAKE: Final = {"id": DATA_LAKE_ID, "version": "1.0"}
SOURCES: Final = f"{FLOW_SERVICE}/sourceConnections"
TARGETS: Final = f"{FLOW_SERVICE}/targetConnections"


@dataclass(frozen=True)
class ExportedDataset:
    """A dataset of a flow. `columns` None: all. `ref` None: the main branch."""

    id: str
    columns: tuple[str, ...] | None = None
    ref: str | None = None


def datasets_of(source: Json) -> list[ExportedDataset]:
    """The datasets of a source connection."""
    params = source.get("params", {})
    columns: Mapping[str, Sequence[str]] = params.get("columns") or {}
    return [
        ExportedDataset(
            one["dataSetId"],
            tuple(columns[one["dataSetId"]]) if one["dataSetId"] in columns else None,
            one.get("ref"),
        )
        for one in params.get("datasets", ())
    ]


def find_source(sources: Mapping[str, Json], datasets: Sequence[ExportedDataset]) -> str | None:
    """A source connection of exactly these datasets: several flows can use one, because it cannot be changed."""
    wanted = set(datasets)
    return next((one["id"] for one in sources.values() if set(datasets_of(one)) == wanted), None)


def create_source(server: Server, name: str, datasets: Sequence[ExportedDataset]) -> Json:
    """Create the source connection for these datasets. Raises `OfftakeError` when the server ignores the columns.

    A selection of columns is an extension: a server without it would deliver all columns.
    """
    columns = {one.id: list(one.columns) for one in datasets if one.columns is not None}
    params: Json = {"datasets": [{"dataSetId": one.id} | ({"ref": one.ref} if one.ref else {}) for one in datasets]}
    params |= {"columns": columns} if columns else {}
    made = server.post(SOURCES, {"name": name, "connectionSpec": DATA_LAKE, "params": params})
    if not columns and not any(one.ref for one in datasets):
        return {"id": made["id"], "params": params}
    stored = server.get_one(f"{SOURCES}/{made['id']}")
    if set(datasets_of(stored)) != set(datasets):
        remove_unused(server, f"{SOURCES}/{made['id']}")
        raise OfftakeError(
            f"The server {server.name} ignores the choice of columns or branches of {name}, which is an extension of "
            "Offtake: nothing was created."
        )
    return stored


def create_target(server: Server, name: str, connection_id: str, spec_id: str, params: Json) -> Json:
    """Create the target connection for the files of one flow."""
    spec = {"id": spec_id, "version": "1.0"}
    body = {"name": name, "baseConnectionId": connection_id, "connectionSpec": spec, "params": params}
    made = server.post(TARGETS, body)
    return body | {"id": made["id"], "etag": made.get("etag")}


def remove_unused(server: Server, path: str) -> bool:
    """Delete a connection; False when it is still in use, or files are still to be removed through it."""
    try:
        server.delete(path)
    except ServerError as error:
        if error.is_not_found or error.status in (400, 409):
            return False
        raise
    return True
