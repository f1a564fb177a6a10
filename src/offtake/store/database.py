"""The database: one engine, two kinds of transactions, and its migrations."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, Select, create_engine, event, func, make_url, select, text
from sqlalchemy.engine import Connection as DbConnection
from sqlalchemy.exc import IntegrityError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from offtake.errors import OfftakeError
from offtake.store import events
from offtake.store.events import Event, Observer
from offtake.store.revisions import is_current, revision_of
from offtake.store.wakeup import WakeUp
from offtake.store.write_turns import LONGEST_WAIT, NoTurnError, WriteTurns, lock_wait
from offtake.telemetry.counts import COUNTS
from offtake.telemetry.definitions import POOL_WAITS, STORE_ERRORS

_log = logging.getLogger(__name__)

_WRITING: Final = "offtake_writing"
_BUSY: Final = "offtake_busy_ms"
_IDLE_TIMEOUT = "idle_in_transaction_session_timeout"
_IDLE_SECONDS = 20
_POOL_SECONDS: Final = 10
_POOL_OVERFLOW: Final = 10
_TABLES_LOCK: Final = 0x0FF7A4E
_BUSY_MESSAGE: Final = "The database is busy or unavailable. Retry in a moment."
_DISK_ERRORS: Final = {
    sqlite3.SQLITE_FULL: "is full",
    sqlite3.SQLITE_IOERR: "is full, or reports errors",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_CANTOPEN: "does not let the database be opened",
    "53100": "is full",  # disk_full; https://www.postgresql.org/docs/current/errcodes-appendix.html
    "58030": "is full, or reports errors",  # io_error
    "25006": "is read-only",  # read_only_sql_transaction
}
"""Error codes of the database that mean a problem with its disk, and what they mean."""


class StoreConflictError(OfftakeError):
    """The write violates a constraint: a duplicate key, or a reference to a deleted row. Nothing was written."""


class StoreBusyError(OfftakeError):
    """The database did not answer in time. Nothing was written."""


class StoreFullError(OfftakeError):
    """The disk of the database is full, read-only or faulty. Nothing was written."""


class Database:
    """The store at a URL. Threads may share it; each transaction has its own session."""

    def __init__(self, url: str) -> None:
        """Create the engine; no connection is opened yet."""
        self.url = url
        self.engine = _sqlite_engine(url) if url.startswith("sqlite") else _server_engine(url)
        # PostgreSQL's default, READ COMMITTED, takes a new snapshot for each query.
        isolation = {"isolation_level": "REPEATABLE READ"} if self.engine.dialect.name == "postgresql" else {}
        self._reading_engine = self.engine.execution_options(**isolation)
        self._turns = WriteTurns() if self.engine.dialect.name == "sqlite" else None
        self.wakeup = WakeUp()
        self.observers: list[Observer] = []
        """They receive each event of this process, in order; one that fails is logged once and never fails a caller."""
        self._failed_observers: set[int] = set()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for reading, with a consistent snapshot of the database. Raises as `writing` does."""
        with _translating_errors(), Session(self._reading_engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction: committed when the block ends, rolled back when it raises.

        On SQLite it takes the write lock at once, so that what it reads cannot change before it writes. Its events are
        passed to the observers after it is committed.
        Raises `StoreConflictError` when a constraint is violated, `StoreBusyError` when the database does not answer
        in time, `StoreFullError` when its disk cannot be written.
        """
        with _translating_errors(), self._turn() as options:
            engine = self.engine.execution_options(**{_WRITING: True, **options})
            with Session(engine, expire_on_commit=False) as session, session.begin():
                yield session
        for happened in events.take(session):
            self._observe(happened)

    def finds(self, query: Select[*tuple[Any, ...]]) -> bool:
        """Whether the query finds a row; cheap (no session), for polling loops. Raises as `writing` does."""
        with _translating_errors(), self._reading_engine.connect() as connection:
            return connection.execute(query.limit(1)).first() is not None

    @contextmanager
    def dry_run(self) -> Iterator[Session]:
        """One transaction like `writing`, which is always rolled back."""
        with self.writing() as session:
            yield session
            session.rollback()
            events.take(session)

    def revision(self) -> str | None:
        """The schema revision of the tables; None in an empty database."""
        with _translating_errors(), self.engine.connect() as connection:
            return revision_of(connection)

    def migrate(self, revision: str = "head") -> None:
        """Migrate the tables to this version of Offtake or to an older revision; no-op when they are current.

        One transaction: when it is interrupted, nothing has changed. Raises `StoreVersionError` when the tables are
        newer.
        """
        with _translating_errors(), self.engine.connect() as connection:
            if is_current(connection):
                return
        # Importing Alembic costs 0.1 s and 10 MB at each start, and is rarely needed.
        from offtake.store.upgrade import upgrade  # noqa: PLC0415 - see above

        with self.schema_transaction() as connection:
            upgrade(connection, revision)

    @contextmanager
    def snapshot_read(self) -> Iterator[DbConnection]:
        """A connection for reading, in one transaction with a consistent snapshot."""
        with _translating_errors(), self._reading_engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def schema_transaction(self) -> Iterator[DbConnection]:
        """One transaction for schema changes; holds the schema lock, so that concurrent callers wait.

        Raises as `writing` does.
        """
        # On SQLite, a changed table is recreated, which foreign keys that refer to it would prevent.
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
        """On SQLite, wait for the turn among this process's writers; yields the options with the remaining wait."""
        if self._turns is None:
            yield {}
            return
        with self._turns.turn() as seconds:
            yield {_BUSY: round(seconds * 1000)}

    def _observe(self, happened: Event) -> None:
        for observer in self.observers:
            try:
                observer(happened)
            except Exception:  # noqa: BLE001 - what is committed must not seem to have failed
                if id(observer) not in self._failed_observers:
                    self._failed_observers.add(id(observer))
                    _log.exception("an observer of events fails; its further failures are not logged")

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def advisory_lock(connection: DbConnection) -> None:
    """Take a PostgreSQL advisory lock until the transaction ends; SQLite serialises writers anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_TABLES_LOCK})"))


def try_advisory_lock(session: Session, key: int) -> bool:
    """Take the PostgreSQL advisory lock `key` until the transaction ends; False if another transaction has it.

    True on SQLite, which has one writer at a time.
    """
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(key))))


@contextmanager
def _translating_errors() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise StoreConflictError("The resource was modified by another request. Retry the request.") from error
    except (NoConnectionError, NoTurnError) as error:
        COUNTS.add(STORE_ERRORS, "busy")
        raise StoreBusyError(_BUSY_MESSAGE) from error
    except (OperationalError, InternalError) as error:
        problem = _disk_error(error.orig)
        if problem is None and isinstance(error, InternalError):
            raise
        COUNTS.add(STORE_ERRORS, "busy" if problem is None else "full")
        if problem is None:
            raise StoreBusyError(_BUSY_MESSAGE) from error
        raise StoreFullError(
            f"The disk of the database {problem}. Nothing was written. Free space or repair the disk, then retry."
        ) from error


def _disk_error(error: BaseException | None) -> str | None:
    if isinstance(error, sqlite3.Error):
        # The low byte is the primary result code; the rest is the extended code.
        return _DISK_ERRORS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    return _DISK_ERRORS.get(getattr(error, "sqlstate", None) or "")


class _CountingPool(QueuePool):
    """Counts how often a thread waits because all connections are in use."""

    # It logs by this name, as the pools of the library do: nothing below warnings.
    __module__ = "sqlalchemy.pool.impl"

    def _do_get(self) -> ConnectionPoolEntry:
        if self.checkedout() >= self.size() + _POOL_OVERFLOW:
            COUNTS.add(POOL_WAITS)
        return super()._do_get()


_POOL: Final[dict[str, Any]] = {
    "poolclass": _CountingPool,
    "pool_timeout": _POOL_SECONDS,
    "max_overflow": _POOL_OVERFLOW,
}


def _server_engine(url: str) -> Engine:
    """Sets `idle_in_transaction_session_timeout`, so that a stalled process cannot hold its locks for ever."""
    options = {} if "options" in make_url(url).query else {"options": f"-c {_IDLE_TIMEOUT}={_IDLE_SECONDS}s"}
    return create_engine(url, pool_size=20, **_POOL, hide_parameters=True, connect_args=options)


def _sqlite_engine(url: str, *, foreign_keys: bool = True) -> Engine:
    database = make_url(url).database
    if database:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    options = {"timeout": LONGEST_WAIT, "isolation_level": None}
    # A database in memory has another pool.
    pool = _POOL if database else {"pool_timeout": _POOL_SECONDS}
    engine = create_engine(url, **pool, connect_args=options, hide_parameters=True)
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
    # The driver would begin only at the first write: two transactions that read first could then deadlock.
    options = connection.get_execution_options()
    writing = options.get(_WRITING, False)
    busy = options.get(_BUSY, round(lock_wait.get() * 1000))
    # The driver's connection keeps it, so that most transactions need not set it again.
    if connection.info.get(_BUSY) != busy:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={busy:d}").close()
        connection.info[_BUSY] = busy
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
