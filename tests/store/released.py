"""Databases as released versions left them, with rows in every table."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import select

import offtake.store
from offtake.store.backup import STORE_TABLES
from offtake.store.database import Database

Stored = dict[str, list[dict[str, Any]]]
GONE: dict[tuple[str, str, str], Any] = {
    ("0001", "clients", "permissions"): [],
    ("0002", "runs", "lease_until"): None,
}
"""Columns that no later version has, and what a version wrote there: by the last revision that has them."""

GROWN = {("0005", "target_connections", "params")}
"""Documents that a migration adds keys to: by the last revision without these keys."""


def gone(revision: str, table: str, column: str) -> Any:
    """What stood there in a column that later versions lack."""
    return next(value for (last, *of), value in GONE.items() if of == [table, column] and last >= revision)


def released() -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(Path(offtake.store.__path__[0]) / "migrations"))
    return sorted(one.revision for one in ScriptDirectory.from_config(config).walk_revisions())


REVISIONS = released()


def reflected(connection: sa.Connection) -> sa.MetaData:
    found = sa.MetaData()
    found.reflect(connection, only=lambda name, _: name in STORE_TABLES and name != "alembic_version")
    return found


def fill(database: Database) -> Stored:
    """Two rows in every table, each value another one; they refer to each other as they must."""
    with database.engine.begin() as connection:
        tables = reflected(connection)
        for table in tables.sorted_tables:
            for number in (1, 2):
                values = {column.name: value_of(column, number) for column in table.columns}
                connection.execute(table.insert().values(values))
        return stored(connection)


def value_of(column: sa.Column[Any], number: int) -> Any:
    for key in column.foreign_keys:
        return value_of(key.column, number)
    text = "datasets.id" if column.name == "dataset_id" else str(column)
    document = [text] if column.name in ("permissions", "errors") else {text: number}
    kinds = {
        sa.JSON: document,
        sa.LargeBinary: f"{text} {number}".encode(),
        sa.Boolean: number == 1,
        sa.Float: number + 0.1,
        sa.Integer: 2**53 + sum(map(ord, text)) * 10 + number,
        sa.String: f"{text} {number}",
    }
    return next(value for kind, value in kinds.items() if isinstance(column.type, kind))


def stored(connection: sa.Connection) -> Stored:
    tables = reflected(connection)
    return {
        table.name: [
            dict(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
        ]
        for table in tables.sorted_tables
    }


def kept(before: Stored, after: Stored, revision: str) -> Stored:
    """Of the rows after, what was there before: the same tables, columns, rows, and keys of documents."""
    gone = {(table, column) for last, table, column in GONE if last >= revision}
    grown = {(table, column) for last, table, column in GROWN if last >= revision}

    def of(table: str, column: str, old: dict[str, Any], new: dict[str, Any]) -> Any:
        if (table, column) in gone:
            return old[column]
        return {key: new[column][key] for key in old[column]} if (table, column) in grown else new[column]

    return {
        table: [
            {column: of(table, column, old, new) for column in old}
            for old, new in zip(found, after[table], strict=True)
        ]
        for table, found in before.items()
    }
