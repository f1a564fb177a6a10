"""An upgrade from a released version, which runs here for real, and the way back.

    python -m tests.upgrade_check v0.1.0 [sqlite|postgres]

Batches are sent and runs requested all the time, except while no server runs.

1. The release serves, with a worker of its own on PostgreSQL. This version makes a backup, which changes nothing.
2. This version migrates the tables while the release's server and worker are working.
3. The release's server is replaced by this version's; the release's worker goes on working next to it, then ends.
4. Every row was delivered once, and no run has failed. The release refuses to start with the new tables.
5. The release restores the backup in another folder, and delivers exactly the rows since.
"""

import collections
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.backup.test_backup import Sender, Site, new_flow, until
from tests.deployment import table_of
from tests.postgres import new_database, postgres_server
from tests.servers import await_port, free_port

ROOT = Path(__file__).parents[1]
THIS = ROOT / "src"


@dataclass
class Deployed(Site):
    """A deployment on which either version works; it is read with plain SQL, as both have these columns."""

    source: Path = THIS

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        environment = {**self.environment, "PYTHONPATH": str(self.source), "OFFTAKE_MULTI_USER": "false"}
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "offtake", *words], env=environment, stdout=log, stderr=log)

    @contextmanager
    def working(self) -> Iterator[None]:
        process = self.start("worker")
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(120) == 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        port = free_port()
        process = self.start("serve", "--port", str(port))
        try:
            await_port(port, process)
            self.origin = f"http://127.0.0.1:{port}"
            yield
        finally:
            process.terminate()
            assert process.wait(120) == 0

    def command(self, *words: str | Path) -> "subprocess.CompletedProcess[str]":
        environment = {**self.environment, "PYTHONPATH": str(self.source)}
        command = [sys.executable, "-m", "offtake", *map(str, words)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def offtake(self, *words: str | Path) -> Any:
        done = self.command(*words)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def query(self, text: str) -> list[Any]:
        url = self.database_url or f"sqlite:///{self.folder / 'offtake.db'}"
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            found = list(connection.scalars(sa.text(text)))
        engine.dispose()
        return found

    def is_idle(self) -> bool:
        return not self.query(
            "SELECT id FROM runs WHERE status IN ('waiting', 'processing') "
            "UNION ALL SELECT id FROM batches WHERE status IN ('staged', 'processing')"
        )

    def delivered(self) -> list[int]:
        keys = self.query("SELECT key FROM run_parts JOIN runs ON runs.id = run_id WHERE status = 'success'")
        return sorted(table_of([self.zone / key for key in keys])["id"].to_pylist())


def imported(site: Deployed, sender: Sender) -> list[int]:
    """The ids of the rows in the dataset, by its completed batches."""
    came = set(site.query("SELECT id FROM batches WHERE status = 'success'"))
    return sorted([-1, *(one for batch, ids in sender.ids.items() if batch in came for one in ids)])


@contextmanager
def pause(sender: Sender, dataset: str, flow: str) -> Iterator[None]:
    """Send and request runs until the block ends; the next block sends other rows."""
    sender.stop.clear()
    with sender.at_work(dataset, flow):
        yield


def quiet(site: Deployed, sender: Sender, flow: str) -> None:
    until(site.is_idle)
    with sender.http() as http:
        body = {"activationInfo": {"destinations": [{"flowId": flow}]}}
        http.post("/data/core/activation/disflowprovider/adhocrun", json=body)
    time.sleep(3)
    until(site.is_idle)


def unpacked(release: str, folder: Path) -> Path:
    """The sources of a release."""
    folder.mkdir()
    packed = subprocess.run(["git", "archive", release, "src"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "x", "-C", str(folder)], input=packed, check=True)
    return folder / "src"


def check(release: str, work: Path, database_url: str | None, restored_url: str | None) -> None:
    old = unpacked(release, work / "release")
    site = Deployed(work / "data", work / "warehouse", database_url, source=old)
    sender, rows = Sender(site), work / "rows.json"
    rows.write_text('{"id": -1}\n')
    with ExitStack() as workers:
        with site.serving():
            if database_url:
                workers.enter_context(site.working())
            dataset = json.loads(site.offtake("dataset", "import", "events", rows, "--json"))["id"]
            with sender.http() as http:
                flow = new_flow(http, dataset)
            with pause(sender, dataset, flow):
                sender.await_more(2)
                site.source = THIS
                before = site.query("SELECT version_num FROM alembic_version")
                site.offtake("backup", work / "before.tar")
                assert site.query("SELECT version_num FROM alembic_version") == before
                sender.await_more(2)
                site.offtake("init")
                sender.await_more(4)
        print(f"migrated from {before} while the release worked: {len(sender.completed)} batches")
        with site.serving():
            with pause(sender, dataset, flow):
                sender.await_more(4)
            workers.close()
            quiet(site, sender, flow)
    assert site.query("SELECT id FROM runs WHERE status <> 'success'") == []
    ids = imported(site, sender)
    assert collections.Counter(site.delivered()) == collections.Counter(ids)
    runs = len(site.query("SELECT id FROM runs"))
    print(f"{len(ids)} rows in {runs} runs, each delivered once")
    site.source = old
    refused = site.command("flow", "list")
    print(f"the release: {refused.stderr.strip()}")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    back = Deployed(work / "back", work / "back-warehouse", restored_url, source=old)
    back.offtake("restore", work / "before.tar")
    shutil.copytree(site.folder / "landing-zone", back.folder / "landing-zone")
    shutil.copy(site.folder / "admin.json", back.folder / "admin.json")
    again = Sender(back, ids=dict(sender.ids))
    with back.serving():
        quiet(back, again, flow)
        with pause(again, dataset, flow):
            again.await_more(2)
        quiet(back, again, flow)
    ids = imported(back, again)
    assert collections.Counter(back.delivered()) == collections.Counter(ids)
    print(f"rolled back: {len(ids)} rows, each delivered once after the backup")


def main() -> None:
    release, *kinds = sys.argv[1:]
    for kind in kinds or ["sqlite", "postgres"]:
        with ExitStack() as stack:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            server = stack.enter_context(postgres_server()) if kind == "postgres" else None
            print(kind)
            check(release, work, server and new_database(server), server and new_database(server))


if __name__ == "__main__":
    main()
