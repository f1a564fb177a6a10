"""How fast a whole run goes: plan, parts, proof, commit, to the landing zone; rows/s and peak memory of all processes.

`python -m bench.export [--rows 1000000]` makes a dataset of the demo's rows, exports it in each format by a fresh
`offtake serve`, and prints a line for each. Seconds are the run's own, from its start to its commit.
"""

import argparse
import multiprocessing
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlalchemy import select

from offtake.cli.sample_data import SAMPLE_SCHEMA, customer_events
from offtake.clock import Clock
from offtake.flows import access, clients, connections, dataflows, source_connections, target_connections
from offtake.flows.access import Caller
from offtake.lake import ingest
from offtake.lake.catalog import TableName
from offtake.scheduling.backend import Backend, open_backend
from offtake.settings import Settings
from offtake.store.tables import Dataset, Flow, Run, RunPart
from tests.servers import free_port

ZONE = {"id": "10440537-2a7b-4583-ac39-ed38d4b848e8", "version": "1.0"}
FLOW_SPEC = {"id": "cd2fc47e-e838-4f38-a581-8fff2f99b63a", "version": "1.0"}
LAKE = {"id": "23598e46-f560-407b-88d5-ea6207e49db0", "version": "1.0"}
BATCH = 1_000_000
DATASET = "0" * 24


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.export", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    folder = Path(tempfile.mkdtemp(prefix="offtake-bench-"))
    try:
        # In a process of its own, so that this one stays small and the files are not in its memory.
        filler = multiprocessing.get_context("spawn").Process(target=fill, args=(folder, rows))
        filler.start()
        filler.join()
        assert filler.exitcode == 0
        print(f"{'format':<14}{'s':>8}{'rows/s':>12}{'MB out':>9}{'peak RSS MB':>13}{'files':>7}")
        for file_type, compression in (("JSON", "GZIP"), ("PARQUET", "GZIP"), ("PARQUET", "NONE")):
            measure(folder, file_type, compression)
    finally:
        shutil.rmtree(folder)


@contextmanager
def deployment(folder: Path) -> Iterator[tuple[Backend, Caller]]:
    """The deployment in a folder, and who may do everything there."""
    backend = open_backend(Settings(data_dir=folder), Clock())
    try:
        clients.set_up(backend.database, backend.clock)
        yield backend, access.operator(backend.database)
    finally:
        backend.close()


def fill(folder: Path, rows: int) -> None:
    """A dataset of the demo's rows, a million a batch."""
    with deployment(folder) as (backend, caller):
        now = backend.clock.now_ms()
        table = TableName("bench.events")
        for first in range(0, rows, BATCH):
            events = customer_events(min(BATCH, rows - first), seed=1, first_row=first, start_ms=now)
            ingest.append(backend.lake, table, events, SAMPLE_SCHEMA, f"batch-{first}")
        with backend.database.writing() as session:
            stamp = {"created_by": "b", "updated_by": "b", "created_client": "b", "updated_client": "b", "version": "v"}
            where = {"org_id": caller.org_id, "sandbox_id": caller.sandbox_id}
            when = {"created_at": now, "updated_at": now}
            session.add(Dataset(id=DATASET, name="events", table_name=table, tags={}, **stamp, **where, **when))


def measure(folder: Path, file_type: str, compression: str) -> None:
    """One full export in one format, carried out by `offtake serve` as users start it."""
    with deployment(folder) as (backend, caller):
        make_flow(backend, caller, file_type, compression)
    command = [sys.executable, "-m", "offtake", "serve", "--data-dir", str(folder), "--port", str(free_port())]
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server,
        peak_memory(server.pid) as peak,
    ):
        try:
            run = finished_run(folder, server)
        finally:
            server.send_signal(signal.SIGINT)
    assert run.status == "success", run.errors
    with deployment(folder) as (backend, _), backend.database.reading() as session:
        parts = session.query(RunPart).filter_by(run_id=run.id).all()
    rows = sum(part.rows or 0 for part in parts)
    size = sum(part.bytes or 0 for part in parts) / 1e6
    took = ((run.completed_at or 0) - (run.started_at or 0)) / 1000
    name = f"{file_type} {compression}"
    print(f"{name:<14}{took:>8.2f}{rows / took:>12,.0f}{size:>9.1f}{peak[0] / 1e6:>13.0f}{len(parts):>7}", flush=True)
    shutil.rmtree(folder / "landing-zone")


def finished_run(folder: Path, server: subprocess.Popen[bytes]) -> Run:
    """The newest flow's run, once it has ended."""
    with deployment(folder) as (backend, _):
        while server.poll() is None:
            with backend.database.reading() as session:
                run = session.scalar(select(Run).order_by(Run.created_at.desc()).limit(1))
            if run is not None and run.completed_at is not None and run.flow_id == newest_flow(backend):
                return run
            time.sleep(0.2)
    raise SystemExit("the server ended before the run")


def newest_flow(backend: Backend) -> str:
    """The flow that was made last."""
    with backend.database.reading() as session:
        return session.scalars(select(Flow.id).order_by(Flow.created_at.desc()).limit(1)).one()


def make_flow(backend: Backend, caller: Caller, file_type: str, compression: str) -> None:
    """A flow that is due now."""
    now = backend.clock.now_ms()
    params = {"path": "out", "datasetFileType": file_type, "compression": compression}
    schedule = {"timeUnit": "day", "interval": 1, "startTime": now // 1000}
    datasets = {"datasets": [{"dataSetId": DATASET}]}
    with backend.database.writing() as session:
        made = {"name": "s", "connectionSpec": LAKE, "params": datasets}
        source = source_connections.create(session, caller, made, now)
        base = connections.create(session, caller, backend.vault, backend.network, {"name": "zone"}, now)
        session.flush()
        aim = {"name": "t", "baseConnectionId": base.id, "connectionSpec": ZONE, "params": params}
        target = target_connections.create(session, caller, aim, now)
        session.flush()
        ends = {"sourceConnectionIds": [source.id], "targetConnectionIds": [target.id]}
        flow = {"name": "f", "flowSpec": FLOW_SPEC, "scheduleParams": schedule, **ends}
        dataflows.create(session, caller, flow, now, backend.schedule_rules)


@contextmanager
def peak_memory(pid: int) -> Iterator[list[float]]:
    """The highest sum of resident memory of a process and its children while the block runs, in bytes.

    Pages that the processes share are counted for each of them.
    """
    peak, over, root = [0.0], threading.Event(), psutil.Process(pid)

    def watch() -> None:
        while not over.wait(0.02):
            total = 0
            try:
                for process in (root, *root.children(recursive=True)):
                    total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            peak[0] = max(peak[0], total)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
