"""Reading from a database that may hang: whether it responds, its clock, and its state, with short timeouts."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.orm import Session

from offtake.errors import OfftakeError

_SECONDS: Final = 2
_READING_SECONDS: Final = 10
_CONNECTING: Final = {
    "connect_timeout": _SECONDS,
    # A server that vanished without a word is noticed, instead of being waited for.
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
}


class DatabaseProbe:
    """Reads from one table. It does not use the pool, so it also answers while all connections are busy."""

    def __init__(self, url: str, table: str) -> None:
        """Create the probe; no connection is opened yet. `table` is a constant of the caller."""
        self._url, self._table = make_url(url), table
        self._engine: Engine | None = None

    def now_ms(self) -> int | None:
        """The database's time in epoch milliseconds; None for SQLite, which has no clock of its own.

        Raises the driver's errors and `OfftakeError` if the database or the table is missing.
        """
        if self._url.get_backend_name() == "sqlite":
            self._ask_sqlite()
            return None
        if self._engine is None:
            self._engine = _server_engine(self._url, _SECONDS)
        query = text(f"SELECT extract(epoch FROM clock_timestamp()), EXISTS (SELECT 1 FROM {self._table})")  # noqa: S608
        with self._engine.connect() as connection:
            seconds, _ = connection.execute(query).one()
        return round(float(seconds) * 1000)

    def renew(self) -> None:
        """Leave the connection to the thread that hangs on it; the next call opens another one."""
        self._engine = None

    def close(self) -> None:
        """Close the connection."""
        if self._engine is not None:
            self._engine.dispose()

    def _ask_sqlite(self) -> None:
        file = self._url.database
        if not file or file == ":memory:":
            return
        if file.startswith("file:"):
            raise OfftakeError("A SQLite URL with a file: URI cannot be probed.")
        # Without mode=rw, SQLite would create a file that is missing.
        with closing(sqlite3.connect(f"file:{quote(file)}?mode=rw", uri=True, timeout=_SECONDS)) as connection:
            connection.execute(f"SELECT 1 FROM {self._table} LIMIT 1").fetchone()  # noqa: S608 - a constant


class StoreReader:
    """Sessions for reading the store, on one connection apart from the pool; a query may take ten seconds."""

    def __init__(self, url: str) -> None:
        """Create the reader; no connection is opened yet."""
        self._url = make_url(url)
        self._engine: Engine | None = None

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for reading. Raises the driver's errors."""
        if self._engine is None:
            self._engine = self._open()
        with Session(self._engine) as session:
            yield session

    def renew(self) -> None:
        """As `DatabaseProbe.renew`."""
        self._engine = None

    def close(self) -> None:
        """Close the connection."""
        if self._engine is not None:
            self._engine.dispose()

    def _open(self) -> Engine:
        file = self._url.database
        if self._url.get_backend_name() != "sqlite":
            return _server_engine(self._url, _READING_SECONDS)
        if not file or file == ":memory:" or file.startswith("file:"):
            return create_engine(self._url)
        # Without mode=rw, SQLite would create a file that is missing. One thread opens the connection, others use it.
        url = f"sqlite:///file:{quote(file)}?mode=rw&uri=true"
        return create_engine(url, pool_size=1, max_overflow=0, connect_args={"timeout": _SECONDS})


def _server_engine(url: URL, seconds: int) -> Engine:
    options = {} if "options" in url.query else {"options": f"-c statement_timeout={seconds}s"}
    # One connection stays open: a new one per second would cost the server a process each.
    return create_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
        connect_args=_CONNECTING | options,
    )
