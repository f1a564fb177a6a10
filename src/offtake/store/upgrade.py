"""Bringing the tables up to this version of Offtake. Imported only where they are not."""

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Connection

from offtake.store.revisions import MIGRATIONS, is_current


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables up to a revision, in the connection's transaction; raises `StoreVersionError`."""
    if not is_current(connection):
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
