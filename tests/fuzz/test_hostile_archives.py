"""Archives by a grammar of what goes wrong in them: each is refused, or holds nothing that leaves its folder."""

import tarfile
from pathlib import Path, PurePosixPath

import pytest

from offtake.access import clients
from offtake.backup import archive
from offtake.backup.archive import SUMS, ArchiveError
from offtake.backup.backup import take_backup
from offtake.backup.restore import restore
from offtake.clock import Clock
from offtake.deployment.backend import open_backend
from offtake.errors import OfftakeError
from offtake.settings import Settings
from tests.fuzz import archives
from tests.fuzz.archives import Member
from tests.fuzz.shares import ARCHIVES, Share, again

_SMALL = [
    Member("store.db", b"x" * 700),
    Member("uploads/b/1", b"sent"),
    Member("warehouse/t/data/x.parquet", b"y" * 1000),
    Member("backup.json", b"{}"),
]
_RESTORED = 100
"""One archive of so many is restored: that takes a hundred times as long as to read one."""


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> list[Member]:
    """The members of a backup that fits anywhere, without its last."""
    folder = tmp_path_factory.mktemp("backup")
    backend = open_backend(Settings(data_dir=folder / "data"), Clock())
    try:
        clients.create_organisation(backend.database, Clock())
        take_backup(backend, folder / "b.tar", rows=True)
    finally:
        backend.close()
    with tarfile.open(folder / "b.tar") as tar:
        found = [(info.name, tar.extractfile(info)) for info in tar.getmembers()]
        return [Member(name, file.read()) for name, file in found if file is not None and name != SUMS]


@pytest.mark.search
@pytest.mark.parametrize("share", ARCHIVES, ids=str)
def test_hostile_archives_are_refused_or_stay_inside_their_folders(
    share: Share, backup: list[Member], tmp_path: Path
) -> None:
    random = share.random()
    admitted = 0
    with again(share):
        for count in range(share.count):
            is_restored = count % _RESTORED == 0
            evil = tmp_path / "evil.tar"
            evil.write_bytes(archives.archive(random, backup if is_restored else _SMALL))
            admitted += _is_admitted(evil, count)
            if is_restored:
                _restore(evil, tmp_path / f"{count}")
    assert 0 < admitted < share.count


def _is_admitted(evil: Path, count: int) -> bool:
    """Whether the archive is accepted as a backup; checks that its names stay inside the folder and do not conflict."""
    kept = evil.with_suffix(".kept")
    try:
        archive.verify(evil, {"backup.json": kept})
        names = [name for name, content in archive.members(evil) if content.read() is not None]
    except ArchiveError:
        return False
    except Exception as error:
        raise AssertionError(f"archive {count} ended in {error!r}") from error
    folder = evil.parent / "x"
    for name in names:
        assert not name.startswith("/"), (count, name)
        assert (folder / name).resolve().is_relative_to(folder), (count, name)
    files = {PurePosixPath(name) for name in names}
    assert len(files) == len(names), (count, names)
    assert not files.intersection(above for one in files for above in one.parents), (count, names)
    return True


def _restore(evil: Path, folder: Path) -> None:
    """What is refused leaves nothing behind; what is not, leaves nothing but its own."""
    folder.mkdir()
    outside = {path for path in folder.parent.iterdir() if path != folder}
    try:
        restore(Settings(data_dir=folder / "data"), Clock(), evil)
    except OfftakeError:
        assert {path.name for path in folder.rglob("*")} <= {"data", "server.lock"}
    assert {path for path in folder.parent.iterdir() if path != folder} == outside
    assert [path.name for path in folder.iterdir()] == ["data"]
