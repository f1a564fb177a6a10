from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from offtake.lake.catalog import Lake
from offtake.store.database import Database, StoreBusyError, StoreConflictError, StoreFullError


def pragmas(connection: Any) -> tuple[str, int]:
    mode, kept = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous"))
    return str(mode), int(kept)


def test_every_connection_writes_ahead_and_waits_for_the_disk(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'store.db'}")
    lake = Lake(f"sqlite:///{tmp_path / 'catalog.db'}", (tmp_path / "warehouse").as_uri())
    for engine in (database.engine, lake.catalog.engine):
        opened = [engine.raw_connection() for _ in range(3)]
        assert [pragmas(one.driver_connection) for one in opened] == [("wal", 2)] * 3  # 2 is FULL
        for one in opened:
            one.close()
    with database.schema_transaction() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    lake.close()
    database.close()


@pytest.fixture
def small(tmp_path: Path) -> Database:
    """A store whose file may not grow further."""
    database = Database(f"sqlite:///{tmp_path / 'store.db'}")
    with database.writing() as session:
        session.execute(text("CREATE TABLE things (name TEXT)"))
        session.execute(text("PRAGMA max_page_count = 3"))
    return database


def test_a_full_store_says_so_and_keeps_what_it_has(small: Database) -> None:
    with small.writing() as session:
        session.execute(text("INSERT INTO things VALUES ('one')"))
    many = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100) SELECT hex(randomblob(1000)) FROM n"
    )
    with pytest.raises(StoreFullError, match="disk of the database is full"), small.writing() as session:
        session.execute(text(f"INSERT INTO things {many}"))
    with small.reading() as session:
        assert session.scalars(text("SELECT name FROM things")).all() == ["one"]
    small.close()


@pytest.mark.parametrize("state", ["53100", "58030", "25006"])
def test_a_server_whose_disk_takes_nothing_more_says_so(postgres: str, state: str) -> None:
    database = Database(f"{postgres}/postgres")
    raising = text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$")
    with pytest.raises((StoreFullError, StoreBusyError)) as raised, database.writing() as session:
        session.execute(raising)
    assert isinstance(raised.value, StoreFullError)
    database.close()


def test_a_database_that_is_away_is_no_full_one() -> None:
    database = Database("postgresql+psycopg://unknown@127.0.0.1:1/nothing")
    with pytest.raises(StoreBusyError), database.reading() as session:
        session.execute(text("SELECT 1"))
    database.close()


def test_a_conflict_is_reported_as_one(database: Database) -> None:
    with pytest.raises(StoreConflictError), database.writing() as session:
        session.execute(text("INSERT INTO labels VALUES ('a', 'b'), ('a', 'b')"))
