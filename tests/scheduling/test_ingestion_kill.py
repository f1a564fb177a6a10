"""The process is killed while a batch comes in, wherever it hurts: the batch is one snapshot in the end, or none."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from offtake.clock import MovedClock
from offtake.engines.local import LocalEngine
from offtake.failpoints import ENV
from offtake.lake import describe
from offtake.lake.catalog import Lake, TableName
from offtake.settings import Settings
from offtake.store.database import Database
from offtake.store.tables import Batch, Dataset
from tests.deployment import deployment
from tests.servers import await_port, free_port

IMPORT = "/data/foundation/import"
ROWS = 40


@pytest.fixture
def data_dir(tmp_path: Path, engine: LocalEngine) -> Path:
    """A deployment with a batch that is complete, and waits."""
    folder = tmp_path / "data"
    with deployment(folder, MovedClock(time.time_ns() // 1_000_000), engine) as deployed:
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


def serve(data_dir: Path, port: int, failpoints: str = "") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "offtake", "serve", "--data-dir", str(data_dir), "--port", str(port)]
    environment = {**os.environ, ENV: failpoints, "OFFTAKE_PROCESSES": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def last_batch(data_dir: Path) -> Batch:
    database = Database(Settings(data_dir=data_dir).store_url)
    try:
        with database.reading() as session:
            return session.scalars(select(Batch).order_by(Batch.id.desc()).limit(1)).one()
    finally:
        database.close()


def sent(data_dir: Path) -> list[Path]:
    return [path for path in Settings(data_dir=data_dir).uploads_root.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "point", ["batch_claimed", "batch_writing", "batch_written", "batch_committed", "batch_completed"]
)
def test_a_batch_that_is_cut_off_comes_in_once(data_dir: Path, point: str) -> None:
    killed = serve(data_dir, free_port(), point)
    assert killed.wait(60) == -signal.SIGKILL
    port = free_port()
    again = serve(data_dir, port)
    try:
        await_port(port, again)
        for _ in range(300):
            if last_batch(data_dir).status == "success" and not sent(data_dir):
                break
            time.sleep(0.1)
    finally:
        again.terminate()
        again.wait(20)
    batch = last_batch(data_dir)
    assert (batch.status, batch.rows, batch.input_rows) == ("success", ROWS, ROWS)
    settings = Settings(data_dir=data_dir)
    lake = Lake(settings.lake_catalog_url, settings.lake_warehouse)
    table = TableName(f"sandbox_{batch.sandbox_id.replace('-', '')}.dataset_{batch.dataset_id}")
    found = describe.describe(lake, table)
    ids = sorted(describe.preview(lake, table, 1000)["id"].to_pylist())
    lake.close()
    assert ids == list(range(-1, ROWS))
    assert len(found.snapshots) == 2
    assert len(list(data_dir.rglob("warehouse/**/data/*.parquet"))) == found.files, "debris of the attempt that died"
    assert sent(data_dir) == []
