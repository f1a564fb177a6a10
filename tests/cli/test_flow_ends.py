"""Ends at the terminal: `offtake flow list` and `flow show`."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from offtake.cli.main import main
from offtake.clock import Clock
from offtake.engines.local import LocalEngine
from tests.cli.test_serve import serving
from tests.deployment import FLOW_SERVICE, Deployment, deployment, rows
from tests.fake_clock import FakeClock
from tests.servers import free_port

DAY = 86_400


class Terminal:
    """Runs commands in a deployment and gives what they print."""

    def __init__(self, deployed: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
        self.deployed, self._capsys = deployed, capsys

    def flow(self, name: str, **schedule: Any) -> str:
        """A flow of that name; its id."""
        made = self.deployed.flow(self.deployed.import_rows("events", rows(0, 3)), schedule=schedule)
        self.deployed.patch(f"/flows/{made}", [{"op": "replace", "path": "/name", "value": name}])
        return made

    def run(self, *words: str) -> str:
        self._capsys.readouterr()
        assert main([*words, "--data-dir", str(self.deployed.backend.settings.data_dir)]) == 0
        return self._capsys.readouterr().out

    def names(self, *words: str) -> list[str]:
        """The names that `flow list` shows with such options."""
        return [str(one["name"]) for one in json.loads(self.run("flow", "list", *words, "--json"))]

    def act(self, flow: str, op: str) -> None:
        self.deployed.sign_in()
        self.deployed.post(f"/flows/{flow}/action?op={op}", {}, 200)


@pytest.fixture
def terminal(deployed: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr("offtake.cli.local.Clock", lambda: deployed.clock)
    return Terminal(deployed, capsys)


def test_the_list_shows_ends_and_which_were_filled_in(terminal: Terminal) -> None:
    terminal.flow("defaulted")
    terminal.flow("chosen", endTime=terminal.deployed.clock.now_seconds() + DAY)
    lines = {line.split("\t")[1]: line for line in terminal.run("flow", "list").splitlines()}
    assert lines["defaulted"].endswith("\t2026-03-01 12:00:00Z\t2026-09-01 12:00:00Z (filled in by default)")
    assert lines["chosen"].endswith("\t2026-03-01 12:00:00Z\t2026-03-02 12:00:00Z")


def test_a_flow_past_its_end_is_shown_as_ended_since_when_and_how_to_prolong_it(terminal: Terminal) -> None:
    flow = terminal.flow("f")
    assert "\nends: 2026-09-01 12:00:00Z (filled in by default)\n" in terminal.run("flow", "show", "f")
    terminal.deployed.run_due()
    terminal.deployed.clock.advance(days=200)
    shown = terminal.run("flow", "show", "f")
    assert f"flow f ({flow}) is enabled, ended since 2026-09-01 12:00:00Z (filled in by default)\n" in shown
    assert "\nnext slot: none\none more run follows: a slot before the end is still due\n" in shown
    assert f"to extend it: PATCH {FLOW_SERVICE}/flows/{flow} with If-Match: * and [" in shown
    terminal.deployed.run_due()
    assert "still due" not in terminal.run("flow", "show", "f")
    document = json.loads(terminal.run("flow", "show", "f", "--json"))
    expected = {"endTimeDefaulted": True, "ended": True, "nextRunAt": None, "consecutiveFailures": 0}
    expected |= {"freshWithinSeconds": None, "deliveredUpToUTC": terminal.deployed.clock.ms, "lateSinceUTC": None}
    assert document["extensions"] == expected
    (_, line) = terminal.run("flow", "list").splitlines()
    assert line.split()[2] == "ended"
    assert line.count("Z") == 2  # when the last run ended, and the flow's end; no next run


@pytest.mark.parametrize("op", ["replace", "remove"])
def test_the_request_that_is_printed_prolongs_the_flow(terminal: Terminal, op: str) -> None:
    flow = terminal.flow("f")
    terminal.deployed.clock.advance(days=200)
    terminal.deployed.run_due()
    shown = terminal.run("flow", "show", "f")
    (line,) = [line for line in shown.splitlines() if line.startswith("to extend it: ")]
    path = line.partition("PATCH ")[2].split()[0]
    later = terminal.deployed.clock.now_seconds() + DAY
    (body,) = [part for part in line.split("[") if f'"op": "{op}"' in part]
    operations = json.loads("[" + body.partition("]")[0].replace("EPOCH_SECONDS", str(later)) + "]")
    terminal.deployed.sign_in()
    answer = terminal.deployed.http.patch(path, json=operations, headers={"If-Match": "*"})
    assert answer.status_code == 200, answer.text
    ends = "2026-09-18 12:00:00Z" if op == "replace" else "never"
    shown = terminal.run("flow", "show", flow)
    assert "is enabled\nnext slot: 2026-09-17 15:00:00Z\n" in shown
    assert f"\nends: {ends}\n" in shown


def test_a_disabled_flow_has_no_next_run(terminal: Terminal) -> None:
    flow = terminal.flow("f")
    terminal.act(flow, "disable")
    assert "is disabled\nnext slot: none\nends: " in terminal.run("flow", "show", "f")
    (_, line) = terminal.run("flow", "list").splitlines()
    assert line.split("\t")[2:] == ["disabled", "", "", "", "2026-09-01 12:00:00Z (filled in by default)"]
    terminal.deployed.clock.advance(days=200)
    assert "is disabled, ended since 2026-09-01" in terminal.run("flow", "show", "f")
    assert "\tdisabled, ended\t" in terminal.run("flow", "list")


def test_the_list_finds_the_flows_that_end_soon_the_first_first(terminal: Terminal) -> None:
    now = terminal.deployed.clock.now_seconds()
    once = {"exportMode": "DAILY_FULL_EXPORT", "timeUnit": "day", "interval": 0}
    for name, days in (("later", 31), ("second", 30), ("first", 2)):
        terminal.flow(name, endTime=now + days * DAY)
    terminal.flow("defaulted")
    terminal.flow("once", **once, endTime=now + DAY)
    assert terminal.names("--ending-within", "30") == ["first", "second"]
    assert terminal.names("--ending-within", "0.5") == []
    assert terminal.names("--ending-within", "200") == ["first", "second", "later", "defaulted"]
    assert terminal.run("flow", "list", "--ending-within", "1") == ""
    terminal.deployed.clock.advance(days=3)
    assert terminal.names("--ending-within", "30") == ["second", "later"]
    assert len(terminal.names()) == 5


def test_what_a_run_owes_is_not_promised_of_a_flow_that_does_not_run(terminal: Terminal) -> None:
    deployed = terminal.deployed
    flow = terminal.flow("f")
    terminal.run("flow", "run", "f")
    (run,) = deployed.runs(flow)
    deployed.http.post(f"{FLOW_SERVICE}/runs/{run['id']}/action?op=CANCEL")
    deployed.run_due()
    assert "the flow's next run covers it" in terminal.run("run", "show", run["id"])
    terminal.act(flow, "disable")
    assert "the flow is disabled: enable it" in terminal.run("run", "show", run["id"])
    deployed.delete(f"/flows/{flow}")
    assert "its flow is deleted" in terminal.run("run", "show", run["id"])


def test_serve_names_at_each_start_the_flows_that_end_soon_and_logs_their_threshold_once(
    tmp_path: Path, engine: LocalEngine
) -> None:
    clock = FakeClock(Clock().now_ms())
    with deployment(tmp_path / "data", clock, engine) as deployed:
        dataset = deployed.import_rows("events", rows(0, 3))
        times = {"startTime": clock.now_seconds() + DAY, "endTime": clock.now_seconds() + 5 * DAY}
        flow = deployed.flow(dataset, schedule=times)
        deployed.flow(dataset, schedule={"startTime": clock.now_seconds() + DAY})
    logged = [_log_of_a_server(tmp_path / "data") for _ in range(2)]
    for log in logged:
        (line,) = [line for line in log.splitlines() if "end within 30 days" in line]
        assert f"WARNING - offtake.flows.flow_ends 1 flow(s) end within 30 days: flow {flow} (flow) at " in line
    assert [log.count(" WARNING - offtake.events flow.ending_soon flow=flow ") for log in logged] == [1, 0]
    assert [log.count(f"flow_id={flow}") for log in logged] == [1, 0]


def _log_of_a_server(data_dir: Path) -> str:
    """What a server logs that is stopped once its scheduler has gone round."""
    with serving(data_dir, port := free_port()) as process:
        assert httpx2.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        return process.communicate(timeout=20)[1].decode()


# Freshness


def test_a_freshness_target_is_set_shown_and_removed(terminal: Terminal) -> None:
    flow = terminal.flow("fresh")
    terminal.deployed.run_due()
    terminal.run("flow", "edit", flow, "--fresh-within", "90m")
    terminal.deployed.clock.advance(hours=2)
    shown = terminal.run("flow", "show", flow)
    assert "late when its data is older than 90m" in shown
    assert "delivered up to: 2026-03-01 12:00:00Z" in shown
    assert "late since 2026-03-01 13:30:00Z" in shown
    assert "older than its target" in terminal.run("status")
    terminal.run("flow", "edit", flow, "--fresh-within", "none")
    terminal.run("flow", "edit", flow, "--fresh-within", "none")
    assert "late" not in terminal.run("flow", "show", flow)


def test_a_new_flow_has_the_target_that_is_given(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.flow("first")
    words = ("flow", "create", "second", "--dataset", "events", "--to", "zone", "--path", "p", "--format", "ndjson")
    made = json.loads(terminal.run(*words, "--every", "3h", "--fresh-within", "1d", "--json"))
    assert made["extensions"]["freshWithinSeconds"] == DAY
    folder = str(terminal.deployed.backend.settings.data_dir)
    assert main(["flow", "edit", "first", "--fresh-within", "soon", "--data-dir", folder]) == 2
    assert "90m, 4h or 2d, or none" in capsys.readouterr().err
