"""`offtake serve` is killed, for real; what it leaves behind is taken up by the next one.

Every step of a run's life is in `test_killed_anywhere.py`.
"""

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from offtake.engines.local import LocalEngine
from offtake.failpoints import ENV
from offtake.store.database import Database
from offtake.store.tables import Run, RunPart
from tests.commands import Command, run
from tests.deployment import WITH_MANIFEST, deployment, rows, table_of
from tests.fake_clock import FakeClock
from tests.processes import running
from tests.servers import await_port, free_port

PARTS, ROWS = 6, 10


@pytest.fixture
def data_dir(tmp_path: Path, engine: LocalEngine) -> Path:
    """A deployment whose flow is due: a dataset of six small files, one part each."""
    folder = tmp_path / "data"
    with deployment(folder, FakeClock(time.time_ns() // 1_000_000), engine) as deployed:
        for first in range(0, PARTS * ROWS, ROWS):
            dataset = deployed.import_rows("events", rows(first, ROWS))
        deployed.flow(dataset, params=WITH_MANIFEST)
    return folder


def serve(data_dir: Path, failpoints: str = "", port: int | None = None) -> Command:
    command = ["serve", "--data-dir", str(data_dir), "--port", str(port or free_port())]
    environment = {**os.environ, ENV: failpoints, "OFFTAKE_PART_BYTES": "1", "OFFTAKE_EXPORT_PROCESSES": "1"}
    return Command(command, environment)


def run_of(data_dir: Path) -> Run | None:
    database = Database(f"sqlite:///{data_dir / 'offtake.db'}")
    try:
        with database.reading() as session:
            return session.scalars(select(Run)).one_or_none()
    finally:
        database.close()


def recorded(data_dir: Path) -> set[str]:
    database = Database(f"sqlite:///{data_dir / 'offtake.db'}")
    try:
        with database.reading() as session:
            return set(session.scalars(select(RunPart.key).where(RunPart.finished_at.is_not(None))))
    finally:
        database.close()


def finish(data_dir: Path) -> Run:
    """Serve until the run is over, then stop cleanly."""
    port = free_port()
    process = serve(data_dir, port=port)
    try:
        await_port(port, process)
        for _ in range(600):
            run = run_of(data_dir)
            if run is not None and run.completed_at is not None:
                return run
            time.sleep(0.05)
    finally:
        process.terminate()
        assert process.wait(20) == 0
    raise AssertionError("the run did not end")


def files(data_dir: Path) -> dict[str, tuple[int, int]]:
    zone = data_dir / "landing-zone" / "prod"
    found = [path for path in zone.rglob("*") if path.is_file()]
    return {str(path.relative_to(zone)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


@pytest.mark.parametrize(
    "point",
    [
        "claimed",
        "part_recorded:4",
        "after_manifest",
    ],
)
def test_a_killed_run_resumes_without_repeating_a_finished_part(data_dir: Path, point: str) -> None:
    killed = serve(data_dir, point)
    assert killed.wait(30) == -signal.SIGKILL
    finished = {key: state for key, state in files(data_dir).items() if key in recorded(data_dir)}

    run = finish(data_dir)

    assert (run.status, run.errors) == ("success", [])
    after = files(data_dir)
    assert {key: after[key] for key in finished} == finished
    zone = data_dir / "landing-zone" / "prod"
    (manifest,) = [json.loads((zone / name).read_text()) for name in after if "manifest-" in name]
    named = [zone / one["sinkPath"].lstrip("/") / one["name"] for one in manifest["exportResults"]]
    assert table_of(named)["id"].to_pylist() == list(range(PARTS * ROWS))
    assert len(after) == PARTS + 1


def test_the_worker_processes_of_a_killed_server_end(data_dir: Path) -> None:
    process = serve(data_dir, "part_recorded:2")
    children: set[psutil.Process] = set()
    while process.poll() is None:
        children.update(_children(process.pid))
        time.sleep(0.01)
    assert children
    _, alive = psutil.wait_procs(list(children), timeout=10)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []


def test_a_killed_worker_process_is_replaced_and_its_part_done_again(data_dir: Path) -> None:
    process = serve(data_dir)
    try:
        victim = _first_worker(process)
        victim.kill()
        for _ in range(600):
            run = run_of(data_dir)
            if run is not None and run.completed_at is not None:
                break
            time.sleep(0.05)
    finally:
        process.terminate()
        assert process.wait(20) == 0
    assert run is not None
    assert run.status == "success"
    assert len(files(data_dir)) == PARTS + 1


def test_a_stopped_server_gives_its_run_back(data_dir: Path) -> None:
    process = serve(data_dir)
    _first_worker(process)
    process.terminate()
    assert process.wait(20) == 0
    assert finish(data_dir).status == "success"
    assert len(files(data_dir)) == PARTS + 1


def test_a_second_server_on_the_same_data_directory_is_refused(data_dir: Path) -> None:
    first = serve(data_dir)
    try:
        while run_of(data_dir) is None:
            time.sleep(0.05)
        second = run(["serve", "--data-dir", data_dir, "--port", str(free_port())])
        assert second.returncode == 1
        assert second.stderr.startswith("offtake: Another Offtake server is using")
        assert second.stderr.count("\n") == 1
    finally:
        first.terminate()
        assert first.wait(20) == 0


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _first_worker(process: Command) -> psutil.Process:
    for _ in range(1000):
        for child in running("spawn_main", _children(process.pid)):
            return child
        time.sleep(0.01)
    raise AssertionError("no worker process came up")
