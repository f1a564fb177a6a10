"""`offtake backup` and `offtake restore` as an operator meets them."""

import json
import os
import shutil
import signal
import stat
import subprocess
import tarfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from offtake.backup import backup as taking
from offtake.backup.restore import restore
from offtake.deployment.backend import open_backend
from offtake.engines.local import LocalEngine
from offtake.errors import OfftakeError
from offtake.failpoints import ENV
from offtake.lake import table_description
from offtake.lake.locations import local_path
from offtake.lake.table_names import TableName
from offtake.lake.upload_folder import FolderUploads
from offtake.scheduling.background import ingestor_of
from offtake.settings import Settings
from offtake.store.tables import Batch, Connection, Dataset, Flow, RunPart
from tests.commands import Command, run
from tests.deployment import Deployment, deployment, rows, table_of
from tests.fake_clock import FakeClock
from tests.lake.other_writers import data_files, delete_vector
from tests.servers import await_port, free_port

IMPORT = "/data/foundation/import"
S3 = {"id": "4fce964d-3f37-408f-9778-e597338a21ee", "version": "1.0"}
AUTH = {"specName": "Access Key", "params": {"s3AccessKey": "A", "s3SecretKey": "marked"}}


def offtake(data_dir: Path, *words: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run([*words, "--data-dir", data_dir], {**os.environ, **environment})


def refusal(ended: "subprocess.CompletedProcess[str]") -> str:
    assert ended.returncode == 1, ended
    assert ended.stderr.startswith("offtake: ")
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stdout == ""
    return ended.stderr


@pytest.fixture
def data_dir(tmp_path: Path, clock: FakeClock, engine: LocalEngine) -> Path:
    """A deployment that has delivered once, in a folder of an odd name: rows wait, a secret, an open batch."""
    folder = tmp_path / "data %41#é?"
    with deployment(folder, clock, engine) as deployed:
        dataset = deployed.import_rows("events", rows(0, 20))
        deployed.flow(dataset)
        deployed.run_due()
        deployed.import_rows("events", rows(20, 3))
        deployed.post("/connections", {"name": "s3", "connectionSpec": S3, "auth": AUTH})
        send(deployed, dataset, "é open.json", '{"id": 23}\n')
    return folder


def send(deployed: Deployment, dataset: str, name: str, content: str) -> str:
    body = {"datasetId": dataset, "inputFormat": {"format": "json"}}
    batch = str(deployed.http.post(f"{IMPORT}/batches", json=body).json()["id"])
    path = f"{IMPORT}/batches/{batch}/datasets/{dataset}/files/{name}"
    sent = deployed.http.put(path, content=content, headers={"content-type": "application/octet-stream"})
    assert sent.status_code == 201
    return batch


@pytest.fixture
def archive(data_dir: Path, tmp_path: Path) -> Path:
    """A backup of it; the data directory is gone."""
    done = offtake(data_dir, "backup", tmp_path / "one.tar")
    assert done.returncode == 0, done.stderr
    assert "1 table with" in done.stdout
    data_dir.rename(tmp_path / "before")
    return tmp_path / "one.tar"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", ["where it was", "elsewhere"])
def test_a_deployment_comes_back_and_goes_on(
    archive: Path, data_dir: Path, tmp_path: Path, clock: FakeClock, engine: LocalEngine, place: str
) -> None:
    data_dir = data_dir if place == "where it was" else tmp_path / "a place" / "of another name"
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    done = offtake(data_dir, "restore", archive)
    assert done.returncode == 0, done.stderr
    assert "Deliveries after 20" in done.stdout
    zone = data_dir / "landing-zone"
    assert f"copy those that are still to be collected to {zone}" in done.stdout.replace("\n", " ")
    assert stat.S_IMODE((data_dir / "vault.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in data_dir.iterdir() if "restore" in path.name) == []
    shutil.copytree(tmp_path / "before" / "landing-zone", data_dir / "landing-zone")
    backend = open_backend(Settings(data_dir=data_dir), clock)
    with backend.database.reading() as session:
        base = session.scalars(select(Connection).filter_by(name="s3")).one()
        assert base.auth_sealed is not None
        assert backend.vault.decrypt(base.id, base.auth_sealed) == AUTH["params"]
        batch = session.scalars(select(Batch).filter_by(status="loading")).one()
        assert isinstance(backend.uploads, FolderUploads)
        assert backend.uploads.path(batch.id, "é open.json").read_text() == '{"id": 23}\n'
    # Nothing of these calls the API, so that no client is needed.
    again = Deployment(backend, None, clock, None, None, engine)  # type: ignore[arg-type]
    with backend.database.writing() as session:
        session.get_one(Batch, batch.id).status = "staged"
    again.ingest_due()
    clock.advance(hours=3)
    again.run_due()
    full, increment = again.manifests()
    assert table_of(again.delivered(full))["id"].to_pylist() == list(range(20))
    assert table_of(again.delivered(increment))["id"].to_pylist() == [20, 21, 22, 23]
    backend.close()


def test_what_was_delivered_is_found_in_a_landing_zone_that_was_brought_along(
    archive: Path, tmp_path: Path, clock: FakeClock
) -> None:
    elsewhere = tmp_path / "100%_new"
    settings = Settings(data_dir=elsewhere)
    restore(settings, clock, archive)
    shutil.copytree(tmp_path / "before" / "landing-zone", elsewhere / "landing-zone")
    backend = open_backend(settings, clock)
    with backend.database.reading() as session:
        parts = session.scalars(select(RunPart)).all()
        assert [part.uri for part in parts] == [str(elsewhere / "landing-zone" / "prod" / part.key) for part in parts]
    backend.close()
    run = json.loads(offtake(elsewhere, "run", "list", "--json").stdout)[0]["id"]
    verified = offtake(elsewhere, "run", "verify", run, "--strict", "--download")
    assert verified.returncode == 0, verified.stdout


def test_flows_can_be_looked_at_before_anything_is_delivered(archive: Path, data_dir: Path) -> None:
    done = offtake(data_dir, "restore", archive, "--disable-flows", "--json")
    said = json.loads(done.stdout)
    assert (said["flows"], said["disabled"], said["liveRuns"], said["backup"]["tables"]) == (1, 1, 0, 1)
    flows = json.loads(offtake(data_dir, "flow", "list", "--json").stdout)
    assert [one["state"] for one in flows] == ["disabled"]
    (event, *_) = json.loads(offtake(data_dir, "audit", "list", "--json").stdout)
    assert "disable" in json.dumps(event).lower()


@pytest.mark.matrix(one_in=2)
@pytest.mark.parametrize("point", ["backup_store_copied", "backup_written"])
def test_a_backup_that_is_killed_leaves_the_one_before(data_dir: Path, tmp_path: Path, point: str) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    assert offtake(data_dir, "backup", folder / "b.tar").returncode == 0
    before = (folder / "b.tar").read_bytes()
    assert offtake(data_dir, "backup", folder / "b.tar", **{ENV: point}).returncode == -signal.SIGKILL
    assert (folder / "b.tar").read_bytes() == before
    assert offtake(data_dir, "backup", folder / "new.tar", **{ENV: point}).returncode == -signal.SIGKILL
    assert not (folder / "new.tar").exists()
    for name in ("b.tar", "new.tar"):
        assert offtake(data_dir, "backup", folder / name).returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == ["b.tar", "new.tar"]


POINTS = ["restore_marked", "restore_files", "restore_relocated", "restore_catalog", "restore_store", "restore_settled"]


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize("point", POINTS)
def test_a_restore_that_is_killed_is_refused_by_all_and_can_be_done_again(
    archive: Path, tmp_path: Path, clock: FakeClock, point: str
) -> None:
    data_dir = tmp_path / "elsewhere"
    assert offtake(data_dir, "restore", archive, **{ENV: point}).returncode == -signal.SIGKILL
    if point == POINTS[0]:
        assert "was interrupted. Run offtake restore again" in refusal(offtake(data_dir, "serve"))
    settings, whole = Settings(data_dir=data_dir), tmp_path / "whole.tar"
    with pytest.raises(OfftakeError, match=r"was interrupted\. Run offtake restore again"):
        open_backend(settings, clock)
    assert restore(settings, clock, archive).flows == 1
    backend = open_backend(settings, clock)
    taking.take_backup(backend, whole, rows=True)
    backend.close()
    with tarfile.open(archive) as one, tarfile.open(whole) as two:
        assert files_in(one) == files_in(two)
    assert [path.name for path in data_dir.iterdir() if "restore" in path.name] == []


def test_a_restarted_restore_that_is_refused_lets_nothing_start(
    archive: Path, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert offtake(elsewhere, "restore", archive, **{ENV: "restore_store"}).returncode == -signal.SIGKILL

    def refuse(*_: object) -> None:
        raise OfftakeError("refused")

    monkeypatch.setattr("offtake.backup.restore.relocate_tables", refuse)
    with pytest.raises(OfftakeError, match="refused"):
        restore(Settings(data_dir=elsewhere), clock, archive)
    with pytest.raises(OfftakeError, match="was interrupted"):
        open_backend(Settings(data_dir=elsewhere), clock)


def files_in(tar: tarfile.TarFile) -> dict[str, int]:
    """The rows and uploads by their sizes; metadata, which says where the tables are, by its names."""
    found = (one for one in tar if one.name.startswith(("warehouse/", "uploads/")))
    return {one.name: 0 if "/metadata/" in one.name else one.size for one in found}


def test_an_archive_that_is_not_whole_is_refused_and_nothing_is_written(archive: Path, data_dir: Path) -> None:
    whole = archive.read_bytes()
    size = len(whole.rstrip(b"\0"))
    damaged = [whole[: size * share // 10] for share in range(10)]
    for share in range(1, 20):
        at = size * share // 20
        # Wider than what fills a member up to its last block, which holds nothing.
        damaged.append(whole[:at] + bytes(byte ^ 1 for byte in whole[at : at + 600]) + whole[at + 600 :])
    for one in damaged:
        archive.write_bytes(one)
        with pytest.raises(Exception, match=r"damaged|incomplete|not an Offtake backup") as raised:
            restore(Settings(data_dir=data_dir), FakeClock(0), archive)
        assert type(raised.value).__name__ == "ArchiveError"
        assert [path.name for path in data_dir.iterdir()] == ["server.lock"]
    assert "not an Offtake backup" in refusal(offtake(data_dir, "restore", __file__))
    assert "does not exist" in refusal(offtake(data_dir, "restore", "nothing.tar"))


def test_what_is_there_is_never_replaced(archive: Path, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "before").rename(data_dir)
    before = {name: content for name, content in contents(data_dir).items() if not name.endswith("server.lock")}
    said = refusal(offtake(data_dir, "restore", archive))
    assert "The target is not empty: the store, the catalog" in said
    assert {name: contents(data_dir)[name] for name in before} == before
    nothing = tmp_path / "nothing"
    environment = {"OFFTAKE_WAREHOUSE": str(data_dir / "lake" / "warehouse")}
    assert "is not empty" in refusal(offtake(nothing, "restore", archive, **environment))


def test_a_marker_of_a_restore_to_elsewhere_lets_nothing_be_cleared(
    archive: Path, data_dir: Path, tmp_path: Path
) -> None:
    assert offtake(data_dir, "restore", archive, **{ENV: "restore_marked"}).returncode == -signal.SIGKILL
    shutil.copytree(tmp_path / "before" / "lake" / "warehouse", data_dir / "lake" / "warehouse")
    other = {"OFFTAKE_DATABASE_URL": f"sqlite:///{tmp_path / 'other.db'}"}
    assert "had another warehouse, store" in refusal(offtake(data_dir, "restore", archive, **other))
    assert contents(data_dir / "lake" / "warehouse") != {}


def test_an_interrupted_restore_is_not_restarted_elsewhere(archive: Path, data_dir: Path, tmp_path: Path) -> None:
    assert offtake(data_dir, "restore", archive, **{ENV: "restore_files"}).returncode == -signal.SIGKILL
    other = {"OFFTAKE_WAREHOUSE": str(tmp_path / "elsewhere")}
    said = refusal(offtake(data_dir, "restore", archive, **other))
    assert f"its warehouse: {data_dir / 'lake' / 'warehouse'}. Run it again with those settings" in said
    assert not (tmp_path / "elsewhere").exists()
    assert offtake(data_dir, "restore", archive).returncode == 0


def test_a_running_server_keeps_its_data_directory(archive: Path, data_dir: Path) -> None:
    port = free_port()
    process = Command(["serve", "--data-dir", data_dir, "--port", str(port)])
    try:
        await_port(port, process)
        assert "Another Offtake server is using" in refusal(offtake(data_dir, "restore", archive))
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_keys_of_the_settings_are_not_in_the_archive_and_are_asked_for(
    tmp_path: Path, clock: FakeClock, engine: LocalEngine
) -> None:
    key, other = "A" * 43 + "=", "B" * 42 + "A="
    folder, archive = tmp_path / "keyed", tmp_path / "keyed.tar"
    with deployment(folder, clock, engine, vault_key=key) as deployed:
        deployed.post("/connections", {"name": "s3", "connectionSpec": S3, "auth": AUTH})
    assert offtake(folder, "backup", archive, OFFTAKE_VAULT_KEY=key).returncode == 0
    with tarfile.open(archive) as tar:
        assert "vault.key" not in tar.getnames()
    shutil.rmtree(folder)
    assert "OFFTAKE_VAULT_KEY" in refusal(offtake(folder, "restore", archive))
    assert "OFFTAKE_VAULT_KEY" in refusal(offtake(folder, "restore", archive, OFFTAKE_VAULT_KEY=other))
    assert offtake(folder, "restore", archive, OFFTAKE_VAULT_KEY=key).returncode == 0


def test_without_rows_the_tables_are_found_where_they_are(data_dir: Path, tmp_path: Path) -> None:
    archive = tmp_path / "slim.tar"
    assert "without their files" in offtake(data_dir, "backup", archive, "--without-rows").stdout
    with tarfile.open(archive) as tar:
        assert not [name for name in tar.getnames() if name.startswith("warehouse/")]
    data_dir.rename(tmp_path / "before")
    assert "Restore the warehouse's files first" in refusal(offtake(data_dir, "restore", archive))
    assert "Set OFFTAKE_WAREHOUSE" in refusal(offtake(tmp_path / "elsewhere", "restore", archive))
    shutil.copytree(tmp_path / "before" / "lake" / "warehouse", data_dir / "lake" / "warehouse")
    done = offtake(data_dir, "restore", archive)
    assert done.returncode == 0, done.stderr
    shown = json.loads(offtake(data_dir, "dataset", "show", "events", "--json").stdout)
    assert shown["rows"] == 23


@pytest.fixture
def at_point(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
    """Does something when a backup comes to that point."""

    def doing(point: str, act: Callable[[], object]) -> None:
        monkeypatch.setattr(taking, "failpoint", lambda name: act() if name == point else None)

    return doing


@pytest.mark.parametrize("completed", ["before", "meanwhile"])
def test_a_batch_that_comes_in_while_a_backup_is_taken_is_in_it_once(
    deployed: Deployment, tmp_path: Path, at_point: Any, completed: str
) -> None:
    dataset = deployed.import_rows("events", [{"id": 1}])
    batch = send(deployed, dataset, "rows.json", '{"id": 2}\n')

    def complete() -> None:
        assert deployed.http.post(f"{IMPORT}/batches/{batch}?action=COMPLETE").status_code == 200

    if completed == "before":
        complete()
        at_point("backup_store_copied", deployed.ingest_due)
    else:
        at_point("backup_store_copied", lambda: [act() for act in (complete, deployed.ingest_due)])
    settings = deployed.backend.settings
    taking.take_backup(deployed.backend, tmp_path / "one.tar", rows=True)
    with tarfile.open(tmp_path / "one.tar") as tar:
        assert not [name for name in tar.getnames() if name.startswith("uploads/")]
    settings.data_dir.rename(tmp_path / "before")
    restore(settings, deployed.clock, tmp_path / "one.tar")
    backend = open_backend(settings, deployed.clock)
    ingestor = ingestor_of(backend, "test")
    while ingestor.ingest_next(threading.Event()):
        pass
    with backend.database.reading() as session:
        assert session.get_one(Batch, batch).status == "success"
        table = TableName(session.get_one(Dataset, dataset).table_name)
    assert sorted(table_description.preview(backend.lake, table, 10)["id"].to_pylist()) == [1, 2]
    backend.close()


def test_a_table_that_loses_a_file_meanwhile_is_no_backup(deployed: Deployment, tmp_path: Path) -> None:
    deployed.import_rows("events", [{"id": 1}])
    (file,) = deployed.backend.settings.data_dir.rglob("data/*.parquet")
    file.unlink()
    with pytest.raises(Exception, match="A file of a table is missing") as raised:
        taking.take_backup(deployed.backend, tmp_path / "one.tar", rows=True)
    assert file.name in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_nothing_stays_of_a_restore_that_cannot_be_to_another_folder(
    deployed: Deployment, tmp_path: Path, clock: FakeClock
) -> None:
    dataset = deployed.import_rows("events", [{"id": 1}])
    with deployed.backend.database.reading() as session:
        table = TableName(session.get_one(Dataset, dataset).table_name)
    loaded = deployed.backend.lake.load(table)
    delete_vector(loaded, next(iter(data_files(loaded))))
    taking.take_backup(deployed.backend, tmp_path / "one.tar", rows=True)
    elsewhere = Settings(data_dir=tmp_path / "elsewhere")
    with pytest.raises(OfftakeError, match="the format PUFFIN, and cannot be moved to another folder"):
        restore(elsewhere, clock, tmp_path / "one.tar")
    assert not local_path(elsewhere.lake_warehouse).exists()
    deployed.backend.settings.data_dir.rename(tmp_path / "before")
    kept = elsewhere.model_copy(update={"warehouse": deployed.backend.settings.lake_warehouse})
    assert restore(kept, clock, tmp_path / "one.tar").about.tables == 1


def test_where_nothing_is_set_up_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    ended = offtake(tmp_path / "none", "backup", tmp_path / "x.tar")
    assert (ended.returncode, "has no deployment of Offtake" in ended.stderr) == (2, True), ended
    assert list(tmp_path.iterdir()) == []


def test_disabled_flows_stay_as_they_were(deployed: Deployment, tmp_path: Path) -> None:
    flow = deployed.flow(deployed.import_rows("events", [{"id": 1}]))
    deployed.http.post(f"/data/foundation/flowservice/flows/{flow}/action?op=disable")
    taking.take_backup(deployed.backend, tmp_path / "one.tar", rows=True)
    settings = deployed.backend.settings
    settings.data_dir.rename(tmp_path / "before")
    done = restore(settings, deployed.clock, tmp_path / "one.tar", disable_flows=True)
    assert (done.flows, done.disabled) == (1, 0)
    backend = open_backend(settings, deployed.clock)
    with backend.database.reading() as session:
        assert session.get_one(Flow, flow).state == "disabled"
    backend.close()


@pytest.mark.parametrize("rotated", [False, True])
def test_the_credentials_of_the_first_client_come_back_if_they_are_still_valid(
    tmp_path: Path, clock: FakeClock, engine: LocalEngine, rotated: bool
) -> None:
    data_dir = tmp_path / "data"
    with deployment(data_dir, clock, engine) as deployed:
        admin = {"origin": "http://127.0.0.1:8080"} | asdict(deployed.admin)
    (data_dir / "admin.json").write_text(json.dumps(admin | ({"client_secret": "another"} if rotated else {})))
    assert offtake(data_dir, "backup", tmp_path / "one.tar").returncode == 0
    target = tmp_path / "restored"
    done = offtake(target, "restore", tmp_path / "one.tar")
    assert done.returncode == 0, done.stderr
    file = target / "admin.json"
    assert file.exists() is not rotated
    if not rotated:
        assert json.loads(file.read_text()) == admin
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
