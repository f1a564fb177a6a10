"""`offtake migrate`: from SQLite to PostgreSQL in the middle of a run, refused while a process works, and killed."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from offtake.cli.main import main
from offtake.engines.local import LocalEngine
from offtake.failpoints import ENV
from offtake.store import backup as copies
from offtake.store.database import Database
from offtake.store.tables import Watermark
from tests.cli.test_backup import offtake, refusal
from tests.deployment import deployment
from tests.fake_clock import FakeClock
from tests.postgres import migrated_database, new_database
from tests.second_day.half_done import half_done


def is_empty(url: str) -> bool:
    with closing(Database(url)) as database:
        return not copies.has_rows(database, copies.STORE_TABLES | {"iceberg_tables"})


def test_a_deployment_is_moved_to_postgresql_in_the_middle_of_a_run(
    tmp_path: Path, engine: LocalEngine, postgres: str
) -> None:
    place = half_done(tmp_path / "data %41#é?", engine)
    folder, url = place.site.folder, new_database(postgres)
    with place.site.opened() as backend:
        with backend.database.reading() as session:
            (before,) = session.scalars(select(Watermark.snapshot_id)).all()
        assert f"Another process uses {folder / 'offtake.db'}" in refusal(offtake(folder, "migrate", "--to", url))
    assert is_empty(url)
    for point in ("migrate_copied", "migrate_filled"):
        assert offtake(folder, "migrate", "--to", url, **{ENV: point}).returncode == -signal.SIGKILL
        assert is_empty(url) is (point == "migrate_copied")
    done = offtake(folder, "migrate", "--to", url.replace("+psycopg", ""), "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert {key: printed[key] for key in ("to", "positions", "liveRuns", "catalogTables")} == {
        "to": url,
        "positions": 1,
        "liveRuns": 1,
        "catalogTables": 1,
    }
    place = place.at(folder, database_url=url)
    with place.site.opened() as backend, backend.database.reading() as session:
        assert session.scalars(select(Watermark.snapshot_id)).all() == [before]
    (folder / "offtake.db").unlink()
    (folder / "lake" / "catalog.db").unlink()
    place.finish()
    place.check()
    place.run_again(engine)
    place.check(more=3)


def test_what_is_refused_changes_nothing(
    tmp_path: Path,
    clock: FakeClock,
    engine: LocalEngine,
    postgres: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, url, other = tmp_path / "data", migrated_database(postgres), new_database(postgres)
    with deployment(folder, clock, engine) as deployed:
        deployed.post("/connections", {"name": "zone"})
    monkeypatch.setenv("OFFTAKE_DATA_DIR", str(folder))

    def refused(*words: str, code: int = 1) -> str:
        assert main(["migrate", *words]) == code
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        return err

    assert "/missing cannot be used: " in refused("--to", f"{postgres}/missing")
    for wrong in ("sqlite:///x.db", "nothing"):
        assert "postgresql://USER@HOST/DATABASE" in refused("--to", wrong, code=2)
    with closing(Database(other)) as database, database.schema_transaction() as opened:
        for statement in ("CREATE TABLE runs (n int)", "CREATE TABLE alembic_version AS SELECT 'theirs' version_num"):
            opened.exec_driver_sql(statement)
    assert "tables that are not of this version of Offtake, such as alembic_version, runs" in refused("--to", other)
    with closing(Database(other)) as database, database.snapshot_read() as opened:
        assert opened.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "theirs"
    with closing(sqlite3.connect(folder / "offtake.db")) as connection, connection:
        connection.execute("UPDATE connections SET description = 'a' || char(0)")
    assert "cannot be stored in" in refused("--to", url)
    assert is_empty(url)
    with closing(sqlite3.connect(folder / "offtake.db")) as connection, connection:
        connection.execute("UPDATE connections SET description = NULL")
    assert main(["connection", "list"]) == 0
    assert main(["migrate", "--to", url]) == 0
    assert f"set OFFTAKE_DATABASE_URL={url}" in capsys.readouterr().out
    assert "Set OFFTAKE_DATABASE_URL to that database" in refused("--to", other)
    monkeypatch.setenv("OFFTAKE_DATABASE_URL", url)
    assert "PostgreSQL already" in refused("--to", other)
    assert main(["connection", "list"]) == 0
    monkeypatch.delenv("OFFTAKE_DATABASE_URL")
    monkeypatch.setenv("OFFTAKE_DATA_DIR", str(tmp_path / "second"))
    assert main(["init"]) == 0
    capsys.readouterr()
    assert "has tables of Offtake with rows" in refused("--to", url)
    assert main(["flow", "list"]) == 0
