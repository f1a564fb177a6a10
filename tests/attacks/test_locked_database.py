"""While another process holds SQLite's write lock: reads are answered, writes get a 503, the run succeeds."""

import sqlite3
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from tests.attacks.server import FLOW_SERVICE, ZONE, Server, make_flow, serving

LOCKED_SECONDS = 9.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("locked"), lease_seconds=6) as opened:
        yield opened


def test_reads_are_answered_writes_are_refused_and_the_run_succeeds(server: Server) -> None:
    flow = make_flow(server, b"".join(b'{"id": %d}\n' % n for n in range(1000)), int(time.time()) + 2)
    other = sqlite3.connect(server.data_dir / "offtake.db", timeout=20, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    until = time.monotonic() + LOCKED_SECONDS
    answers: list[tuple[int, str | None]] = []

    def write() -> None:
        body = {"name": "x", "connectionSpec": {"id": ZONE, "version": "1.0"}}
        answer = server.call("POST", f"{FLOW_SERVICE}/connections", json=body)
        answers.append((answer.status_code, answer.headers.get("retry-after")))

    writers = [threading.Thread(target=write) for _ in range(45)]
    for thread in writers:
        thread.start()
    longest = 0.0
    with httpx2.Client(base_url=server.origin, headers=server.headers, timeout=30) as client:
        while time.monotonic() < until:
            began = time.monotonic()
            assert client.get(f"{FLOW_SERVICE}/flows").status_code == 200
            assert client.get("/healthz").status_code == 200
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.1)
        for thread in writers:
            thread.join()
        other.execute("ROLLBACK")
        other.close()
        assert longest < 5
        assert answers == [(503, "1")] * 45
        assert _outcome(client, flow) == "success"


def _outcome(client: httpx2.Client, flow: str) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        runs = client.get(f"{FLOW_SERVICE}/runs?property=flowId=={flow}").json()["items"]
        found = [str(run["metrics"]["statusSummary"]["status"]) for run in runs]
        if found and found[0] in ("success", "failed"):
            return found[0]
        time.sleep(0.3)
    return "not ended"
