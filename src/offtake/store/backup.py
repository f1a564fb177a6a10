"""Copies whole tables into an SQLite file, and back: the database part of a backup.

The copy is made in one read transaction with a consistent snapshot, from SQLite or PostgreSQL, while others may write.
Values are copied as they are stored: JSON as its text.
"""

import errno
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection as DbConnection
from sqlalchemy.types import TypeEngine

from offtake.documents import SliceDocument
from offtake.errors import OfftakeError
from offtake.store.database import Database
from offtake.store.reencryption import SEALED
from offtake.store.revisions import check_known, known_revisions, revision_of
from offtake.store.tables import Base
from offtake.store.upgrade import upgrade
from offtake.store.vault import key_id_of

VERSION: Final = "alembic_version"
STORE_TABLES: Final = frozenset(Base.metadata.tables) | {VERSION}
_PAGE: Final = 1000
_NAMED: Final = 3
_PLAIN: Final[tuple[tuple[type[TypeEngine[Any]], TypeEngine[Any]], ...]] = (
    (sa.LargeBinary, sa.LargeBinary()),
    (sa.Boolean, sa.Boolean()),
    (sa.Integer, sa.BigInteger()),
    (sa.Float, sa.Double()),
    (sa.String, sa.Text()),
)
"""Column types of the store, and their types in the copy."""
_NAMES_OF_FOLDERS: Final = (
    ("organisations", "id"),
    ("sandboxes", "id"),
    ("sandboxes", "name"),
    ("datasets", "table_name"),
    ("batches", "id"),
)
"""Columns whose values become folder names; of a table's name, each part does, unless it is a registered table."""
_REGISTERED: Final = "iceberg://"
"""The start of a registered table's name (`lake.table_names`), for which no folder is deleted."""

_SENT: Final = """
SELECT batch_id, name, complete, size, (SELECT max(json_extract(value, '$[1]')) FROM json_each(received))
FROM batch_files JOIN batches ON batches.id = batch_id
WHERE status IN (SELECT value FROM json_each(?)) ORDER BY batch_id, name
"""


class NotEmptyError(OfftakeError):
    """The target of a restore is not empty; nothing was changed."""


@dataclass(frozen=True)
class SentFile:
    """An uploaded file of an open batch: the batch, the name, and the bytes uploaded so far according to the store."""

    batch_id: str
    name: str
    size: int


def copy_out(database: Database, tables: Collection[str], file: Path) -> None:
    """Copy those of the tables that exist, in one consistent snapshot, into a new SQLite file.

    Raises `OSError` when the file cannot be written, and the errors of `Database.reading`.
    """
    with database.snapshot_read() as source, _write_rows(file) as written:
        for table in _reflect(source, tables).sorted_tables:
            copy = _plain(table, sa.Text())
            copy.create(written)
            for rows in _pages(source, table):
                written.execute(copy.insert(), rows)


def load(connection: DbConnection, file: Path, tables: Collection[str], *, replace: bool = False) -> None:
    """Load the rows of a copy into existing tables, in the connection's transaction; `replace` deletes their rows."""
    source = _copy_at(file)
    try:
        with source.connect() as copy:
            copy_rows(copy, connection, tables, replace=replace)
    finally:
        source.dispose()


def copy_rows(source: DbConnection, target: DbConnection, tables: Collection[str], *, replace: bool = False) -> None:
    """Copy the rows of the source's tables into existing tables, in the target's transaction.

    `replace` deletes the rows that are there.
    """
    copied_tables = _reflect(source, tables)
    targets = _reflect(target, copied_tables.tables).sorted_tables
    for table in reversed(targets) if replace else ():
        target.execute(sa.delete(table))
    for table in targets:
        insert = _insert_statement(target, table)
        for rows in _pages(source, copied_tables.tables[table.name]):
            target.execute(insert, rows)


def digests(connection: DbConnection, tables: Collection[str]) -> dict[str, tuple[int, str]]:
    """The number of rows of each existing table, and a digest of their values, which is independent of their order.

    Equal for a table and its copy in a database of another kind.
    """
    return {table.name: _digest(_pages(connection, table)) for table in _reflect(connection, tables).sorted_tables}


def _digest(pages: Iterable[list[dict[str, Any]]]) -> tuple[int, str]:
    count, total = 0, 0
    for rows in pages:
        count += len(rows)
        for row in rows:
            values = repr([row[name] for name in sorted(row)]).encode()
            total += int.from_bytes(hashlib.sha256(values).digest())
    return count, f"{total % 2**256:064x}"


def empty_tables(connection: DbConnection, revision: str = "head") -> None:
    """Replace empty or missing tables by those of a revision.

    Raises `NotEmptyError` when one has rows, or when tables with such names are of another application.
    """
    existing = _reflect(connection, STORE_TABLES)
    if _has_rows(connection, existing):
        raise NotEmptyError("The store is not empty. Restore into an empty one, for example a new --data-dir.")
    if existing.tables and revision_of(connection) not in known_revisions():
        names = ", ".join(sorted(existing.tables)[:_NAMED])
        raise NotEmptyError(f"The database has tables that are not of this version of Offtake, such as {names}.")
    existing.drop_all(connection)
    upgrade(connection, revision)


def load_store(database: Database, file: Path, *, replace: bool = False) -> None:
    """Load a copy of a store of this version or an earlier one, and migrate it, in one transaction.

    Raises `NotEmptyError` when the store has rows already, unless `replace` deletes them.
    """
    revision = revision_in(file)
    with database.schema_transaction() as connection:
        if replace:
            _reflect(connection, STORE_TABLES).drop_all(connection)
        empty_tables(connection, revision)
        load(connection, file, STORE_TABLES - {VERSION})
        upgrade(connection)


def has_rows(database: Database, tables: Collection[str]) -> bool:
    """Whether any of the tables has rows."""
    with database.snapshot_read() as connection:
        return any_rows(connection, tables)


def any_rows(connection: DbConnection, tables: Collection[str]) -> bool:
    """Whether any of the tables has rows, as `has_rows`, in the connection's transaction."""
    return _has_rows(connection, _reflect(connection, tables))


def is_whole(file: Path) -> bool:
    """Whether a copy is an intact SQLite database, by a check that reads all of it."""
    try:
        with closing(sqlite3.connect(file)) as connection:
            connection.text_factory = bytes
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == (b"ok",))
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        # UnicodeDecodeError: the driver's error message may contain bytes of the file.
        return False


def revision_in(file: Path) -> str:
    """The schema revision of the copied store; raises `StoreVersionError` when this version does not know it."""
    engine = _copy_at(file)
    try:
        with engine.connect() as connection:
            revision = revision_of(connection)
    finally:
        engine.dispose()
    if revision is None:
        raise OfftakeError(
            "The backup has no schema version (the table alembic_version is missing). Use another backup."
        )
    check_known(revision)
    return revision


def keys_needed(file: Path) -> set[bytes]:
    """The ids of the master keys that the encrypted documents of the copied store need."""
    found: set[bytes] = set()
    with closing(sqlite3.connect(file)) as connection:
        for table, column in SEALED:
            query = f"SELECT {column.key} FROM {table.__tablename__} WHERE {column.key} IS NOT NULL"  # noqa: S608 - names of our own tables
            if _is_table(connection, table.__tablename__):
                found |= {key_id_of(sealed) for (sealed,) in connection.execute(query)}
    return found


def check_plain(file: Path) -> None:
    """Raise `OfftakeError` unless an intact copy (`is_whole`) has ordinary tables and indexes only.

    A view or a trigger in a manipulated backup would run when the copy is read, without a time limit.
    """
    query = "SELECT name FROM sqlite_master WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%'"
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute(query).fetchone()
    if found is not None:
        raise OfftakeError(f"Not an Offtake backup: {file.name} contains {found[0]}, which is not a table.")


def check_names(file: Path) -> None:
    """Raise `OfftakeError` when a name in a copied store is not a plain folder name (path traversal).

    Folders with these names are deleted later.
    """
    with closing(sqlite3.connect(file)) as connection:
        for table, column in _NAMES_OF_FOLDERS:
            query = (
                f"SELECT {column} FROM {table} WHERE (typeof({column}) <> 'text' OR {column} IN ('', '.')"  # noqa: S608 - names of our own tables
                f" OR instr({column}, '/') OR instr({column}, char(0)) OR instr('.' || {column} || '.', '..'))"
                f" AND NOT (? AND substr({column}, 1, {len(_REGISTERED)}) = '{_REGISTERED}')"
            )
            may_be_registered = (table, column) == ("datasets", "table_name")
            found = connection.execute(query, [may_be_registered]).fetchone() if _is_table(connection, table) else None
            if found is not None:
                raise OfftakeError(f"Not an Offtake backup: {found[0]!r} is not a valid {column} of {table}.")


def sent_files(file: Path, statuses: Iterable[str]) -> Iterator[SentFile]:
    """The uploaded files of batches with one of the statuses, in a copy of this version's store."""
    with closing(sqlite3.connect(file)) as connection:
        for batch_id, name, complete, size, last in connection.execute(_SENT, (json.dumps(list(statuses)),)):
            yield SentFile(batch_id, name, size if complete or last is None else last + 1)


def change_slices(file: Path, change: Callable[[list[SliceDocument]], list[SliceDocument]]) -> None:
    """Apply `change` to the slices of each run part in a copied store."""
    with closing(sqlite3.connect(file)) as connection, connection:
        query, last = "SELECT rowid, slices FROM run_parts WHERE rowid > ? ORDER BY rowid LIMIT ?", 0
        while rows := connection.execute(query, (last, _PAGE)).fetchall():
            last = rows[-1][0]
            changed = [(json.dumps(change(json.loads(slices))), row) for row, slices in rows]
            connection.executemany("UPDATE run_parts SET slices = ? WHERE rowid = ?", changed)


@contextmanager
def _write_rows(file: Path) -> Iterator[DbConnection]:
    engine = _copy_at(file)
    try:
        with engine.begin() as connection:
            yield connection
    except sa.exc.OperationalError as error:
        if isinstance(error.orig, sqlite3.Error) and error.orig.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file)) from None
        raise
    finally:
        engine.dispose()


def _copy_at(file: Path) -> sa.Engine:
    return sa.create_engine(sa.URL.create("sqlite", database=str(file)))


def _is_table(connection: sqlite3.Connection, name: str) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,))
    return found.fetchone() is not None


def _reflect(connection: DbConnection, tables: Collection[str]) -> sa.MetaData:
    found = sa.MetaData()
    found.reflect(connection, only=lambda name, _: name in tables)
    return found


def _has_rows(connection: DbConnection, tables: sa.MetaData) -> bool:
    data_tables = (table for table in tables.sorted_tables if table.name != VERSION)
    return any(
        connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() for table in data_tables
    )


def _pages(connection: DbConnection, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    columns = [_as_stored(connection, column) for column in table.columns]
    # Not an option of the connection: it would use cursors for all statements that follow, even for DROP TABLE.
    found = connection.execute(sa.select(*columns).select_from(table), execution_options={"yield_per": _PAGE})
    for rows in found.mappings().partitions():
        yield [dict(row) for row in rows]


def _as_stored(connection: DbConnection, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    if not isinstance(column.type, sa.JSON):
        return column
    if connection.dialect.name == "postgresql":
        return sa.cast(column, sa.Text).label(column.name)
    return sa.type_coerce(column, sa.Text).label(column.name)


def _insert_statement(connection: DbConnection, table: sa.Table) -> sa.Insert:
    return _plain(table, _JsonText() if connection.dialect.name == "postgresql" else sa.Text()).insert()


class _JsonText(sa.TypeDecorator[str]):
    """Text that the database casts to JSON."""

    impl = sa.Text
    cache_ok = True

    def bind_expression(self, bindparam: sa.BindParameter[str]) -> sa.ColumnElement[Any]:
        """The cast."""
        return sa.cast(sa.type_coerce(bindparam, sa.Text), sa.JSON)


def _plain(table: sa.Table, documents: TypeEngine[str]) -> sa.Table:
    """The table with portable column types and without constraints; JSON columns have the type `documents`."""
    columns = (sa.Column(column.name, _plain_type(column, documents)) for column in table.columns)
    return sa.Table(table.name, sa.MetaData(), *columns)


def _plain_type(column: sa.Column[Any], documents: TypeEngine[str]) -> TypeEngine[Any]:
    if isinstance(column.type, sa.JSON):
        return documents
    for kind, plain in _PLAIN:
        if isinstance(column.type, kind):
            return plain
    raise TypeError(f"{column.table.name}.{column.name} is of type {column.type!r}, which backups do not support.")
