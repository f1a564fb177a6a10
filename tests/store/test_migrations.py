from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select

from offtake.store.database import Database
from offtake.store.tables import Base, Batch, Role, RoleSubject

STAMP = {
    "org_id": "o",
    "sandbox_id": "s",
    "created_at": 1,
    "updated_at": 2,
    "created_by": "a",
    "updated_by": "b",
    "created_client": "c",
    "updated_client": "d",
    "version": "v",
}
FIRST_VERSION: list[tuple[str, dict[str, Any]]] = [
    ("organisations", {"id": "o", "name": "O", "created_at": 1}),
    (
        "clients",
        {
            "id": "c",
            "org_id": "o",
            "name": "n",
            "account_id": "a",
            "secret_hash": "h",
            "permissions": [],
            "created_at": 1,
        },
    ),
    ("datasets", {"id": "d", "name": "D", "table_name": "t", "tags": {}, **STAMP}),
    (
        "batches",
        {
            "id": "b",
            "dataset_id": "d",
            "status": "success",
            "rows": 3,
            "bytes": 4,
            "created_at": 5,
            "created_client": "c",
        },
    ),
]


def test_the_migrations_make_the_tables_that_the_code_expects(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    database.migrate()
    database.migrate()


@pytest.fixture
def first_version(database: Database) -> Database:
    """A database as the first migration made it, with a row of each kind."""
    Base.metadata.drop_all(database.engine)
    with database.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE alembic_version"))
    database.migrate("0001")
    with database.engine.begin() as connection:
        for table, row in FIRST_VERSION:
            connection.execute(sa.Table(table, sa.MetaData(), autoload_with=connection).insert().values(row))
    return database


def test_what_a_first_version_stored_is_kept(first_version: Database) -> None:
    first_version.migrate()
    with first_version.reading() as session:
        batch = session.get_one(Batch, "b")
        assert (batch.sandbox_id, batch.rows, batch.input_rows, batch.errors) == ("s", 3, 3, [])
        role = session.scalars(select(Role).join(RoleSubject).where(RoleSubject.client_id == "c")).one()
        assert (role.permissions, role.sandboxes) == (["*"], ["*"])
