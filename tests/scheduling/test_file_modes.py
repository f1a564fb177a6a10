"""Who may read what a deployment keeps, whatever the umask it is started with."""

import os
import stat
import subprocess
from functools import partial
from pathlib import Path

import pytest

from offtake.deployment.file_modes import guard_files
from offtake.errors import OfftakeError
from offtake.settings import Settings
from tests.commands import run

GROUP = 1
"""Any group of this machine that is not the tests' own."""


def offtake(data_dir: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run([*words, "--data-dir", data_dir], {**os.environ, **environment}, prepare=partial(os.umask, 0))


def bring_in(folder: Path, **environment: str) -> Path:
    """A deployment with a dataset, and its data directory."""
    (folder / "rows.ndjson").write_text('{"id": 1}\n')
    data_dir = folder / "data"
    assert offtake(data_dir, "init", **environment).returncode == 0
    ended = offtake(data_dir, "dataset", "import", "events", str(folder / "rows.ndjson"), **environment)
    assert ended.returncode == 0, ended.stderr
    return data_dir


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_other_users_cannot_read_any_file_whatever_the_umask(tmp_path: Path) -> None:
    data_dir = bring_in(tmp_path)
    found = [data_dir, *data_dir.rglob("*")]
    assert len(found) > 8
    assert {str(one.relative_to(tmp_path)): oct(mode(one)) for one in found if mode(one) & 0o077} == {}


def test_too_open_file_modes_are_corrected_and_reported(tmp_path: Path) -> None:
    data_dir = bring_in(tmp_path)
    for one, opened in ((data_dir, 0o755), (data_dir / "offtake.db", 0o644), (data_dir / "vault.key", 0o644)):
        one.chmod(opened)
    ended = offtake(data_dir, "dataset", "list")
    assert ended.returncode == 0, ended.stderr
    assert [mode(data_dir), mode(data_dir / "offtake.db"), mode(data_dir / "vault.key")] == [0o700, 0o600, 0o600]
    assert f"{data_dir} was accessible to all users of this machine (mode 0755); changed to 0700" in ended.stderr


def test_a_group_reads_the_warehouse_and_the_zone_and_nothing_else(tmp_path: Path) -> None:
    data_dir = bring_in(tmp_path, OFFTAKE_READERS_GROUP=str(GROUP))
    warehouse = data_dir / "lake" / "warehouse"
    for folder in (warehouse, data_dir / "landing-zone"):
        assert (mode(folder), folder.stat().st_gid) == (0o2750, GROUP)
    for one in warehouse.rglob("*"):
        assert one.stat().st_gid == GROUP
        assert mode(one) & 0o777 == (0o750 if one.is_dir() else 0o640)
    for passed in (data_dir, data_dir / "lake"):
        assert (mode(passed), passed.stat().st_gid) == (0o710, GROUP)
    offtake(data_dir, "dataset", "list", OFFTAKE_READERS_GROUP=str(GROUP))
    private = [data_dir / "offtake.db", data_dir / "vault.key", data_dir / "lake" / "catalog.db"]
    assert [mode(one) for one in private] == [0o600] * 3


def test_a_command_that_is_not_given_the_group_does_not_shut_it_out(tmp_path: Path) -> None:
    data_dir = bring_in(tmp_path, OFFTAKE_READERS_GROUP=str(GROUP))
    ended = offtake(data_dir, "dataset", "import", "events", str(tmp_path / "rows.ndjson"), "--again")
    assert ended.returncode == 0, ended.stderr
    for passed in (data_dir, data_dir / "lake"):
        assert (mode(passed), passed.stat().st_gid) == (0o710, GROUP)
    written = list((data_dir / "lake" / "warehouse").rglob("*.parquet"))
    assert len(written) == 2
    assert {(oct(mode(one)), one.stat().st_gid) for one in written} == {("0o640", GROUP)}
    guard_files(Settings(data_dir=data_dir), starts=True)
    assert mode(data_dir) == 0o700


def test_a_group_that_is_given_later_reads_what_was_there(tmp_path: Path) -> None:
    data_dir = bring_in(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("")
    elsewhere.chmod(0o600)
    warehouse = data_dir / "lake" / "warehouse"
    (warehouse / "link").symlink_to(elsewhere)
    offtake(data_dir, "dataset", "list", OFFTAKE_READERS_GROUP=str(GROUP))
    found = [warehouse, *(one for one in warehouse.rglob("*") if not one.is_symlink())]
    assert len(found) > 4
    assert {one.stat().st_gid for one in found} == {GROUP}
    assert {oct(mode(one)) for one in found} == {"0o2750", "0o640"}
    assert mode(elsewhere) == 0o600


def test_a_group_that_is_not_there_is_refused(tmp_path: Path) -> None:
    ended = offtake(tmp_path / "data", "init", OFFTAKE_READERS_GROUP="no-such-group")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "offtake: OFFTAKE_READERS_GROUP no-such-group is not a group of this machine.\n"
    assert not (tmp_path / "data").exists()


def test_another_users_folder_is_used_when_others_have_no_access(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o770)
    data_dir.chmod(0o770)
    monkeypatch.setattr(os, "geteuid", lambda: data_dir.stat().st_uid + 1)
    guard_files(Settings(data_dir=data_dir))
    assert mode(data_dir) == 0o770
    assert "other users have no access, so it is used unchanged" in caplog.text


def test_another_users_folder_that_is_open_to_all_is_closed_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    data_dir.chmod(0o775)
    monkeypatch.setattr(os, "geteuid", lambda: data_dir.stat().st_uid + 1)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "chmod", denied)
        with pytest.raises(OfftakeError, match="chmod o-rwx"):
            guard_files(Settings(data_dir=data_dir))
    guard_files(Settings(data_dir=data_dir))
    assert mode(data_dir) == 0o770
