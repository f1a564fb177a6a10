"""Many flows that are due in the same second, each with a few new rows: how long until all have delivered.

    python -m bench.small_runs [--flows 1000] [--datasets 1] [--rows 100] [--database sqlite|postgresql] [--trace]

A real server delivers to its landing zone. Meanwhile `GET /flows` is called ten times a second. `--trace` counts the
fsyncs of all its processes by strace, which makes it slower: measure time without it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import quantiles
from typing import Final

import httpx2
from sqlalchemy import func, select, text

from bench.api import FLOW_SERVICE, cpu_seconds, serving
from bench.soak import ZONE, add_flow
from offtake.access import access, clients
from offtake.catalog import file_import
from offtake.catalog.file_import import ImportRequest
from offtake.clock import Clock
from offtake.deployment.backend import Backend, open_backend
from offtake.flows import connections
from offtake.settings import Settings
from offtake.store.tables import Flow, Run
from tests.postgres import new_database, postgres_server

LEAD_SECONDS: Final = 20
LIMIT_SECONDS: Final = 600


def main() -> None:
    """Measure once, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=1000)
    parser.add_argument("--datasets", type=int, default=1)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--trace", action="store_true")
    asked = parser.parse_args()
    server = postgres_server() if asked.database == "postgresql" else nullcontext("")
    with tempfile.TemporaryDirectory() as folder, server as postgres:
        url = new_database(postgres) if asked.database == "postgresql" else None
        backend = open_backend(Settings(data_dir=Path(folder), database_url=url), Clock())
        due = _fill(backend, asked.flows, asked.datasets, asked.rows)
        with serving(Path(folder), url) as (http, pid), _syncs(pid, asked.trace) as syncs:
            _measure(backend, http, pid, due, asked.flows)
        if asked.trace:
            print(f"fsync and fdatasync: {sum(syncs) / asked.flows:.1f} a run")
        _check(Path(folder), asked.flows)
        backend.close()


def _fill(backend: Backend, flow_count: int, dataset_count: int, rows: int) -> int:
    """Datasets with rows, and flows that are all due in one second (epoch seconds, returned)."""
    clients.create_organisation(backend.database, backend.clock)
    caller, now = access.operator_caller(backend.database), backend.clock.now_ms()
    file = backend.settings.data_dir / "rows.ndjson"
    file.write_text(
        "".join(json.dumps({"id": n, "town": f"town {n % 7}", "amount": n / 8}) + "\n" for n in range(rows))
    )
    services = (backend.database, backend.lake, backend.parsers, caller, backend.clock)
    requests = [ImportRequest(f"events {n}", (file,), again=True) for n in range(dataset_count)]
    ids = [file_import.import_files(*services, one).dataset.id for one in requests]
    with backend.database.writing() as session:
        made = {"name": "zone", "connectionSpec": ZONE}
        base = connections.create(session, caller, backend.vault, backend.network, made, now)
        session.flush()
        for number in range(flow_count):
            ends = (ids[number % dataset_count], base.id, f"copy-{number}")
            add_flow(session, backend, caller, ends, now // 1000 + 3600)
    due = backend.clock.now_ms() // 1000 + LEAD_SECONDS
    with backend.database.writing() as session:
        session.execute(text("UPDATE flows SET next_run_s = :due"), {"due": due})
    return due


def _measure(backend: Backend, http: httpx2.Client, pid: int, due: int, flow_count: int) -> None:
    spent: list[float] = []
    over = threading.Event()
    caller = threading.Thread(target=_call, args=(http, spent, over))
    time.sleep(max(0.0, due - time.time() - 3))
    before = cpu_seconds(pid)
    caller.start()
    ended = select(func.count()).select_from(Run).where(Run.status == "success")
    while time.time() < due + LIMIT_SECONDS:
        with backend.database.reading() as session:
            if (session.scalar(ended) or 0) >= flow_count:
                break
        time.sleep(0.2)
    over.set()
    caller.join()
    cpu = cpu_seconds(pid) - before
    with backend.database.reading() as session:
        last = session.scalar(select(func.max(Run.completed_at))) or 0
        late = session.scalar(select(func.count()).select_from(Flow).where(Flow.last_run_id.is_(None)))
    cuts = quantiles(spent, n=100)
    print(
        f"{flow_count} flows: {last / 1000 - due:.1f} s, {cpu / flow_count * 1000:.1f} ms of CPU a run; {late} missing"
    )
    print(f"GET /flows?limit=100: p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms of {len(spent)} calls")


def _call(http: httpx2.Client, spent: list[float], over: threading.Event) -> None:
    while not over.wait(0.1):
        began = time.perf_counter()
        http.get(f"{FLOW_SERVICE}/flows?limit=100").raise_for_status()
        spent.append((time.perf_counter() - began) * 1000)


@contextmanager
def _syncs(pid: int, trace: bool) -> Iterator[list[int]]:
    """How many fsyncs the process and its children made during the block; empty without `trace`."""
    found: list[int] = []
    if not trace:
        yield found
        return
    command = ["strace", "-f", "-c", "-U", "calls,name", "-e", "trace=fsync,fdatasync", "-p", str(pid)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    yield found
    _, report = process.communicate(timeout=60)
    found.extend(int(line.split()[0]) for line in report.splitlines() if line.strip().endswith(("fsync", "fdatasync")))


def _check(folder: Path, flow_count: int) -> None:
    """Exit unless each flow has delivered one file."""
    files = [one for one in (folder / "landing-zone").rglob("part-*") if one.is_file()]
    if len(files) != flow_count:
        sys.exit(f"{len(files)} files for {flow_count} flows")


if __name__ == "__main__":
    main()
