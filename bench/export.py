"""How fast a whole run goes: plan, parts, proof, commit, to the landing zone; rows/s and peak memory of all processes.

`python -m bench.export [--rows 1000000]` runs each format in a fresh deployment and prints a line for each.
"""

import argparse
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from offtake.cli.sample_data import SAMPLE_SCHEMA, customer_events
from offtake.clock import Clock
from offtake.engines.local import LocalEngine
from offtake.flows import access, connections, dataflows, source_connections, target_connections
from offtake.flows.access import Caller
from offtake.lake import ingest
from offtake.lake.catalog import TableName
from offtake.scheduling.backend import Backend, open_backend
from offtake.scheduling.service import worker_of
from offtake.scheduling.ticks import tick
from offtake.settings import Settings
from offtake.store.tables import Dataset, Run, RunPart

ZONE = {"id": "10440537-2a7b-4583-ac39-ed38d4b848e8", "version": "1.0"}
FLOW_SPEC = {"id": "cd2fc47e-e838-4f38-a581-8fff2f99b63a", "version": "1.0"}
LAKE = {"id": "23598e46-f560-407b-88d5-ea6207e49db0", "version": "1.0"}
BATCH = 1_000_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    folder = Path(tempfile.mkdtemp(prefix="offtake-bench-"))
    try:
        backend = open_backend(Settings(data_dir=folder), Clock())
        access.set_up(backend.database, backend.clock)
        caller = access.operator(backend.database)
        dataset_id = fill(backend, caller, rows)
        print(f"{'format':<14}{'s':>8}{'rows/s':>12}{'MB out':>9}{'peak RSS MB':>13}{'files':>7}")
        for file_type, compression in (("JSON", "GZIP"), ("PARQUET", "GZIP"), ("PARQUET", "NONE")):
            measure(backend, caller, dataset_id, file_type, compression)
        backend.close()
    finally:
        shutil.rmtree(folder)


def fill(backend: Backend, caller: Caller, rows: int) -> str:
    """A dataset of the demo's rows, a million a batch."""
    now = backend.clock.now_ms()
    table = TableName("bench.events")
    for first in range(0, rows, BATCH):
        events = customer_events(min(BATCH, rows - first), seed=first // BATCH, start_ms=now)
        ingest.append(backend.lake, table, events, SAMPLE_SCHEMA, f"batch-{first}")
    with backend.database.writing() as session:
        stamp = {"created_by": "b", "updated_by": "b", "created_client": "b", "updated_client": "b", "version": "v"}
        where = {"org_id": caller.org_id, "sandbox_id": caller.sandbox_id}
        when = {"created_at": now, "updated_at": now}
        session.add(Dataset(id="0" * 24, name="events", table_name=table, tags={}, **stamp, **where, **when))
    return "0" * 24


def measure(backend: Backend, caller: Caller, dataset_id: str, file_type: str, compression: str) -> None:
    """One full export in one format."""
    make_flow(backend, caller, dataset_id, file_type, compression)
    (run_id,) = tick(backend.database, backend.clock)
    engine = LocalEngine(backend.settings.processes)
    try:
        with peak_memory() as peak:
            began = time.monotonic()
            worker_of(backend, engine, "bench").work_once(threading.Event())
            took = time.monotonic() - began
    finally:
        engine.close()
    with backend.database.reading() as session:
        run = session.get_one(Run, run_id)
        assert run.status == "success", run.errors
        parts = session.query(RunPart).filter_by(run_id=run_id).all()
    rows = sum(part.rows or 0 for part in parts)
    size = sum(part.bytes or 0 for part in parts) / 1e6
    name = f"{file_type} {compression}"
    print(f"{name:<14}{took:>8.2f}{rows / took:>12,.0f}{size:>9.1f}{peak[0] / 1e6:>13.0f}{len(parts):>7}", flush=True)
    shutil.rmtree(backend.settings.landing_zone_root)


def make_flow(backend: Backend, caller: Caller, dataset_id: str, file_type: str, compression: str) -> None:
    """A flow that is due now."""
    now = backend.clock.now_ms()
    params = {"path": "out", "datasetFileType": file_type, "compression": compression}
    schedule = {"timeUnit": "day", "interval": 1, "startTime": now // 1000}
    datasets = {"datasets": [{"dataSetId": dataset_id}]}
    with backend.database.writing() as session:
        made = {"name": "s", "connectionSpec": LAKE, "params": datasets}
        source = source_connections.create(session, caller, made, now)
        base = connections.create(session, caller, backend.vault, {"name": "zone"}, now)
        session.flush()
        aim = {"name": "t", "baseConnectionId": base.id, "connectionSpec": ZONE, "params": params}
        target = target_connections.create(session, caller, aim, now)
        session.flush()
        ends = {"sourceConnectionIds": [source.id], "targetConnectionIds": [target.id]}
        flow = {"name": "f", "flowSpec": FLOW_SPEC, "scheduleParams": schedule, **ends}
        dataflows.create(session, caller, flow, now, backend.schedule_rules)


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """The highest sum of resident memory of this process and its children while the block runs, in bytes."""
    peak, over, me = [0.0], threading.Event(), psutil.Process()

    def watch() -> None:
        while not over.wait(0.02):
            total = 0
            for process in (me, *me.children(recursive=True)):
                try:
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
