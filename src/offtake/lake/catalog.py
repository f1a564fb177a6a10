"""The Iceberg catalog: a few tables of one SQL database, and a warehouse of files."""

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NewType

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.io import PY_IO_IMPL
from pyiceberg.table import Table
from sqlalchemy import event, make_url
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from offtake.errors import OfftakeError, disk_error
from offtake.lake import locations
from offtake.lake.locations import local_path

TableName = NewType("TableName", str)
"""`namespace.table`."""

CATALOG_TABLES: Final = frozenset(("iceberg_tables", "iceberg_namespace_properties"))
"""The catalog's tables in its database, which may be the store's too."""

_CATALOG: Final = "offtake"
_FILE_IO: Final = "offtake.lake.file_io.LocationsIO"
_REMEDY: Final = "The dataset is as it was; make room."
_DISK_FULL: Final = "53100"  # https://www.postgresql.org/docs/current/errcodes-appendix.html
_BUSY_MS: Final = 30_000
_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.2


class LakeFullError(OfftakeError):
    """The disk of the tables, or of their catalog, takes nothing more; the table is as it was."""


class Lake:
    """A catalog opened by URL. Processes may share it: a commit that lost a race is made again on the new state."""

    def __init__(self, catalog_url: str, warehouse: str) -> None:
        """`catalog_url`: a SQLAlchemy URL; `warehouse`: the location below which tables keep their files.

        Raises `LocationError` for a warehouse that is not in a supported place.
        """
        locations.split(warehouse)
        self._warehouse = warehouse.rstrip("/")
        database = make_url(catalog_url).database
        if catalog_url.startswith("sqlite") and database:
            Path(database).parent.mkdir(parents=True, exist_ok=True)
        self.catalog = _catalog(catalog_url, self._warehouse)
        if catalog_url.startswith("sqlite"):
            self.catalog.engine.dispose()
            event.listen(self.catalog.engine, "connect", _prepare_sqlite)

    def load(self, table: TableName) -> Table:
        """The table as it is now; raises pyiceberg's `NoSuchTableError`."""
        return self.catalog.load_table(table)

    def find(self, table: TableName) -> Table | None:
        """The table as it is now, if there is one."""
        try:
            return self.catalog.load_table(table)
        except NoSuchTableError:
            return None

    def exists(self, table: TableName) -> bool:
        """Whether there is a table of that name, be its metadata readable or not."""
        namespace = table.split(".")[0]
        with contextlib.suppress(NoSuchNamespaceError):
            return (namespace, table.removeprefix(f"{namespace}.")) in self.catalog.list_tables(namespace)
        return False

    def location(self, table: TableName) -> str:
        """The location of the folder that a new table of that name keeps its files in."""
        return f"{self._warehouse}/{table.replace('.', '/')}"

    def tables_in(self, namespace: str) -> list[TableName]:
        """The tables of a namespace, and those of which there is but a folder."""
        names: set[str] = set()
        with contextlib.suppress(NoSuchNamespaceError):
            names = {name for _, name in self.catalog.list_tables(namespace)}
        folder = local_path(f"{self._warehouse}/{namespace}")
        if folder.is_dir():
            names |= {path.name for path in folder.iterdir() if path.is_dir()}
        return [TableName(f"{namespace}.{name}") for name in sorted(names)]

    def purge(self, table: TableName) -> None:
        """Forget the table and remove its folder with all its files; nothing happens when neither is there."""
        with contextlib.suppress(NoSuchTableError):
            self.catalog.drop_table(table)
        shutil.rmtree(local_path(self.location(table)), ignore_errors=True)

    def close(self) -> None:
        """Let go of the database."""
        self.catalog.close()


@contextlib.contextmanager
def raising_lake_full() -> Iterator[None]:
    """Raises `LakeFullError` where what is written finds no room."""
    try:
        yield
    except OSError as error:
        trouble = disk_error(error)
        if trouble is None:
            raise
        raise LakeFullError(f"The disk of the tables takes nothing more: {trouble}. {_REMEDY}") from error
    except OperationalError as error:
        if not _is_full(error.orig):
            raise
        raise LakeFullError(f"The disk of the tables' catalog is full. {_REMEDY}") from error


def _is_full(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.Error):
        # The lowest byte is the kind of error, the rest tells of what it was met in.
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    return getattr(error, "sqlstate", None) == _DISK_FULL


def _catalog(url: str, warehouse: str) -> SqlCatalog:
    properties = {"uri": url, "warehouse": warehouse, PY_IO_IMPL: _FILE_IO}
    # It makes its tables when it does not find them; whoever opens it at the same time may have been faster.
    for _ in range(_TRIES):
        with contextlib.suppress(OperationalError, ProgrammingError, IntegrityError):
            return SqlCatalog(_CATALOG, **properties)
        time.sleep(_PAUSE_SECONDS)
    return SqlCatalog(_CATALOG, **properties)


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection type
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={_BUSY_MS}", "journal_mode=WAL", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
