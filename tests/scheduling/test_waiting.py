"""Destinations and sources that are away: runs wait for them, hold nothing, and deliver when they are back."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import OperationalError

from offtake.cli.main import main
from offtake.clock import Clock
from offtake.deployment.backend import open_backend
from offtake.engines.local import LocalEngine
from offtake.errors import SOURCE_UNAVAILABLE
from offtake.lake.catalog import Lake
from offtake.scheduling.background import background_services, limits_of, worker_of
from offtake.scheduling.expiry import Expiry
from offtake.scheduling.orphan_sweeper import remove_orphans
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store.tables import Dataset, DestinationHealth, Flow, Run, RunPart, Watermark
from tests.deployment import Deployment, deployment, flow_body, rows, source_body, table_of
from tests.event_lines import lines
from tests.fake_clock import FakeClock
from tests.middlebox import Middlebox, middlebox
from tests.scheduling.test_amazon_s3 import BUCKET, flow_to
from tests.servers import S3Server, free_port, rclone_s3
from tests.ssh_server import sshd

SFTP = {"id": "36965a81-b1c6-401b-99f8-22508f1e6a26", "version": "1.0"}
SFTP_FLOW = {"id": "354d6aad-4754-46e4-a576-1b384561c440", "version": "1.0"}
ONCE = {"exportMode": "DAILY_FULL_EXPORT", "timeUnit": "day", "interval": 0}
COMPLETION = {"completedAtUTC", "outputBytes", "outputRecordCount", "outputFileCount"}
HOUR_MS = 3_600_000


def sftp_flow(
    deployed: Deployment, dataset: str, port: int, schedule: dict[str, Any] | None = None, host: str = "127.0.0.1"
) -> str:
    """A flow to an SFTP server on that port; its id."""
    params = {"domain": host, "port": port, "username": "u", "password": "p"}
    auth = {"specName": "SFTP with Password", "params": params}
    base = deployed.post("/connections", {"name": "sftp", "connectionSpec": SFTP, "auth": auth})["id"]
    place = {"remotePath": f"in/{uuid4()}", "datasetFileType": "JSON", "compression": "GZIP"}
    target = {"name": "t", "baseConnectionId": base, "connectionSpec": SFTP, "params": place}
    target_id = deployed.post("/targetConnections", target)["id"]
    source = deployed.post("/sourceConnections", source_body(dataset))["id"]
    body = flow_body(source, target_id, deployed.clock, **(schedule or {})) | {"flowSpec": SFTP_FLOW}
    return str(deployed.post("/flows", body)["id"])


def base_of(deployed: Deployment, flow: str) -> str:
    target = deployed.get(f"/flows/{flow}")["items"][0]["inheritedAttributes"]["targetConnections"][0]
    return str(target["baseConnection"]["id"])


def last(deployed: Deployment, flow: str) -> Run:
    with deployed.backend.database.reading() as session:
        found = session.scalar(select(Run).filter_by(flow_id=flow).order_by(Run.created_at.desc(), Run.id).limit(1))
    assert found is not None
    return found


def shown(deployed: Deployment, flow: str) -> dict[str, Any]:
    metrics: dict[str, Any] = deployed.runs(flow)[0]["metrics"]
    return metrics


def expiry_of(deployed: Deployment) -> Expiry:
    settings = deployed.backend.settings
    return Expiry(deployed.backend.database, deployed.clock, limits_of(settings), settings.retry_alert_seconds)


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with rclone_s3(tmp_path_factory.mktemp("s3")) as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture
def box(s3: S3Server) -> Iterator[Middlebox]:
    with middlebox("127.0.0.1", int(s3.endpoint.rpartition(":")[2])) as opened:
        yield opened


# Waiting, and what is shown of it


def test_a_one_time_export_waits_for_a_server_that_is_away_and_is_delivered_when_it_is_back(
    deployed: Deployment, tmp_path: Path, engine: LocalEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = deployed.import_rows("events", rows(0, 20))
    with sshd(tmp_path / "before") as known:
        pass
    flow = sftp_flow(deployed, dataset, known.port, ONCE)
    began = deployed.clock.ms
    deployed.run_due()
    waiting = shown(deployed, flow)
    assert waiting["statusSummary"]["status"] == "waiting"
    assert "errors" not in waiting["statusSummary"]
    assert not COMPLETION & {key for one in waiting.values() for key in one}
    details = waiting["statusSummary"]["extensions"]["waiting"]
    assert details["reason"]["code"] == "EXPORT-2003-504"
    assert (details["sinceUTC"], details["untilUTC"]) == (began, began + 24 * HOUR_MS)
    assert began < details["nextTryAtUTC"] <= began + 1000
    _check_shown(deployed, flow, capsys)
    for _ in range(12):
        deployed.clock.advance(seconds=60)
        deployed.run_due()
    assert last(deployed, flow).status == "waiting"
    # Another server takes over in the middle of the wait, and the partner is back.
    other = open_backend(deployed.backend.settings, deployed.clock)
    with sshd(tmp_path / "server") as server, closing(other):
        operations = [{"op": "add", "path": "/auth/params", "value": server.login() | {"password": server.password}}]
        deployed.sign_in()
        deployed.patch(f"/connections/{base_of(deployed, flow)}", operations)
        assert worker_of(other, engine, "another").run_next(threading.Event())
        assert last(deployed, flow).status == "success", last(deployed, flow).errors
        (file,) = server.root.rglob("part-*.json.gz")
        assert file.stat().st_size > 0
    assert last(deployed, flow).claims <= 1


def _check_shown(deployed: Deployment, flow: str, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--data-dir", str(deployed.backend.settings.data_dir)]
    run_id = last(deployed, flow).id
    for command in (["run", "show", run_id], ["flow", "show", flow]):
        assert main([*command, *where]) == 0
        line = next(line for line in capsys.readouterr().out.splitlines() if "waits since" in line)
        assert "could not be reached" in line
        assert "next attempt 2026-03-01 12:00:0" in line
        assert "until 2026-03-02 12:00:00Z at most" in line
    assert main(["run", "list", *where]) == 0
    listed = capsys.readouterr().out
    assert "waiting" in listed
    assert "NEXT ATTEMPT" in listed


def test_a_run_waits_until_shortly_before_the_next_slot_which_then_covers_the_same_rows(
    deployed: Deployment, s3: S3Server, box: Middlebox, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = deployed.import_rows("events", rows(0, 20))
    flow = flow_to(deployed, dataset, s3, endpointUrl=f"http://127.0.0.1:{box.port}")
    there, box.upstream = box.upstream, ("127.0.0.1", 1)
    began = deployed.clock.ms
    deployed.run_due()
    deployed.clock.advance(seconds=3 * 3600 - 301)
    deployed.run_out()
    failed = last(deployed, flow)
    assert failed.status == "failed"
    assert deployed.clock.ms == began + 3 * HOUR_MS - 300_000
    (owed,) = shown(deployed, flow)["statusSummary"]["extensions"]["owed"]["datasets"]
    assert owed == {
        "dataSetId": dataset,
        "name": "events",
        "sinceSnapshotId": None,
        "sinceUTC": None,
        "recordCount": 20,
        "fileCount": 1,
    }
    assert main(["flow", "show", flow, "--data-dir", str(deployed.backend.settings.data_dir)]) == 0
    out = capsys.readouterr().out
    assert (
        f"undelivered: dataset events ({dataset}): all rows (20 rows in 1 files as planned); the flow's next run" in out
    )
    box.upstream = there
    deployed.clock.advance(seconds=300)
    deployed.run_due()
    assert (last(deployed, flow).status, last(deployed, flow).id == failed.id) == ("success", False)
    assert "owed" not in shown(deployed, flow)["statusSummary"].get("extensions", {})


def test_503_for_an_hour_and_then_403_fails_with_what_is_owed(
    deployed: Deployment, s3: S3Server, box: Middlebox
) -> None:
    dataset = deployed.import_rows("events", rows(0, 5))
    flow = flow_to(deployed, dataset, s3, endpointUrl=f"http://127.0.0.1:{box.port}")
    box.refuse(503, times=1000, headers="Retry-After: 1200\r\n")
    began = deployed.clock.ms
    deployed.run_due()
    for _ in range(3):
        at = deployed.next_try()
        assert at is not None
        # What the store asks for is granted.
        assert 1_200_000 <= at - deployed.clock.ms <= 1_201_000 + 60_000
        deployed.clock.ms = at
        deployed.run_due()
    assert deployed.clock.ms - began >= HOUR_MS
    box.refusals = []
    box.refuse(403, times=1000, body="<Error><Code>AccessDenied</Code></Error>")
    deployed.run_out()
    box.refusals = []
    failed = shown(deployed, flow)["statusSummary"]
    assert [one["code"] for one in failed["errors"]] == ["EXPORT-2001-403"]
    assert [one["recordCount"] for one in failed["extensions"]["owed"]["datasets"]] == [5]


def test_a_store_that_asks_for_more_than_the_window_fails_the_run_at_once(
    deployed: Deployment, s3: S3Server, box: Middlebox
) -> None:
    dataset = deployed.import_rows("events", rows(0, 5))
    flow = flow_to(deployed, dataset, s3, endpointUrl=f"http://127.0.0.1:{box.port}")
    box.refuse(503, times=1000, headers="Retry-After: 20000\r\n")
    deployed.run_due()
    box.refusals = []
    (error,) = last(deployed, flow).errors
    assert "requests a wait of 20000 seconds" in error["message"]


# Hosts that are dead in every way


@pytest.mark.parametrize("kind", ["refused", "silent", "nameless"])
def test_a_dead_host_is_reported_within_seconds_and_the_run_waits(deployed: Deployment, kind: str) -> None:
    dataset = deployed.import_rows("events", rows(0, 5))
    with silent_server() as silent:
        flow = sftp_flow(
            deployed,
            dataset,
            free_port() if kind == "refused" else silent,
            host="nosuchhost.invalid" if kind == "nameless" else "127.0.0.1",
        )
        begun = time.monotonic()
        deployed.run_due()
        assert time.monotonic() - begun < 15
    waiting = last(deployed, flow)
    assert waiting.wait_reason is not None
    assert (waiting.status, waiting.wait_reason["code"]) == ("waiting", "EXPORT-2003-504")


class FewWorkers:
    """A server's threads over a deployment."""

    def __init__(self, deployed: Deployment) -> None:
        self.deployed = deployed

    def started(self, flow: str) -> bool:
        with self.deployed.backend.database.reading() as session:
            return bool(session.scalar(select(Run.id).where(Run.flow_id == flow, Run.started_at.is_not(None))))


def test_a_healthy_flow_starts_within_seconds_despite_500_flows_to_a_dead_host(
    tmp_path: Path, engine: LocalEngine
) -> None:
    now = FakeClock(Clock().now_ms())
    with silent_server() as port, deployment(tmp_path / "data", now, engine, export_processes=1) as deployed:
        dataset = deployed.import_rows("events", rows(0, 5))
        far = {"startTime": now.now_seconds() + 86_400}
        dead = sftp_flow(deployed, dataset, port, far)
        healthy = deployed.flow(dataset, schedule=far)
        database = deployed.backend.database
        due = now.now_seconds() - 1
        with database.writing() as session:
            row = session.get_one(Flow, dead)
            columns = {one.name: getattr(row, one.name) for one in Flow.__table__.columns}
            copies = [columns | {"id": f"0-{number:03}", "next_run_s": due - 1} for number in range(500)]
            session.execute(insert(Flow), copies)
            session.get_one(Flow, healthy).next_run_s = due
        backend = deployed.backend
        object.__setattr__(backend, "clock", Clock())
        server = FewWorkers(deployed)
        with background_services(backend, "server"):
            while not server.started(healthy):
                time.sleep(0.02)
                with database.reading() as session:
                    made = session.scalar(select(Run.created_at).where(Run.flow_id == healthy))
                assert made is None or Clock().now_ms() - made < 30_000
            with database.reading() as session:
                run = session.scalars(select(Run).where(Run.flow_id == healthy)).one()
                busy = session.scalar(select(func.count()).where(Run.status == "processing", Run.flow_id != healthy))
        assert run.started_at is not None
        # Below two seconds on a machine that does nothing else; here four processes share two cores.
        assert run.started_at - run.created_at < 10_000
        assert busy is not None
        assert busy <= 1


# What people change meanwhile


def test_new_credentials_wake_a_run_at_once(deployed: Deployment) -> None:
    flow = sftp_flow(deployed, deployed.import_rows("events", rows(0, 5)), free_port())
    for _ in range(8):
        deployed.run_due()
        deployed.clock.advance(seconds=60)
    deployed.run_due()
    tried = last(deployed, flow).fence
    assert not deployed.worker.run_next(threading.Event())
    port = int((last(deployed, flow).address or "").partition(":")[2])
    params = {"domain": "127.0.0.1", "port": port, "username": "u", "password": "another"}
    operations = [{"op": "replace", "path": "/auth/params", "value": params}]
    deployed.patch(f"/connections/{base_of(deployed, flow)}", operations)
    assert deployed.worker.run_next(threading.Event())
    assert last(deployed, flow).fence == tried + 1


def test_a_schedule_with_a_nearer_slot_ends_the_wait_before_it(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 5))
    flow = sftp_flow(deployed, dataset, free_port(), {"interval": 24})
    began = deployed.clock.ms
    deployed.run_due()
    assert last(deployed, flow).wait_until == began + 24 * HOUR_MS - 300_000
    deployed.patch(f"/flows/{flow}", [{"op": "replace", "path": "/scheduleParams/interval", "value": 3}])
    waits = expiry_of(deployed)
    waits.end_waits()
    first = last(deployed, flow)
    assert (first.status, first.wait_until) == ("waiting", began + 3 * HOUR_MS - 300_000)
    # No worker takes the run for its last try: it still gives way to the slot.
    deployed.clock.ms = began + 3 * HOUR_MS
    deployed.run_due()
    deployed.run_due()
    with deployed.backend.database.reading() as session:
        found = session.scalars(select(Run).filter_by(flow_id=flow).order_by(Run.created_at)).all()
    assert [run.status for run in found] == ["failed", "waiting"]
    assert found[1].scheduled_at == began + 3 * HOUR_MS


def test_held_runs_fail_when_their_window_ends(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 5))
    port = free_port()
    flows = [sftp_flow(deployed, dataset, port) for _ in range(3)]
    deployed.run_due()
    waits = expiry_of(deployed)
    waits.end_waits()
    began = deployed.clock.ms
    assert {last(deployed, flow).wait_until for flow in flows} == {began + 3 * HOUR_MS - 300_000}
    deployed.clock.advance(seconds=3 * 3600 - 299)
    assert waits.end_waits() == 0, "each may still be tried once"
    deployed.clock.advance(seconds=11)
    assert waits.end_waits() == 3
    deployed.run_due()
    assert {last(deployed, flow).status for flow in flows} == {"failed"}
    assert {last(deployed, flow).errors[0]["code"] for flow in flows} == {"EXPORT-2003-504"}


@pytest.mark.parametrize(("state", "hours"), [("enabled", 4), ("disabled", 25)])
def test_a_run_that_has_worked_for_longer_than_it_may_wait_waits_like_any_other(
    deployed: Deployment, s3: S3Server, box: Middlebox, state: str, hours: int
) -> None:
    changed = deployed.backend.settings.model_copy(update={"part_bytes": 1})
    object.__setattr__(deployed.backend, "settings", changed)
    for first in range(0, 12, 3):
        dataset = deployed.import_rows("events", rows(first, 3))
    flow = flow_to(deployed, dataset, s3, endpointUrl=f"http://127.0.0.1:{box.port}")
    there = box.upstream
    with pytest.MonkeyPatch.context() as patch:

        def work_long_and_be_away(name: str) -> None:
            if name == "part_recorded" and box.upstream == there:
                deployed.clock.advance(seconds=hours * 3600)
                box.upstream = ("127.0.0.1", 1)

        patch.setattr("offtake.exporting.run.failpoint", work_long_and_be_away)
        assert enqueue_due_runs(deployed.backend.database, deployed.clock)
        if state == "disabled":
            deployed.post(f"/flows/{flow}/action?op=disable", None, status=200)
        assert deployed.worker.run_next(threading.Event())
    waiting = last(deployed, flow)
    assert (waiting.status, waiting.waiting_since) == ("waiting", deployed.clock.ms)
    box.upstream = there
    deployed.run_out()
    with deployed.backend.database.reading() as session:
        assert session.get_one(Run, waiting.id).status == "success"


@pytest.mark.parametrize("how", ["cancel", "delete", "disable"])
def test_a_half_delivered_run_that_waits_is_ended_with_its_files_removed_or_goes_on(
    deployed: Deployment, s3: S3Server, box: Middlebox, how: str
) -> None:
    changed = deployed.backend.settings.model_copy(update={"part_bytes": 1})
    object.__setattr__(deployed.backend, "settings", changed)
    for first in range(0, 12, 3):
        dataset = deployed.import_rows("events", rows(first, 3))
    flow = flow_to(deployed, dataset, s3, endpointUrl=f"http://127.0.0.1:{box.port}")
    folder = s3.root / BUCKET / "exports" / dataset
    there = box.upstream
    with pytest.MonkeyPatch.context() as patch:
        recorded = []

        def away_after_two(name: str) -> None:
            recorded.extend([name] if name == "part_recorded" else [])
            if len(recorded) == 2:
                box.upstream = ("127.0.0.1", 1)

        patch.setattr("offtake.exporting.run.failpoint", away_after_two)
        deployed.run_due()
    waiting = last(deployed, flow)
    assert waiting.status == "waiting"
    box.upstream = there
    if how == "cancel":
        deployed.post(f"/runs/{waiting.id}/action?op=CANCEL", None, status=200)
    elif how == "delete":
        deployed.delete(f"/flows/{flow}")
    else:
        deployed.post(f"/flows/{flow}/action?op=disable", None, status=200)
        expiry_of(deployed).end_waits()
        assert last(deployed, flow).wait_until == (waiting.started_at or 0) + 24 * HOUR_MS
        deployed.clock.advance(seconds=60)
    deployed.run_due()
    ended = last(deployed, flow)
    with deployed.backend.database.reading() as session:
        position = session.scalar(select(Watermark).filter_by(flow_id=flow))
        parts = session.scalars(select(RunPart).filter_by(run_id=ended.id)).all()
    files = [path for path in folder.rglob("part-*") if path.is_file()]
    if how == "disable":
        assert (ended.status, len(files), len(parts), position is not None) == ("success", 4, 4, True)
        return
    assert (ended.status, [one["code"] for one in ended.errors]) == ("failed", ["EXPORT-1499-400"])
    assert position is None
    deployed.clock.advance(seconds=60)
    list(remove_orphans(deployed.backend))
    assert [path for path in folder.rglob("part-*") if path.is_file()] == []


def test_a_long_wait_is_logged_once(deployed: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    dataset = deployed.import_rows("events", rows(0, 5))
    port = free_port()
    flows = [sftp_flow(deployed, dataset, port) for _ in range(2)]
    waits = expiry_of(deployed)
    for _ in range(20):
        deployed.run_due()
        waits.alert()
        deployed.clock.advance(seconds=60)
    warnings = lines(caplog, "run.waiting_long")
    assert len(warnings) == 2
    for flow in flows:
        (line,) = [one for one in warnings if one["flow_id"] == flow]
        assert (line["level"], line["flow"], line["address"]) == ("warning", "flow", f"127.0.0.1:{port}")
        assert line["seconds"] >= 900
        assert "could not be reached" in line["message"]
    # Only the run that probes has lines about its waits, and the outage has one.
    assert len(lines(caplog, "connection.unavailable")) == 1
    assert len(lines(caplog, "run.waiting")) <= 2


# Sources


def test_a_file_that_is_not_there_is_waited_for_two_minutes_and_others_go_out(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, fine = deployed.import_rows("broken", rows(0, 3)), deployed.import_rows("fine", rows(0, 3))
    flow = deployed.flow(broken, fine)
    with deployed.backend.database.reading() as session:
        table_name = session.get_one(Dataset, broken).table_name
    found = Lake.find

    def find(lake: Lake, table: Any) -> Any:
        if table == table_name:
            raise FileNotFoundError(2, "No such file or directory", "metadata.json")
        return found(lake, table)

    monkeypatch.setattr(Lake, "find", find)
    began = deployed.clock.ms
    deployed.run_out()
    assert deployed.clock.ms - began == pytest.approx(120_000, abs=4000)
    ended = last(deployed, flow)
    assert [one["code"] for one in ended.errors] == ["EXPORT-1410-410"]
    (manifest,) = deployed.manifests()
    assert table_of(deployed.delivered(manifest))["id"].to_pylist() == [0, 1, 2]


def test_a_catalog_that_is_away_is_waited_for(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 3)))
    with monkeypatch.context() as patch:

        def away(_lake: Lake, _table: Any) -> Any:
            raise OperationalError("SELECT secret", {}, Exception("connection refused"))

        patch.setattr(Lake, "find", away)
        deployed.run_due()
        for _ in range(30):
            deployed.clock.advance(seconds=300)
            deployed.run_due()
    waiting = last(deployed, flow)
    assert waiting.wait_reason is not None
    assert (waiting.status, waiting.wait_reason["code"]) == ("waiting", SOURCE_UNAVAILABLE.code)
    assert "secret" not in json.dumps(waiting.wait_reason)
    deployed.clock.advance(seconds=300)
    deployed.run_due()
    assert last(deployed, flow).status == "success"


def test_a_run_without_anything_to_deliver_succeeds_though_its_destination_is_away(deployed: Deployment) -> None:
    made = deployed.post("/data/foundation/catalog/dataSets", {"name": "empty"})
    flow = sftp_flow(deployed, made[0].rpartition("/")[2], free_port())
    deployed.run_due()
    assert last(deployed, flow).status == "success"
    with deployed.backend.database.reading() as session:
        assert session.scalars(select(DestinationHealth)).one().probing_until is None
