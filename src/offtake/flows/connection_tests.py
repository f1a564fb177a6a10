"""Whether a base connection's credentials work where its target connections deliver to (contract, section 11)."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.destinations import schema
from offtake.destinations.contract import Destination, Site
from offtake.destinations.parameters import Params, TargetParams
from offtake.destinations.probe import probe
from offtake.errors import DeliveryError, InvalidInputError
from offtake.flows import entities, problems, specs
from offtake.flows.access import VIEW_DESTINATIONS, Caller
from offtake.flows.connections import KIND
from offtake.flows.entities import Json
from offtake.flows.problems import Problem
from offtake.store.tables import Connection, TargetConnection
from offtake.store.vault import Vault

_MOST_PLACES: Final = 5


@dataclass(frozen=True)
class Trial:
    """What is tried, and where, once the database is let go."""

    destination: Destination
    credentials: Params | None
    places: tuple[TargetParams, ...]
    site: Site


def prepare(session: Session, caller: Caller, vault: Vault, row_id: str, site: Site) -> Trial:
    """Look up a base connection and the places its latest target connections deliver to; raises 1439 and 1452."""
    caller.require(VIEW_DESTINATIONS)
    row = entities.find(session, caller, Connection, KIND, row_id)
    if row.connection_spec_id == specs.DATA_LAKE:
        raise Problem(problems.WRONG_ACTION, "The connection to the data lake is internal; there is nothing to test.")
    destination = specs.destination_of_connection(row.connection_spec_id)
    credentials = None
    if row.auth_sealed is not None and row.auth_spec_name is not None:
        opened = vault.open(row.id, row.auth_sealed)
        credentials = schema.parse_credentials(destination, row.auth_spec_name, opened)
    latest = select(TargetConnection).filter_by(base_connection_id=row.id)
    targets = session.scalars(latest.order_by(TargetConnection.updated_at.desc()).limit(_MOST_PLACES))
    places = {str(one.params): schema.parse_target_params(destination, one.params) for one in targets}
    return Trial(destination, credentials, tuple(places.values()) or _whole_place(destination), site)


def carry_out(trial: Trial) -> Json:
    """`{"result": true}`, or false with what was refused at each place; a small object is written and removed."""
    if trial.destination.open is None:
        return _failed([("EXPORT-1500-500", f"{trial.destination.name} cannot be delivered to here yet.")])
    if not trial.places:
        message = "The account does not name a place. Make a target connection with it, then test again."
        return _failed([("EXPORT-2002-404", message)])
    found = [error for place in trial.places for error in _try(trial, place)]
    return _failed([(error.code, str(error)) for error in found]) if found else {"result": True}


def _try(trial: Trial, place: TargetParams) -> list[DeliveryError]:
    assert trial.destination.open is not None  # noqa: S101 - the caller has checked
    try:
        sink = trial.destination.open(trial.credentials, place, trial.site)
    except DeliveryError as error:
        return [error]
    try:
        return probe(sink, place.folder())
    finally:
        sink.close()


def _whole_place(destination: Destination) -> tuple[TargetParams, ...]:
    """The place itself, where the account names it: then a target needs no more than a path."""
    try:
        params = {"path": "/", "datasetFileType": "JSON", "compression": "GZIP"}
        return (schema.parse_target_params(destination, params),)
    except InvalidInputError:
        return ()


def _failed(errors: list[tuple[str, str]]) -> Json:
    return {"result": False, "errors": [{"code": code, "message": message} for code, message in errors]}
