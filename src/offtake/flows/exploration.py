"""Lists the folders and files of the landing zone (contract, section 11, rows 4 and 13)."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy.orm import Session

from offtake.contract import entities, problems
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.contract.problems import Problem
from offtake.destinations import data_landing_zone
from offtake.destinations.base import SandboxLocation
from offtake.destinations.parameters import as_folder
from offtake.documents import Json
from offtake.errors import DeliveryError
from offtake.flows import specs
from offtake.flows.connections import KIND
from offtake.store.tables import Connection

LANDING_ZONE_SOURCE: Final = "26f526f2-58f4-4712-961d-e41bf1ccc0e8"
_MOST: Final = 1000
_TYPES: Final = ("ROOT", "FOLDER")


def check_spec(caller: Caller, spec_id: str) -> None:
    """Raise 1439 for a connection spec that cannot be explored."""
    caller.require(VIEW_DESTINATIONS)
    if spec_id not in (LANDING_ZONE_SOURCE, specs.DATA_LANDING_ZONE):
        raise problems.not_found("connectionSpecs", spec_id)


def check_connection(session: Session, caller: Caller, row_id: str) -> None:
    """Raise 1439 for a missing connection, 1422 for one that is not to the landing zone."""
    caller.require(VIEW_DESTINATIONS)
    row = entities.find(session, caller, Connection, KIND, row_id)
    if row.connection_spec_id != specs.DATA_LANDING_ZONE:
        raise Problem(problems.WRONG_ACTION, f"Only {data_landing_zone.NAME} can be explored.", KIND, row.id)


def explore(sandbox_location: SandboxLocation, params: Mapping[str, str]) -> list[Json]:
    """The entries of a folder in the sandbox's zone: at most 1000, folders first."""
    kind = (params.get("objectType") or "ROOT").upper()
    if kind not in _TYPES:
        raise problems.of_field("/objectType", f"must be one of {', '.join(_TYPES)}")
    folder = as_folder(params.get("object") or "") if kind == "FOLDER" else ""
    if any(step in (".", "..") for step in folder.split("/")):
        raise problems.of_field("/object", "must be a folder such as exports/crm")
    try:
        found = sandbox_location.zone("dlz_destination").children(folder)
    except DeliveryError as error:
        raise Problem(problems.STORAGE_AWAY, str(error)) from None
    if found is None:
        raise problems.of_field("/object", "is not a folder of the landing zone")
    return [_entry(folder, name, is_folder) for name, is_folder in found[:_MOST]]


def _entry(folder: str, name: str, is_folder: bool) -> Json:
    path = f"{folder}/{name}" if folder else name
    kind = "folder" if is_folder else "file"
    return {"type": kind, "name": name, "path": f"/{path}", "canPreview": False, "canFetchSchema": False}
