"""What the first successful connection teaches about a destination, kept with the base connection's credentials."""

from uuid import uuid4

from offtake.destinations import schema
from offtake.destinations.contract import Destination, Site
from offtake.destinations.parameters import Params
from offtake.store.database import Database
from offtake.store.tables import Connection
from offtake.store.vault import Vault


def learned(
    database: Database, vault: Vault, destination: Destination, row_id: str, credentials: Params | None, site: Site
) -> Params | None:
    """The credentials with what there is to learn, such as the server's key, which later connections must show again.

    Connects when there is something to learn; raises `DeliveryError` when that fails, and keeps nothing then.
    """
    if destination.pin is None or credentials is None or not credentials.unmet:
        return credentials
    found = destination.pin(credentials, site)
    _keep(database, vault, row_id, credentials, found)
    return found


def _keep(database: Database, vault: Vault, row_id: str, before: Params, found: Params) -> None:
    """Credentials that were changed meanwhile stay as they are: they were not tried."""
    with database.writing() as session:
        row = session.get(Connection, row_id, with_for_update=True)
        if row is None or row.auth_sealed is None or vault.open(row.id, row.auth_sealed) != schema.full_params(before):
            return
        row.auth_public = (row.auth_public or {}) | schema.public_params(found)
        row.auth_sealed = vault.seal(row.id, schema.full_params(found))
        row.version = str(uuid4())
