"""Malicious archives: each is refused, and nothing is written."""

import hashlib
import io
import sqlite3
import tarfile
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from offtake.access import clients
from offtake.backup import archive
from offtake.backup.archive import SUMS, ArchiveError
from offtake.backup.backup import ABOUT, CATALOG, KEYS, STORE, take_backup
from offtake.backup.restore import restore
from offtake.clock import Clock
from offtake.deployment.backend import open_backend
from offtake.engines.local import LocalEngine
from offtake.errors import OfftakeError
from offtake.settings import Settings
from tests.deployment import deployment, rows
from tests.fake_clock import FakeClock

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"owned", kind: bytes = tarfile.REGTYPE, link: str = "") -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    return info, content


def write(path: Path, members: Iterable[Member]) -> Path:
    """An archive of these members, with the sums that it should have."""
    sums = b""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
            sums += f"{hashlib.sha256(content).hexdigest()}  {info.name}\n".encode()
        last = tarfile.TarInfo(SUMS)
        last.size = len(sums)
        tar.addfile(last, io.BytesIO(sums))
    return path


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def members_of(file: Path) -> list[Member]:
    """All of a backup's members but the last."""
    found: list[Member] = []
    with tarfile.open(file) as tar:
        for info in tar.getmembers():
            content = tar.extractfile(info)
            assert content is not None
            if info.name != SUMS:
                found.append((info, content.read()))
    return found


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> list[Member]:
    """The members of a backup that is as it should be, without its last."""
    folder = tmp_path_factory.mktemp("backup")
    engine = LocalEngine(processes=1)
    try:
        with deployment(folder / "data", FakeClock(time.time_ns() // 1_000_000), engine) as deployed:
            deployed.import_rows("events", rows(0, 3))
            take_backup(deployed.backend, folder / "b.tar", rows=False)
            return members_of(folder / "b.tar")
    finally:
        engine.close()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> list[Member]:
    """The same of a deployment without a dataset: its backup fits anywhere."""
    folder = tmp_path_factory.mktemp("bare")
    backend = open_backend(Settings(data_dir=folder / "data"), Clock())
    try:
        clients.create_organisation(backend.database, Clock())
        take_backup(backend, folder / "b.tar", rows=True)
        return members_of(folder / "b.tar")
    finally:
        backend.close()


HOSTILE = [
    member("uploads//{outside}"),
    member("uploads/{outside}"),
    member("uploads/../../outside/file"),
    member("uploads/./../../outside/file"),
    member("warehouse//tmp/x"),
    member("/{outside}"),
    member("uploads/a/"),
    member("uploads/.//a"),
    member(f"uploads/{'n' * 256}"),
    member("uploads/a", kind=tarfile.SYMTYPE, link="{outside}"),
    member("uploads/a", kind=tarfile.LNKTYPE, link="{outside}"),
    member("uploads/a", kind=tarfile.CHRTYPE),
    member("uploads/a", kind=tarfile.FIFOTYPE),
    member("uploads/a", kind=tarfile.DIRTYPE),
    member("elsewhere", kind=tarfile.SYMTYPE, link="{outside}"),
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=[f"{info.name[:40]} {info.type!r}" for info, _ in HOSTILE])
def test_a_member_that_leaves_its_folder_or_is_no_plain_file_is_refused_and_nothing_is_written(
    backup: list[Member], tmp_path: Path, hostile: Member
) -> None:
    outside = tmp_path / "outside" / "file"
    info, content = hostile
    placed = tarfile.TarInfo(info.name.format(outside=str(outside)))
    placed.type, placed.size, placed.linkname = info.type, info.size, info.linkname.format(outside=str(outside))
    evil = write(tmp_path / "evil.tar", [*backup, (placed, content)])
    data = tmp_path / "data"
    with pytest.raises(ArchiveError, match="is not an Offtake backup"):
        restore(Settings(data_dir=data), Clock(), evil)
    assert not outside.exists()
    assert everything(tmp_path) <= {"evil.tar", "data", "data/server.lock"}


@pytest.mark.parametrize(
    "names", [("uploads/a", "uploads/a"), ("uploads/a", "uploads/a/b"), ("uploads/a/b", "uploads/a")]
)
def test_conflicting_members_are_refused(backup: list[Member], tmp_path: Path, names: tuple[str, str]) -> None:
    evil = write(tmp_path / "evil.tar", [*backup, *(member(name) for name in names)])
    with pytest.raises(ArchiveError, match="occurs twice, or is also a folder"):
        restore(Settings(data_dir=tmp_path / "data"), Clock(), evil)
    assert everything(tmp_path) <= {"evil.tar", "data", "data/server.lock"}


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("uploads/a")
        info.pax_headers = {"comment": "x" * 20_000_000}
        tar.addfile(info)
    with pytest.raises(ArchiveError):
        list(archive.members(tmp_path / "evil.tar"))


def test_a_sparse_member_that_claims_to_be_large_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("uploads/a")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**50)}
    content = b"1\n0\n1\n".ljust(512, b"\0") + b"x"
    info.size = len(content)
    with tarfile.open(tmp_path / "evil.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(content))
    with pytest.raises(ArchiveError, match="is not a regular file"):
        list(archive.members(tmp_path / "evil.tar"))


@pytest.mark.parametrize("about", [b"[]", b"{}", b'{"format": 1}', b'{"format": "1"}', b"null", b"\xff"])
def test_a_backup_that_says_something_else_of_itself_is_refused(
    backup: list[Member], tmp_path: Path, about: bytes
) -> None:
    others = [(info, content) for info, content in backup if info.name != ABOUT]
    evil = write(tmp_path / "evil.tar", [*others, member(ABOUT, about)])
    with pytest.raises(ArchiveError, match="is not a backup of this or an earlier version"):
        restore(Settings(data_dir=tmp_path / "data"), Clock(), evil)


VIEW = """
    ALTER TABLE iceberg_tables RENAME TO kept;
    CREATE VIEW iceberg_tables AS WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n)
        SELECT v AS metadata_location, v AS previous_metadata_location FROM n;
"""
TRIGGER = "CREATE TRIGGER t BEFORE UPDATE ON iceberg_tables BEGIN DELETE FROM iceberg_tables; END"
INSIDE_OUT = [
    (CATALOG, VIEW, "iceberg_tables, which is not a table"),
    (CATALOG, TRIGGER, "t, which is not a table"),
    (STORE, "UPDATE sandboxes SET name = '../../outside', state = 'deleting'", "is not a valid name of sandboxes"),
    (STORE, "UPDATE sandboxes SET id = x'2e2e'", "is not a valid id of sandboxes"),
    (STORE, "UPDATE datasets SET table_name = '......outside'", "is not a valid table_name of datasets"),
    (STORE, "UPDATE batches SET id = '..'", "is not a valid id of batches"),
]


@pytest.mark.parametrize(("name", "harm", "problem"), INSIDE_OUT)
def test_databases_with_injected_sql_are_refused(
    backup: list[Member], tmp_path: Path, name: str, harm: str, problem: str
) -> None:
    copied = tmp_path / "copied.db"
    copied.write_bytes(next(content for info, content in backup if info.name == name))
    with closing(sqlite3.connect(copied)) as connection:
        connection.executescript(harm)
    others = [(info, content) for info, content in backup if info.name != name]
    evil = write(tmp_path / "evil.tar", [*others, member(name, copied.read_bytes())])
    with pytest.raises(OfftakeError, match=problem):
        restore(Settings(data_dir=tmp_path / "data"), Clock(), evil)
    assert everything(tmp_path / "data") == {"server.lock"}


def test_a_file_that_is_not_a_database_is_refused(backup: list[Member], tmp_path: Path) -> None:
    others = [(info, content) for info, content in backup if info.name != STORE]
    evil = write(tmp_path / "evil.tar", [*others, member(STORE, b"x" * 9000)])
    with pytest.raises(OfftakeError, match=r"its store\.db cannot be read"):
        restore(Settings(data_dir=tmp_path / "data"), Clock(), evil)


def test_headers_that_go_on_about_one_another_are_refused(tmp_path: Path) -> None:
    named = tarfile.TarInfo("é").tobuf(tarfile.PAX_FORMAT)
    header = named[: -tarfile.BLOCKSIZE]
    (tmp_path / "evil.tar").write_bytes(header * 2000 + named + b"\0" * 2 * tarfile.BLOCKSIZE)
    with pytest.raises(ArchiveError):
        archive.verify(tmp_path / "evil.tar", {})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (STORE, b"no database"),
        (STORE, b""),
        (CATALOG, b"SQLite format 3\0" + b"\xff" * 4096),
        (KEYS, b"\xff"),
        (KEYS, b"AAAA"),
        (KEYS, None),
    ],
)
def test_a_backup_whose_sums_fit_what_cannot_be_read_is_refused_and_nothing_is_written(
    bare: list[Member], tmp_path: Path, name: str, content: bytes | None
) -> None:
    others = [(info, kept) for info, kept in bare if info.name != name]
    evil = write(tmp_path / "evil.tar", [*others, *([] if content is None else [member(name, content)])])
    with pytest.raises(OfftakeError):
        restore(Settings(data_dir=tmp_path / "data"), Clock(), evil)
    assert everything(tmp_path) <= {"evil.tar", "data", "data/server.lock"}


@pytest.mark.parametrize("name", [STORE, CATALOG])
def test_a_backup_of_a_database_with_a_damaged_schema_is_refused(bare: list[Member], tmp_path: Path, name: str) -> None:
    damaged = [
        (member(name, kept.replace(b"CREATE TABLE", b"CREATE TABL\xff", 1)) if info.name == name else (info, kept))
        for info, kept in bare
    ]
    with pytest.raises(ArchiveError, match=f"its {name} cannot be read"):
        restore(Settings(data_dir=tmp_path / "data"), Clock(), write(tmp_path / "evil.tar", damaged))
    assert everything(tmp_path) <= {"evil.tar", "data", "data/server.lock"}
