"""Databases of released versions, as their dumps have them: upgraded whole, and still usable by the release before."""

import base64
import json
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from offtake.cli.main import main
from offtake.store.database import Database
from offtake.store.revisions import is_current, known_revisions
from tests.store.dumps import RELEASES, load
from tests.store.released import reflected, stored


def test_there_is_a_dump_of_the_first_release() -> None:
    assert "0.1.0" in RELEASES


@pytest.fixture(params=RELEASES)
def before(request: pytest.FixtureRequest, url: str) -> sa.MetaData:
    """The tables of a release, in a database with its rows."""
    load(request.param, url)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        tables = reflected(connection)
        assert all(connection.scalar(sa.select(sa.func.count()).select_from(one)) for one in tables.sorted_tables)
    engine.dispose()
    return tables


def test_an_upgrade_keeps_every_row_of_a_release(url: str, before: sa.MetaData) -> None:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = stored(connection)
    engine.dispose()
    database = Database(url)
    database.migrate()
    with database.engine.connect() as connection:
        assert is_current(connection)
        after = stored(connection)
    database.close()
    kept = {
        name: [{column.name: row[column.name] for column in before.tables[name].columns} for row in after[name]]
        for name in before.tables
    }
    assert kept == rows


def test_the_release_before_can_write_to_an_upgraded_database(url: str, before: sa.MetaData) -> None:
    """It knows its own columns only: later ones must have a default, or may be null."""
    database = Database(url)
    database.migrate()
    with database.engine.begin() as connection:
        rows = {
            table.name: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
            for table in before.sorted_tables
        }
        for table in reversed(before.sorted_tables):
            connection.execute(table.delete())
        for table in before.sorted_tables:
            connection.execute(table.insert(), rows[table.name])
    database.close()


def test_only_init_migrates_if_the_operator_wants_to_back_up_before(
    url: str,
    before: sa.MetaData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A backup by this version contains the tables of the release, which can restore it."""
    del before
    for name, value in {
        "DATABASE_URL": url,
        "CATALOG_URL": f"sqlite:///{tmp_path / 'catalog.db'}",
        "DATA_DIR": str(tmp_path / "data"),
        "VAULT_KEY": base64.b64encode(bytes(32)).decode(),
        "AUTO_UPGRADE": "false",
    }.items():
        monkeypatch.setenv(f"OFFTAKE_{name}", value)
    assert main(["flow", "list"]) == 1
    assert "their revision is 0013, this version needs" in capsys.readouterr().err
    assert main(["backup", str(tmp_path / "before.tar"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["revision"] == "0013"
    assert main(["init"]) == 0
    assert "the tables are migrated from revision 0013" in caplog.text
    with closing(Database(url)) as database:
        assert database.revision() == known_revisions()[-1]
