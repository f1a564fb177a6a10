"""Sandboxes are emptied whole, whatever interrupts it; files of the landing zone go when their time is up."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from offtake.access import access
from offtake.alerts import rules, stored_channels
from offtake.catalog import kept_namespaces, lake_catalogs
from offtake.destinations.drivers.local_folder import LocalFolderSink
from offtake.engines.local import LocalEngine
from offtake.failpoints import ENV
from offtake.lake.locations import local_path
from offtake.lake.table_names import TableName
from offtake.sandboxes import sandboxes
from offtake.scheduling.housekeeping import maintenance_loop, run_maintenance
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store import runs
from offtake.store.leases import LeaseMonitor
from offtake.store.tables import (
    Base,
    Batch,
    BatchFile,
    Dataset,
    Label,
    LandingZoneKey,
    Run,
    RunDataset,
    RunPart,
    Sandbox,
    Watermark,
)
from tests.commands import run
from tests.deployment import Deployment, deployment, rows
from tests.fake_clock import FakeClock
from tests.info_items import failure

NEW = {"name": "dev", "title": "Development", "type": "development"}
ZONE = "/data/foundation/connectors/landingzone"
DAY_MS = 86_400_000


def fill(deployed: Deployment, sandbox: str) -> str:
    """A dataset that was delivered, and credentials to collect it, in the sandbox; the dataset's id."""
    deployed.sign_in()
    deployed.http.headers["x-sandbox-name"] = sandbox
    deployed.caller = access.operator_caller(deployed.backend.database, sandbox)
    dataset = deployed.import_rows("events", rows(0, 10))
    flow = deployed.flow(dataset)
    deployed.run_due()
    assert deployed.http.get(f"{ZONE}/credentials").status_code == 200
    sent = deployed.backend.settings.uploads_root / batches(deployed, sandbox)[0]
    sent.mkdir(parents=True)
    (sent / "rows.json").write_text("{}")
    with deployed.backend.database.writing() as session:
        session.add_all([Label(entity_id=flow, label="core/C1"), Label(entity_id=dataset, label="core/C1")])
        batch = BatchFile(batch_id=sent.name, name="rows.json", complete=True, size=2, received=[], updated_at=0)
        session.add(batch)
        catalog = {
            "name": "lakehouse",
            "type": "rest",
            "properties": {"uri": "https://catalog.example", "token": "t"},
        }
        backend = deployed.backend
        hook = {"name": "ops", "kind": "webhook", "settings": {"url": "https://hooks.example/"}}
        made = stored_channels.create(session, deployed.caller, backend.vault, backend.network, hook, 0)
        rules.create(session, deployed.caller, {"name": "all", "channelIds": [made.row.id]}, 0)
        row = lake_catalogs.create(session, deployed.caller, backend.vault, backend.network, catalog, 0)
        kept_namespaces.keep(session, deployed.caller, row, ("sales",), 1, 0)
    return dataset


def batches(deployed: Deployment, sandbox: str) -> list[str]:
    with deployed.backend.database.reading() as session:
        of_sandbox = select(Sandbox.id).where(Sandbox.name == sandbox).scalar_subquery()
        return list(session.scalars(select(Batch.id).where(Batch.sandbox_id == of_sandbox)))


def counts(deployed: Deployment) -> dict[str, int]:
    """How many rows each table holds that holds content of sandboxes."""
    content: list[Any] = [Label, BatchFile, RunPart, RunDataset, Watermark, LandingZoneKey]
    content += [one.class_ for one in Base.registry.mappers if hasattr(one.class_, "updated_client")]
    with deployed.backend.database.reading() as session:
        return {one.__tablename__: session.scalar(select(func.count()).select_from(one)) or 0 for one in content}


def files(deployed: Deployment) -> list[str]:
    """Every file that is not the databases' own."""
    root = deployed.backend.settings.data_dir
    found = [
        path.relative_to(root) for path in root.rglob("*") if path.is_file() and len(path.relative_to(root).parts) > 2
    ]
    return sorted(map(str, found))


def keep(deployed: Deployment) -> None:
    list(run_maintenance(deployed.backend, sweeps=False))


def state(deployed: Deployment, name: str = "dev") -> str:
    with deployed.backend.database.reading() as session:
        return session.scalars(select(Sandbox).filter_by(name=name)).one().state


def begin(deployed: Deployment, deletes: bool, name: str = "dev") -> None:
    caller, now = access.organisation_operator(deployed.backend.database), deployed.clock.now_ms()
    with deployed.backend.database.writing() as session:
        if deletes:
            sandboxes.remove(session, caller, name, now)
        else:
            sandboxes.reset(session, caller, name, {"action": "reset"}, now)


@pytest.fixture
def two(deployed: Deployment) -> Deployment:
    """Sandboxes `prod` and `dev`; prod is full."""
    made = deployed.http.post("/data/foundation/sandbox-management/sandboxes", json=NEW)
    assert made.status_code == 202
    fill(deployed, "prod")
    return deployed


@pytest.mark.parametrize("deletes", [False, True])
def test_emptying_a_sandbox_removes_all_of_it_and_nothing_else(two: Deployment, deletes: bool) -> None:
    before = counts(two), files(two)
    dataset = fill(two, "dev")
    assert all(count > before[0][name] for name, count in counts(two).items())
    with two.backend.database.reading() as session:
        table = TableName(session.get_one(Dataset, dataset).table_name)
    begin(two, deletes)
    keep(two)
    assert state(two) == ("deleted" if deletes else "active")
    assert (counts(two), files(two)) == before
    assert not two.backend.lake.exists(table)
    assert not local_path(two.backend.lake.location(table)).exists()
    two.http.headers["x-sandbox-name"] = "prod"
    two.clock.advance(hours=3)
    two.caller = access.operator_caller(two.backend.database, "prod")
    two.import_rows("events", rows(10, 5))
    two.run_due()
    two.sign_in()
    assert two.get("/runs")["items"][0]["metrics"]["recordSummary"]["outputRecordCount"] == 5


def test_a_sandbox_that_was_reset_can_be_filled_again(two: Deployment) -> None:
    first = fill(two, "dev")
    begin(two, deletes=False)
    keep(two)
    second = fill(two, "dev")
    assert second != first
    assert [run["metrics"]["statusSummary"]["status"] for run in two.get("/runs")["items"]] == ["success"]


def test_runs_that_are_going_on_end_first(two: Deployment) -> None:
    fill(two, "dev")
    two.clock.advance(hours=3)
    two.sign_in()
    enqueue_due_runs(two.backend.database, two.clock)
    database, now = two.backend.database, two.clock.now_ms()
    watch = LeaseMonitor(two.clock.elapsed_ms, 30_000)
    leases = [runs.claim(database, "worker", watch, now) for _ in range(2)]
    begin(two, deletes=True)
    keep(two)
    assert state(two) == "deleting"
    asked = {lease.run_id: runs.renew(database, lease) for lease in leases if lease}
    with database.reading() as session:
        in_dev = {run_id: session.get_one(Run, run_id).sandbox_id == two.caller.sandbox_id for run_id in asked}
    assert asked == in_dev
    for lease in leases:
        assert lease is not None
        runs.fail(database, lease, failure(), now)
    keep(two)
    assert state(two) == "deleted"


def test_a_run_that_waits_is_never_begun(two: Deployment) -> None:
    fill(two, "dev")
    two.clock.advance(hours=3)
    enqueue_due_runs(two.backend.database, two.clock)
    begin(two, deletes=True)
    keep(two)
    assert state(two) == "deleted"
    assert enqueue_due_runs(two.backend.database, two.clock) == []
    two.clock.advance(hours=3)
    two.run_due()
    assert not list((two.backend.settings.landing_zone_root / "dev").rglob("*"))


def test_a_batch_that_another_process_is_committing_is_awaited(two: Deployment) -> None:
    fill(two, "dev")
    (batch,) = batches(two, "dev")
    until = two.clock.now_ms() + 30_000
    held = {"status": "processing", "lease_owner": "another", "lease_until": until, "fence": 7}
    with two.backend.database.writing() as session:
        session.execute(update(Batch).where(Batch.id == batch).values(**held))
    begin(two, deletes=False)
    keep(two)
    assert state(two) == "resetting"
    with two.backend.database.reading() as session:
        row = session.get_one(Batch, batch)
        assert (row.status, row.fence) == ("aborted", 8)
    two.clock.advance(seconds=31)
    keep(two)
    assert state(two) == "active"


@pytest.mark.parametrize("point", ["sandbox_rows_removed", "sandbox_datasets_removed", "sandbox_zone_removed"])
@pytest.mark.parametrize("word", ["reset", "delete"])
def test_a_process_that_is_killed_has_its_work_finished(
    tmp_path: Path, engine: LocalEngine, word: str, point: str
) -> None:
    clock = FakeClock(time.time_ns() // 1_000_000)
    with deployment(tmp_path / "data", clock, engine) as deployed:
        deployed.http.post("/data/foundation/sandbox-management/sandboxes", json=NEW)
        before = counts(deployed), files(deployed)
        fill(deployed, "dev")
        command = ["sandbox", word, "dev", "--yes", "--data-dir", str(tmp_path / "data")]
        killed = run(command, {**os.environ, ENV: point})
        assert killed.returncode == -9
        assert state(deployed) in ("resetting", "deleting")
        stop = threading.Event()
        thread = threading.Thread(target=maintenance_loop, args=(deployed.backend, stop))
        thread.start()
        try:
            for _ in range(200):
                if state(deployed) in ("active", "deleted"):
                    break
                time.sleep(0.05)
        finally:
            stop.set()
            thread.join()
        assert state(deployed) == ("active" if word == "reset" else "deleted")
        assert (counts(deployed), files(deployed)) == before


def old(path: Path, deployed: Deployment, days: float) -> Path:
    """A file of the zone that was last written so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    then = deployed.clock.now_ms() / 1000 - days * 86_400
    os.utime(path, (then, then))
    return path


def test_files_of_the_zone_go_after_seven_days(deployed: Deployment) -> None:
    drop = deployed.zone.parent / "user_drop_zone" / "prod"
    gone = [old(deployed.zone / "out/old/part.json", deployed, 7.01), old(drop / "old.csv", deployed, 8)]
    cut_off = old(deployed.zone / "out/old/.part.json.tmp", deployed, 9)
    kept = [old(deployed.zone / "out/new/part.json", deployed, 6.99), old(deployed.zone / "out/.now.tmp", deployed, 0)]
    outside = old(deployed.zone.parent / "not-a-sandbox" / "file", deployed, 30)
    list(run_maintenance(deployed.backend, sweeps=True))
    assert not any(path.exists() for path in (*gone, cut_off))
    assert all(path.exists() for path in (*kept, outside))
    assert not (deployed.zone / "out" / "old").exists()
    assert drop.is_dir()


def test_with_no_limit_files_stay(tmp_path: Path, clock: FakeClock, engine: LocalEngine) -> None:
    with deployment(tmp_path, clock, engine, landing_zone_retention_days=0) as deployed:
        kept = old(deployed.zone / "a", deployed, 10_000)
        list(run_maintenance(deployed.backend, sweeps=True))
        assert kept.exists()


def test_sweeping_during_a_delivery_takes_nothing_from_it(deployed: Deployment) -> None:
    sink, stop = LocalFolderSink(deployed.zone), threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            list(run_maintenance(deployed.backend, sweeps=True))

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        for number in range(300):
            sink.put(f"a/b/{number}/c/part.json", [b"x"])
    finally:
        stop.set()
        thread.join()
    assert len(list(sink.list(""))) == 300


def test_house_is_kept_while_a_server_works(deployed: Deployment) -> None:
    stop = threading.Event()
    gone = old(deployed.zone / "a", deployed, 8)
    thread = threading.Thread(target=maintenance_loop, args=(deployed.backend, stop))
    thread.start()
    try:
        begin(deployed, deletes=False, name="prod")
        for _ in range(200):
            if state(deployed, "prod") == "active" and not gone.exists():
                break
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join()
    assert (state(deployed, "prod"), gone.exists()) == ("active", False)
