"""Target connections: where datasets go, and in which file format (contract, sections 6.4 and 13.3)."""

from typing import Any

from sqlalchemy.orm import Session

from offtake.destinations import schema
from offtake.errors import InvalidInputError
from offtake.flows import connections, entities, problems, reading, specs
from offtake.flows.access import EXPORT_DATASETS, MANAGE_DESTINATIONS, Caller
from offtake.flows.entities import Json, NewEntity, Sent, SpecRef
from offtake.flows.problems import Problem
from offtake.store.tables import Connection, TargetConnection

OUTPUT = {"outputType": reading.OUTPUT}


class NewTargetConnection(NewEntity):
    """`POST /targetConnections`."""

    base_connection_id: str
    connection_spec: SpecRef
    params: dict[str, Any]


def create(session: Session, caller: Caller, body: Sent, now_ms: int) -> TargetConnection:
    """Store a target connection whose params fit the destination's `targetSpec`."""
    caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    asked = entities.parse_body(NewTargetConnection, body)
    connections.check_version(asked.connection_spec)
    destination = specs.destination_of_connection(asked.connection_spec.id)
    base = entities.find(session, caller, Connection, "connections", asked.base_connection_id)
    if base.connection_spec_id != destination.connection_spec_id:
        raise Problem(
            problems.OTHER_SPEC,
            f"The base connection belongs to connection spec {base.connection_spec_id}; use the same one here.",
            "connections",
            base.id,
        )
    try:
        params = schema.parse_target_params(destination, asked.params)
    except InvalidInputError as error:
        raise problems.of_fields(error) from None
    row = TargetConnection(
        **entities.stamp(caller, now_ms),
        name=asked.name,
        description=asked.description,
        state=entities.ENABLED,
        connection_spec_id=destination.connection_spec_id,
        base_connection_id=base.id,
        params=schema.public_params(params),
    )
    session.add(row)
    return row


def render(session: Session, row: TargetConnection, caller: Caller) -> Json:
    """The target connection as the API shows it."""
    base = session.get_one(Connection, row.base_connection_id)
    return entities.head(row, caller) | {
        "baseConnectionId": row.base_connection_id,
        "connectionSpec": entities.spec_ref(row.connection_spec_id),
        "data": OUTPUT,
        "params": row.params,
        "inheritedAttributes": {"baseConnection": connections.reference(base)},
    }
