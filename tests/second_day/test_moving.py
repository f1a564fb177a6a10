"""A deployment whose run was killed half-way continues in another place: no row is lost, none is delivered twice."""

import shutil
from pathlib import Path

import pytest

from offtake.engines.local import LocalEngine
from tests.cli.test_backup import offtake, refusal
from tests.postgres import new_database
from tests.second_day.half_done import half_done


def test_a_moved_data_directory_continues_under_its_old_path(tmp_path: Path, engine: LocalEngine) -> None:
    place = half_done(tmp_path / "data", engine)
    moved = tmp_path / "disk" / "offtake"
    moved.parent.mkdir()
    place.site.folder.rename(moved)
    assert "If the data directory or the warehouse was moved" in refusal(offtake(moved, "serve"))
    place.site.folder.symlink_to(moved)
    place.finish()
    place.check()
    place.run_again(engine)
    place.check(more=3)
    assert (moved / "landing-zone" / "prod").is_dir()


@pytest.mark.matrix(one_in=2)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_backup_continues_in_another_folder_on_sqlite(
    tmp_path: Path, engine: LocalEngine, kind: str, request: pytest.FixtureRequest
) -> None:
    """This is also the way from PostgreSQL to SQLite."""
    settings = {"database_url": new_database(request.getfixturevalue("postgres"))} if kind == "postgres" else {}
    place = half_done(tmp_path / "data", engine, **settings)
    variables = {f"OFFTAKE_{name.upper()}": value for name, value in settings.items()}
    done = offtake(place.site.folder, "backup", tmp_path / "one.tar", **variables)
    assert done.returncode == 0, done.stderr
    place.site.folder.rename(tmp_path / "away")
    place = place.at(tmp_path / "another place")
    done = offtake(place.site.folder, "restore", tmp_path / "one.tar")
    assert done.returncode == 0, done.stderr
    shutil.copytree(tmp_path / "away" / "landing-zone", place.site.folder / "landing-zone")
    place.finish()
    place.check()
    place.run_again(engine)
    place.check(more=3)
