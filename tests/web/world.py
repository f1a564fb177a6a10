"""A deployment that has run for a day: datasets, accounts, dataflows and their runs, also with hostile names."""

import hashlib
import json
import random
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy import update

from offtake.access import access, clients, roles
from offtake.access.clients import NewClient
from offtake.catalog import file_import, kept_namespaces, lake_catalogs, registration
from offtake.catalog.file_import import ImportRequest
from offtake.clock import Clock
from offtake.deployment.backend import Backend, open_backend
from offtake.destinations import registry
from offtake.documents import InfoItem
from offtake.flows import connections, flow_creation
from offtake.flows.flow_creation import NewExport
from offtake.sandboxes import sandboxes
from offtake.settings import Settings
from offtake.store.database import Database
from offtake.store.tables import Flow, LakeCatalog, Run, RunDataset, RunPart, Watermark
from offtake.usage import quotas

HOUR: Final = 3_600_000
HOSTILE: Final = (
    "<b>Campaign</b> <script>alert(1)</script> & 'quotes' \"too\"",
    "W" * 500,
    "زيارات المتجر اليومية 🚚 \u202e reversed",
)
NAMES: Final = (
    "Orders",
    "Customers",
    "Web events",
    "Invoices",
    "Stock levels",
    "Loyalty points",
    "Returns",
    "Shipments",
)
MISSING_BUCKET: Final[InfoItem] = {
    "code": "EXPORT-2002-404",
    "message": "The bucket acme-exports does not exist. Create it, or correct the bucket's name.",
    "type": "Error",
}


@dataclass
class World:
    """What was made. `live_run_id`: a run that looks as if another process executes it.

    `catalog_ids`: one that can be browsed, one of tables without names, one that does not answer. `registered_ids`: a
    table that is there, and one that is gone.
    """

    data_dir: Path
    admin: NewClient
    dataset_ids: list[str] = field(default_factory=list)
    account_ids: list[str] = field(default_factory=list)
    flow_ids: list[str] = field(default_factory=list)
    failed_run_id: str = ""
    live_run_id: str = ""
    client_id: str = ""
    role_id: str = ""
    sandbox_name: str = ""
    catalog_ids: list[str] = field(default_factory=list)
    registered_ids: list[str] = field(default_factory=list)
    run_id: str = ""


def make(data_dir: Path, flows: int = len(NAMES) + len(HOSTILE)) -> World:
    """Fill a new data directory; with no flows it has a client only."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    backend = open_backend(Settings(data_dir=data_dir), Clock())
    try:
        clients.create_organisation(backend.database, backend.clock)
        created: list[NewClient] = []
        clients.first_client(backend.database, backend.clock, created.append)
        origin = {"origin": "http://127.0.0.1:8080"}
        (data_dir / "admin.json").write_text(json.dumps(origin | asdict(created[0])))
        world = World(data_dir, created[0])
        if flows:
            _fill(backend, world, flows)
            _let_in(backend, world)
            _add_catalogs(backend, world)
        return world
    finally:
        backend.close()


def change_run(data_dir: Path, run_id: str, **values: Any) -> None:
    """Change the row of a run, while a server may be running."""
    database = Database(f"sqlite:///{data_dir / 'offtake.db'}")
    with database.writing() as session:
        session.execute(update(Run).where(Run.id == run_id).values(values))
    database.close()


def _let_in(backend: Backend, world: World) -> None:
    """A client, a role and a sandbox with long names."""
    member, now = access.organisation_operator(backend.database), backend.clock.now_ms()
    name = HOSTILE[0] + HOSTILE[1][:180]
    with backend.database.writing() as session:
        world.sandbox_name = "d" * 200
        body = {"name": world.sandbox_name, "title": name, "type": "development"}
        sandboxes.create(session, member, body, now)
        grants = {"name": name, "permissionSets": ["view-datasets"], "sandboxes": ["prod", world.sandbox_name]}
        world.role_id = roles.create(session, member, grants, now).id
        new = clients.Registration(name, "service", (name,), "okta|team/exports:" + "9" * 100)
        world.client_id = clients.register(session, member, new, now)[0].id


def _add_catalogs(backend: Backend, world: World) -> None:
    """Catalogs of others, with tables next to the data directory."""
    folder = world.data_dir.with_name(f"{world.data_dir.name}-lakehouse")
    folder.mkdir()
    uri = f"sqlite:///{folder / 'catalog.db'}"
    writer = SqlCatalog("lakehouse", uri=uri, warehouse=f"file://{folder}")
    schema = pa.schema([("id", pa.int64()), ("city", pa.string())])
    for space in ("sales", "marketing", HOSTILE[0].replace("/", " ").replace(".", " "), "w" * 200):
        writer.create_namespace((space,))
    for name in ("orders", "returns", "summary", HOSTILE[2].partition("\u202e")[0].strip(), "W" * 180):
        table = writer.create_table(("sales", name), schema)
        table.append(pa.table({"id": [1, 2], "city": ["Bern", "Lima"]}, schema=schema))
    caller, now = access.operator_caller(backend.database, "prod"), backend.clock.now_ms()
    properties = {"uri": uri, "catalog-name": "lakehouse", "warehouse": str(folder)}
    away = {"uri": "http://127.0.0.1:9/api", "credential": "reader:secret", "s3.access-key-id": "AKIA" + "X" * 300}
    away |= {"s3.secret-access-key": "secret"}
    files = {"s3.access-key-id": "AKIAIOSFODNN7EXAMPLE", "s3.secret-access-key": "secret"}
    with backend.database.writing() as session:
        for name, kind, given in (
            ("Lakehouse", "sql", properties),
            ("Exports of the warehouse", "files", files),
            (HOSTILE[0].replace("/", "") + "W" * 180, "rest", away),
        ):
            body = {"name": name, "type": kind, "properties": given}
            row = lake_catalogs.create(session, caller, backend.vault, backend.network, body, now)
            world.catalog_ids.append(row.id)
        lakehouse = session.get_one(LakeCatalog, world.catalog_ids[0])
        kept = kept_namespaces.keep(session, caller, lakehouse, ("marketing",), 2, now)
        kept.synced_at, kept.refused = now, {"W" * 180: "marketing.summary is a view, which has no files."}
        broken = session.get_one(LakeCatalog, world.catalog_ids[2])
        kept_namespaces.keep(session, caller, broken, ("W" * 180,), 2, now).problem = "The catalog refuses access."
    writer.engine.dispose()
    for name in ("orders", "returns"):
        found = registration.find(backend.registered, caller, lakehouse.id, ("sales", name))
        with backend.database.writing() as session:
            dataset = registration.register(session, caller, f"sales.{name}", found, now)
            dataset.gone_at = now if name == "returns" else None
            world.registered_ids.append(dataset.id)


def _fill(backend: Backend, world: World, flows: int) -> None:
    randomly = random.Random(4)
    caller = access.operator_caller(backend.database, "prod")
    for number, name in enumerate((*NAMES[:5], *(one[:250].replace("\u202e", "") for one in HOSTILE))):
        file = world.data_dir / "import.ndjson"
        cities = ("Bern", "Lima")
        rows = (
            {"id": one, "city": randomly.choice(cities), "customer": {"name": f"n{one}"}}
            for one in range(20 * number + 20)
        )
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        wanted = ImportRequest(name, (file,), evolve=True, again=True)
        done = file_import.import_files(backend.database, backend.lake, backend.parsers, caller, backend.clock, wanted)
        world.dataset_ids.append(done.dataset.id)
        file.unlink()
    now = backend.clock.now_ms()
    s3 = next(one for one in registry.DESTINATIONS if one.name == "Amazon S3")
    zone = next(one for one in registry.DESTINATIONS if one.name == "Data Landing Zone")
    keys = {"s3AccessKey": "AKIAIOSFODNN7EXAMPLE", "s3SecretKey": "secret" * 6}
    spec = {"id": s3.connection_spec_id, "version": "1.0"}
    auth = {"specName": "Access Key", "params": keys}
    with backend.database.writing() as session:
        for name in ("Acme bucket", HOSTILE[0], HOSTILE[1]):
            body = {"name": name, "connectionSpec": spec, "auth": auth}
            created = connections.create(session, caller, backend.vault, backend.network, body, now)
            world.account_ids.append(created.id)
        session.flush()
        names = (*NAMES, *HOSTILE)
        for number in range(flows):
            to_s3 = number % 2 == 1
            new = NewExport(
                name=names[number] if number < len(names) else f"Dataflow {number}",
                destination=s3 if to_s3 else zone,
                account_id=world.account_ids[number % 3] if to_s3 else None,
                dataset_ids=randomly.sample(world.dataset_ids, 1 + number % 3),
                params={"datasetFileType": "PARQUET", "compression": "GZIP", "path": "exports/crm"}
                | ({"bucketName": "acme-exports"} if to_s3 else {}),
                schedule={
                    "exportMode": "FIRST_FULL_THEN_INCREMENTAL",
                    "timeUnit": "hour",
                    "interval": 3,
                    "startTime": now // 1000 + 3600 * (number % 5 + 1),
                },
            )
            flow = flow_creation.create(
                session, caller, backend.vault, backend.network, new, now, backend.schedule_rules
            )
            session.flush()
            world.flow_ids.append(flow.id)
            runs = _runs(randomly, flow, number, now, 2 if flows > 100 else 26)
            session.add_all(runs)
            _finish(world, session, flow, runs, number, now)
            if number == len(NAMES):
                _leave_files(session, runs[-2], world.dataset_ids[0], now)
        quotas.set_quota(session, caller, "bytes", {"limit": 500 * 10**9}, now)


def _runs(randomly: random.Random, flow: Flow, number: int, now: int, count: int) -> list[Run]:
    every = (1, 3, 6)[number % 3] * HOUR
    return [
        _run(flow, now - now % every - age * every, 0 if randomly.random() < 0.2 else randomly.randrange(1, 90_000))
        for age in range(max(2, count * HOUR // every))
    ][::-1]


def _run(flow: Flow, at: int, delivered: int, **values: Any) -> Run:
    stamp = {"created_by": "x@AdobeID", "updated_by": "x@AdobeID", "created_client": "x", "updated_client": "x"}
    ended = at + 60_000 + delivered
    return Run(
        **stamp,
        **{
            "id": str(uuid4()),
            "org_id": flow.org_id,
            "sandbox_id": flow.sandbox_id,
            "created_at": at,
            "updated_at": ended,
            "version": str(uuid4()),
            "flow_id": flow.id,
            "flow_spec_id": flow.flow_spec_id,
            "source_connection_id": flow.source_connection_id,
            "target_connection_id": flow.target_connection_id,
            "trigger": "schedule",
            "scheduled_at": at,
            "dataset_ids": [],
            "full_export": False,
            "moves_position": True,
            "status": "success",
            "cancel_requested": False,
            "fence": 1,
            "started_at": at + 5000,
            "completed_at": ended,
            "rows": delivered,
            "bytes": delivered * 60,
            "errors": [],
            "warnings": [],
            **values,
        },
    )


def _finish(world: World, session: Any, flow: Flow, runs: list[Run], number: int, now: int) -> None:
    """The last run of some dataflows failed, that of one is in progress, and one is disabled."""
    last = runs[-1]
    world.run_id = last.id
    if number in (1, 4):
        last.status, last.rows, last.bytes, last.errors = "failed", 0, 0, [MISSING_BUCKET]
        world.failed_run_id = last.id
    if number == 3:
        live = _run(flow, now - 30_000, 0, status="processing", completed_at=None, rows=None, bytes=None)
        live.lease_owner, live.heartbeat_counter = "elsewhere", 1
        session.add(live)
        session.flush()
        _add_files(session, live, world.dataset_ids[0], 8, 5)
        world.live_run_id = live.id
    if number == 5:
        flow.state = "disabled"
    session.flush()
    _add_files(session, last, world.dataset_ids[0], 3, 3)
    flow.last_run_id, flow.last_run_state = last.id, last.status
    flow.last_run_started_at, flow.last_run_completed_at = last.started_at, last.completed_at
    delivered = Watermark(flow_id=flow.id, dataset_id=world.dataset_ids[0], snapshot_id=1, run_id=last.id)
    delivered.updated_at = last.completed_at or now
    session.add(delivered)


def _leave_files(session: Any, run: Run, dataset_id: str, now: int) -> None:
    """Have the run as one that failed, and whose files its destination does not let go."""
    run.rows = 1000
    _add_files(session, run, dataset_id, 25, 25)
    run.status, run.rows, run.bytes, run.failure, run.errors = "failed", 0, 0, MISSING_BUCKET, [MISSING_BUCKET]
    denied: InfoItem = {"code": "EXPORT-2001-403", "message": f"{HOSTILE[0]} is denied. {HOSTILE[1]}", "type": "Error"}
    run.sweep_due, run.sweep_error = now + HOUR, denied


def _add_files(session: Any, run: Run, dataset_id: str, planned: int, finished: int) -> None:
    """The plan of a run for one dataset, and its files, of which so many are finished."""
    total = run.rows if run.rows is not None else 800_000
    if run.status == "failed" or not total:
        return
    share = total // planned
    session.add(
        RunDataset(
            run_id=run.id,
            dataset_id=dataset_id,
            dataset_name=NAMES[0],
            kind="incremental",
            from_snapshot=4811,
            to_snapshot=8456815093881420151,
            folder=f"exports/crm/{dataset_id}",
            input_files=planned,
            input_rows=total,
            input_bytes=total * 60,
            deleted_rows=0,
        )
    )
    for number in range(planned):
        rows = share if number < planned - 1 else total - share * (planned - 1)
        part = RunPart(run_id=run.id, number=number, dataset_id=dataset_id, slices=[], input_rows=rows)
        part.input_bytes = rows * 60
        part.key = (
            f"exports/crm/{dataset_id}/exportTime=202611300600/part-{number:05}-tid-4811-{run.id}-1-1-c000.gz.parquet"
        )
        if number < finished:
            part.rows, part.bytes, part.finished_at = rows, rows * 60, run.updated_at - 1000 * (finished - number)
            part.sha256 = hashlib.sha256(part.key.encode()).hexdigest()
        session.add(part)
