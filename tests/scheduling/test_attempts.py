"""Servers where nothing can be renamed: each attempt to write a file has its own name; the losing one is removed."""

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from offtake.cli.main import main
from offtake.clock import MovedClock
from offtake.engines.local import LocalEngine
from offtake.exporting.attempts import earlier_attempts, next_attempt
from offtake.exporting.plan import part_name
from offtake.scheduling.debris import sweep_debris
from tests.api.tutorial import connect, flow_body, source_of
from tests.deployment import Deployment, deployment, rows, table_of
from tests.scheduling.test_kill import PARTS, ROWS, finish, recorded, serve
from tests.sftp_server import Rules, ruled_server
from tests.ssh_server import sshd

RENAMES = ("rename", "posix_rename")


@dataclass(frozen=True)
class Partner:
    """A flow to a server of these rules, and the folder that it delivers to."""

    deployed: Deployment
    flow: str
    rules: Rules
    folder: Path

    def attempts(self) -> list[str]:
        """The numbers of the attempts whose files are there, by part."""
        names = sorted(path.name for path in self.folder.rglob("part-*"))
        return [":".join(re.findall(r"-([0-9]+)-([0-9]+)-c000", name)[0]) for name in names]

    def ids(self) -> list[int]:
        found = table_of(list(self.folder.rglob("part-*")))["id"].to_pylist()
        return sorted(int(one) for one in found)

    def run(self) -> dict[str, Any]:
        """The flow's last run."""
        run: dict[str, Any] = self.deployed.runs(self.flow)[0]
        return run

    def said(self, capsys: pytest.CaptureFixture[str], *command: str) -> str:
        assert main([*command, "--data-dir", str(self.deployed.backend.settings.data_dir)]) == 0
        return capsys.readouterr().out


@contextmanager
def partner(deployed: Deployment, root: Path, rules: Rules) -> Iterator[Partner]:
    with ruled_server(root, rules) as params:
        auth = {"specName": "SFTP with Password", "params": params}
        target = connect(deployed, "SFTP", auth, remotePath="in", compression="GZIP", datasetFileType="PARQUET")
        schedule = {"timeUnit": "hour", "interval": 6, "startTime": 1_772_344_800}
        dataset = deployed.import_rows("events", rows(0, 3))
        flow = str(deployed.post("/flows", flow_body("SFTP", source_of(deployed, dataset), target, schedule))["id"])
        deployed.clock.advance(seconds=660)
        yield Partner(deployed, flow, rules, root / "in")


def sweep(deployed: Deployment) -> None:
    for _ in sweep_debris(deployed.backend):
        pass


def test_the_first_attempt_has_the_name_that_the_contract_gives(
    deployed: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with partner(deployed, tmp_path / "server", Rules(refused=RENAMES)) as at:
        deployed.run_due()
        assert at.run()["metrics"]["statusSummary"]["status"] == "success"
        assert at.attempts() == ["1:1"]
        assert at.ids() == [0, 1, 2]
        assert "temporaryName=NONE" in at.said(capsys, "flow", "show", at.flow)


def test_an_attempt_that_fails_is_removed_and_the_next_one_has_its_own_name(
    deployed: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with partner(deployed, tmp_path / "server", Rules(refused=RENAMES)) as at:
        deployed.run_due()
        deployed.import_rows("events", rows(3, 3))
        deployed.clock.advance(hours=6)
        at.rules.broken_writes = 2
        deployed.run_out()
        run = at.run()
        assert run["metrics"]["statusSummary"]["status"] == "success"
        assert at.attempts() == ["1:1", "1:3"]
        assert at.ids() == [0, 1, 2, 3, 4, 5]
        assert "toBeRemoved" not in json.dumps(run)
        assert "to be removed" not in at.said(capsys, "run", "show", run["id"])
        (named,) = run["metrics"]["fileSummary"]["manifest"]["fileInfo"]
        assert re.search(r"-1-3-c000", named["path"])


def test_what_cannot_be_removed_is_owed_and_removed_when_the_server_allows_it(
    deployed: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = Rules(refused=RENAMES)
    with partner(deployed, tmp_path / "server", rules) as at:
        _learn(at)
        rules.refused, rules.broken_writes = (*RENAMES, "remove"), 1
        deployed.run_out()
        run = at.run()
        assert run["metrics"]["statusSummary"]["status"] == "success"
        assert at.attempts() == ["1:1", "1:2"]
        (owed,) = run["metrics"]["statusSummary"]["extensions"]["toBeRemoved"]["files"]
        assert re.search(r"-1-1-c000", owed)
        for command in (["run", "show", run["id"]], ["flow", "show", at.flow]):
            said = at.said(capsys, *command)
            assert (
                f"1 file(s) of failed attempts, with rows that other files have too, are still to be removed: {owed}"
                in said
            )
        shown = json.loads(at.said(capsys, "flow", "show", at.flow, "--json"))
        assert shown["toBeRemoved"] == [{"runId": run["id"], "files": [owed]}]

        sweep(deployed)
        assert "toBeRemoved" in json.dumps(at.run())
        rules.refused = RENAMES
        deployed.clock.advance(seconds=60)
        sweep(deployed)
        assert at.attempts() == ["1:2"]
        assert at.ids() == [0, 1, 2]
        assert "toBeRemoved" not in json.dumps(at.run())


def test_a_cancelled_run_takes_back_what_all_of_its_attempts_have_left(
    deployed: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = Rules(refused=RENAMES)
    with partner(deployed, tmp_path / "server", rules) as at:
        _learn(at)
        rules.refused, rules.broken_writes = (*RENAMES, "remove"), 10**6
        deployed.run_due()
        deployed.run_due()
        assert at.attempts() != []
        run = at.run()["id"]
        at.said(capsys, "run", "cancel", run)
        rules.refused = RENAMES
        deployed.run_due()
        deployed.clock.advance(seconds=60)
        sweep(deployed)
        assert at.attempts() == []
        assert at.run()["metrics"]["statusSummary"]["status"] == "failed"


@pytest.mark.parametrize("number", [1, 9, 10, 123])
@pytest.mark.parametrize("ending", [".json.gz", ".gz.parquet", ".json.gz.pgp"])
def test_names_count_attempts_and_nothing_else(number: int, ending: str) -> None:
    first = f"in/12-1-c000/{part_name('0b0e-12-3', 41, ending)}"
    key = first
    for _ in range(number):
        key = next_attempt(key)
    assert key == first.replace("-42-1-c000", f"-42-{number + 1}-c000")
    assert next(earlier_attempts(key)) == first
    assert len(set(earlier_attempts(key))) == number


@pytest.mark.parametrize("point", ["plan_stored", "part_before_record:3", "part_recorded:3", "before_commit"])
def test_a_server_that_is_killed_delivers_every_row_once_under_the_names_of_its_last_attempts(
    tmp_path: Path, engine: LocalEngine, point: str
) -> None:
    data_dir = tmp_path / "data"
    with sshd(tmp_path / "ssh") as ssh:
        partner_server = ssh.within("partner", "-P rename,posix-rename")
        with deployment(data_dir, MovedClock(time.time_ns() // 1_000_000), engine) as deployed:
            for first in range(0, PARTS * ROWS, ROWS):
                dataset = deployed.import_rows("events", rows(first, ROWS))
            auth = {"specName": "SFTP with SSH Key", "params": partner_server.params()}
            more = {"compression": "GZIP", "datasetFileType": "PARQUET", "includeFileManifest": True}
            target = connect(deployed, "SFTP", auth, remotePath="in", **more)
            schedule = {"timeUnit": "hour", "interval": 6, "startTime": deployed.clock.now_seconds()}
            deployed.post("/flows", flow_body("SFTP", source_of(deployed, dataset), target, schedule))

        killed = serve(data_dir, point)
        assert killed.wait(60) == -signal.SIGKILL
        before = recorded(data_dir)
        run = finish(data_dir)

        assert (run.status, run.errors) == ("success", [])
        there = {path.name: path for path in partner_server.root.rglob("*") if path.is_file()}
        (manifest,) = [json.loads(path.read_text()) for name, path in there.items() if name.startswith("manifest-")]
        named = {one["name"] for one in manifest["exportResults"]}
        assert {key.rpartition("/")[2] for key in before} <= named
        assert table_of([there[name] for name in named])["id"].to_pylist() == list(range(PARTS * ROWS))
        assert {name for name in there if name.startswith("part-")} == named


def _learn(at: Partner) -> None:
    """Have the server's rules found before anything fails."""
    target = at.deployed.get(f"/flows/{at.flow}")["items"][0]["targetConnectionIds"][0]
    base = at.deployed.get(f"/targetConnections/{target}")["items"][0]["baseConnectionId"]
    assert at.deployed.get(f"/connections/{base}/test")["result"] is True
