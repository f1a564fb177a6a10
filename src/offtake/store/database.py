"""The database: one engine, two kinds of transactions, and its migrations."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import Connection as DbConnection
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from offtake.errors import OfftakeError

_WRITING = "offtake_writing"
_BUSY_SECONDS = 30


class StoreConflictError(OfftakeError):
    """A row that was to be written clashes with one that is there, or refers to one that is gone; nothing was."""


class StoreBusyError(OfftakeError):
    """The database gave no answer in time; nothing was written."""


class Database:
    """A store opened by URL. Threads share it; each transaction is its own session."""

    def __init__(self, url: str) -> None:
        """Open the store. Nothing is read or written yet."""
        self.url = url
        self.engine = (
            _sqlite_engine(url) if url.startswith("sqlite") else create_engine(url, pool_size=20, hide_parameters=True)
        )
        self._writing_engine = self.engine.execution_options(**{_WRITING: True})

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the database and changes nothing."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction: committed when the block ends, undone when it raises.

        On SQLite it takes the write lock at once, so that what it reads cannot change before it writes.
        Raises `StoreConflictError` when another's change came between, `StoreBusyError` when no answer comes.
        """
        try:
            with Session(self._writing_engine, expire_on_commit=False) as session, session.begin():
                yield session
        except IntegrityError as error:
            raise StoreConflictError("Somebody else changed the same thing just now. Ask again.") from error
        except OperationalError as error:
            raise StoreBusyError("The database is busy or away. Ask again in a moment.") from error

    @contextmanager
    def rehearsing(self) -> Iterator[Session]:
        """One transaction like `writing`, whose changes are seen within it and always undone."""
        with self.writing() as session:
            yield session
            session.rollback()

    def migrate(self, revision: str = "head") -> None:
        """Bring the tables up to this version of Offtake, or to an older revision; nothing happens when they are."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        # SQLite changes a table by making it anew, which rows that refer to it would forbid.
        engine = _sqlite_engine(self.url, foreign_keys=False) if self.url.startswith("sqlite") else self.engine
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        if engine is not self.engine:
            engine.dispose()

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()


def _sqlite_engine(url: str, *, foreign_keys: bool = True) -> Engine:
    database = make_url(url).database
    if database:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    options = {"timeout": _BUSY_SECONDS, "isolation_level": None}
    engine = create_engine(url, connect_args=options, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite if foreign_keys else _prepare_sqlite_migration)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:  # noqa: ANN401 - the driver's own connection type
    _prepare_sqlite_migration(connection, record)
    connection.execute("PRAGMA foreign_keys=ON")


def _prepare_sqlite_migration(connection: Any, _record: object) -> None:  # noqa: ANN401 - as above
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=OFF"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: DbConnection) -> None:
    # The driver would begin only at the first write, too late to keep two writers from waiting on each other.
    writing = connection.get_execution_options().get(_WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
