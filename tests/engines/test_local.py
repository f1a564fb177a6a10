"""Parts in a pool of workers: cancelled, retried when a worker dies, failed with a reason."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from offtake.destinations import schema
from offtake.destinations.base import SandboxLocation
from offtake.destinations.landing_zone.folder import FolderZones
from offtake.destinations.registry import DESTINATIONS
from offtake.engines.local import LocalEngine
from offtake.errors import CancelledError, DeliveryError, LeaseLostError
from offtake.exporting.engine import PartsFailedError
from offtake.exporting.part import Intent, PartTask
from offtake.exporting.target import DeliveryTarget
from offtake.lake import scan, slicing
from tests.cancellations import FREE, Until, unrecorded
from tests.lake.lakes import TABLE, add, lake_in, numbered
from tests.processes import running


@pytest.fixture
def task(tmp_path: Path) -> PartTask:
    """A part with twenty rows for a landing zone."""
    lake = lake_in(tmp_path)
    snapshot = add(lake, numbered(*range(20)))
    (part,) = slicing.slices(scan.open_table(lake, TABLE).full(snapshot).files, 2**62, 2**62)
    table = scan.open_table(lake, TABLE).schema(snapshot)
    lake.close()
    zone = next(one for one in DESTINATIONS if one.name == "Data Landing Zone")
    params = schema.parse_target_params(zone, {"datasetFileType": "PARQUET", "compression": "NONE", "path": "out"})
    return PartTask(
        number=1,
        key="out/part-1.parquet",
        slices=tuple(part),
        schema=table,
        target=DeliveryTarget(
            zone.connection_spec_id, None, params, SandboxLocation("prod", FolderZones(tmp_path / "zone"))
        ),
        again=False,
    )


@pytest.fixture
def own_engine() -> Iterator[LocalEngine]:
    """An engine for one test, which may break it."""
    opened = LocalEngine(processes=2)
    yield opened
    opened.close()


def many(task: PartTask, count: int) -> list[PartTask]:
    return [replace(task, number=number, key=f"out/part-{number}.parquet") for number in range(count)]


def test_every_part_is_written_once(task: PartTask, own_engine: LocalEngine, tmp_path: Path) -> None:
    done = list(own_engine.run(many(task, 9), FREE, unrecorded))
    assert sorted(one.number for one in done) == list(range(9))
    files = sorted((tmp_path / "zone").rglob("*.parquet"))
    assert len(files) == 9
    for one in done:
        file = next(path for path in files if path.name == f"part-{one.number}.parquet")
        assert (one.rows, one.bytes) == (20, file.stat().st_size)
    assert [row["n"] for row in pq.read_table(files[0]).to_pylist()] == list(range(20))


def test_a_permanent_failure_ends_the_run_at_once_and_stops_all_writes(
    task: PartTask, own_engine: LocalEngine, tmp_path: Path
) -> None:
    (tmp_path / "zone").write_text("a file where the zone should be")
    with pytest.raises(DeliveryError) as refused:
        list(own_engine.run(many(task, 9), FREE, unrecorded))
    assert not refused.value.transient
    assert refused.value.code == "EXPORT-2002-404"


def test_errors_name_a_missing_source_file(task: PartTask, own_engine: LocalEngine, tmp_path: Path) -> None:
    for file in tmp_path.rglob("data/*.parquet"):
        file.unlink()
    with pytest.raises(PartsFailedError, match="parquet"):
        list(own_engine.run([task], FREE, unrecorded))


def test_a_cancelled_run_stops_quickly(task: PartTask, own_engine: LocalEngine) -> None:
    stop = threading.Event()
    done = []

    def go() -> None:
        for written in own_engine.run(many(task, 500), Until(stop.is_set), unrecorded):
            done.append(written)
            stop.set()

    with pytest.raises(CancelledError):
        go()
    assert len(done) < 20
    # The pool still works for the next run.
    assert len(list(own_engine.run(many(task, 3), FREE, unrecorded))) == 3


def test_parts_of_dead_workers_are_retried(task: PartTask, own_engine: LocalEngine) -> None:
    left = {one.number: one for one in many(task, 60)}
    while left:
        # The engine fails a part with a recorded intent, and the run checks the destination.
        with contextlib.suppress(PartsFailedError):
            for written in own_engine.run(list(left.values()), FREE, unrecorded):
                del left[written.number]
                if len(left) == 55:
                    workers = running("spawn_main", psutil.Process().children())
                    max(workers, key=psutil.Process.create_time).kill()


def test_workers_that_keep_dying_fail_the_run_with_a_remedy(
    task: PartTask, own_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFTAKE_FAILPOINTS", "part_started:1")
    with pytest.raises(DeliveryError, match="keep dying") as refused:
        list(own_engine.run([task], FREE, unrecorded))
    assert "memory" in refused.value.remedy


def test_an_intent_is_recorded_before_the_file_exists(task: PartTask, own_engine: LocalEngine, tmp_path: Path) -> None:
    seen: dict[int, tuple[Intent, bool]] = {}

    def record(intent: Intent) -> None:
        number = intent.written.number
        seen[number] = intent, (tmp_path / f"zone/prod/out/part-{number}.parquet").exists()

    done = {one.number: one for one in own_engine.run(many(task, 6), FREE, record)}
    assert {number: intent.written for number, (intent, _) in seen.items()} == done
    assert not any(there for _, there in seen.values())
    assert all(intent.token for intent, _ in seen.values())


def test_a_file_whose_intent_is_refused_is_not_completed(
    task: PartTask, own_engine: LocalEngine, tmp_path: Path
) -> None:
    def refuse(_intent: Intent) -> None:
        raise LeaseLostError("another worker has the run")

    with pytest.raises(LeaseLostError):
        list(own_engine.run(many(task, 4), FREE, refuse))
    assert list((tmp_path / "zone").rglob("part-*.parquet")) == []
    assert len(list(own_engine.run(many(task, 3), FREE, unrecorded))) == 3


def test_a_part_whose_worker_dies_after_its_intent_is_left_to_the_run(
    task: PartTask, own_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFTAKE_FAILPOINTS", "part_intended:1")
    recorded: list[int] = []
    with pytest.raises(PartsFailedError) as failed:
        list(own_engine.run([task], FREE, lambda intent: recorded.append(intent.written.number)))
    assert recorded == list(failed.value.failures) == [task.number]


def test_runs_share_the_pool(task: PartTask, own_engine: LocalEngine) -> None:
    found: dict[str, int] = {}

    def go(name: str) -> None:
        own = [replace(one, key=f"{name}/{one.key}") for one in many(task, 12)]
        found[name] = len(list(own_engine.run(own, FREE, unrecorded)))

    threads = [threading.Thread(target=go, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"a": 12, "b": 12, "c": 12}


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "holder.py"
    script.write_text(
        "import time\n"
        "from offtake.engines.local import LocalEngine\n"
        "if __name__ == '__main__':\n"
        "    engine = LocalEngine(2)\n"
        "    engine._open_pool().executor.submit(time.sleep, 600)\n"
        "    time.sleep(600)\n"
    )
    holder = subprocess.Popen([sys.executable, script])
    try:
        workers = _wait_for_workers(holder.pid)
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []


def _wait_for_workers(pid: int) -> list[psutil.Process]:
    for _ in range(400):
        found = running("spawn_main", psutil.Process(pid).children())
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("no worker was started")
