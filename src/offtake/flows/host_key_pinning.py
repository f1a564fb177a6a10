"""Stores what is found at the first connection to a destination, such as the host key, with the credentials."""

from dataclasses import dataclass

from offtake.access import access, audit
from offtake.clock import Clock
from offtake.contract import entities
from offtake.destinations import schema
from offtake.destinations.base import Destination, SandboxLocation
from offtake.destinations.parameters import Params, TargetParams
from offtake.flows import connections, flow_events
from offtake.store.database import Database
from offtake.store.tables import Connection, Sandbox
from offtake.store.vault import Vault


@dataclass(frozen=True)
class PinStore:
    """Stores pinned values with base connections."""

    database: Database
    vault: Vault
    clock: Clock


def pin(
    pins: PinStore,
    destination: Destination,
    row_id: str,
    credentials: Params | None,
    place: TargetParams | None,
    sandbox_location: SandboxLocation,
) -> Params | None:
    """The credentials completed with pinned values, such as the server's key, which later connections require.

    With a `place`, also how files are put in place there. Connects only if a value is missing; raises `DeliveryError`
    when that fails, and stores nothing then.
    """
    if destination.pin is None or credentials is None or not credentials.needs_pinning:
        return credentials
    found = destination.pin(credentials, place, sandbox_location)
    _store(pins, row_id, credentials, found)
    return found


def _store(pins: PinStore, row_id: str, tried: Params, found: Params) -> None:
    """Store the completed credentials, unless they were changed meanwhile: those were not tested."""
    with pins.database.writing() as session:
        row = session.get(Connection, row_id, with_for_update=True)
        if row is None or row.auth_sealed is None:
            return
        if pins.vault.decrypt(row.id, row.auth_sealed) != schema.with_defaults(tried):
            return
        now_ms, kind = pins.clock.now_ms(), connections.KIND
        server = access.engine_caller(session, session.get_one(Sandbox, row.sandbox_id))
        before = connections.render(row, server)
        row.auth_public = (row.auth_public or {}) | schema.redact(found)
        row.auth_sealed = pins.vault.encrypt(row.id, schema.with_defaults(found))
        entities.set_updated(row, server, now_ms)
        after = connections.render(row, server)
        audit.record(session, server, now_ms, "update", (kind, row.id), name=row.name, before=before, after=after)
        flow_events.record_connection(session, "connection.changed", row, server, now_ms)
