"""Every released version's data comes up to this version whole, whatever it is cut off at."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select

from offtake.clock import Clock, MovedClock
from offtake.engines.local import LocalEngine
from offtake.failpoints import ENV
from offtake.flows import clients
from offtake.scheduling.backend import open_backend
from offtake.settings import Settings
from offtake.store.database import MIGRATIONS, Database, StoreVersionError, is_current, known_revisions
from offtake.store.tables import Base, Batch, Organisation, Role, RoleSubject
from tests.deployment import Deployment, deployment, rows, table_of
from tests.store.released import REVISIONS, fill, gone, kept, reflected, stored


def test_the_migrations_make_the_tables_that_the_code_expects(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_migrations_are_known_by_their_names() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    chain = [script.revision for script in scripts.walk_revisions()]
    assert known_revisions() == chain[::-1]


def test_migrating_again_changes_nothing(database: Database) -> None:
    with database.engine.connect() as connection:
        before = stored(connection)
    database.migrate()
    database.migrate()
    with database.engine.connect() as connection:
        assert stored(connection) == before


@pytest.mark.parametrize("revision", REVISIONS)
def test_nothing_that_a_released_version_stored_is_lost(url: str, revision: str) -> None:
    database = Database(url)
    database.migrate(revision)
    before = fill(database)
    database.migrate()
    with database.engine.connect() as connection:
        assert is_current(connection)
        after = stored(connection)
    database.close()
    assert kept(before, after, revision) == before


def test_clients_of_the_first_version_are_administrators(url: str) -> None:
    database = Database(url)
    database.migrate("0001")
    fill(database)
    database.migrate()
    with database.reading() as session:
        batch = session.scalars(select(Batch).order_by(Batch.id)).first()
        assert batch is not None
        assert (batch.sandbox_id, batch.input_rows, batch.errors) == ("datasets.sandbox_id 1", batch.rows, [])
        role = session.scalars(select(Role).join(RoleSubject).where(RoleSubject.client_id == "clients.id 1")).one()
        assert (role.permissions, role.sandboxes) == (["*"], ["*"])
    database.close()


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_flow_of_a_released_version_goes_on_with_its_increments(
    url: str, revision: str, tmp_path: Path, clock: MovedClock, engine: LocalEngine
) -> None:
    folder = tmp_path / "data"
    with deployment(folder, clock, engine) as made:
        dataset = made.import_rows("events", rows(0, 20))
        made.flow(dataset)
        made.run_due()
        made.import_rows("events", rows(20, 3))
        downgrade(made.backend.database, url, revision)
    clock.advance(hours=3)
    catalog = f"sqlite:///{folder / 'lake' / 'catalog.db'}"
    backend = open_backend(Settings(data_dir=folder, database_url=url, catalog_url=catalog), clock)
    again = Deployment(backend, made.http, clock, made.admin, made.caller, engine)
    again.import_rows("events", rows(23, 4))
    again.run_due()
    full, increment = again.manifests()
    backend.close()
    assert table_of(again.delivered(full))["id"].to_pylist() == list(range(20))
    assert table_of(again.delivered(increment))["id"].to_pylist() == list(range(20, 27))


def downgrade(newest: Database, url: str, revision: str) -> None:
    """What that version would have stored of the same."""
    old = Database(url)
    old.migrate(revision)
    with newest.engine.connect() as source, old.engine.begin() as target:
        found = stored(source)
        for table in reflected(target).sorted_tables:
            for row in found.get(table.name, []):
                values = {
                    column.name: row[column.name] if column.name in row else gone(revision, table.name, column.name)
                    for column in table.columns
                }
                target.execute(table.insert().values(values))
    old.close()


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_migration_that_is_cut_off_has_not_been(url: str, revision: str) -> None:
    database = Database(url)
    database.migrate(revision)
    before = fill(database)
    later = len(REVISIONS) - REVISIONS.index(revision) - 1
    for step in range(1, later + 1):
        assert migrating(url, f"migrated:{step}") == -signal.SIGKILL
        with database.engine.connect() as connection:
            assert MigrationContext.configure(connection).get_current_revision() == revision
            assert stored(connection) == before
    assert migrating(url) == 0
    with database.engine.connect() as connection:
        assert is_current(connection)
        assert kept(before, stored(connection), revision) == before
    database.close()


def migrating(url: str, failpoints: str = "") -> int:
    script = "import sys; from offtake.store.database import Database; Database(sys.argv[1]).migrate()"
    command = [sys.executable, "-c", script, url]
    return subprocess.run(command, env={**os.environ, ENV: failpoints}, check=False, capture_output=True).returncode


def test_a_database_of_a_later_version_is_left_as_it_is(database: Database, tmp_path: Path) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        before = stored(connection)
    with pytest.raises(StoreVersionError, match="at revision 9999"):
        database.migrate()
    environment = {**os.environ, "OFFTAKE_DATABASE_URL": database.url}
    command = [sys.executable, "-m", "offtake", "flow", "list", "--data-dir", str(tmp_path / "data")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("offtake: The database is of a later version of Offtake")
    assert ended.stderr.count("\n") == 1
    with database.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == "9999"
        assert stored(connection) == before


def test_processes_that_start_at_once_make_one_deployment(url: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(4)
    processes = [context.Process(target=_start, args=(url, tmp_path / "data", together)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    database = Database(url)
    with database.reading() as session:
        assert len(session.scalars(select(Organisation)).all()) == 1
        assert len(session.scalars(select(Role)).all()) == 1
    database.close()


def _start(url: str, data_dir: Path, together: Any) -> None:
    together.wait()
    backend = open_backend(Settings(data_dir=data_dir, database_url=url), Clock())
    clients.set_up(backend.database, backend.clock)
    backend.close()
