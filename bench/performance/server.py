"""`offtake serve` as users start it, and whole runs asked for over HTTP as clients ask."""

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from bench.performance.data import DATASET, Table
from bench.performance.places import REPOSITORY, size_of
from bench.performance.processes import cpu_seconds, memory, watched

Json = dict[str, Any]

ZONE: Final = {"id": "10440537-2a7b-4583-ac39-ed38d4b848e8", "version": "1.0"}
FLOW_SPEC: Final = {"id": "cd2fc47e-e838-4f38-a581-8fff2f99b63a", "version": "1.0"}
LAKE: Final = {"id": "23598e46-f560-407b-88d5-ea6207e49db0", "version": "1.0"}
_FLOW_SERVICE: Final = "/data/foundation/flowservice"
_LATER: Final = 4_102_444_800
"""When the flows' own slot would be: they are run by request."""

_LOOK_SECONDS: Final = 0.2
"""Between two looks for a run's end: each takes the server 5 ms of processor time, which the run lacks."""

_MOST_SECONDS: Final = 3600.0
_folders = itertools.count(1)


@dataclass(frozen=True)
class Server:
    """A server that answers: its process, the data directory, and a client that is signed in."""

    pid: int
    folder: Path
    http: httpx2.Client
    started: float
    """Seconds from the start of the process to its first answer."""

    def get(self, path: str) -> Json:
        """GET from Flow Service."""
        answer: Json = self.http.get(f"{_FLOW_SERVICE}/{path}").raise_for_status().json()
        return answer

    def make(self, path: str, body: Json) -> str:
        """POST to Flow Service; the id of what was made."""
        answer = self.http.post(f"{_FLOW_SERVICE}/{path}", json=body)
        if answer.is_error:
            raise SystemExit(f"POST {path}: {answer.status_code} {answer.text}")
        made: str = answer.json()["id"]
        return made


@dataclass(frozen=True)
class Delivered:
    """One run. `wall`: seconds from the request to its end, as GET shows it; `own`: from its start to its end.

    `cpu`: processor seconds of the server and all below it meanwhile; `rss` and `pss`: their peak bytes.
    """

    wall: float
    own: float
    cpu: float
    rss: int
    pss: int
    bytes: int
    files: int


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of this process without settings of Offtake, which are to be the defaults; this tree's code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OFFTAKE_")}
    return kept | {"PYTHONPATH": str(REPOSITORY / "src")} | dict(more or {})


@contextmanager
def serving(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server over a data directory, from its first answer on."""
    port = _free_port()
    command = [sys.executable, "-m", "offtake", "serve", "--data-dir", str(folder), "--port", str(port)]
    log = folder / "server.log"
    began = time.perf_counter()
    with log.open("w") as said, subprocess.Popen(command, env=environment(settings), stdout=said, stderr=said) as one:
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
                _await(http, one, log)
                took = time.perf_counter() - began
                http.headers.update(_signed_in(http, folder))
                yield Server(one.pid, folder, http, took)
        finally:
            one.terminate()
            one.wait(timeout=60)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _await(http: httpx2.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    while process.poll() is None:
        try:
            http.get("/healthz").raise_for_status()
        except httpx2.TransportError:
            time.sleep(0.01)
        else:
            return
    raise SystemExit(f"The server did not start:\n{log.read_text()[-2000:]}")


def _signed_in(http: httpx2.Client, folder: Path) -> dict[str, str]:
    admin = json.loads((folder / "admin.json").read_text())
    form = {"grant_type": "client_credentials", "client_id": admin["client_id"], "scope": "openid"}
    answer = http.post("/ims/token/v3", data=form | {"client_secret": admin["client_secret"]})
    return {
        "Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}",
        "x-api-key": admin["client_id"],
        "x-gw-ims-org-id": admin["org_id"],
        "x-sandbox-name": admin["sandbox"],
    }


def make_flow(server: Server, file_type: str, compression: str) -> tuple[str, str]:
    """A flow that exports the dataset once, into a folder of its own: the flow's id, and the folder."""
    folder = f"bench-{next(_folders)}-{time.time_ns()}"
    source = server.make(
        "sourceConnections",
        {"name": "s", "connectionSpec": LAKE, "params": {"datasets": [{"dataSetId": DATASET}]}},
    )
    base = server.make("connections", {"name": "zone", "connectionSpec": ZONE})
    params: Json = {"path": folder, "datasetFileType": file_type, "compression": compression}
    params |= {"includeFileManifest": True}
    target = server.make(
        "targetConnections", {"name": "t", "baseConnectionId": base, "connectionSpec": ZONE, "params": params}
    )
    flow = server.make(
        "flows",
        {
            "name": folder,
            "flowSpec": FLOW_SPEC,
            "sourceConnectionIds": [source],
            "targetConnectionIds": [target],
            "transformations": [],
            "scheduleParams": {
                "exportMode": "DAILY_FULL_EXPORT",
                "timeUnit": "day",
                "interval": 0,
                "startTime": _LATER,
            },
        },
    )
    return flow, folder


@contextmanager
def delivering(server: Server, table: Table, file_type: str, compression: str) -> Iterator[tuple[Delivered, Path]]:
    """One whole run of a fresh flow, and the folder with what it delivered, which is removed afterwards.

    The time is that from the request that makes the run due to the end that the API shows; the worker's pause until it
    looks for runs is in it. Raises `SystemExit` when the run fails or its rows are not the table's.
    """
    flow, name = make_flow(server, file_type, compression)
    folder = server.folder / "landing-zone" / "prod" / name
    try:
        with watched(server.pid) as peak:
            before = cpu_seconds(server.pid)
            asked = time.time()
            run = _ended(server, server.make("runs", {"flowId": flow}))
            cpu = cpu_seconds(server.pid) - before
        metrics = run["metrics"]
        if metrics["recordSummary"]["outputRecordCount"] != table.rows:
            raise SystemExit(f"The run delivered {metrics['recordSummary']} of {table.rows} rows.")
        times = metrics["durationSummary"]
        wall = times["completedAtUTC"] / 1000 - asked
        own = (times["completedAtUTC"] - times["startedAtUTC"]) / 1000
        files = parts(folder)
        yield Delivered(wall, own, cpu, peak.rss, peak.pss, size_of(files), len(files)), folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def parts(folder: Path) -> list[Path]:
    """The data files below a folder that a run delivered into."""
    return sorted(folder.rglob("part-*"))


def idle(server: Server) -> tuple[int, int]:
    """Resident and proportional bytes of the server and all below it."""
    return memory(server.pid)


def _ended(server: Server, run_id: str) -> Json:
    began = time.monotonic()
    while time.monotonic() - began < _MOST_SECONDS:
        run: Json = server.get(f"runs/{run_id}")["items"][0]
        if "completedAtUTC" in run["metrics"]["durationSummary"]:
            if run["metrics"]["statusSummary"]["status"] != "success":
                raise SystemExit(f"The run failed: {run['metrics']['statusSummary']}")
            return run
        time.sleep(_LOOK_SECONDS)
    raise SystemExit("The run did not end.")
