"""Rows copied out of one database and into another, of whatever kind and version they are."""

from pathlib import Path

import pytest

from offtake.store import backup
from offtake.store.backup import STORE_TABLES, NotEmptyError
from offtake.store.database import Database
from offtake.store.revisions import StoreVersionError, is_current
from tests.postgres import new_database
from tests.store.released import REVISIONS, fill, kept, stored


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty store to restore into, once of each kind."""
    if request.param == "sqlite":
        return Database(f"sqlite:///{tmp_path / 'target.db'}")
    return Database(new_database(request.getfixturevalue("postgres")))


@pytest.mark.matrix(one_in=4)
@pytest.mark.parametrize("revision", REVISIONS)
def test_a_copy_of_any_released_version_is_restored_whole(
    url: str, target: Database, revision: str, tmp_path: Path
) -> None:
    source = Database(url)
    source.migrate(revision)
    before = fill(source)
    backup.copy_out(source, STORE_TABLES, tmp_path / "copy.db")
    assert backup.revision_in(tmp_path / "copy.db") == revision
    backup.load_store(target, tmp_path / "copy.db")
    with target.engine.connect() as connection:
        assert is_current(connection)
        assert kept(before, stored(connection), revision) == before
    with pytest.raises(NotEmptyError):
        backup.load_store(target, tmp_path / "copy.db")
    backup.load_store(target, tmp_path / "copy.db", replace=True)
    with target.engine.connect() as connection:
        assert kept(before, stored(connection), revision) == before
    source.close()
    target.close()


def test_a_copy_of_a_later_version_is_refused(tmp_path: Path) -> None:
    source, target = (Database(f"sqlite:///{tmp_path / name}.db") for name in ("source", "target"))
    source.migrate()
    with source.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    backup.copy_out(source, STORE_TABLES, tmp_path / "copy.db")
    with pytest.raises(StoreVersionError, match="9999"):
        backup.load_store(target, tmp_path / "copy.db")
    assert not backup.has_rows(target, STORE_TABLES)
    source.close()
    target.close()


def test_a_copy_shows_one_instant(database: Database) -> None:
    with database.writing() as session:
        session.connection().exec_driver_sql("INSERT INTO labels VALUES ('a', 'before')")
    with database.snapshot_read() as connection:
        seen = stored(connection)
        with database.writing() as session:
            session.connection().exec_driver_sql("INSERT INTO labels VALUES ('a', 'after')")
        assert stored(connection) == seen
    assert [row["label"] for row in seen["labels"]] == ["before"]
