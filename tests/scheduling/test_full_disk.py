"""The data directory's disk fills up under a real server, and has room again: nothing is lost, doubled or half."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx2
import pytest

from tests.commands import Command
from tests.deployment import WITH_MANIFEST, ZONE, flow_body, source_body, table_of, target_body
from tests.fake_clock import FakeClock
from tests.servers import await_port, enter_small_disk, free_port, on_a_small_disk

FLOW_SERVICE, IMPORT, CATALOG = "/data/foundation/flowservice", "/data/foundation/import", "/data/foundation/catalog"
ADHOC = "/data/core/activation/disflowprovider/adhocrun"
OCTETS = {"content-type": "application/octet-stream"}


@dataclass
class Small:
    """A server whose data directory is a disk of 12 MiB, seen through its process."""

    http: httpx2.Client
    disk: Path
    log: Path
    process: Command

    @property
    def filler(self) -> Path:
        return self.disk / "filler"

    def fill(self, leave: int = 0) -> None:
        """Leave just so many bytes of room."""
        with self.filler.open("ab", buffering=0) as file:
            free = os.statvfs(self.disk)
            wanted = free.f_bavail * free.f_frsize - leave
            while wanted > 0:
                try:
                    wanted -= file.write(b"x" * min(wanted, 65536))
                except OSError:
                    break

    def free_space(self) -> None:
        self.filler.unlink()

    def made(self, path: str, body: Any) -> str:
        answer = self.http.post(path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    def batch(self, dataset: str) -> str:
        return self.made(f"{IMPORT}/batches", {"datasetId": dataset, "inputFormat": {"format": "json"}})

    def send(self, batch: str, dataset: str, content: bytes) -> httpx2.Response:
        path = f"{IMPORT}/batches/{batch}/datasets/{dataset}/files/rows.json"
        return self.http.put(path, content=content, headers=OCTETS)

    def complete(self, batch: str) -> None:
        assert self.http.post(f"{IMPORT}/batches/{batch}?action=COMPLETE").status_code == 200

    def status(self, batch: str) -> str:
        return str(self.http.get(f"{CATALOG}/batches/{batch}").json()[batch]["status"])

    def dataset(self, name: str) -> str:
        answer = self.http.post(f"{CATALOG}/dataSets", json={"name": name})
        assert answer.status_code == 201, answer.text
        return str(answer.json()[0]).rpartition("/")[2]

    def connections(self) -> Counter[str]:
        """The connections' ids, page by page."""
        found: list[str] = []
        page = f"{FLOW_SERVICE}/connections?limit=100"
        while page:
            answer = self.http.get(page).json()
            found += [one["id"] for one in answer["items"]]
            page = answer.get("_links", {}).get("next", {}).get("href", "")
        return Counter(found)

    def data_files(self) -> set[Path]:
        return set((self.disk / "lake" / "warehouse").rglob("data/*.parquet"))

    def refused(self) -> None:
        """Ask until the store has no room left."""
        body = {"name": "x" * 500, "connectionSpec": {"id": ZONE, "version": "1.0"}}
        until(lambda: self.http.post(f"{FLOW_SERVICE}/connections", json=body).status_code == 503)

    def bring_in(self, dataset: str, content: bytes) -> None:
        batch = self.batch(dataset)
        assert self.send(batch, dataset, content).status_code == 201
        self.complete(batch)
        until(lambda: self.status(batch) == "success")
        # What was sent goes a moment later; the room it takes must not turn up in the middle of a test.
        until(lambda: not [path for path in (self.disk / "uploads").rglob("*") if path.is_file()])

    def flow(self, dataset: str) -> str:
        spec = {"id": ZONE, "version": "1.0"}
        source = self.made(f"{FLOW_SERVICE}/sourceConnections", source_body(dataset))
        base = self.made(f"{FLOW_SERVICE}/connections", {"name": "zone", "connectionSpec": spec})
        target = self.made(f"{FLOW_SERVICE}/targetConnections", target_body(base, **WITH_MANIFEST))
        clock = FakeClock(time.time_ns() // 1_000_000)
        return self.made(f"{FLOW_SERVICE}/flows", flow_body(source, target, clock))

    def runs(self, flow: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.http.get(f"{FLOW_SERVICE}/runs?property=flowId=={flow}").json()["items"]
        return items

    def run(self, flow: str) -> None:
        def asked() -> bool:
            body = {"activationInfo": {"destinations": [{"flowId": flow}]}}
            return self.http.post(ADHOC, json=body).status_code == 200

        until(asked)

    def ended(self, flow: str, status: str) -> bool:
        return bool(self.runs(flow)) and state(self.runs(flow)[0]) == status

    def delivered(self) -> Counter[int]:
        """How often each row was delivered, by the manifests."""
        zone = self.disk / "landing-zone" / "prod"
        manifests = [json.loads(file.read_text()) for file in zone.rglob("manifest-*.json")]
        named = [
            zone / one["sinkPath"].lstrip("/") / one["name"] for found in manifests for one in found["exportResults"]
        ]
        assert set(zone.rglob("*.parquet")) == set(named)
        return Counter(table_of(named)["id"].to_pylist())


def state(run: dict[str, Any]) -> str:
    return str(run["metrics"]["statusSummary"]["status"])


def until(done: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def lines(first: int, count: int) -> bytes:
    """Rows that do not compress: 1000 bytes each."""
    rows = ({"id": one, "noise": random.randbytes(480).hex()} for one in range(first, first + count))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    with serving(data_dir, tmp_path / "log") as served:
        yield served


@contextmanager
def serving(data_dir: Path, log: Path) -> Iterator[Small]:
    port = free_port()
    environment = {
        **os.environ,
        "OFFTAKE_DATA_DIR": str(data_dir),
        "OFFTAKE_EXPORT_PROCESSES": "1",
        "OFFTAKE_LEASE_SECONDS": "2",
        "OFFTAKE_RETRY_INITIAL_DELAY_SECONDS": "0.1",
    }
    process = Command(["serve", "--port", str(port)], environment, log, partial(enter_small_disk, data_dir))
    try:
        await_port(port, process)
        disk = Path(f"/proc/{process.pid}/root{data_dir}")
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            sign_in(http, disk)
            yield Small(http, disk, log, process)
            assert http.get("/healthz").status_code == 200
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        print(log.read_text()[-20_000:])


def sign_in(http: httpx2.Client, data_dir: Path) -> None:
    admin = json.loads((data_dir / "admin.json").read_text())
    form = {key: admin[key] for key in ("client_id", "client_secret")} | {"grant_type": "client_credentials"}
    token = http.post("/ims/token/v3", data=form).json()["access_token"]
    http.headers.update(
        {
            "Authorization": f"Bearer {token}",
            "x-api-key": admin["client_id"],
            "x-gw-ims-org-id": admin["org_id"],
            "x-sandbox-name": "prod",
        }
    )


def check_no_room(answer: httpx2.Response) -> None:
    assert answer.status_code == 503, answer.text
    body = answer.json()
    assert body["type"].endswith("-3507-503")
    assert body["status"] == 503
    assert "disk" in body["detail"]
    assert body["detail"] == body["errorMessage"] == body["report"]["detailed-message"]
    assert answer.headers["retry-after"] == "30"


def test_the_api_refuses_what_has_no_room_and_goes_on_afterwards(small: Small) -> None:
    dataset = small.dataset("events")
    batch = small.batch(dataset)
    small.fill()
    body = {"name": "x" * 500, "connectionSpec": {"id": ZONE, "version": "1.0"}}
    made = []
    while (answer := small.http.post(f"{FLOW_SERVICE}/connections", json=body)).status_code == 201:
        made.append(answer.json()["id"])
    check_no_room(answer)
    check_no_room(small.send(batch, dataset, lines(0, 4000)))
    assert [path for path in (small.disk / "uploads").rglob("*") if path.is_file()] == []
    assert small.connections() == Counter(made)

    small.free_space()
    made.append(small.made(f"{FLOW_SERVICE}/connections", body))
    assert small.connections() == Counter(made)
    assert small.send(batch, dataset, lines(0, 100)).status_code == 201
    small.complete(batch)
    until(lambda: small.status(batch) == "success")
    small.run(flow := small.flow(dataset))
    until(lambda: small.ended(flow, "success"))
    assert small.delivered() == Counter(range(100))


def test_a_batch_waits_for_room_and_comes_in_once(small: Small) -> None:
    dataset = small.dataset("events")
    small.bring_in(dataset, lines(0, 10))
    files = small.data_files()
    batch = small.batch(dataset)
    assert small.send(batch, dataset, lines(10, 4000)).status_code == 201
    small.fill(leave=1_000_000)
    small.complete(batch)
    until(lambda: "waits for free disk space" in small.log.read_text())
    time.sleep(5)
    assert small.status(batch) in ("processing", "staged")
    assert files <= small.data_files()
    small.free_space()
    until(lambda: small.status(batch) == "success")
    assert len(small.data_files()) == len(files) + 1
    small.run(flow := small.flow(dataset))
    until(lambda: small.ended(flow, "success"))
    assert small.delivered() == Counter(range(4010))


def test_a_run_without_room_says_so_waits_and_delivers_once(small: Small) -> None:
    dataset = small.dataset("events")
    small.bring_in(dataset, lines(0, 4000))
    flow = small.flow(dataset)
    until(lambda: small.ended(flow, "success"))
    assert small.delivered() == Counter(range(4000))
    small.bring_in(dataset, lines(4000, 3000))
    small.fill(leave=1_000_000)
    small.run(flow)
    until(lambda: "waiting" in small.runs(flow)[0]["metrics"]["statusSummary"].get("extensions", {}))
    reason = small.runs(flow)[0]["metrics"]["statusSummary"]["extensions"]["waiting"]["reason"]
    assert reason["code"] == "EXPORT-2003-504"
    assert "No space left on device" in reason["message"]
    assert small.delivered() == Counter(range(4000))
    small.free_space()
    until(lambda: small.ended(flow, "success"))
    assert small.delivered() == Counter(range(7000))


def test_a_store_that_fills_up_under_a_run_loses_nothing(small: Small) -> None:
    dataset = small.dataset("events")
    for first in range(0, 60, 20):
        small.bring_in(dataset, lines(first, 20))
    flow = small.flow(dataset)
    small.fill()
    small.refused()
    time.sleep(4)
    small.free_space()
    until(lambda: small.runs(flow) != [] and state(small.runs(flow)[0]) in ("success", "failed"))
    if state(small.runs(flow)[0]) == "failed":
        assert small.delivered() == Counter()
        small.run(flow)
        until(lambda: small.ended(flow, "success"))
    assert small.delivered() == Counter(range(60))


STARTS = """
cd "$1"; shift
head -c 20000000 /dev/zero > filler 2>/dev/null
"$@" serve; echo "exit $?"
"$@" init; echo "exit $?"
rm filler
"$@" init --json > /dev/null || exit 1
"$@" flow list --json; echo "exit $?"
"$@" backup "$OFFTAKE_DATA_DIR/../one.tar" || exit 1
head -c 20000000 /dev/zero > filler 2>/dev/null
"$@" backup two.tar; echo "exit $?"
ls -A | grep two
rm filler
mount -o remount,ro "$OFFTAKE_DATA_DIR"
"$@" serve; echo "exit $?"
"""


def test_commands_on_a_full_or_read_only_disk_say_so_in_one_line(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    program = [sys.executable, "-m", "offtake"]
    done = subprocess.run(
        [*on_a_small_disk(data_dir), "sh", "-c", STARTS, "sh", data_dir, *program],
        env={**os.environ, "OFFTAKE_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    errors = [line for line in done.stderr.splitlines() if "was accessible to all users" not in line]
    assert done.stdout.split("\n") == ["exit 1", "exit 1", "[]", "exit 0", ANY, "exit 1", "exit 1", ""], done
    assert all(line.startswith("offtake: ") for line in errors), done.stderr
    full = [("full" in line or "No space left" in line) and "disk" in line for line in errors]
    assert full == [True, True, True, True], done.stderr
    assert "Read-only file system" in errors[3]
