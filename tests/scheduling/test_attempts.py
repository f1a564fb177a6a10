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

import psutil
import pytest
from sqlalchemy import select

from offtake.cli.main import main
from offtake.destinations.drivers.sftp_files import RemoteFolder
from offtake.destinations.drivers.sftp_placing import Placing, TemporaryName
from offtake.engines.local import LocalEngine
from offtake.exporting.attempts import earlier_attempts, next_attempt
from offtake.exporting.plan import part_name
from offtake.scheduling.orphan_sweeper import remove_orphans
from offtake.store.tables import RunPart
from tests.api.tutorial import connect, flow_body, source_of
from tests.deployment import Deployment, deployment, rows, table_of
from tests.fake_clock import FakeClock
from tests.processes import running
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
    params: dict[str, object]

    def attempts(self) -> list[str]:
        """The numbers of the attempts whose files are there, by part."""
        names = [path.name for path in self.folder.rglob("part-*")]
        return sorted(":".join(re.findall(r"-([0-9]+)-([0-9]+)-c000", name)[0]) for name in names)

    def ids(self) -> list[int]:
        found = table_of(list(self.folder.rglob("part-*")))["id"].to_pylist()
        return sorted(int(one) for one in found)

    def names(self) -> set[str]:
        """Everything that is there but folders, by its path from the server's root."""
        root = self.folder.parent
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    def to_be_removed(self) -> set[str]:
        """What the flow's last run names as still to be removed."""
        extensions = self.run()["metrics"]["statusSummary"].get("extensions", {})
        return set(extensions.get("toBeRemoved", {}).get("files", ()))

    def connection(self) -> str:
        target = self.deployed.get(f"/flows/{self.flow}")["items"][0]["targetConnectionIds"][0]
        return str(self.deployed.get(f"/targetConnections/{target}")["items"][0]["baseConnectionId"])

    def set_options(self, **options: object) -> None:
        """Change the connection's options."""
        change = {"op": "replace", "path": "/auth/params", "value": self.params | options}
        self.deployed.patch(f"/connections/{self.connection()}", [change])

    def run(self) -> dict[str, Any]:
        """The flow's last run."""
        run: dict[str, Any] = self.deployed.runs(self.flow)[0]
        return run

    def said(self, capsys: pytest.CaptureFixture[str], *command: str) -> str:
        assert main([*command, "--data-dir", str(self.deployed.backend.settings.data_dir)]) == 0
        return capsys.readouterr().out


@contextmanager
def partner(deployed: Deployment, root: Path, rules: Rules, **more: object) -> Iterator[Partner]:
    with ruled_server(root, rules) as params:
        auth = {"specName": "SFTP with Password", "params": params}
        target = connect(deployed, "SFTP", auth, remotePath="in", compression="GZIP", datasetFileType="PARQUET", **more)
        schedule = {"timeUnit": "hour", "interval": 6, "startTime": 1_772_344_800}
        dataset = deployed.import_rows("events", rows(0, 3))
        flow = str(deployed.post("/flows", flow_body("SFTP", source_of(deployed, dataset), target, schedule))["id"])
        deployed.clock.advance(seconds=660)
        yield Partner(deployed, flow, rules, root / "in", params)


def sweep(deployed: Deployment) -> None:
    for _ in remove_orphans(deployed.backend):
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
            assert "1 file(s) of failed attempts, whose rows are delivered by other files, are still to be" in said
            assert f"removed: {owed}" in said
        shown = json.loads(at.said(capsys, "flow", "show", at.flow, "--json"))
        assert [(one["runId"], one["files"]) for one in shown["toBeRemoved"]] == [(run["id"], [owed])]

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


def test_a_failed_run_names_each_file_that_it_could_not_remove(
    deployed: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = Rules(refused=RENAMES)
    with partner(deployed, tmp_path / "server", rules) as at:
        _learn(at)
        rules.refused, rules.broken_writes = (*RENAMES, "remove"), 10**6
        deployed.run_due()
        live = at.names()
        assert at.to_be_removed() < live, "the attempt that is under way is not to be removed yet"
        at.said(capsys, "run", "cancel", at.run()["id"])
        deployed.run_due()
        assert at.run()["metrics"]["statusSummary"]["status"] == "failed"
        assert at.to_be_removed() == at.names() == live


def test_a_manifest_that_was_cut_off_is_written_again_where_nothing_can_be_removed(
    deployed: Deployment, tmp_path: Path
) -> None:
    rules = Rules(refused=RENAMES)
    with partner(deployed, tmp_path / "server", rules, includeFileManifest=True) as at:
        _learn(at)
        rules.refused, rules.breaks_once = (*RENAMES, "remove"), b"exportResults"
        deployed.run_out()
        assert rules.breaks_once is None
        assert at.run()["metrics"]["statusSummary"]["status"] == "success"
        (file,) = at.folder.rglob("manifest-*")
        named = {one["name"] for one in json.loads(file.read_text())["exportResults"]}
        assert named == {path.name for path in at.folder.rglob("part-*")}
        assert at.ids() == [0, 1, 2]


def test_files_of_a_run_whose_manifest_cannot_be_removed_stay_delivered_and_are_named(
    deployed: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = Rules(refused=RENAMES)
    with partner(deployed, tmp_path / "server", rules, includeFileManifest=True) as at:
        _learn(at)
        rules.refused, rules.breaks_once = (*RENAMES, "remove"), b"exportResults"
        rules.failing = lambda: setattr(rules, "refused", (*RENAMES, "remove", "write"))
        deployed.run_due()
        run = at.run()
        assert run["metrics"]["statusSummary"]["status"] == "failed"
        (delivered,) = at.folder.rglob("part-*")
        assert f"1 file(s) with 3 rows stay delivered: sftp://127.0.0.1:{at.params['port']}/~/in/" in at.said(
            capsys, "run", "show", run["id"]
        )
        rules.refused, rules.failing = RENAMES, lambda: None
        deployed.import_rows("events", rows(3, 3))
        deployed.clock.advance(hours=6)
        deployed.run_due()
        assert at.run()["metrics"]["statusSummary"]["status"] == "success"
        assert delivered.exists()
        assert at.ids() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("before", ["DOT", "SUFFIX", "FOLDER"])
def test_temporary_files_of_a_run_are_removed_when_its_connection_was_changed_to_final_names(
    deployed: Deployment, tmp_path: Path, before: TemporaryName
) -> None:
    rules = Rules(broken_writes=10**6)
    with partner(deployed, tmp_path / "server", rules) as at:
        at.set_options(temporaryName=before, exclusiveCreate=True, readBack=True)
        deployed.run_due()
        with deployed.backend.database.reading() as session:
            (key,) = session.scalars(select(RunPart.key))
        # Left by a writer that was killed.
        remote = RemoteFolder("127.0.0.1", "", "in", 10, Placing(before))
        temporary = at.folder.parent / remote.temporary_key(key, 1)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(b"half")
        rules.refused, rules.broken_writes = RENAMES, 0
        at.set_options(temporaryName="NONE")
        deployed.run_out()
        deployed.clock.advance(seconds=1000)
        sweep(deployed)
        assert at.attempts() == ["1:2"]
        assert len(at.names()) == 1


def test_a_file_half_written_under_its_final_name_is_replaced_when_renaming_is_allowed_again(
    deployed: Deployment, tmp_path: Path
) -> None:
    rules = Rules(refused=RENAMES)
    with partner(deployed, tmp_path / "server", rules) as at:
        _learn(at)
        rules.refused, rules.broken_writes = (*RENAMES, "remove"), 10**6
        deployed.run_due()
        rules.refused, rules.broken_writes = (), 0
        at.set_options(temporaryName="DOT", exclusiveCreate=True, readBack=True)
        deployed.run_out()
        deployed.clock.advance(seconds=1000)
        sweep(deployed)
        assert len(at.names()) == 1
        assert at.ids() == [0, 1, 2]
        assert at.to_be_removed() == set()


def test_what_an_attempt_of_a_delivered_run_writes_late_is_removed(deployed: Deployment, tmp_path: Path) -> None:
    rules = Rules(refused=RENAMES)
    with partner(deployed, tmp_path / "server", rules) as at:
        _learn(at)
        rules.broken_writes = 1
        deployed.run_due()
        assert at.run()["metrics"]["statusSummary"]["status"] == "success"
        (file,) = at.folder.rglob("part-*")
        file.with_name(file.name.replace("-1-2-c000", "-1-1-c000")).touch()
        deployed.clock.advance(seconds=1000)
        sweep(deployed)
        assert at.attempts() == ["1:2"]


def test_a_file_whose_writer_died_is_written_again_under_another_name(deployed: Deployment, tmp_path: Path) -> None:
    rules = Rules(refused=RENAMES)
    with partner(deployed, tmp_path / "server", rules) as at:
        _learn(at)
        # What the dead process has sent may be written after its successor has begun.
        rules.refused, rules.broken_writes, rules.failing = (*RENAMES, "remove"), 1, _kill_writers
        deployed.run_out()
        assert at.run()["metrics"]["statusSummary"]["status"] == "success"
        assert at.attempts() == ["1:1", "1:2"]
        assert {re.findall("-1-[0-9]+-c000", name)[0] for name in at.to_be_removed()} == {"-1-1-c000"}


def test_the_next_run_says_too_what_to_do_when_renaming_is_not_allowed_any_more(
    deployed: Deployment, tmp_path: Path
) -> None:
    rules = Rules()
    with partner(deployed, tmp_path / "server", rules) as at:
        _learn(at)
        rules.refused = RENAMES
        for _ in range(2):
            deployed.run_due()
            (error,) = at.run()["metrics"]["statusSummary"]["errors"]
            assert "remove these options from the base connection and test it" in error["message"]
            deployed.clock.advance(hours=6)
        at.set_options()
        _learn(at)
        deployed.run_due()
        assert at.run()["metrics"]["statusSummary"]["status"] == "success"
        assert at.ids() == [0, 1, 2]


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


@pytest.mark.matrix(one_in=4)
@pytest.mark.parametrize("point", ["plan_stored", "part_before_record:3", "part_recorded:3", "before_commit"])
def test_a_server_that_is_killed_delivers_every_row_once_under_the_names_of_its_last_attempts(
    tmp_path: Path, engine: LocalEngine, point: str
) -> None:
    data_dir = tmp_path / "data"
    with sshd(tmp_path / "ssh") as ssh:
        partner_server = ssh.within("partner", "-P rename,posix-rename")
        with deployment(data_dir, FakeClock(time.time_ns() // 1_000_000), engine) as deployed:
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


def _kill_writers() -> None:
    for child in running("spawn_main", psutil.Process().children(recursive=True)):
        child.kill()


def _learn(at: Partner) -> None:
    """Have the server's rules found before anything fails."""
    assert at.deployed.get(f"/connections/{at.connection()}/test")["result"] is True
