"""How long the API takes with 10,000 flows and 1,000,000 runs behind it, on SQLite and on PostgreSQL side by side.

    python -m bench.api [--flows 10000] [--runs 1000000] [--requests 500]

A server as users start it, called over loopback by one client, one request after another: milliseconds at the median
and at the 99th percentile, and PostgreSQL's median over SQLite's; then the CPU use of its processes while it is
idle, as a share of one core.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any
from uuid import uuid4

import httpx2
from sqlalchemy import insert, select

from offtake.access import access, clients
from offtake.clock import Clock
from offtake.deployment.backend import open_backend
from offtake.flows import connections, flows, source_connections, target_connections
from offtake.settings import Settings
from offtake.store.tables import Dataset, Flow, Run
from tests.postgres import new_database, postgres_server
from tests.servers import await_port, free_port

FLOW_SERVICE = "/data/foundation/flowservice"
LAKE = {"id": "23598e46-f560-407b-88d5-ea6207e49db0", "version": "1.0"}
ZONE = {"id": "10440537-2a7b-4583-ac39-ed38d4b848e8", "version": "1.0"}
FLOW_SPEC = {"id": "cd2fc47e-e838-4f38-a581-8fff2f99b63a", "version": "1.0"}
PAGE = 20_000


@dataclass(frozen=True)
class Figures:
    """Milliseconds of one kind of request."""

    median: float
    p99: float


def main() -> None:
    """Fill both databases, measure both, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=500)
    asked = parser.parse_args()
    found: dict[str, dict[str, Figures]] = {}
    with tempfile.TemporaryDirectory() as folder, postgres_server() as postgres:
        urls = {"SQLite": None, "PostgreSQL": new_database(postgres)}
        for name, url in urls.items():
            data_dir = Path(folder) / name
            began = time.monotonic()
            flow = fill(data_dir, url, asked.flows, asked.runs)
            print(f"{name}: {asked.flows:,} flows and {asked.runs:,} runs made in {time.monotonic() - began:.0f} s")
            with serving(data_dir, url) as (http, server):
                found[name] = measure(http, flow, asked.requests)
                print(f"{name}: idle, {idle_share(server):.1%} of a core")
    show(found)


def fill(data_dir: Path, url: str | None, flow_count: int, run_count: int) -> str:
    """A deployment with so many flows that are never due, and runs of them; the id of one flow."""
    backend = open_backend(Settings(data_dir=data_dir, database_url=url), Clock())
    clients.create_organisation(backend.database, backend.clock)
    caller, now = access.operator_caller(backend.database), backend.clock.now_ms()
    stamp = {"org_id": caller.org_id, "sandbox_id": caller.sandbox_id, "created_at": now, "updated_at": now}
    by = {"created_by": "b", "updated_by": "b", "created_client": "b", "updated_client": "b", "version": "v"}
    with backend.database.writing() as session:
        dataset = Dataset(id="0" * 24, name="d", table_name="a.b", tags={}, error_diagnostics=False, **stamp, **by)
        session.add(dataset)
        session.flush()
        made = {"name": "s", "connectionSpec": LAKE, "params": {"datasets": [{"dataSetId": dataset.id}]}}
        source = source_connections.create(session, caller, made, now)
        base = connections.create(session, caller, backend.vault, backend.network, {"name": "zone"}, now)
        session.flush()
        params = {"path": "out", "datasetFileType": "JSON", "compression": "GZIP"}
        aim = {"name": "t", "baseConnectionId": base.id, "connectionSpec": ZONE, "params": params}
        target = target_connections.create(session, caller, aim, now)
        session.flush()
        later = {"timeUnit": "day", "interval": 1, "startTime": now // 1000 + 10**8}
        ends = {"sourceConnectionIds": [source.id], "targetConnectionIds": [target.id]}
        body: Any = {"name": "f", "flowSpec": FLOW_SPEC, "scheduleParams": later, **ends}
        first = flows.create(session, caller, body, now, backend.schedule_rules)
        session.flush()
        pattern = {column.name: getattr(first, column.name) for column in Flow.__table__.columns}
        ids = [str(uuid4()) for _ in range(flow_count - 1)]
        session.execute(insert(Flow), [{**pattern, "id": one, "updated_at": now + n} for n, one in enumerate(ids)])
        first_id = first.id
    of_run: dict[str, Any] = {
        **stamp,
        **by,
        "flow_spec_id": FLOW_SPEC["id"],
        "source_connection_id": source.id,
        "target_connection_id": target.id,
        "trigger": "schedule",
        "dataset_ids": [dataset.id],
        "full_export": False,
        "moves_position": True,
        "status": "success",
        "cancel_requested": False,
        "fence": 1,
        "started_at": now,
        "completed_at": now,
        "errors": [],
        "warnings": [],
    }
    every = [first_id, *ids]
    for begin in range(0, run_count, PAGE):
        rows = [
            {**of_run, "id": str(uuid4()), "flow_id": every[n % flow_count], "scheduled_at": n, "updated_at": now + n}
            for n in range(begin, min(begin + PAGE, run_count))
        ]
        with backend.database.writing() as session:
            session.execute(insert(Run), rows)
    with backend.database.reading() as session:
        assert session.scalar(select(Run.id).limit(1))
    backend.close()
    return first_id


@contextmanager
def serving(data_dir: Path, url: str | None) -> Iterator[tuple[httpx2.Client, int]]:
    """`offtake serve` over the deployment; a client that is signed in, and the server's process."""
    port = free_port()
    command = [sys.executable, "-m", "offtake", "serve", "--data-dir", str(data_dir), "--port", str(port)]
    environment = {**os.environ} | ({"OFFTAKE_DATABASE_URL": url} if url else {})
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_port(port, process)
        admin = json.loads((data_dir / "admin.json").read_text())
        form = {"grant_type": "client_credentials", "client_id": admin["client_id"]}
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            answer = http.post("/ims/token/v3", data={**form, "client_secret": admin["client_secret"]})
            http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            http.headers["x-api-key"] = admin["client_id"]
            http.headers["x-gw-ims-org-id"] = admin["org_id"]
            http.headers["x-sandbox-name"] = "prod"
            yield http, process.pid
    finally:
        process.terminate()
        process.wait(30)


def measure(http: httpx2.Client, flow: str, requests: int) -> dict[str, Figures]:
    """Each kind of request, so many times."""
    one = http.get(f"{FLOW_SERVICE}/flows/{flow}").json()["items"][0]
    body = {key: one[key] for key in ("name", "flowSpec", "sourceConnectionIds", "targetConnectionIds")}
    body["scheduleParams"] = {key: value for key, value in one["scheduleParams"].items() if key != "endTime"}
    token = http.get(f"{FLOW_SERVICE}/flows?limit=100").json()["_links"]["next"]["href"]
    kinds: dict[str, Callable[[], httpx2.Response]] = {
        "GET /flows?limit=100": lambda: http.get(f"{FLOW_SERVICE}/flows?limit=100"),
        "GET the page after": lambda: http.get(FLOW_SERVICE + token),
        "GET /flows?property=name==f": lambda: http.get(f"{FLOW_SERVICE}/flows?property=name==f&limit=100"),
        "GET /runs?property=flowId==…": lambda: http.get(f"{FLOW_SERVICE}/runs?property=flowId=={flow}&limit=100"),
        "GET /runs?limit=100": lambda: http.get(f"{FLOW_SERVICE}/runs?limit=100"),
        "GET /runs?count=true": lambda: http.get(f"{FLOW_SERVICE}/runs?count=true"),
        "GET /flows/{id}": lambda: http.get(f"{FLOW_SERVICE}/flows/{flow}"),
        "POST /flows": lambda: http.post(f"{FLOW_SERVICE}/flows", json=body),
    }
    return {name: timed(call, 20 if "count" in name else requests) for name, call in kinds.items()}


def timed(call: Callable[[], httpx2.Response], times: int) -> Figures:
    """The request so many times, after a few that do not count."""
    spent = []
    for number in range(times + 5):
        began = time.perf_counter()
        answer = call()
        assert answer.is_success, answer.text
        if number >= 5:
            spent.append((time.perf_counter() - began) * 1000)
    cuts = quantiles(spent, n=100)
    return Figures(cuts[49], cuts[98])


def idle_share(server: int, seconds: float = 60) -> float:
    """What the server and the processes it has started take of one core, once the last requests' work is done."""
    time.sleep(10)
    began, at_first = time.monotonic(), cpu_seconds(server)
    time.sleep(seconds)
    return (cpu_seconds(server) - at_first) / (time.monotonic() - began)


def cpu_seconds(server: int) -> float:
    """What a process and its descendants have taken, user and system."""
    tasks = Path(f"/proc/{server}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(int(child)) for child in children)


def show(found: dict[str, dict[str, Figures]]) -> None:
    """One line a request: p50 / p99 on each database, and the ratio of the medians."""
    sqlite, postgres = found["SQLite"], found["PostgreSQL"]
    print(f"{'request':30} {'SQLite p50/p99 ms':>20} {'PostgreSQL p50/p99 ms':>24} {'ratio':>7}")
    for name, one in sqlite.items():
        other = postgres[name]
        left, right = f"{one.median:.1f} / {one.p99:.1f}", f"{other.median:.1f} / {other.p99:.1f}"
        print(f"{name:30} {left:>20} {right:>24} {other.median / one.median:>7.2f}")


if __name__ == "__main__":
    main()
