"""Migrates the tables to this version of Offtake. Imported only when a migration is needed (Alembic loads slowly)."""

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Connection

from offtake.store.revisions import MIGRATIONS, is_current


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Migrate the tables to a revision, in the connection's transaction. Raises `StoreVersionError`."""
    if not is_current(connection):
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
