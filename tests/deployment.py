"""A whole deployment in a folder: its API, and a worker that runs when a test says so."""

import functools
import json
import os
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import FastAPI
from sqlalchemy import func, select

from offtake.access import access, clients
from offtake.access.clients import NewClient
from offtake.access.sign_ins import SignIns
from offtake.api.app import create_app
from offtake.catalog import file_import
from offtake.catalog.file_import import ImportRequest
from offtake.contract.caller import Caller, Kind
from offtake.deployment.backend import Backend, open_backend
from offtake.deployment.event_log import EventLog
from offtake.exporting.engine import Engine
from offtake.scheduling.background import ingestor_of, worker_of
from offtake.scheduling.ingestor import Ingestor
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.scheduling.worker import Worker
from offtake.settings import Settings
from offtake.store import manifests, run_parts
from offtake.store.run_parts import is_delivered
from offtake.store.tables import Role, RoleSubject, Run
from offtake.web import app as web
from tests.app_client import AppClient
from tests.fake_clock import FakeClock
from tests.local_parsers import LocalParsers
from tests.sqlite import put_migrated_store
from tests.vendor.validation import check_response

Json = dict[str, Any]
FLOW_SERVICE = "/data/foundation/flowservice"
ZONE = "10440537-2a7b-4583-ac39-ed38d4b848e8"
ZONE_FLOW = "cd2fc47e-e838-4f38-a581-8fff2f99b63a"
LAKE = "23598e46-f560-407b-88d5-ea6207e49db0"
WITH_MANIFEST: Json = {"includeFileManifest": True}
"""Params of target connections for consumers that wait for a manifest file."""


@dataclass
class Deployment:
    """What a test needs of one deployment."""

    backend: Backend
    http: AppClient
    clock: FakeClock
    admin: NewClient
    caller: Caller
    engine: Engine

    @cached_property
    def worker(self) -> Worker:
        """One worker, who remembers what it has seen of others' leases."""
        return worker_of(self.backend, self.engine, "test")

    @cached_property
    def ingestor(self) -> Ingestor:
        """One ingestor, who remembers as well."""
        return ingestor_of(self.backend, "test")

    @property
    def zone(self) -> Path:
        return self.backend.settings.landing_zone_root / "prod"

    def import_rows(self, name: str, rows: list[Json]) -> str:
        """The rows as one batch of a dataset; its id."""
        file = self.backend.settings.data_dir / "import.ndjson"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        wanted = ImportRequest(name, (file,), evolve=True, again=True)
        backend = self.backend
        done = file_import.import_files(
            backend.database, backend.lake, backend.parsers, self.caller, self.clock, wanted
        )
        return done.dataset.id

    def get(self, path: str, status: int = 200) -> Any:
        answer = self.http.get(FLOW_SERVICE + path)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, body: Any, status: int = 201) -> Any:
        answer = self.http.post(path if path.startswith("/data") else FLOW_SERVICE + path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def patch(self, path: str, operations: Any, status: int = 200, etag: str | None = None) -> Any:
        """Change an entity, with the etag that it has now unless another one is given."""
        given = etag_of(self, path) if etag is None else etag
        answer = self.http.patch(FLOW_SERVICE + path, json=operations, headers={"If-Match": given})
        assert answer.status_code == status, answer.text
        return answer.json()

    def delete(self, path: str, status: int = 202) -> Any:
        answer = self.http.delete(FLOW_SERVICE + path)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def flow(self, *dataset_ids: str, params: Json | None = None, schedule: Json | None = None) -> str:
        """A flow from the datasets to the landing zone, every three hours from now; its id."""
        source = self.post("/sourceConnections", source_body(*dataset_ids))["id"]
        spec = {"id": ZONE, "version": "1.0"}
        base = self.post("/connections", {"name": "zone", "connectionSpec": spec})["id"]
        target = self.post("/targetConnections", target_body(base, **(params or {})))["id"]
        return str(self.post("/flows", flow_body(source, target, self.clock, **(schedule or {})))["id"])

    def run_due(self) -> None:
        """Tick, and carry out whatever is due."""
        enqueue_due_runs(self.backend.database, self.clock)
        while self.worker.run_next(threading.Event()):
            pass

    def run_out(self) -> None:
        """The same, and let time pass until no run waits any more."""
        self.run_due()
        while (at := self.next_try()) is not None:
            self.clock.advance(seconds=max(0, at - self.clock.ms) / 1000)
            self.run_due()

    def next_try(self) -> int | None:
        """When the first of the runs that wait is tried again."""
        waits = select(func.min(Run.not_before)).where(Run.status == "waiting")
        with self.backend.database.reading() as session:
            return session.scalar(waits)

    def ingest_due(self) -> None:
        """Bring in every batch that is complete."""
        while self.ingestor.ingest_next(threading.Event()):
            pass

    def sign_in(self) -> None:
        """A fresh token: the clock may have moved past the last one's end."""
        self.http.headers.update(headers(self.http, self.admin))

    def new_client(
        self, *permissions: str, sandboxes: tuple[str, ...] = ("*",), labels: tuple[str, ...] = (), kind: Kind = "user"
    ) -> NewClient:
        """A client whose one role grants just that."""
        now = self.clock.now_ms()
        with self.backend.database.writing() as session:
            client, secret = clients.new_client(session, self.admin.org_id, "client", kind, now)
            role = Role(
                id=str(uuid4()),
                org_id=self.admin.org_id,
                name=f"role of {client.id}",
                description="",
                permissions=list(permissions),
                sandboxes=list(sandboxes),
                labels=list(labels),
                created_at=now,
                updated_at=now,
                created_by="test",
                updated_by="test",
            )
            session.add(role)
            session.flush()
            session.add(RoleSubject(role_id=role.id, client_id=client.id))
        return NewClient(self.admin.org_id, client.id, secret, "prod")

    @contextmanager
    def acting(self, client: NewClient, sandbox: str = "prod") -> Iterator[None]:
        """Call as that client, in that sandbox, until the block ends."""
        before = dict(self.http.headers)
        self.http.headers.update(headers(self.http, client) | {"x-sandbox-name": sandbox})
        try:
            yield
        finally:
            self.http.headers.clear()
            self.http.headers.update(before)

    def runs(self, flow_id: str) -> list[Json]:
        """The flow's runs, newest first."""
        self.sign_in()
        items: list[Json] = self.get(f"/runs?property=flowId=={flow_id}")["items"]
        return items

    def manifests(self) -> list[Json]:
        """What each run delivered that delivered files, as it is kept, in the order in which they were written.

        By the files, while they are there: a test may set the deployment's clock back.
        """
        over = select(Run).where(Run.completed_at.is_not(None)).order_by(Run.completed_at, Run.created_at, Run.id)
        with self.backend.database.reading() as session:
            kept = [
                json.loads(
                    manifests.to_bytes(manifests.manifest_of(run, datasets, run_parts.run_parts(session, run.id)))
                )
                for run in session.scalars(over)
                if is_delivered(run, datasets := run_parts.run_datasets(session, run.id))
            ]
        return sorted((one for one in kept if one["exportResults"]), key=self._written_ns)

    def _written_ns(self, manifest: Json) -> int:
        """When the last of the manifest's files was written, by this machine's clock; 0 when all are gone."""
        return max((file.stat().st_mtime_ns for file in self.delivered(manifest) if file.exists()), default=0)

    def manifest_files(self) -> list[Path]:
        """The manifest files in the zone, oldest first."""
        return sorted(self.zone.rglob("manifest-*.json"), key=lambda path: path.stat().st_mtime_ns)

    def delivered(self, manifest: Json) -> list[Path]:
        """The files a manifest names."""
        return [self.zone / one["sinkPath"].lstrip("/") / one["name"] for one in manifest["exportResults"]]


def source_body(*dataset_ids: str) -> Json:
    return {
        "name": "source",
        "connectionSpec": {"id": LAKE, "version": "1.0"},
        "params": {"datasets": [{"dataSetId": one} for one in dataset_ids]},
    }


def target_body(base: str, **params: Any) -> Json:
    standard = {"mode": "Server-to-server", "path": "out", "compression": "NONE", "datasetFileType": "PARQUET"}
    return {
        "name": "target",
        "baseConnectionId": base,
        "connectionSpec": {"id": ZONE, "version": "1.0"},
        "params": standard | params,
    }


def flow_body(source: str, target: str, clock: FakeClock, **schedule: Any) -> Json:
    standard = {
        "exportMode": "FIRST_FULL_THEN_INCREMENTAL",
        "timeUnit": "hour",
        "interval": 3,
        "startTime": clock.now_seconds(),
    }
    return {
        "name": "flow",
        "flowSpec": {"id": ZONE_FLOW, "version": "1.0"},
        "sourceConnectionIds": [source],
        "targetConnectionIds": [target],
        "transformations": [],
        "scheduleParams": standard | schedule,
    }


@contextmanager
def deployment(folder: Path, clock: FakeClock, engine: Engine, **settings: Any) -> Iterator[Deployment]:
    """A fresh deployment in `folder`, its client signed in."""
    admin = None
    if settings.keys().isdisjoint(_ELSEWHERE) and not folder.exists():
        admin = _begin(folder, clock.now_ms())
    if "database_url" not in settings:
        put_migrated_store(folder / "offtake.db")
    chosen = Settings(data_dir=folder, retry_initial_delay_seconds=0.01, **settings)
    backend = open_backend(chosen, clock, LocalParsers.of)
    try:
        backend.database.observers.append(EventLog())
        clients.create_organisation(backend.database, clock)
        admin = admin or clients.first_client(backend.database, clock)
        assert admin is not None
        with _app_of(backend) as app, AppClient(app) as http:
            http.event_hooks["response"].append(check_response)
            opened = Deployment(backend, http, clock, admin, access.operator_caller(backend.database), engine)
            opened.sign_in()
            yield opened
    finally:
        backend.close()


@contextmanager
def _app_of(backend: Backend) -> Iterator[FastAPI]:
    """An application over the backend: one that an earlier test used, as its routes take long to build."""
    idle = _IDLE[backend.settings.error_type_prefix]
    app = idle.pop() if idle else _new_app(backend)
    app.state.backend, app.state.sign_ins = backend, SignIns(backend.settings.sign_ins_per_minute)
    web.begin(app)
    try:
        yield app
    finally:
        app.state.sign_ins.close()
        idle.append(app)


def _new_app(backend: Backend) -> FastAPI:
    app = create_app(backend)
    web.install(app)
    return app


_IDLE: defaultdict[str, list[FastAPI]] = defaultdict(list)
_ELSEWHERE = {"database_url", "catalog_url", "warehouse", "vault_key"}


def _begin(folder: Path, now_ms: int) -> NewClient:
    """Put there what a first start at that time leaves; its client. Many tests begin so, and few are about it."""
    files, admin = _first_start(now_ms)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(content)
    return admin


@functools.lru_cache(maxsize=4)
def _first_start(now_ms: int) -> tuple[dict[str, bytes], NewClient]:
    clock = FakeClock(now_ms)
    with tempfile.TemporaryDirectory() as folder:
        put_migrated_store(Path(folder, "offtake.db"))
        backend = open_backend(Settings(data_dir=Path(folder)), clock)
        try:
            clients.create_organisation(backend.database, clock)
            admin = clients.first_client(backend.database, clock)
        finally:
            backend.close()
        assert admin is not None
        files = (path for path in Path(folder).rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}, admin


def headers(http: AppClient, client: NewClient) -> dict[str, str]:
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": client.client_secret}
    token = http.post("/ims/token/v3", data=form).json()["access_token"]
    return {
        "Authorization": f"Bearer {token}",
        "x-api-key": client.client_id,
        "x-gw-ims-org-id": client.org_id,
        "x-sandbox-name": "prod",
    }


def rows(first: int, count: int) -> list[Json]:
    """Rows numbered from `first`, with something nested in them."""
    return [{"id": n, "city": f"town {n % 7}", "tags": [str(n), "x"]} for n in range(first, first + count)]


def moving_files(folder: Path, *patterns: str) -> list[Path]:
    """The files below it with such names. `Path.rglob` fails where a folder is removed meanwhile."""
    found = [Path(at) / name for at, _, names in os.walk(folder) for name in names]
    return [path for path in found if any(fnmatchcase(path.name, pattern) for pattern in patterns)]


def table_of(files: list[Path]) -> pa.Table:
    """The rows of delivered Parquet files, by id."""
    return pa.concat_tables([pq.read_table(file) for file in files]).sort_by("id")


def etag_of(deployed: Deployment, path: str) -> str:
    """The etag of an entity, quotes included."""
    etag: str = deployed.get(path)["items"][0]["etag"]
    return etag
