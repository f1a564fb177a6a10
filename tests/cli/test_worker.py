"""`offtake worker` together with `offtake serve --no-worker`."""

import os
import time
from pathlib import Path

import pytest

from offtake.engines.local import LocalEngine
from tests.commands import Command, run
from tests.deployment import deployment, rows
from tests.fake_clock import FakeClock
from tests.scheduling.test_kill import run_of
from tests.servers import await_port, free_port

ENVIRONMENT = {**os.environ, "OFFTAKE_MULTI_USER": "false", "OFFTAKE_EXPORT_PROCESSES": "1"}


@pytest.fixture
def data_dir(tmp_path: Path, engine: LocalEngine) -> Path:
    """A deployment whose flow is due."""
    folder = tmp_path / "data"
    with deployment(folder, FakeClock(time.time_ns() // 1_000_000), engine) as deployed:
        deployed.flow(deployed.import_rows("events", rows(0, 10)))
    return folder


def offtake(*arguments: str) -> Command:
    return Command(arguments, ENVIRONMENT)


def await_status(data_dir: Path, status: str) -> None:
    until = time.monotonic() + 60
    while (run := run_of(data_dir)) is None or run.status != status:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_worker_carries_out_what_a_server_leaves_to_it(data_dir: Path) -> None:
    port = free_port()
    server = offtake("serve", "--no-worker", "--data-dir", str(data_dir), "--port", str(port))
    worker = None
    try:
        await_port(port, server)
        await_status(data_dir, "waiting")
        time.sleep(2)
        await_status(data_dir, "waiting")
        worker = offtake("worker", "--data-dir", str(data_dir))
        await_status(data_dir, "success")
    finally:
        for process in filter(None, (worker, server)):
            process.terminate()
            assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("missing", "says"), [("OFFTAKE_MULTI_USER", "OFFTAKE_MULTI_USER is not set"), (None, "has no vault key")]
)
def test_a_worker_that_cannot_do_its_work_says_so(tmp_path: Path, missing: str | None, says: str) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != missing}
    done = run(["worker", "--data-dir", tmp_path / "empty"], environment)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert says in done.stderr
