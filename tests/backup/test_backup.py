"""Backups are taken while a real server brings batches in and delivers; each of them goes on exactly where it was."""

import collections
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from offtake.lake import table_description
from offtake.lake.catalog import Lake
from offtake.lake.table_names import TableName
from offtake.store import batches, run_states
from offtake.store.database import Database
from offtake.store.tables import Batch, Dataset, Run, RunPart, Watermark
from tests.commands import Command, run
from tests.deployment import flow_body, source_body, table_of, target_body
from tests.fake_clock import FakeClock
from tests.postgres import new_database
from tests.servers import await_port, free_port

FLOW_SERVICE, IMPORT = "/data/foundation/flowservice", "/data/foundation/import"
ADHOC = "/data/core/activation/disflowprovider/adhocrun"
ZONE = {"id": "10440537-2a7b-4583-ac39-ed38d4b848e8", "version": "1.0"}
BACKUPS, ROWS = 2, 20


@dataclass
class Site:
    """A deployment of its own folder, database, warehouse and landing zone."""

    folder: Path
    warehouse: Path
    database_url: str | None = None
    origin: str = ""

    @property
    def environment(self) -> dict[str, str]:
        said = {
            "OFFTAKE_DATA_DIR": str(self.folder),
            "OFFTAKE_WAREHOUSE": self.warehouse.as_uri(),
            "OFFTAKE_PART_BYTES": "1",
            "OFFTAKE_EXPORT_PROCESSES": "1",
            "OFFTAKE_LEASE_SECONDS": "2",
        }
        return {**os.environ, **said, **({"OFFTAKE_DATABASE_URL": self.database_url} if self.database_url else {})}

    @property
    def zone(self) -> Path:
        return self.folder / "landing-zone" / "prod"

    @contextmanager
    def serving(self) -> Iterator[None]:
        port = free_port()
        process = Command(["serve", "--port", str(port)], self.environment)
        try:
            await_port(port, process)
            self.origin = f"http://127.0.0.1:{port}"
            yield
        finally:
            process.terminate()
            assert process.wait(30) == 0

    def offtake(self, *words: str | Path) -> Any:
        """A command's `--json` output."""
        done = run([*words, "--json"], self.environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def rows(self, wanted: Any) -> list[Any]:
        url = self.database_url or f"sqlite:///{self.folder / 'offtake.db'}"
        with closing(Database(url)) as database, database.reading() as session:
            return list(session.scalars(wanted))

    def table(self) -> tuple[list[int], set[int]]:
        """The ids in the dataset's table, and its snapshots."""
        (dataset,) = self.rows(select(Dataset))
        catalog = self.database_url or f"sqlite:///{self.folder / 'lake' / 'catalog.db'}"
        with closing(Lake(catalog, self.warehouse.as_uri())) as lake:
            table = TableName(dataset.table_name)
            ids = [row["id"] for row in table_description.preview(lake, table, 100_000).to_pylist()]
            return sorted(ids), {one.snapshot_id for one in lake.load(table).snapshots()}

    def delivered(self) -> list[int]:
        """The ids in all files of successful runs."""
        parts = select(RunPart).join(Run, Run.id == RunPart.run_id).where(Run.status == run_states.SUCCESS)
        files = [self.zone / part.key for part in self.rows(parts)]
        return sorted(table_of(files)["id"].to_pylist())

    def is_idle(self) -> bool:
        working = [*self.rows(select(Batch).where(Batch.status.in_((batches.STAGED, batches.PROCESSING))))]
        return not working and not self.rows(select(Run).where(Run.status.in_(run_states.LIVE)))


@dataclass
class Sender:
    """Calls a site's API: sends batches, and asks for increments, until `stop` is set."""

    site: Site
    ids: dict[str, list[int]] = field(default_factory=dict)
    completed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    errors: list[BaseException] = field(default_factory=list)

    def http(self) -> httpx2.Client:
        admin = json.loads((self.site.folder / "admin.json").read_text())
        form = {key: admin[key] for key in ("client_id", "client_secret")} | {"grant_type": "client_credentials"}
        token = httpx2.post(f"{self.site.origin}/ims/token/v3", data=form).json()["access_token"]
        headers = {
            "Authorization": f"Bearer {token}",
            "x-api-key": admin["client_id"],
            "x-gw-ims-org-id": admin["org_id"],
            "x-sandbox-name": "prod",
        }
        return httpx2.Client(base_url=self.site.origin, headers=headers, timeout=60)

    @contextmanager
    def at_work(self, dataset: str, flow: str) -> Iterator[None]:
        threads = [
            threading.Thread(target=self._until_stopped, args=(one,)) for one in (self._send(dataset), self._run(flow))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()
        assert self.errors == []

    def await_more(self, count: int) -> None:
        """Wait until so many more batches have been sent."""
        wanted = len(self.completed) + count
        until(lambda: len(self.completed) >= wanted or bool(self.errors))

    def _until_stopped(self, steps: Generator[None, None, None]) -> None:
        try:
            with closing(steps):
                while not self.stop.is_set():
                    next(steps)
        except BaseException as error:  # noqa: BLE001 - asserted at the end
            self.errors.append(error)

    def _send(self, dataset: str) -> Generator[None, None, None]:
        with self.http() as http:
            while True:
                first = len(self.ids) * ROWS
                body = {"datasetId": dataset, "inputFormat": {"format": "json"}}
                batch = http.post(f"{IMPORT}/batches", json=body).json()["id"]
                self.ids[batch] = list(range(first, first + ROWS))
                for half in (0, 1):
                    lines = "".join(json.dumps({"id": one}) + "\n" for one in self.ids[batch][half::2])
                    path = f"{IMPORT}/batches/{batch}/datasets/{dataset}/files/{half}.json"
                    sent = http.put(path, content=lines, headers={"content-type": "application/octet-stream"})
                    assert sent.status_code == 201, sent.text
                    yield
                assert http.post(f"{IMPORT}/batches/{batch}?action=COMPLETE").status_code == 200
                self.completed.append(batch)
                yield

    def _run(self, flow: str) -> Generator[None, None, None]:
        with self.http() as http:
            while True:
                http.post(ADHOC, json={"activationInfo": {"destinations": [{"flowId": flow}]}})
                self.stop.wait(0.3)
                yield


def new_flow(http: httpx2.Client, dataset: str) -> str:
    def made(path: str, body: Any) -> str:
        answer = http.post(FLOW_SERVICE + path, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    source = made("/sourceConnections", source_body(dataset))
    base = made("/connections", {"name": "zone", "connectionSpec": ZONE})
    target = made("/targetConnections", target_body(base))
    return made("/flows", flow_body(source, target, FakeClock(time.time_ns() // 1_000_000)))


@pytest.fixture(params=["sqlite", "postgres"])
def new_site(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Site]:
    """Makes sites, each with a database of its own."""

    def made(name: str) -> Site:
        server = request.getfixturevalue("postgres") if request.param == "postgres" else None
        return Site(tmp_path / name, tmp_path / f"{name}-warehouse", server and new_database(server))

    return made


def until(done: Callable[[], bool]) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


@pytest.mark.matrix(one_in=2)
def test_every_backup_goes_on_exactly_where_it_was(new_site: Callable[[str], Site], tmp_path: Path) -> None:
    site = new_site("first")
    sender = Sender(site)
    known: list[set[str]] = []
    rows = tmp_path / "rows.json"
    rows.write_text('{"id": -1}\n')
    with site.serving():
        dataset = site.offtake("dataset", "import", "events", rows)["id"]
        with sender.http() as http:
            flow = new_flow(http, dataset)
        with sender.at_work(dataset, flow):
            for number in range(BACKUPS):
                sender.await_more(4)
                known.append(set(sender.completed))
                site.offtake("backup", tmp_path / f"{number}.tar")
    before = site.rows(select(Run).where(Run.status == run_states.SUCCESS))
    assert len(before) >= BACKUPS
    shutil.rmtree(site.warehouse)
    for number in range(BACKUPS):
        again = new_site(f"again-{number}")
        again.offtake("restore", tmp_path / f"{number}.tar")
        shutil.copytree(site.folder / "landing-zone", again.folder / "landing-zone")
        assert {mark.snapshot_id for mark in again.rows(select(Watermark))} <= again.table()[1]
        with again.serving():
            until(again.is_idle)
            again.offtake("flow", "run", flow)
            until(again.is_idle)
        came = {one.id for one in again.rows(select(Batch).where(Batch.status == batches.SUCCESS))}
        assert known[number] <= came
        print(len(before), len(known[number]), len(came), len(again.rows(select(Run))))
        ids = sorted([-1, *(one for batch in came for one in sender.ids.get(batch, []))])
        assert again.table()[0] == ids
        assert collections.Counter(again.delivered()) == collections.Counter(ids)
        assert [run.errors for run in again.rows(select(Run).where(Run.status != run_states.SUCCESS))] == []
