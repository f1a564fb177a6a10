"""The log of a day, by a clock that a test moves; it is also the example in docs/logging.md."""

import logging
import os
import re
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from typing import Any

import asyncssh

from offtake.engines.local import LocalEngine
from offtake.logs import TextFormatter
from offtake.scheduling.background import limits_of
from offtake.scheduling.expiry import Expiry
from offtake.scheduling.freshness import FreshnessJudge
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.scheduling.worker_watch import WorkerWatch
from offtake.store.tables import Dataset
from tests.deployment import Deployment, deployment, flow_body, rows, source_body
from tests.fake_clock import FakeClock
from tests.scheduling.test_waiting import SFTP, SFTP_FLOW
from tests.servers import free_port
from tests.sftp_server import PASSWORD, USER, listening

EXAMPLE = Path(__file__).parents[2] / "docs" / "log-of-a-day.txt"
MIDNIGHT = 1_772_323_200_000  # 2026-03-01T00:00:00Z
_MINUTES = 15


class Day:
    """A deployment with a scheduler and a worker that a test calls every 15 minutes of its clock."""

    def __init__(self, deployed: Deployment) -> None:
        self.deployed, backend = deployed, deployed.backend
        self.has_worker = True
        self._judge = FreshnessJudge(backend.database, deployed.clock)
        self._workers = WorkerWatch(backend.database, deployed.clock)
        self._expiry = Expiry(backend.database, deployed.clock, limits_of(backend.settings), 900)

    def pass_until(self, hour: int, minute: int = 0) -> None:
        """Let time pass, with the scheduler's tasks and the worker's."""
        clock = self.deployed.clock
        while clock.now_ms() < MIDNIGHT + (hour * 60 + minute) * 60_000:
            self._round()
            clock.advance(seconds=_MINUTES * 60)

    def _round(self) -> None:
        enqueue_due_runs(self.deployed.backend.database, self.deployed.clock)
        if self.has_worker:
            self.deployed.run_due()
        self._expiry.end_waits()
        self._expiry.alert()
        self._judge.judge_if_due()
        self._workers.look_if_due()

    def flow(self, name: str, dataset: str, target: str, spec: dict[str, str] | None = None, **more: Any) -> str:
        source = self.deployed.post("/sourceConnections", source_body(dataset))["id"]
        schedule = {key: more.pop(key) for key in ("timeUnit", "interval", "startTime") if key in more}
        body = flow_body(source, target, self.deployed.clock, **schedule) | {"name": name} | more
        return str(self.deployed.post("/flows", body | ({"flowSpec": spec} if spec else {}))["id"])


def test_the_log_of_a_day(tmp_path: Path, engine: LocalEngine) -> None:
    written = StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(TextFormatter())
    log = logging.getLogger("offtake.events")
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        with deployment(tmp_path / "data", FakeClock(MIDNIGHT), engine) as deployed, ExitStack() as stack:
            port = free_port()
            _pass_a_day(Day(deployed), port, tmp_path / "partner", stack)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    found = _without_what_differs(written.getvalue(), port)
    if os.environ.get("OFFTAKE_TEST_WRITE_DOCS"):
        EXAMPLE.write_text(found)
    assert found == EXAMPLE.read_text()


def _pass_a_day(day: Day, port: int, folder: Path, stack: ExitStack) -> None:
    """Deliveries and nothing new, a partner that is down from 5 to 10, a deleted dataset, and no worker at 18."""
    deployed = day.deployed
    folder.mkdir()
    key = asyncssh.generate_private_key("ssh-ed25519")
    files = lambda channel: asyncssh.SFTPServer(channel, chroot=os.fsencode(folder))  # noqa: E731 - one line is enough
    orders, clicks, prices = (deployed.import_rows(name, rows(0, 20)) for name in ("orders", "clicks", "prices"))
    zone = deployed.flow(orders)
    zone_target = deployed.get(f"/flows/{zone}")["items"][0]["targetConnectionIds"][0]
    deployed.patch(f"/flows/{zone}", [{"op": "replace", "path": "/name", "value": "orders to the landing zone"}])
    auth = {
        "specName": "SFTP with Password",
        "params": {"domain": "127.0.0.1", "port": port, "username": USER, "password": PASSWORD},
    }
    base = deployed.post("/connections", {"name": "Partner", "connectionSpec": SFTP, "auth": auth})["id"]
    place = {"remotePath": "in", "datasetFileType": "JSON", "compression": "GZIP"}
    partner = deployed.post(
        "/targetConnections", {"name": "t", "baseConnectionId": base, "connectionSpec": SFTP, "params": place}
    )["id"]
    target = {"extensions": {"freshWithinSeconds": 7 * 3600}}
    day.flow("clicks to partner", clicks, partner, SFTP_FLOW, interval=6, startTime=MIDNIGHT // 1000 + 3600, **target)
    eight = MIDNIGHT // 1000 + 8 * 3600
    day.flow("prices to the landing zone", prices, zone_target, timeUnit="day", interval=1, startTime=eight)
    with ExitStack() as server:
        server.enter_context(listening(port, files, keys=[key]))
        day.pass_until(5)
    deployed.import_rows("clicks", rows(20, 20))
    with deployed.backend.database.writing() as session:
        session.get_one(Dataset, prices).table_name += "-gone"
    day.pass_until(10)
    stack.enter_context(listening(port, files, keys=[key]))
    deployed.import_rows("orders", rows(20, 20))
    day.pass_until(16)
    deployed.sign_in()
    deployed.post(f"/flows/{zone}/run", {"fullExport": False})
    day.pass_until(18)
    day.has_worker = False
    day.pass_until(18, 30)
    day.has_worker = True
    day.pass_until(24)


def _without_what_differs(text: str, port: int) -> str:
    """The text with ids and sizes that are the same in each run."""
    known: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        return known.setdefault(found[0], f"{len(known) + 1:08x}-0000-4000-8000-000000000000")

    text = text.replace(f":{port}", ":22")
    text = re.sub(r"\bbytes=\d+", "bytes=1234", text)
    text = re.sub(r"(?<=[A-Z] )[0-9a-f]{32}(?= )", "4bf92f3577b34da6a3ce929d0e0e4736", text)  # the request
    text = re.sub(r"client=[0-9a-f]{32}", "client=1f2e3d4c5b6a79880716253443526170", text)
    text = re.sub(r"\([0-9a-f]{24}\)", "(65f0c2a1b4d3e2f1a0b9c8d7)", text)
    # The jitter of waits.
    text = re.sub(r"until=[0-9TZ:-]+", lambda found: f"until={found[0][6:][:13]}:00:00Z", text)
    text = re.sub(r"batch=\w{26}", lambda found: f"batch={found[0][6:16]}0000000000000000", text)
    return re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", name, text)
