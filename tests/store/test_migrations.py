"""Every released version's data comes up to this version whole, whatever it is cut off at."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select

from offtake import failpoints
from offtake.access import clients
from offtake.clock import Clock
from offtake.deployment.backend import open_backend
from offtake.engines.local import LocalEngine
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.settings import Settings
from offtake.store.database import Database
from offtake.store.revisions import MIGRATIONS, StoreVersionError, is_current, known_revisions
from offtake.store.run_parts import run_parts
from offtake.store.runs import cancel
from offtake.store.tables import (
    Base,
    Batch,
    LandingZoneKey,
    Organisation,
    Role,
    RoleSubject,
    Run,
    TargetConnection,
    Usage,
)
from tests.commands import Forked, context, run
from tests.deployment import Deployment, deployment, rows, table_of
from tests.fake_clock import FakeClock
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


@pytest.mark.matrix
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


def test_credentials_of_the_landing_zone_that_belong_to_no_client_end(url: str) -> None:
    database = Database(url)
    database.migrate("0012")
    fill(database)
    with database.engine.begin() as connection:
        connection.execute(reflected(connection).tables["landing_zone_keys"].update().values(revoked_at=None))
    database.migrate()
    with database.reading() as session:
        keys = session.scalars(select(LandingZoneKey)).all()
    database.close()
    assert [key.revoked_at for key in keys] == [key.created_at for key in keys]
    assert {key.client_id for key in keys} == {None}


@pytest.mark.parametrize("revision", ["0001", "0005"])
def test_target_connections_that_left_the_manifest_out_ask_for_it_and_all_keep_its_name(
    url: str, revision: str
) -> None:
    asked: dict[str, Any] = {"left out": {}, "on": {"includeFileManifest": True}, "off": {"includeFileManifest": False}}
    database = Database(url)
    database.migrate(revision)
    fill(database)
    with database.engine.begin() as connection:
        table = reflected(connection).tables["target_connections"]
        pattern = dict(connection.execute(select(table)).mappings().first() or {})
        for name, given in asked.items():
            row = pattern | {"id": name, "params": {"path": "a/b", "datasetFileType": "JSON", **given}}
            connection.execute(table.insert().values(row))
    database.migrate()
    with database.reading() as session:
        kept = {name: session.get_one(TargetConnection, name) for name in asked}
    database.close()
    assert {name: row.params.pop("includeFileManifest") for name, row in kept.items()} == {
        "left out": True,
        "on": True,
        "off": False,
    }
    assert [row.params for row in kept.values()] == [{"path": "a/b", "datasetFileType": "JSON"}] * 3
    assert all(row.manifest_by_target for row in kept.values())


@pytest.mark.parametrize("ends", ["goes on", "is cancelled"])
def test_a_run_that_was_planned_by_an_earlier_version_keeps_the_name_of_its_manifest(
    url: str, tmp_path: Path, clock: FakeClock, engine: LocalEngine, ends: str
) -> None:
    folder = tmp_path / "data"
    with deployment(folder, clock, engine) as made:
        flow = made.flow(made.import_rows("events", rows(0, 20)))
        enqueue_due_runs(made.backend.database, clock)
        stop = threading.Event()
        stop.set()
        assert made.worker.run_next(stop)  # it is given back as soon as it is planned
        with made.backend.database.reading() as session:
            run = session.scalars(select(Run)).one()
            (part,) = run_parts(session, run.id)
        downgrade(made.backend.database, url, "0005")
    name = f"manifest-{run.target_connection_id}-{run.id}.json"
    before = made.zone / part.key.rpartition("/")[0] / name
    before.parent.mkdir(parents=True, exist_ok=True)
    before.write_text("what the worker of the earlier version wrote before it was killed")
    with reopened(made, url) as again:
        if ends == "is cancelled":
            with again.backend.database.writing() as session:
                cancel(session, flow, clock.now_ms())
        again.run_due()
        left = {path for path in again.zone.rglob("*") if path.is_file()}
        assert left == ({before, again.zone / part.key} if ends == "goes on" else set())
        if ends == "goes on":
            assert json.loads(before.read_text()) == again.manifests()[0]


@pytest.mark.matrix(one_in=4)
@pytest.mark.parametrize("revision", REVISIONS)
def test_a_flow_of_a_released_version_goes_on_with_its_increments(
    url: str, revision: str, tmp_path: Path, clock: FakeClock, engine: LocalEngine
) -> None:
    folder = tmp_path / "data"
    with deployment(folder, clock, engine) as made:
        dataset = made.import_rows("events", rows(0, 20))
        made.flow(dataset)
        made.run_due()
        made.import_rows("events", rows(20, 3))
        downgrade(made.backend.database, url, revision)
    clock.advance(hours=3)
    with reopened(made, url) as again:
        again.import_rows("events", rows(23, 4))
        again.run_due()
        full, increment = again.manifests()
        with again.backend.database.reading() as session:
            (target,) = session.scalars(select(TargetConnection))
            (used,) = session.scalars(select(Usage))
    assert (used.month, used.rows, used.files) == ("2026-03", 27, 2)
    assert (used.flow_name, used.dataset_name, used.connection_name) == ("flow", "events", "zone")
    assert table_of(again.delivered(full))["id"].to_pylist() == list(range(20))
    assert table_of(again.delivered(increment))["id"].to_pylist() == list(range(20, 27))
    if revision < "0006":
        (file,) = again.manifest_files()
        assert file.name == f"manifest-{target.id}-{increment['flowRunId']}.json"
        assert json.loads(file.read_text()) == increment
    else:
        assert again.manifest_files() == []


@contextmanager
def reopened(made: Deployment, url: str) -> Iterator[Deployment]:
    """The deployment as this version finds it, over the database at `url` that it brings up to date."""
    folder = made.backend.settings.data_dir
    catalog = f"sqlite:///{folder / 'lake' / 'catalog.db'}"
    backend = open_backend(Settings(data_dir=folder, database_url=url, catalog_url=catalog), made.clock)
    try:
        yield Deployment(backend, made.http, made.clock, made.admin, made.caller, made.engine)
    finally:
        backend.close()


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
                target.execute(table.insert().values({name: as_null(value) for name, value in values.items()}))
    old.close()


def as_null(value: Any) -> Any:
    """In a column of JSON, too, None is NULL and not the document `null`."""
    return sa.null() if value is None else value


@pytest.mark.matrix(one_in=4)
@pytest.mark.parametrize("cut", ["in the first step", "in the middle", "in the last step"])
@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_migration_that_is_cut_off_has_not_been(url: str, revision: str, cut: str) -> None:
    database = Database(url)
    database.migrate(revision)
    before = fill(database)
    later = len(REVISIONS) - REVISIONS.index(revision) - 1
    step = {"in the first step": 1, "in the middle": (1 + later) // 2, "in the last step": later}[cut]
    assert migrating(url, f"migrated:{step}") == -signal.SIGKILL
    with database.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == revision
        assert stored(connection) == before
    assert migrating(url) == 0
    with database.engine.connect() as connection:
        assert is_current(connection)
        assert kept(before, stored(connection), revision) == before
    database.close()


def migrating(url: str, points: str = "") -> int:
    return Forked(_migrate, url, points).wait(120)


def _migrate(url: str, points: str) -> None:
    failpoints.arm(points)
    Database(url).migrate()


def test_a_database_of_a_later_version_is_left_as_it_is(database: Database, tmp_path: Path) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        before = stored(connection)
    with pytest.raises(StoreVersionError, match="revision 9999"):
        database.migrate()
    environment = {**os.environ, "OFFTAKE_DATABASE_URL": database.url}
    ended = run(["flow", "list", "--data-dir", tmp_path / "data"], environment)
    assert ended.returncode == 1
    assert ended.stderr.startswith("offtake: The database is of a later version of Offtake")
    assert ended.stderr.count("\n") == 1
    with database.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == "9999"
        assert stored(connection) == before


def test_processes_that_start_at_once_make_one_deployment(url: str, tmp_path: Path) -> None:
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
    clients.create_organisation(backend.database, backend.clock)
    backend.close()
