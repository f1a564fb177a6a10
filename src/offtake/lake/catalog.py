"""The Iceberg catalog: tables in a SQL database, and a warehouse folder with the data files."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog, SqlCatalogBaseTable
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.io import PY_IO_IMPL, FileIO
from pyiceberg.table import Table
from pyiceberg.typedef import EMPTY_DICT, Properties
from sqlalchemy import event, make_url, select
from sqlalchemy.engine import Connection as DbConnection
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from offtake.errors import OfftakeError, disk_error
from offtake.lake.locations import is_local, local_path
from offtake.lake.registered import RegisteredTables
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.iceberg_io import access_of
from offtake.lake.table_names import TableName, parse
from offtake.lake.warehouse import Warehouse, open_warehouse
from offtake.lake.warehouse_io import ACCESS

CATALOG_TABLES: Final = frozenset(("iceberg_tables", "iceberg_namespace_properties"))
"""The catalog's tables in its database, which can also hold the store's tables."""

_CATALOG: Final = "offtake"
_FILE_IO: Final = "offtake.lake.file_io.LocationsIO"
_STORE_IO: Final = "offtake.lake.warehouse_io.WarehouseIO"
_REMEDY: Final = "The dataset is unchanged. Free disk space, then retry."
_DISK_FULL: Final = "53100"  # https://www.postgresql.org/docs/current/errcodes-appendix.html
_BUSY_MS: Final = 30_000
_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.2


class LakeFullError(OfftakeError):
    """The disk of the warehouse or of the catalog is full; the table is unchanged."""


class Lake:
    """A catalog opened by URL. Processes can share it: a commit that loses a race is retried on the new state."""

    def __init__(
        self,
        catalog_url: str,
        warehouse: str,
        registered: RegisteredTables | None = None,
        access: FileAccess | None = None,
    ) -> None:
        """`catalog_url`: a SQLAlchemy URL; `warehouse`: the location of the folder with the tables' files.

        `registered`: the tables of other catalogs, which only `load` and `find` reach. `access`: how a warehouse in an
        object store is opened. Raises `LocationError` when the warehouse's scheme is not supported.
        """
        self.warehouse: Warehouse = open_warehouse(warehouse, access)
        database = make_url(catalog_url).database
        if catalog_url.startswith("sqlite") and database:
            Path(database).parent.mkdir(parents=True, exist_ok=True)
        self._registered = registered or RegisteredTables()
        self.catalog = _catalog(catalog_url, self.warehouse)
        if catalog_url.startswith("sqlite"):
            self.catalog.engine.dispose()
            event.listen(self.catalog.engine, "connect", _prepare_sqlite)

    def load(self, table: TableName) -> Table:
        """The table in its current state. Raises pyiceberg's `NoSuchTableError`; `DeliveryError` if registered."""
        registered = parse(table)
        return self.catalog.load_table(table) if registered is None else self._registered.load(registered)

    def find(self, table: TableName) -> Table | None:
        """The table in its current state, or None when it does not exist.

        Raises `DeliveryError` for a registered table that does not exist: nothing of its rows may be taken for empty.
        """
        try:
            return self.load(table)
        except NoSuchTableError:
            return None

    def access(self, table: TableName) -> FileAccess | None:
        """How the table's files are opened; None for files of this machine. Raises `DeliveryError` as `find`."""
        registered = parse(table)
        return self.warehouse.access if registered is None else access_of(self._registered.load(registered))

    def exists(self, table: TableName) -> bool:
        """Whether the catalog has the table; its metadata is not read."""
        namespace = table.split(".")[0]
        with contextlib.suppress(NoSuchNamespaceError):
            return (namespace, table.removeprefix(f"{namespace}.")) in self.catalog.list_tables(namespace)
        return False

    def metadata_location(self, table: TableName) -> str | None:
        """The location of an own table's metadata, which changes with each commit; None without a table."""
        namespace = table.split(".")[0]
        query = select(IcebergTables.metadata_location).where(
            IcebergTables.catalog_name == _CATALOG,
            IcebergTables.table_namespace == namespace,
            IcebergTables.table_name == table.removeprefix(f"{namespace}."),
        )
        with self.catalog.engine.connect() as connection:
            found: str | None = connection.scalar(query)
        return found

    def check_moved(self) -> None:
        """Raise `OfftakeError` when a table's metadata is missing because the warehouse's folder was moved."""
        query = select(IcebergTables.metadata_location).where(IcebergTables.catalog_name == _CATALOG)
        with self.catalog.engine.connect() as connection:
            for location in connection.scalars(query):
                if location and is_local(location) and not self.warehouse.is_inside(location):
                    _check_found(location, self.warehouse.location)

    def location(self, table: TableName) -> str:
        """The location of the folder of a new table with that name."""
        return f"{self.warehouse.location}/{table.replace('.', '/')}"

    def tables_in(self, namespace: str) -> list[TableName]:
        """The tables of a namespace, including those with a folder but no catalog entry."""
        names: set[str] = set()
        with contextlib.suppress(NoSuchNamespaceError):
            names = {name for _, name in self.catalog.list_tables(namespace)}
        names.update(self.warehouse.folders_in(f"{self.warehouse.location}/{namespace}"))
        return [TableName(f"{namespace}.{name}") for name in sorted(names)]

    def purge(self, table: TableName) -> None:
        """Drop the table and delete its folder with all files. Does nothing when neither exists, or if registered."""
        if parse(table) is not None:
            return
        with contextlib.suppress(NoSuchTableError):
            self.catalog.drop_table(table)
        self.warehouse.remove_folder(self.location(table))

    def close(self) -> None:
        """Close the database connections."""
        self.catalog.close()


def _check_found(location: str, warehouse: str) -> None:
    if not local_path(location).exists():
        raise OfftakeError(
            f"A table's file is missing: {location}; the warehouse is {warehouse}. If the data directory or the "
            "warehouse was moved, give it its old path (a symbolic link or a bind mount), or restore a backup, which "
            "changes the paths."
        )


def create_catalog_tables(connection: DbConnection) -> None:
    """Create those of the catalog's tables that do not exist, in the connection's transaction."""
    SqlCatalogBaseTable.metadata.create_all(connection)


@contextlib.contextmanager
def raising_lake_full() -> Iterator[None]:
    """Context manager: raises `LakeFullError` when a write fails because the disk is full or failing."""
    try:
        yield
    except OSError as error:
        problem = disk_error(error)
        if problem is None:
            raise
        raise LakeFullError(f"The warehouse's disk cannot be written: {problem}. {_REMEDY}") from error
    except OperationalError as error:
        if not _is_full(error.orig):
            raise
        raise LakeFullError(f"The disk of the catalog's database is full. {_REMEDY}") from error


def _is_full(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.Error):
        # The lowest byte is the primary result code; the higher bytes are the extended part.
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    return getattr(error, "sqlstate", None) == _DISK_FULL


class _OwnCatalog(SqlCatalog):
    def _load_file_io(self, properties: Properties = EMPTY_DICT, location: str | None = None) -> FileIO:
        # A property of a table, such as py-io-impl, decides nothing.
        del properties
        return super()._load_file_io({}, location)


def _catalog(url: str, warehouse: Warehouse) -> SqlCatalog:
    properties: dict[str, Any] = {"uri": url, "warehouse": warehouse.location, PY_IO_IMPL: _FILE_IO}
    if warehouse.access is not None:
        properties |= {PY_IO_IMPL: _STORE_IO, ACCESS: warehouse.access}
    # SqlCatalog creates its tables without IF NOT EXISTS: when another process creates them first, opening again works.
    for _ in range(_TRIES):
        with contextlib.suppress(OperationalError, ProgrammingError, IntegrityError):
            return _OwnCatalog(_CATALOG, **properties)
        time.sleep(_PAUSE_SECONDS)
    return _OwnCatalog(_CATALOG, **properties)


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection type
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={_BUSY_MS}", "journal_mode=WAL", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
