"""`offtake status`, lists by time, backfills of periods, and notices of missing workers."""

import json
import threading
from datetime import UTC, datetime
from typing import Any, cast
from unittest.mock import MagicMock

import pytest

from offtake.cli import executing, instants, worker_notice
from offtake.client.server import Server
from offtake.errors import OfftakeError
from offtake.lake.snapshot_history import ancestry
from offtake.lake.table_names import TableName
from offtake.store.tables import Dataset
from tests.cli.deliveries import Offtake, add, ids, manifest_of, run_ids
from tests.cli.test_both_ways import Way, json_of, refused, says, way
from tests.deployment import Deployment, rows

__all__ = ["way"]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
DAY = 86_400


def break_zone(deployed: Deployment) -> None:
    """Make the landing zone refuse every file."""
    (deployed.zone / "out").rename(deployed.zone / "away")
    (deployed.zone / "out").write_text("in the way")


@pytest.fixture(autouse=True)
def _one_clock(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offtake.client.remote.Remote.now", lambda _: deployed.clock.now_ms() / 1000)


@pytest.fixture
def failing(deployed: Deployment) -> str:
    """A flow that has delivered once, and whose last run has failed."""
    end = deployed.clock.now_seconds() + 20 * DAY
    flow = deployed.flow(deployed.import_rows("events", rows(0, 20)), schedule={"endTime": end})
    deployed.run_due()
    break_zone(deployed)
    add(deployed, 20, 7)
    return flow


def test_status_shows_what_was_delivered_what_failed_what_helps_and_what_ends(
    way: Way, deployed: Deployment, failing: str
) -> None:
    found = json_of(way, "status")
    assert found["ended"]["deliveredRunCount"] == 1
    assert (found["ended"]["recordCount"], found["ended"]["failedRunCount"]) == (20, 1)
    (trouble,) = found["attention"]
    run = run_ids(deployed, failing)[-1]
    assert (trouble["kind"], trouble["flowId"], trouble["runId"]) == ("failed", failing, run)
    assert trouble["reason"]["message"]
    assert [one["flowId"] for one in found["ending"]] == [failing]
    printed = says(way, "status")
    assert "1 run delivered 20 rows" in printed
    (failed,) = [line for line in printed.splitlines() if line.startswith("failed\t")]
    assert f"offtake run retry {run}" in failed
    assert f"offtake flow show {failing}" in printed
    assert json_of(way, "status", "--since", "1m")["ended"]["deliveredRunCount"] == 0
    assert way("status", "--check")[0] == 1
    assert "--since 'soon' is not a time: give an age such as 90m" in refused(way, "status", "--since", "soon")


def test_status_shows_late_and_queued_runs(way: Way, deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 20)))
    deployed.run_due()
    assert way("status", "--check")[0] == 0
    made = deployed.post(f"/flows/{flow}/run", {"fullExport": True})["id"]
    assert "; 0 running, 1 queued\n" in says(way, "status")
    deployed.clock.advance(hours=5)
    late = json_of(way, "status")["attention"]
    assert {"late"} == {one["kind"] for one in late}
    assert late[0]["reason"]["message"] == "The run is queued, and no worker has claimed it."
    assert f"offtake run watch {made}" in says(way, "status")
    assert way("status", "--check")[0] == 1


def test_a_late_flow_without_a_live_run_is_run_instead_of_watched(way: Way, deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 20)))
    deployed.run_due()
    deployed.patch(f"/flows/{flow}", [{"op": "add", "path": "/extensions/freshWithinSeconds", "value": 3600}])
    deployed.clock.advance(hours=2)
    (late,) = json_of(way, "status")["attention"]
    assert (late["kind"], late["runId"], late["hasLiveRun"]) == ("late", run_ids(deployed, flow)[-1], False)
    (line,) = [one for one in says(way, "status").splitlines() if one.startswith("late\t")]
    assert line.endswith(f"offtake flow show {flow}, then: offtake flow run {flow}")
    assert "Next run: " in line


def test_a_terminal_gets_a_block_for_each_thing(
    way: Way, deployed: Deployment, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offtake.cli.output.is_terminal", lambda: True)
    printed = says(way, "status")
    run = run_ids(deployed, failing)[-1]
    assert f"\nfailed: flow, run {run[:8]}, at 2026-" in printed
    assert f"offtake run retry {run[:8]}" in printed
    assert "\nends soon: flow, ends 2026-" in printed


def test_runs_and_batches_are_listed_by_time_and_status(way: Way, deployed: Deployment, failing: str) -> None:
    first, second = run_ids(deployed, failing)
    assert [one["id"] for one in json_of(way, "run", "list", "--status", "failed")] == [second]
    assert [one["id"] for one in json_of(way, "run", "list", "--flow", "flow", "--since", "1h")] == [second]
    assert len(json_of(way, "run", "list", "--since", "2026-01-01")) == 2
    assert [one["id"] for one in json_of(way, "run", "list", "--status", "success", "--since", "1d")] == [first]
    assert json_of(way, "run", "list", "--status", "live") == []
    assert len(json_of(way, "run", "list", "--most", "1")) == 1
    assert len(json_of(way, "batch", "list", "--since", "1d", "--status", "success")) == 2
    assert json_of(way, "batch", "list", "--since", "90m") == []
    assert json_of(way, "batch", "list", "--status", "failed") == []
    assert "--since 'never'" in refused(way, "batch", "list", "--since", "never")
    assert way("run", "list", "--status", "late")[0] == 2


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("90m", NOON - 5400, None),
        ("12h", NOON - 43_200, None),
        ("1d", NOON - DAY, None),
        ("2w", NOON - 14 * DAY, None),
        ("2026-02-28", NOON - 129_600, NOON - 43_200 - 0.001),
        ("2026-02-28T12:00", NOON - DAY, None),
        ("2026-02-28T12:00:00+02:00", NOON - DAY - 7200, None),
        ("2026-02-28 12:00Z", NOON - DAY, None),
    ],
)
def test_times_in_options(text: str, start: float, end: float | None) -> None:
    assert instants.start("--since", text, NOON) == round(start * 1000)
    assert instants.end("--until", text, NOON) == round((start if end is None else end) * 1000)


@pytest.mark.parametrize("text", ["", "1", "1y", "-1d", "yesterday", "2026-02-30", "1960-01-01"])
def test_times_that_are_none_are_named(text: str) -> None:
    with pytest.raises(OfftakeError, match=r"--since .* is not a time: give an age such as 90m, 12h or 7d"):
        instants.start("--since", text, NOON)


def times(deployed: Deployment, dataset: str) -> list[str]:
    """When each snapshot was committed, as typed."""
    with deployed.backend.database.reading() as session:
        table = TableName(session.get_one(Dataset, dataset).table_name)
    steps = ancestry(deployed.backend.lake, table)
    assert steps is not None
    return [datetime.fromtimestamp(one.timestamp_ms / 1000, UTC).isoformat() for one in steps]


def test_a_period_is_delivered_again(deployed: Deployment, flow: str, dataset: str, offtake: Offtake) -> None:
    first, second, third = times(deployed, dataset)
    for arguments, expected in (
        (("--since", third, "--until", "2999-01-01"), range(27, 34)),
        (("--since", second, "--until", second), range(20, 27)),
        (("--since", first[:10], "--until", third[:10]), range(34)),
        (("--until", first), range(20)),
    ):
        code, out, err = offtake("flow", "backfill", flow, *arguments)
        assert (code, "delivers into the target's folder backfill-" in out) == (0, True), err
        deployed.run_due()
        newest = max(deployed.get("/runs")["items"], key=lambda one: one["createdAt"])["id"]
        assert ids(deployed, manifest_of(deployed, newest)) == list(expected), arguments
        deployed.clock.advance(seconds=1)
    for arguments, said in (
        (("--since", "1d", "--run", "x"), "Give either --run RUN"),
        (("--since", "1d", "--from", "start"), "Give either --run RUN"),
        (("--since", "2026-03-02", "--until", "2026-03-01"), "--since must not be after --until."),
        (("--since", "2031-01-01", "--until", "2031-01-02"), "No dataset of the flow has a snapshot in that time"),
        (("--until", "then"), "--until 'then' is not a time"),
    ):
        code, out, err = offtake("flow", "backfill", flow, *arguments)
        assert (code, out, said in err) == (1, "", True), (arguments, err)


# Notices of missing workers


def watched(deployed: Deployment, offtake: Offtake, run: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `run watch` prints on standard error until another thread cancels the run."""
    monkeypatch.setattr(executing, "_POLL_SECONDS", 0.02)
    timer = threading.Timer(1, lambda: deployed.post(f"/runs/{run}/action?op=CANCEL", {}, 200))
    timer.start()
    code, _, err = offtake("run", "watch", run)
    timer.join()
    assert code == 1
    return err


@pytest.mark.parametrize("served", [True, False])
def test_a_run_that_no_worker_takes_is_noticed_once(
    deployed: Deployment, flow: str, offtake: Offtake, monkeypatch: pytest.MonkeyPatch, served: bool
) -> None:
    monkeypatch.setattr(worker_notice, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(worker_notice, "_UNSERVED_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr("offtake.cli.local_work.is_served", lambda _: served)
    made = deployed.post(f"/flows/{flow}/run", {"fullExport": True})["id"]
    err = watched(deployed, offtake, made, monkeypatch)
    expected = f"no worker has started run {made}" if served else "is running on this machine"
    assert (expected in err, err.count("\n")) == (True, 1), err
    assert "offtake serve" in err


def test_the_reason_of_a_wait_is_printed_once_until_it_changes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(tries: int, message: str) -> dict[str, Any]:
        reason = {"code": "EXPORT-2003-504", "message": message}
        return {"sinceUTC": 0, "reason": reason, "nextTryAtUTC": 1000 * tries, "untilUTC": None, "tries": tries}

    away, refused_there = "The host could not be reached.", "The host refuses the login."
    states = [
        ("waiting", wait(1, away)), ("processing", None), ("waiting", wait(2, away)),
        ("waiting", wait(3, refused_there)), ("success", None),
    ]  # fmt: skip

    def next_state(*_: object) -> executing.Progress:
        status, waiting = states.pop(0)
        return executing.Progress("r", status, 0, 0, 0, 0, 0, 0, None, waiting)

    monkeypatch.setattr(executing, "_POLL_SECONDS", 0)
    monkeypatch.setattr(executing, "progress_of", next_state)
    monkeypatch.setattr(executing, "WorkerNotice", MagicMock())
    executing.wait_for_run(cast(Server, None), "r", json=False, works=False)
    lines = capsys.readouterr().out.splitlines()
    assert [(away in one, refused_there in one) for one in lines] == [
        (True, False), (False, False), (False, False), (False, True), (False, False),
    ]  # fmt: skip
    assert lines[2] == "run r still waits: 2 failed attempts, next attempt 1970-01-01 00:00:02Z; nothing is planned yet"


def test_a_server_without_the_extension_shows_what_the_contract_has(
    way: Way, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json_of(way, "status")
    monkeypatch.setattr("offtake.client.server.Server.get_extension", lambda *_: None)
    code, out, err = way("status", "--json")
    found: dict[str, Any] = json.loads(out)
    assert (code, "does not report which flows are late" in err) == (0, True)
    assert found.keys() == whole.keys()
    assert found["ended"] == whole["ended"]
    (trouble,), (expected,) = found["attention"], whole["attention"]
    assert {name: trouble[name] for name in ("kind", "flowId", "runId")}.items() <= expected.items()
    assert trouble["reason"]["code"] == expected["reason"]["code"]
    assert [one["flowId"] for one in found["ending"]] == [failing]
    assert "1 run delivered 20 rows" in way("status")[1]
