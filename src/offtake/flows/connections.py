"""Base connections: stored credentials (contract, sections 6.2 and 13.2)."""

from datetime import UTC, datetime
from typing import Any

from pydantic import Field
from sqlalchemy.orm import Session

from offtake.destinations import schema
from offtake.destinations.contract import Destination
from offtake.errors import InvalidInputError
from offtake.flows import entities, problems, specs
from offtake.flows.access import EXPORT_DATASETS, MANAGE_DESTINATIONS, Caller
from offtake.flows.entities import Body, Json, NewEntity, Sent, SpecRef
from offtake.flows.problems import Problem
from offtake.store.tables import Connection
from offtake.store.vault import Vault


class AuthBody(Body):
    """How to log in: the name of one of the connection spec's auth specs, and its params."""

    spec_name: str
    params: dict[str, Any] = Field(default_factory=dict)


class NewConnection(NewEntity):
    """`POST /connections`."""

    connection_spec: SpecRef | None = None
    auth: AuthBody | None = None
    encryption: Any = None
    encryption_specs: Any = None


def create(session: Session, caller: Caller, vault: Vault, body: Sent, now_ms: int) -> Connection:
    """Store a base connection, its credentials sealed. Shape is checked, the credentials are not tried."""
    caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    asked = entities.parse_body(NewConnection, body)
    destination = _destination(asked)
    if asked.encryption or asked.encryption_specs:
        raise problems.of_field("/encryption", "encryption of files is not yet available here; leave it out")
    row = Connection(
        **entities.stamp(caller, now_ms),
        name=asked.name,
        description=asked.description,
        state=entities.ENABLED,
        connection_spec_id=destination.connection_spec_id,
    )
    if destination.auth_methods:
        _seal(row, destination, asked.auth, vault, now_ms)
    elif asked.auth is not None:
        raise Problem(problems.UNKNOWN_AUTH, f"{destination.name} takes no auth; leave it out.")
    session.add(row)
    return row


def render(row: Connection, caller: Caller) -> Json:
    """The connection as the API shows it: secrets are masked."""
    auth = {"specName": row.auth_spec_name, "params": row.auth_public} if row.auth_spec_name else None
    return (
        entities.head(row, caller)
        | {"connectionSpec": entities.spec_ref(row.connection_spec_id)}
        | ({"auth": auth} if auth else {})
        | ({"encryption": row.encryption} if row.encryption else {})
    )


def reference(row: Connection) -> Json:
    """The connection as other entities inherit it."""
    return {"id": row.id, "connectionSpec": entities.spec_ref(row.connection_spec_id)}


def _destination(asked: NewConnection) -> Destination:
    if asked.connection_spec is None:
        if asked.auth is not None:
            raise specs.unknown_spec()
        # The tutorial's request for a landing zone carries nothing but a name.
        return specs.destination_of_connection(specs.DATA_LANDING_ZONE)
    check_version(asked.connection_spec)
    return specs.destination_of_connection(asked.connection_spec.id)


def check_version(spec: SpecRef) -> None:
    """Raise the contract's 422 for a connection spec named without its version."""
    if spec.version is None:
        raise Problem(problems.NO_SPEC_VERSION, "connectionSpec.version 'version' is required for spec info")


def _seal(row: Connection, destination: Destination, auth: AuthBody | None, vault: Vault, now_ms: int) -> None:
    names = ", ".join(method.name for method in destination.auth_methods)
    if auth is None:
        raise problems.of_field("/auth", f"is required: one of {names}", missing=True)
    if auth.spec_name not in [method.name for method in destination.auth_methods]:
        raise Problem(problems.UNKNOWN_AUTH, f"auth.specName must be one of: {names}.")
    try:
        credentials = schema.parse_credentials(destination, auth.spec_name, auth.params)
    except InvalidInputError as error:
        raise problems.of_fields(error) from None
    day = datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
    row.auth_spec_name = auth.spec_name
    row.auth_public = {"authorizedDate": day, **schema.public_params(credentials)}
    row.auth_sealed = vault.seal(row.id, schema.full_params(credentials))
