"""Runs that are cancelled while their destination says nothing any more: over in seconds, and nothing of them stays."""

import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from offtake.destinations.drivers.object_store import PART_BYTES
from offtake.engines.local import LocalEngine
from offtake.scheduling.background import worker_of
from offtake.scheduling.orphan_sweeper import remove_orphans
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store.run_states import SECOND_LOOK_MS
from offtake.store.tables import Run
from tests.deployment import FLOW_SERVICE, Deployment, deployment
from tests.destinations import cases
from tests.destinations.cases import Case
from tests.destinations.test_deliveries import account_body, flow_to
from tests.fake_clock import FakeClock
from tests.processes import running

MOST_SECONDS = 25.0
"""Two until a lease of six seconds is renewed, five for the writers, ten for the removal; and then some."""


@pytest.fixture
def engine() -> Iterator[LocalEngine]:
    """One of its own, whose processes end when the test says so."""
    opened = LocalEngine(processes=2)
    yield opened
    opened.close()


@pytest.fixture
def delivering(tmp_path: Path, clock: FakeClock, engine: LocalEngine) -> Iterator[Deployment]:
    with deployment(tmp_path / "data", clock, engine, part_rows=10_000, lease_seconds=6) as opened:
        yield opened


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize(("server", "killed"), [("s3", False), ("s3", True), ("ssh", True)])
def test_a_run_at_a_silent_server_is_cancelled_in_seconds(
    delivering: Deployment, tmp_path: Path, request: pytest.FixtureRequest, server: str, killed: bool
) -> None:
    found = request.getfixturevalue(server)
    case = cases.amazon_s3(found, tmp_path) if server == "s3" else cases.sftp(found, tmp_path)
    check(delivering, case, killed=killed)


def check(deployed: Deployment, case: Case, *, killed: bool) -> None:
    """With `killed`, the writers die before the network is back, so that only a sweep can find what they left."""
    random = secrets.token_hex  # so that it stays large, however well it is compressed
    dataset = deployed.import_rows("events", [{"id": n, "text": random(1000)} for n in range(40_000)])
    others = set(psutil.Process().children())
    with case.behind_a_middlebox() as (through, box):
        base = deployed.post("/connections", account_body(through))["id"]
        flow = flow_to(deployed, through, base, dataset)
        box.stall_after = box.passed + PART_BYTES + PART_BYTES // 2
        enqueue_due_runs(deployed.backend.database, deployed.clock)
        (run,) = [one["id"] for one in deployed.runs(flow)]
        worker = worker_of(deployed.backend, deployed.engine, "test")
        working = threading.Thread(target=worker.run_next, args=(threading.Event(),))
        working.start()
        while box.passed <= box.stall_after:
            assert working.is_alive()
            time.sleep(0.05)

        asked = time.monotonic()
        deployed.sign_in()
        assert deployed.http.post(f"{FLOW_SERVICE}/runs/{run}/action?op=CANCEL").status_code == 200
        working.join(60)
        took = time.monotonic() - asked
        (ended,) = deployed.runs(flow)
        assert ended["metrics"]["statusSummary"]["errors"][0]["code"] == "EXPORT-1499-400"
        assert took < MOST_SECONDS

        if killed:
            # multiprocessing also runs a helper process, which must survive.
            for child in running("spawn_main", set(psutil.Process().children()) - others):
                child.kill()
        box.stall_after = None
        assert isinstance(deployed.engine, LocalEngine)
        deployed.engine.close()  # writers that hung at the server have ended
        for wait in (30_000, SECOND_LOOK_MS):
            deployed.clock.advance(seconds=wait / 1000)
            assert list(remove_orphans(deployed.backend))
        with deployed.backend.database.reading() as session:
            assert session.get_one(Run, run).sweep_due is None
    assert case.names() == []
