"""Consecutive failed runs of a flow raise one alert, and disable the flow where the settings say so."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from offtake.cli.main import main
from offtake.contract.caller import ENGINE
from offtake.flows.failure_alerts import alert_failing_flows
from offtake.scheduling.background import background_services
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store.database import Database
from offtake.store.tables import AuditEvent, Flow
from tests.deployment import Deployment, rows
from tests.event_lines import lines
from tests.fake_clock import FakeClock
from tests.scheduling.contention import crowd, together
from tests.scheduling.test_amazon_s3 import BUCKET, flow_to
from tests.servers import S3Server, rclone_s3

EVENTS = "/data/foundation/audit/events"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with rclone_s3(tmp_path_factory.mktemp("s3")) as server:
        server.make_bucket(BUCKET)
        yield server


class Failing:
    """A flow to a bucket that is there only when it is made."""

    def __init__(self, deployed: Deployment, s3: S3Server, name: str) -> None:
        self.deployed, self._s3, self._bucket = deployed, s3, name
        self.flow = flow_to(deployed, deployed.import_rows("events", rows(0, 3)), s3, bucketName=name)

    def run(self, times: int = 1, *, disable: bool = False) -> None:
        """Every three hours what is due runs; failures are looked for as in a server's loop."""
        for _ in range(times):
            self.deployed.run_due()
            self.alert(disable=disable)
            self.deployed.clock.advance(hours=3)

    def alert(self, *, disable: bool = False) -> None:
        alert_failing_flows(self.deployed.backend.database, self.deployed.clock.now_ms(), 3, disable=disable)

    def fix(self) -> None:
        self._s3.make_bucket(self._bucket)

    def break_(self) -> None:
        self._s3.client().delete_bucket(Bucket=self._bucket)

    def empty(self) -> None:
        client = self._s3.client()
        for one in client.list_objects_v2(Bucket=self._bucket).get("Contents", []):
            client.delete_object(Bucket=self._bucket, Key=one["Key"])

    def shown(self) -> dict[str, Any]:
        self.deployed.sign_in()
        found: dict[str, Any] = self.deployed.get(f"/flows/{self.flow}")["items"][0]
        return found

    def events(self) -> list[dict[str, Any]]:
        self.deployed.sign_in()
        found: list[dict[str, Any]] = self.deployed.http.get(EVENTS).json()["_embedded"]["events"]
        return [one for one in found if one["action"] == "Fail"]

    def failures(self) -> int:
        with self.deployed.backend.database.reading() as session:
            return session.get_one(Flow, self.flow).failures


def alerts_in(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return lines(caplog, "flow.failing")


def test_consecutive_failures_raise_one_alert_with_the_reason(
    deployed: Deployment, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    flow = Failing(deployed, s3, "alert-once")
    flow.run(2)
    assert (alerts_in(caplog), flow.events()) == ([], [])
    flow.run(4)
    (line,) = alerts_in(caplog)
    (event,) = flow.events()
    assert (line["flow_id"], line["flow"], line["failures"]) == (flow.flow, "flow", 3)
    assert (line["level"], line["code"], line["disabled"]) == ("error", "EXPORT-2002-404", False)
    assert "alert-once" in line["message"]
    assert (event["assetId"], event["assetType"], event["clientId"]) == (flow.flow, "Destination", ENGINE)
    assert (event["status"], event["failureCode"]) == ("Failure", event["after"]["errors"][0]["code"])
    assert event["after"]["failures"] == 3
    assert [one["code"] for one in event["after"]["errors"]] == ["EXPORT-2002-404"]
    shown = flow.shown()
    assert (shown["state"], shown["lastRunDetails"]["state"]) == ("enabled", "failed")
    assert shown["lastOperation"]["operation"] == "create"


def test_the_alert_is_repeated_only_after_a_success_in_between(
    deployed: Deployment, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    flow = Failing(deployed, s3, "alert-again")
    flow.run(3)
    flow.fix()
    flow.run(1)
    assert flow.failures() == 0
    deployed.import_rows("events", rows(3, 3))
    flow.empty()
    flow.break_()
    flow.run(2)
    assert len(alerts_in(caplog)) == 1
    flow.run(1)
    assert len(alerts_in(caplog)) == len(flow.events()) == 2


def test_a_failing_flow_is_disabled_where_that_is_wanted_and_says_why(
    deployed: Deployment, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    flow = Failing(deployed, s3, "disabled")
    before = flow.shown()["etag"]
    flow.run(6, disable=True)
    assert len(deployed.runs(flow.flow)) == 3
    shown = flow.shown()
    assert shown["state"] == "disabled"
    assert shown["etag"] != before
    operation = shown["lastOperation"]
    assert (operation["operation"], operation["status"]["value"]) == ("disable", "completed")
    why, reason = operation["status"]["errors"]
    assert "after 3 consecutive failed runs" in why["message"]
    assert shown["lastRunDetails"]["id"] in why["message"]
    assert (why["code"], reason["code"]) == ("EXPORT-2002-404", "EXPORT-2002-404")
    assert "disabled" in reason["message"]  # the bucket's name
    assert alerts_in(caplog)[0]["disabled"] is True
    assert [(one["flow_id"], one["reason"]) for one in lines(caplog, "flow.disabled")] == [(flow.flow, "failures")]
    assert flow.events()[0]["after"]["state"] == "disabled"


def test_enabling_a_flow_forgets_its_failures(
    deployed: Deployment, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    flow = Failing(deployed, s3, "enabled")
    flow.run(3, disable=True)
    deployed.sign_in()
    deployed.post(f"/flows/{flow.flow}/action?op=enable", {}, 200)
    assert flow.failures() == 0
    deployed.clock.advance(hours=3)
    flow.run(2, disable=True)
    assert (flow.shown()["state"], flow.failures()) == ("enabled", 2)
    flow.run(1, disable=True)
    assert (flow.shown()["state"], len(alerts_in(caplog))) == ("disabled", 2)


def test_cancelled_runs_do_not_count(deployed: Deployment, s3: S3Server) -> None:
    flow = Failing(deployed, s3, "cancelled")
    alone = deployed.post(
        "/sourceConnections",
        {
            "name": "s",
            "connectionSpec": {"id": "23598e46-f560-407b-88d5-ea6207e49db0", "version": "1.0"},
            "params": {"datasets": [{"dataSetId": deployed.import_rows("other", rows(0, 1))}]},
        },
    )["id"]
    flow.run(2)
    enqueue_due_runs(deployed.backend.database, deployed.clock)
    deployed.sign_in()
    # Nothing of what the run waits to deliver is the flow's any more: it is cancelled.
    deployed.patch(f"/flows/{flow.flow}", [{"op": "replace", "path": "/sourceConnectionIds", "value": [alone]}])
    flow.alert()
    assert deployed.runs(flow.flow)[0]["metrics"]["statusSummary"]["status"] == "failed"
    assert (flow.failures(), flow.events()) == (2, [])


def test_a_server_alerts_and_disables_by_its_settings(
    deployed: Deployment, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    flow = Failing(deployed, s3, "server")
    changed = {"failure_alert_threshold": 1, "disable_flow_after_alert": True}
    object.__setattr__(deployed.backend, "settings", deployed.backend.settings.model_copy(update=changed))
    with background_services(deployed.backend, "server"):
        pause = threading.Event()
        assert any(alerts_in(caplog) or pause.wait(0.05) for _ in range(300))
    assert (flow.shown()["state"], len(flow.events())) == ("disabled", 1)


def failure_events_by_flow(database: Database) -> Counter[str]:
    with database.reading() as session:
        return Counter(session.scalars(select(AuditEvent.resource_id).where(AuditEvent.action == "fail")))


def test_processes_that_alert_at_the_same_instant_alert_once(database: Database, clock: FakeClock) -> None:
    flows = crowd(database, clock, 40, failures=3)
    script = f"for _ in range(5): alert_failing_flows(database, {clock.now_ms()}, 3, disable=True)"
    printed = [line for output in together(database, script) for line in output.splitlines()]
    assert failure_events_by_flow(database) == Counter(flows)
    assert Counter(printed) == Counter(f"{kind} {flow}" for kind in ("flow.failing", "flow.disabled") for flow in flows)


def test_thousands_of_alerts_are_raised_a_hundred_at_a_time_so_that_ticks_continue(
    database: Database, clock: FakeClock
) -> None:
    flows = crowd(database, clock, 250, failures=7)
    for expected in (100, 200, 250, 250):
        alert_failing_flows(database, clock.now_ms(), 3, disable=False)
        assert failure_events_by_flow(database).total() == expected
    assert failure_events_by_flow(database) == Counter(flows)


def test_the_command_line_shows_how_often_a_flow_has_failed(
    deployed: Deployment, s3: S3Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    Failing(deployed, s3, "listed").run(2)
    assert main(["flow", "list", "--data-dir", str(deployed.backend.settings.data_dir)]) == 0
    assert "failed (2)" in capsys.readouterr().out
