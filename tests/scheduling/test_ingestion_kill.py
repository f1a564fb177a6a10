"""The process is killed while a batch comes in, wherever it hurts: the batch is one snapshot in the end, or none."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from offtake.access import access
from offtake.catalog import batch_documents, batches, datasets, uploaded_files
from offtake.clock import Clock
from offtake.contract.caller import Caller
from offtake.deployment.backend import Backend, open_backend
from offtake.engines.local import LocalEngine
from offtake.failpoints import ENV
from offtake.lake import table_description
from offtake.lake.catalog import Lake
from offtake.lake.table_names import TableName
from offtake.scheduling.background import ingestor_of
from offtake.settings import Settings
from offtake.store import batches as store
from offtake.store.database import Database
from offtake.store.tables import Batch, Dataset
from tests import commands
from tests.commands import Command
from tests.deployment import deployment
from tests.fake_clock import FakeClock
from tests.servers import await_port, free_port

pytestmark = pytest.mark.matrix(one_in=6)

IMPORT = "/data/foundation/import"
ROWS = 40


@pytest.fixture
def data_dir(tmp_path: Path, engine: LocalEngine) -> Path:
    """A deployment with a batch that is complete, and waits."""
    folder = tmp_path / "data"
    with deployment(folder, FakeClock(time.time_ns() // 1_000_000), engine) as deployed:
        deployed.import_rows("events", [{"id": -1}])
        with deployed.backend.database.reading() as session:
            dataset = session.scalars(select(Dataset.id)).one()
        body = {"datasetId": dataset, "inputFormat": {"format": "json"}}
        batch = deployed.http.post(f"{IMPORT}/batches", json=body).json()["id"]
        for number in range(2):
            half = range(number * ROWS // 2, (number + 1) * ROWS // 2)
            content = "".join(json.dumps({"id": one}) + "\n" for one in half).encode()
            path = f"{IMPORT}/batches/{batch}/datasets/{dataset}/files/{number}.json"
            deployed.http.put(path, content=content, headers={"content-type": "application/octet-stream"})
        assert deployed.http.post(f"{IMPORT}/batches/{batch}?action=COMPLETE").status_code == 200
    return folder


def serve(data_dir: Path, port: int, failpoints: str = "") -> Command:
    command = ["serve", "--data-dir", str(data_dir), "--port", str(port)]
    environment = {**os.environ, ENV: failpoints, "OFFTAKE_EXPORT_PROCESSES": "1"}
    return Command(command, environment)


def last_batch(data_dir: Path) -> Batch:
    database = Database(Settings(data_dir=data_dir).store_url)
    try:
        with database.reading() as session:
            return session.scalars(select(Batch).order_by(Batch.id.desc()).limit(1)).one()
    finally:
        database.close()


def sent(data_dir: Path) -> list[Path]:
    return [path for path in Settings(data_dir=data_dir).uploads_root.rglob("*") if path.is_file()]


def state(data_dir: Path, batch_id: str) -> str:
    database = Database(Settings(data_dir=data_dir).store_url)
    try:
        with database.reading() as session:
            return session.get_one(Batch, batch_id).status
    finally:
        database.close()


def killed_at(data_dir: Path, point: str) -> None:
    assert serve(data_dir, free_port(), point).wait(60) == -signal.SIGKILL


def serve_until(data_dir: Path, done: Callable[[], bool]) -> None:
    """Serve until that is so, and stop cleanly."""
    port = free_port()
    again = serve(data_dir, port)
    try:
        await_port(port, again)
        for _ in range(300):
            if done() and not sent(data_dir):
                return
            time.sleep(0.1)
    finally:
        again.terminate()
        assert again.wait(20) == 0
    raise AssertionError("it did not come to that")


@dataclass(frozen=True)
class Held:
    """What a table holds: ids, and how many snapshots; its data files, and those that are on disk."""

    ids: list[int]
    snapshots: int
    files: int
    on_disk: int


def held(data_dir: Path) -> Held:
    settings, batch = Settings(data_dir=data_dir), last_batch(data_dir)
    lake = Lake(settings.lake_catalog_url, settings.lake_warehouse)
    table = TableName(f"{datasets.namespace(batch.sandbox_id)}.dataset_{batch.dataset_id}")
    found = table_description.describe(lake, table)
    rows = table_description.preview(lake, table, 1000).to_pylist()
    lake.close()
    on_disk = len(list(data_dir.rglob("warehouse/**/data/*.parquet")))
    return Held(sorted(row["id"] for row in rows), len(found.snapshots), found.files, on_disk)


INGESTED = ["batch_claimed", "batch_writing", "batch_written", "batch_committed", "batch_completed"]


@pytest.mark.parametrize("point", INGESTED)
def test_a_batch_that_is_cut_off_comes_in_once(data_dir: Path, point: str) -> None:
    killed_at(data_dir, point)
    serve_until(data_dir, lambda: last_batch(data_dir).status == "success")
    batch = last_batch(data_dir)
    assert (batch.rows, batch.input_rows) == (ROWS, ROWS)
    assert held(data_dir) == Held(list(range(-1, ROWS)), snapshots=2, files=2, on_disk=2)


def test_a_batch_that_is_cut_off_again_and_again_comes_in_once(data_dir: Path) -> None:
    for point in INGESTED[:-1]:
        killed_at(data_dir, point)
    serve_until(data_dir, lambda: last_batch(data_dir).status == "success")
    assert held(data_dir) == Held(list(range(-1, ROWS)), snapshots=2, files=2, on_disk=2)


@pytest.mark.parametrize("point", ["batch_claimed", "batch_written", "batch_committed", "batch_completed"])
def test_a_replacement_that_is_cut_off_happens_once(data_dir: Path, point: str) -> None:
    with reopened(data_dir) as (backend, caller):
        old = last_batch(data_dir)
        replay = {"predecessors": [old.id], "reason": "replace"}
        body = {"datasetId": old.dataset_id, "inputFormat": {"format": "json"}, "replay": replay}
        now = backend.clock.now_ms()
        with backend.database.writing() as session:
            made = batches.create(session, caller, body, now)
            where = uploaded_files.upload_target(made.id, old.dataset_id, "a.json")
            incoming = backend.uploads.receive(made.id, "a.json")
            incoming.write(b'{"id": 99}\n')
            incoming.finish()
            incoming.publish()
            incoming.close()
            uploaded_files.put(session, caller, where, 11, now)
            batches.act(session, caller, made, "COMPLETE", now)
    new = made.id
    killed_at(data_dir, point)
    serve_until(data_dir, lambda: state(data_dir, new) == "success")
    assert state(data_dir, old.id) == "inactive"
    found = held(data_dir)
    assert (found.ids, found.snapshots, found.files) == ([-1, 99], 3, 2)


@pytest.mark.parametrize("point", ["batch_claimed", "batch_reverted"])
def test_a_batch_is_taken_out_once(data_dir: Path, point: str) -> None:
    with reopened(data_dir) as (backend, caller), backend.database.writing() as session:
        row = batch_documents.find(session, caller, last_batch(data_dir).id, lock=True)
        batches.act(session, caller, row, "REVERT", backend.clock.now_ms())
    batch = row.id
    killed_at(data_dir, point)
    serve_until(data_dir, lambda: state(data_dir, batch) == "inactive")
    found = held(data_dir)
    assert (found.ids, found.snapshots) == ([-1], 3)


def test_a_dataset_that_was_deleted_half_is_deleted_whole(data_dir: Path) -> None:
    command = ["dataset", "delete", "events", "--data-dir", str(data_dir)]
    killed = commands.run(command, {**os.environ, ENV: "dataset_forgotten"})
    assert killed.returncode == -signal.SIGKILL
    space = next(data_dir.rglob("warehouse/sandbox_*"))
    assert list(space.iterdir()) != []
    serve_until(data_dir, lambda: not list(space.iterdir()))


@pytest.mark.parametrize(
    ("point", "ended"), [("batch_writing", "failed"), ("batch_written", "failed"), ("import_committed", "success")]
)
def test_an_import_that_is_cut_off_ends_as_it_turned_out(data_dir: Path, point: str, ended: str) -> None:
    with reopened(data_dir):
        pass
    (data_dir / "more.json").write_text('{"id": 99}\n')
    command = ["dataset", "import", "events", str(data_dir / "more.json")]
    environment = {**os.environ, ENV: point, "OFFTAKE_DATA_DIR": str(data_dir)}
    killed = commands.run(command, environment)
    assert killed.returncode == -signal.SIGKILL
    batch = last_batch(data_dir).id
    assert state(data_dir, batch) == "processing"
    database = Database(Settings(data_dir=data_dir).store_url)
    store.release_all_of(database, "import")  # as when its lease has run out
    database.close()
    serve_until(data_dir, lambda: state(data_dir, batch) == ended)
    extra = [99] if ended == "success" else []
    count = 2 + len(extra)
    assert held(data_dir) == Held([*range(-1, ROWS), *extra], snapshots=count, files=count, on_disk=count)


@contextmanager
def reopened(data_dir: Path) -> Iterator[tuple[Backend, Caller]]:
    """The same deployment again, its batch brought in."""
    backend = open_backend(Settings(data_dir=data_dir), Clock())
    while ingestor_of(backend, "test").ingest_next(threading.Event()):
        pass
    yield backend, access.operator_caller(backend.database)
    backend.close()
