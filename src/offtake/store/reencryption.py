"""Re-encrypts every document of the database that the vault has encrypted, under a new master key."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import select, update

from offtake.store.database import Database
from offtake.store.tables import AlertChannel, Connection, LakeCatalog, LandingZoneKey, SigningKey
from offtake.store.tables.base import Base
from offtake.store.vault import Vault, key_id_of

SEALED: Final = (
    (Connection, Connection.auth_sealed),
    (SigningKey, SigningKey.sealed),
    (LandingZoneKey, LandingZoneKey.sealed),
    (LakeCatalog, LakeCatalog.sealed),
    (AlertChannel, AlertChannel.sealed),
)
_PAGE: Final = 500


def reencrypt_all(database: Database, vault: Vault) -> int:
    """Re-encrypt every document under the newest master key. Returns how many were under another key.

    It may be interrupted and repeated at any point, while servers are running.
    """
    changed = 0
    for table, column in SEALED:
        for rows in _pages(database, table, column):
            with database.writing() as session:
                for row_id, sealed in rows:
                    if vault.is_current(sealed):
                        continue
                    # A process that has changed the row meanwhile has used the newest key.
                    unchanged = update(table).where(_id(table) == row_id, column == sealed)
                    session.execute(unchanged.values({column.key: vault.reencrypt(row_id, sealed)}))
                    changed += 1
    return changed


def key_ids_in_use(database: Database) -> set[bytes]:
    """The ids of the master keys that encrypted documents need."""
    pages = (rows for table, column in SEALED for rows in _pages(database, table, column))
    return {key_id_of(sealed) for rows in pages for _, sealed in rows}


def _pages(database: Database, table: type[Base], column: Any) -> Iterator[list[tuple[str, bytes]]]:  # noqa: ANN401 - nullable or not
    last = ""
    while True:
        with database.reading() as session:
            query = select(_id(table), column).where(column.is_not(None), _id(table) > last)
            rows = [(row[0], row[1]) for row in session.execute(query.order_by(_id(table)).limit(_PAGE))]
        if not rows:
            return
        yield rows
        last = rows[-1][0]


def _id(table: type[Base]) -> Any:  # noqa: ANN401 - the column of a mapped class
    return table.__table__.c.id
