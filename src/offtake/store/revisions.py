"""Schema revisions: the one that a database has, and those that this version knows."""

from pathlib import Path
from typing import Final

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection as DbConnection

from offtake.errors import OfftakeError

MIGRATIONS: Final = Path(__file__).parent / "migrations"
MOVED: Final = "moved"
"""The revision of an SQLite database whose rows `offtake migrate` has moved; no version opens it."""

_REVISION: Final = text("SELECT version_num FROM alembic_version")


class StoreVersionError(OfftakeError):
    """The database is of a later version of Offtake, or was moved to another one; nothing was changed."""


def is_current(connection: DbConnection) -> bool:
    """Whether the tables are those of this version of Offtake; raises `StoreVersionError` when they are newer."""
    revision = revision_of(connection)
    check_known(revision)
    return revision == known_revisions()[-1]


def check_known(revision: str | None) -> None:
    """Raise `StoreVersionError` when this version of Offtake does not know the revision."""
    known = known_revisions()
    if revision == MOVED:
        raise StoreVersionError(
            "The rows of this SQLite database were moved to PostgreSQL by offtake migrate. Set OFFTAKE_DATABASE_URL "
            "to that database."
        )
    if revision is not None and revision not in known:
        raise StoreVersionError(
            f"The database is of a later version of Offtake: its schema has revision {revision}, this version "
            f"supports revisions up to {known[-1]}. Start the later version."
        )


def check_claim(connection: DbConnection) -> None:
    """Raise `StoreVersionError` when a later version has migrated the tables since this process was started.

    Its runs may have what this version ignores, such as chosen columns.
    """
    check_known(connection.scalar(_REVISION))


def known_revisions() -> list[str]:
    """The revisions that this version knows, oldest first: the prefixes of the migrations' file names."""
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def revision_of(connection: DbConnection) -> str | None:
    """The revision of the tables; None in an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(_REVISION)
    return found
