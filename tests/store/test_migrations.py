from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from offtake.store.database import Database
from offtake.store.tables import Base


def test_the_migrations_make_the_tables_that_the_code_expects(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    database.migrate()
    database.migrate()
