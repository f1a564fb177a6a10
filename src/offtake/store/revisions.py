"""Which revision of the tables a database has, and which ones this version knows."""

from pathlib import Path
from typing import Final

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection as DbConnection

from offtake.errors import OfftakeError

MIGRATIONS: Final = Path(__file__).parent / "migrations"


class StoreVersionError(OfftakeError):
    """The database is of a later version of Offtake; it was left as it is."""


def is_current(connection: DbConnection) -> bool:
    """Whether the tables are those of this version of Offtake; raises `StoreVersionError` when they are newer."""
    there = revision_of(connection)
    check_known(there)
    return there == known_revisions()[-1]


def check_known(revision: str | None) -> None:
    """Raise `StoreVersionError` when this version of Offtake has no such revision of the tables."""
    known = known_revisions()
    if revision is not None and revision not in known:
        raise StoreVersionError(
            f"The database is of a later version of Offtake: its tables are at revision {revision}, and this version "
            f"knows them up to {known[-1]}. Start the later version."
        )


def known_revisions() -> list[str]:
    """The revisions of the tables that this version knows, oldest first: its migrations' names begin with them."""
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def revision_of(connection: DbConnection) -> str | None:
    """The revision of the tables; None while there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found
