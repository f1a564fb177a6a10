"""Moves a deployment from SQLite to PostgreSQL: the store and, unless it has a URL of its own, the Iceberg catalog.

The SQLite files are locked from the first read on: no other process can read or write them. The target gets all rows in
one transaction. Then the SQLite store is marked as moved, so that no process delivers from its positions again. After a
kill before that, the target is empty or has exactly the source's rows, and the move can be repeated.
"""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection as DbConnection

from offtake.deployment.backend import UNFINISHED, prepare_tables, sole_server
from offtake.errors import OfftakeError, WrongUsageError
from offtake.failpoints import failpoint
from offtake.lake.catalog import CATALOG_TABLES, create_catalog_tables
from offtake.settings import Settings
from offtake.store import backup as copies
from offtake.store.conditions import LIVE_RUN
from offtake.store.database import Database, StoreBusyError
from offtake.store.revisions import MOVED
from offtake.store.tables import Run, Watermark

_WAIT_SECONDS: Final = 2
_STORE: Final = copies.STORE_TABLES - {copies.VERSION}
_SQLITE: Final = "sqlite"
_REVISION: Final = sa.table(copies.VERSION, sa.column("version_num"))


@dataclass(frozen=True)
class Moved:
    """What was moved; every row was read back and compared. `catalog_tables`: None if the catalog stays where it is."""

    source: Path
    target: str
    rows: int
    positions: int
    live_runs: int
    catalog_tables: int | None


def move_database(settings: Settings, url: str) -> Moved:
    """Move the deployment's rows to the empty PostgreSQL database at `url`, while no process uses the deployment.

    Raises `OfftakeError`, with nothing changed, when a process uses it, when the target is not empty, or when a row
    cannot be stored there. Call it again after an interruption.
    """
    target = _checked_target(settings, url)
    source = _file_of(settings.store_url)
    if (settings.data_dir / UNFINISHED).exists():
        raise OfftakeError(f"A restore into {settings.data_dir} was interrupted. Run offtake restore again.")
    with sole_server(settings), closing(Database(url)) as database, ExitStack() as locks:
        with closing(Database(settings.store_url)) as store:
            prepare_tables(settings, store)
        _check_reachable(database, target)
        store_rows = locks.enter_context(_locked(source))
        sources = [(store_rows, _STORE)]
        if settings.catalog_url is None and (catalog := _file_of(settings.lake_catalog_url)).exists():
            sources.append((locks.enter_context(_locked(catalog)), CATALOG_TABLES))
        found = [copies.digests(connection, tables) for connection, tables in sources]
        _fill(database, target, sources, found)
        failpoint("migrate_filled")
        catalog_tables = found[1].get("iceberg_tables", (0, ""))[0] if found[1:] else 0
        moved = Moved(
            source=source,
            target=target.render_as_string(),
            rows=sum(count for count, _ in found[0].values()),
            positions=found[0][Watermark.__tablename__][0],
            live_runs=store_rows.scalar(sa.select(sa.func.count()).select_from(Run).where(LIVE_RUN)) or 0,
            catalog_tables=catalog_tables if settings.catalog_url is None else None,
        )
        store_rows.execute(sa.update(_REVISION).values(version_num=MOVED))
        store_rows.commit()
    return moved


def _checked_target(settings: Settings, url: str) -> sa.URL:
    if not settings.store_url.startswith(_SQLITE):
        raise OfftakeError(
            "The deployment's database is PostgreSQL already. To move it: pg_dump and pg_restore, or offtake backup "
            "and offtake restore."
        )
    try:
        target = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise WrongUsageError("--to is not a URL. Give postgresql://USER@HOST/DATABASE.") from None
    if target.get_backend_name() != "postgresql":
        raise WrongUsageError("--to must be a PostgreSQL database: postgresql://USER@HOST/DATABASE.")
    return target


def _file_of(url: str) -> Path:
    return Path(sa.make_url(url).database or "")


def _check_reachable(database: Database, target: sa.URL) -> None:
    try:
        with database.snapshot_read() as connection:
            encoding = connection.scalar(sa.text("SHOW server_encoding"))
    except StoreBusyError as error:
        cause = str(error.__cause__.orig).strip() if isinstance(error.__cause__, sa.exc.DBAPIError) else str(error)
        raise OfftakeError(f"The database {_name(target)} cannot be used: {cause}") from None
    if encoding != "UTF8":
        raise OfftakeError(f"The database {_name(target)} has the encoding {encoding}. Create it with UTF8.")


def _name(target: sa.URL) -> str:
    return target.set(password=None).render_as_string()


@contextmanager
def _locked(file: Path) -> Iterator[DbConnection]:
    """A transaction that no other process can read or write next to; rolled back unless it is committed.

    SQLite grants it only when no other process has the file open, so it finds every server, worker and command.
    """
    options = {"timeout": _WAIT_SECONDS, "isolation_level": None}
    engine = sa.create_engine(
        sa.URL.create(_SQLITE, database=str(file)), poolclass=sa.NullPool, connect_args=options, hide_parameters=True
    )
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN EXCLUSIVE"))
    try:
        with engine.connect() as connection:
            yield connection
    except sa.exc.OperationalError as error:
        if isinstance(error.orig, sqlite3.Error) and error.orig.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise OfftakeError(
                f"Another process uses {file}: a server, a worker or a command. Stop all of them, then run "
                "offtake migrate again."
            ) from None
        raise
    finally:
        engine.dispose()


def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection type
    for pragma in ("locking_mode=EXCLUSIVE", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _fill(
    database: Database,
    target: sa.URL,
    sources: Sequence[tuple[DbConnection, Collection[str]]],
    found: list[dict[str, tuple[int, str]]],
) -> None:
    """Copy the rows in one transaction, and compare them with the source's; no-op if the target has just these rows."""
    try:
        with database.schema_transaction() as connection:
            if _has_same(connection, sources, found):
                return
            if copies.any_rows(connection, _STORE | CATALOG_TABLES):
                raise copies.NotEmptyError(
                    f"The database {_name(target)} has tables of Offtake with rows. Give an empty database."
                )
            copies.empty_tables(connection)
            create_catalog_tables(connection)
            for source, tables in sources:
                copies.copy_rows(source, connection, tables)
            failpoint("migrate_copied")
            if not _has_same(connection, sources, found):
                raise OfftakeError(f"The rows in {_name(target)} differ from the source's. Nothing was changed.")
    except sa.exc.DBAPIError as error:
        raise OfftakeError(
            f"The rows cannot be stored in {_name(target)}: {str(error.orig).strip()}. Nothing was changed."
        ) from error


def _has_same(
    connection: DbConnection,
    sources: Sequence[tuple[DbConnection, Collection[str]]],
    found: list[dict[str, tuple[int, str]]],
) -> bool:
    return all(
        copies.digests(connection, tables) == digests for (_, tables), digests in zip(sources, found, strict=True)
    )
