"""The database: one engine, two kinds of transactions, and its migrations."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, Select, create_engine, event, make_url, text
from sqlalchemy.engine import Connection as DbConnection
from sqlalchemy.exc import IntegrityError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.orm import Session

from offtake.errors import OfftakeError
from offtake.store.revisions import is_current
from offtake.store.wakeup import WakeUp
from offtake.store.write_turns import LONGEST_WAIT, NoTurnError, WriteTurns, lock_wait

_WRITING: Final = "offtake_writing"
_BUSY: Final = "offtake_busy_ms"
_STALLED = "idle_in_transaction_session_timeout"
_STALLED_SECONDS = 20
_POOL_SECONDS: Final = 10
_TABLES_LOCK: Final = 0x0FF7A4E
_NO_ROOM: Final = {
    sqlite3.SQLITE_FULL: "is full",
    sqlite3.SQLITE_IOERR: "is full, or reports errors",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_CANTOPEN: "does not let the database be opened",
    "53100": "is full",  # disk_full; https://www.postgresql.org/docs/current/errcodes-appendix.html
    "58030": "is full, or reports errors",  # io_error
    "25006": "is read-only",  # read_only_sql_transaction
}
"""What of its disk the database says by which code."""


class StoreConflictError(OfftakeError):
    """A row that was to be written clashes with one that is there, or refers to one that is gone; nothing was."""


class StoreBusyError(OfftakeError):
    """The database gave no answer in time; nothing was written."""


class StoreFullError(OfftakeError):
    """The database has no room, or its disk cannot be written; nothing was."""


class Database:
    """A store opened by URL. Threads share it; each transaction is its own session."""

    def __init__(self, url: str) -> None:
        """Open the store. Nothing is read or written yet."""
        self.url = url
        self.engine = _sqlite_engine(url) if url.startswith("sqlite") else _server_engine(url)
        # PostgreSQL would show each query the state of its own moment.
        serial = {"isolation_level": "REPEATABLE READ"} if self.engine.dialect.name == "postgresql" else {}
        self._reading_engine = self.engine.execution_options(**serial)
        self._turns = WriteTurns() if self.engine.dialect.name == "sqlite" else None
        self.wakeup = WakeUp()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the database and changes nothing. Raises as `writing` does."""
        with _translating_errors(), Session(self._reading_engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction: committed when the block ends, undone when it raises.

        On SQLite it takes the write lock at once, so that what it reads cannot change before it writes.
        Raises `StoreConflictError` when another's change came between, `StoreBusyError` when no answer comes,
        `StoreFullError` when the disk takes nothing more.
        """
        with _translating_errors(), self._turn() as options:
            engine = self.engine.execution_options(**{_WRITING: True, **options})
            with Session(engine, expire_on_commit=False) as session, session.begin():
                yield session

    def finds(self, query: Select[Any]) -> bool:
        """Whether the query finds a row: without a session, for loops that look often. Raises as `writing` does."""
        with _translating_errors(), self._reading_engine.connect() as connection:
            return connection.execute(query.limit(1)).first() is not None

    @contextmanager
    def dry_run(self) -> Iterator[Session]:
        """One transaction like `writing`, whose changes are seen within it and always undone."""
        with self.writing() as session:
            yield session
            session.rollback()

    def migrate(self, revision: str = "head") -> None:
        """Bring the tables up to this version of Offtake, or to an older revision; nothing happens when they are.

        It is one transaction: cut off, it has not been. Raises `StoreVersionError` when the tables are newer.
        """
        with _translating_errors(), self.engine.connect() as connection:
            if is_current(connection):
                return
        # Its library takes a tenth of a second and 10 MB of every start, and is needed once.
        from offtake.store.upgrade import upgrade  # noqa: PLC0415 - see above

        with self.schema_transaction() as connection:
            upgrade(connection, revision)

    @contextmanager
    def snapshot_read(self) -> Iterator[DbConnection]:
        """A transaction that sees one state of the database in everything it reads; for reading only."""
        with _translating_errors(), self._reading_engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def schema_transaction(self) -> Iterator[DbConnection]:
        """One transaction that may make and change tables, alone: others that want to wait until it ends.

        Raises as `writing` does.
        """
        # SQLite changes a table by making it anew, which rows that refer to it would forbid.
        engine = _sqlite_engine(self.url, foreign_keys=False) if self.url.startswith("sqlite") else self.engine
        try:
            with _translating_errors(), engine.execution_options(**{_WRITING: True}).begin() as connection:
                advisory_lock(connection)
                yield connection
        finally:
            if engine is not self.engine:
                engine.dispose()

    @contextmanager
    def _turn(self) -> Iterator[dict[str, int]]:
        """Hold back other writers of this process, where the database has one at a time; how long it may keep us."""
        if self._turns is None:
            yield {}
            return
        with self._turns.turn() as seconds:
            yield {_BUSY: round(seconds * 1000)}

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()


def advisory_lock(connection: DbConnection) -> None:
    """Until its transaction ends, nobody else passes here. Writers of SQLite are one at a time anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_TABLES_LOCK})"))


@contextmanager
def _translating_errors() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise StoreConflictError("Somebody else changed the same thing just now. Ask again.") from error
    except (NoConnectionError, NoTurnError) as error:
        raise StoreBusyError("The database is busy or away. Ask again in a moment.") from error
    except (OperationalError, InternalError) as error:
        trouble = _disk_error(error.orig)
        if trouble is None and isinstance(error, InternalError):
            raise
        if trouble is None:
            raise StoreBusyError("The database is busy or away. Ask again in a moment.") from error
        raise StoreFullError(
            f"The disk that holds the database {trouble}. Nothing was written; make room or mend it, and ask again."
        ) from error


def _disk_error(error: BaseException | None) -> str | None:
    if isinstance(error, sqlite3.Error):
        # The lowest byte is the kind of error, the rest tells of what it was met in.
        return _NO_ROOM.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    return _NO_ROOM.get(getattr(error, "sqlstate", None) or "")


def _server_engine(url: str) -> Engine:
    """Whoever stalls in the middle of a transaction loses it, and with it what it keeps others from."""
    options = {} if "options" in make_url(url).query else {"options": f"-c {_STALLED}={_STALLED_SECONDS}s"}
    return create_engine(url, pool_size=20, pool_timeout=_POOL_SECONDS, hide_parameters=True, connect_args=options)


def _sqlite_engine(url: str, *, foreign_keys: bool = True) -> Engine:
    database = make_url(url).database
    if database:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    options = {"timeout": LONGEST_WAIT, "isolation_level": None}
    engine = create_engine(url, pool_timeout=_POOL_SECONDS, connect_args=options, hide_parameters=True)
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
    given = connection.get_execution_options()
    writing = given.get(_WRITING, False)
    busy = given.get(_BUSY, round(lock_wait.get() * 1000))
    connection.exec_driver_sql(f"PRAGMA busy_timeout={busy:d}").close()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
