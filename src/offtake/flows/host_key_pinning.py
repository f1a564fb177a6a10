"""What the first successful connection teaches about a destination, kept with the base connection's credentials."""

from dataclasses import dataclass

from offtake.access import access, audit
from offtake.clock import Clock
from offtake.contract import entities
from offtake.destinations import schema
from offtake.destinations.base import Destination, Site
from offtake.destinations.parameters import Params, TargetParams
from offtake.flows import connections
from offtake.store.database import Database
from offtake.store.tables import Connection, Sandbox
from offtake.store.vault import Vault


@dataclass(frozen=True)
class Memory:
    """Where what is learned is kept."""

    database: Database
    vault: Vault
    clock: Clock


def learned(
    memory: Memory,
    destination: Destination,
    row_id: str,
    credentials: Params | None,
    place: TargetParams | None,
    site: Site,
) -> Params | None:
    """The credentials with what there is to learn, such as the server's key, which later connections must show again.

    How files are put in place is learned where there is a `place`. Connects when there is something to learn; raises
    `DeliveryError` when that fails, and keeps nothing then.
    """
    if destination.pin is None or credentials is None or not credentials.unmet:
        return credentials
    found = destination.pin(credentials, place, site)
    _keep(memory, row_id, credentials, found)
    return found


def _keep(memory: Memory, row_id: str, tried: Params, found: Params) -> None:
    """Credentials that were changed meanwhile stay as they are: they were not tried."""
    with memory.database.writing() as session:
        row = session.get(Connection, row_id, with_for_update=True)
        if row is None or row.auth_sealed is None:
            return
        if memory.vault.open(row.id, row.auth_sealed) != schema.full_params(tried):
            return
        now_ms, kind = memory.clock.now_ms(), connections.KIND
        operator = access.operator_of(session, session.get_one(Sandbox, row.sandbox_id))
        before = connections.render(row, operator)
        row.auth_public = (row.auth_public or {}) | schema.public_params(found)
        row.auth_sealed = memory.vault.seal(row.id, schema.full_params(found))
        entities.touch(row, operator, now_ms)
        after = connections.render(row, operator)
        audit.record(session, operator, now_ms, "update", (kind, row.id), name=row.name, before=before, after=after)
