"""What the first successful connection teaches about a destination, kept with the base connection's credentials."""

from dataclasses import dataclass

from offtake.access import access, audit
from offtake.clock import Clock
from offtake.contract import entities
from offtake.destinations import schema
from offtake.destinations.base import Destination, SandboxLocation
from offtake.destinations.parameters import Params, TargetParams
from offtake.flows import connections
from offtake.store.database import Database
from offtake.store.tables import Connection, Sandbox
from offtake.store.vault import Vault


@dataclass(frozen=True)
class PinStore:
    """Where what is learned is kept."""

    database: Database
    vault: Vault
    clock: Clock


def pin(
    memory: PinStore,
    destination: Destination,
    row_id: str,
    credentials: Params | None,
    place: TargetParams | None,
    site: SandboxLocation,
) -> Params | None:
    """The credentials with what there is to learn, such as the server's key, which later connections must show again.

    How files are put in place is learned where there is a `place`. Connects when there is something to learn; raises
    `DeliveryError` when that fails, and keeps nothing then.
    """
    if destination.pin is None or credentials is None or not credentials.needs_pinning:
        return credentials
    found = destination.pin(credentials, place, site)
    _keep(memory, row_id, credentials, found)
    return found


def _keep(memory: PinStore, row_id: str, tried: Params, found: Params) -> None:
    """Credentials that were changed meanwhile stay as they are: they were not tried."""
    with memory.database.writing() as session:
        row = session.get(Connection, row_id, with_for_update=True)
        if row is None or row.auth_sealed is None:
            return
        if memory.vault.decrypt(row.id, row.auth_sealed) != schema.with_defaults(tried):
            return
        now_ms, kind = memory.clock.now_ms(), connections.KIND
        operator = access.operator_in(session, session.get_one(Sandbox, row.sandbox_id))
        before = connections.render(row, operator)
        row.auth_public = (row.auth_public or {}) | schema.redact(found)
        row.auth_sealed = memory.vault.encrypt(row.id, schema.with_defaults(found))
        entities.set_updated(row, operator, now_ms)
        after = connections.render(row, operator)
        audit.record(session, operator, now_ms, "update", (kind, row.id), name=row.name, before=before, after=after)
