"""Decrypts a base connection's credentials."""

from sqlalchemy.orm import Session

from offtake.destinations import schema
from offtake.destinations.base import Destination
from offtake.destinations.parameters import Params
from offtake.flows import specs
from offtake.store.tables import Connection, TargetConnection
from offtake.store.vault import Vault


def open_credentials(vault: Vault, destination: Destination, base: Connection) -> Params | None:
    """Decrypt the credentials of a base connection; None when the destination needs none."""
    if base.auth_sealed is None or base.auth_spec_name is None:
        return None
    return schema.parse_credentials(destination, base.auth_spec_name, vault.decrypt(base.id, base.auth_sealed))


def unsupported_guarantees(session: Session, vault: Vault, target: TargetConnection) -> tuple[str, ...]:
    """The guarantees that a target connection's destination cannot give, as sentences."""
    destination = specs.destination_of_connection(target.connection_spec_id)
    base = session.get_one(Connection, target.base_connection_id)
    return destination.limits(open_credentials(vault, destination, base)).missing_guarantees
