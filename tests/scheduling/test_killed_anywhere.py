"""The matrix: killed at every step of a run's life, on both databases, with one worker or two.

Whatever happens: the manifests' files hold the source's rows, once each; the destination has no other file; every
slot has one run; and a position is where the last delivered run ended.
"""

import contextlib
import hashlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select

from offtake.access import access
from offtake.catalog import batches, uploaded_files
from offtake.engines.local import LocalEngine
from offtake.scheduling.orphan_sweeper import remove_orphans
from offtake.store import run_states, runs
from offtake.store.tables import Run, RunDataset, Usage, Watermark
from tests import worker_processes
from tests.deployment import WITH_MANIFEST, deployment, moving_files, rows
from tests.fake_clock import FakeClock
from tests.postgres import copied_database, migrated_database
from tests.worker_processes import Site

pytestmark = pytest.mark.matrix

BATCHES, ROWS = 4, 5
SLOT_MS = 3 * 3_600_000
HOUR_MS, DAY_MS = 3_600_000, 86_400_000

RUN = [
    "tick",
    "claimed",
    "planned",
    "plan_stored",
    "part_started:2:stop",
    "part_written:2:stop",
    "part_allowed:2:stop",
    "part_intended:2:stop",
    "part_uploaded:2:stop",
    "part_before_record:1",
    "part_before_record:3",
    "part_recorded:1",
    f"part_recorded:{BATCHES}",
    "before_manifest",
    "manifest_intended",
    "after_manifest",
    "before_commit",
    "after_commit",
]
INGEST = ["batch_claimed", "batch_writing", "batch_written", "batch_committed", "batch_completed"]
CLEANUP = ["run_failed", "file_recalled:2", "disposed", "file_removed:1", "file_removed:3", "files_removed"]


@dataclass
class World:
    """A deployment with one dataset and one flow that is due, and what its source holds."""

    site: Site
    flow: str
    dataset: str
    source: list[int]

    @property
    def zone(self) -> Path:
        return self.site.folder / "landing-zone" / "prod"

    def at(self, later_ms: int) -> Site:
        return replace(self.site, later_ms=later_ms)

    def with_pools(self, point: str) -> None:
        """What happens in the processes that write files is shown with such processes."""
        self.site = replace(self.site, pools=point.startswith("part_"))


@dataclass(frozen=True)
class Prepared:
    """A world before a test. Tables name their files by absolute paths, so each test has it in the same folder."""

    world: World
    copy: Path

    def again(self) -> World:
        """The world as it was prepared, in a database of its own."""
        site = self.world.site
        shutil.rmtree(site.folder, ignore_errors=True)
        shutil.copytree(self.copy, site.folder)
        settings = dict(site.settings)
        if "database_url" in settings:
            # Who is paused in the middle of a transaction keeps others out no longer than this.
            timeout = "?options=-c%20idle_in_transaction_session_timeout%3D4s"
            settings["database_url"] = copied_database(settings["database_url"]) + timeout
        return replace(self.world, site=replace(site, settings=settings), source=list(self.world.source))


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engine: LocalEngine) -> Prepared:
    settings: dict[str, Any] = {"part_bytes": 1}
    if request.param == "postgres":
        settings["database_url"] = migrated_database(request.getfixturevalue("postgres"))
    folder = tmp_path_factory.mktemp("world") / "data"
    with deployment(folder, FakeClock(time.time_ns() // 1_000_000), engine, **settings) as deployed:
        for first in range(0, BATCHES * ROWS, ROWS):
            dataset = deployed.import_rows("events", rows(first, ROWS))
        flow = deployed.flow(dataset, params=WITH_MANIFEST)
    folder.rename(copy := folder.with_name("prepared"))
    return Prepared(World(Site(folder, settings), flow, dataset, list(range(BATCHES * ROWS))), copy)


@pytest.fixture
def world(prepared: Prepared) -> World:
    return prepared.again()


@pytest.fixture(params=[1, 2], ids=["alone", "second"])
def workers(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.mark.parametrize("point", RUN)
def test_a_run_that_is_killed(world: World, workers: int, point: str) -> None:
    world.with_pools(point)
    kill(world.site, point, workers)
    check(world, slots=1)
    send(world, 2)
    worker_processes.start(world.at(SLOT_MS), "next").done()
    check(world, slots=2)


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize("point", ["plan_stored", "before_manifest", "manifest_intended", "before_commit"])
def test_a_run_without_files_that_is_killed(world: World, point: str) -> None:
    """It says once that there is nothing new."""
    worker_processes.start(world.site, "first").done()
    kill(world.at(SLOT_MS), point, workers=1)
    check(world, slots=2)
    manifests = [json.loads(path.read_text()) for path in world.zone.rglob("manifest-*.json")]
    assert sorted(len(one["exportResults"]) for one in manifests) == [0, BATCHES]


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize("point", INGEST)
def test_a_batch_that_is_killed_while_it_comes_in(world: World, workers: int, point: str) -> None:
    send(world, 3)
    kill(world.site, point, workers)
    worker_processes.start(world.at(SLOT_MS), "next").done()
    assert delivered(world) == world.source


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize("point", CLEANUP)
def test_a_cancelled_run_that_is_killed_while_its_files_are_removed(world: World, workers: int, point: str) -> None:
    worker_processes.start(world.site, "killed", "part_recorded:3").killed()
    with world.site.opened() as backend:
        runs.release_all_of(backend.database, "killed")
        with backend.database.writing() as session:
            runs.cancel(session, world.flow, backend.clock.now_ms())
    kill(world.site, point, workers)
    check(world, slots=0)
    worker_processes.start(world.at(SLOT_MS), "next").done()
    check(world, slots=1)


def test_a_sweep_that_is_killed(world: World, workers: int) -> None:
    worker_processes.start(world.site, "killed", "part_allowed:3:stop").killed()
    worker_processes.restart(world.site, "killed").done()
    late = next(world.zone.rglob("part-*"))
    late.with_name(f".{late.name}.0123abcd.tmp").write_bytes(b"half a file")
    kill(world.at(HOUR_MS), "swept", workers)
    check(world, slots=1)


def kill(site: Site, point: str, workers: int) -> None:
    """One worker dies at the point; then another continues: the second one, or a restarted first one."""
    second = worker_processes.start(site, "second", free=False) if workers > 1 else None
    worker_processes.start(site, "killed", point).killed()
    if second is None:
        worker_processes.restart(site, "killed").done()
    else:
        second.let_work()
        second.done()


def check(world: World, slots: int) -> None:
    """Everything that is promised, after the sweep."""
    with world.site.opened(DAY_MS) as backend:
        for _ in remove_orphans(backend):
            pass
        with backend.database.reading() as session:
            found = session.scalars(select(Run).order_by(Run.created_at)).all()
            ended = [run for run in found if run.status == run_states.SUCCESS]
            positions = session.scalars(select(Watermark)).all()
            last = [session.get_one(RunDataset, (run.id, world.dataset)).to_snapshot for run in ended]
            used = session.execute(select(func.sum(Usage.rows), func.sum(Usage.files), func.min(Usage.cpu_ms))).one()
    assert len({run.scheduled_at for run in found}) == len(found)
    assert {run.status for run in found} <= {run_states.SUCCESS, run_states.FAILED}
    assert len(ended) == slots
    assert [one.snapshot_id for one in positions] == last[-1:]
    if slots:
        assert delivered(world) == world.source
        assert used[0] == len(world.source)
        assert used[1] == len([path for path in files(world.zone) if path.suffix == ".parquet"])
        assert used[2] > 0
    else:
        assert files(world.zone) == set()


def delivered(world: World) -> list[int]:
    """The ids of the rows in all the manifests' files; checks that each is as its manifest says, without others."""
    named: set[Path] = set()
    ids: list[int] = []
    for path in world.zone.rglob("manifest-*.json"):
        manifest = json.loads(path.read_text())
        named.add(path)
        for one in manifest["exportResults"]:
            file = world.zone / one["sinkPath"].lstrip("/") / one["name"]
            assert hashlib.sha256(file.read_bytes()).hexdigest() == one["sha256"]
            named.add(file)
            ids += pq.read_table(file)["id"].to_pylist()
    assert files(world.zone) == named
    return sorted(ids)


def files(zone: Path) -> set[Path]:
    return {path for path in zone.rglob("*") if path.is_file()}


def send(world: World, count: int) -> None:
    """So many further rows as a batch that is complete, and waits."""
    first = len(world.source)
    world.source += range(first, first + count)
    with world.site.opened() as backend:
        caller, now = access.operator_caller(backend.database), backend.clock.now_ms()
        body = {"datasetId": world.dataset, "inputFormat": {"format": "json"}}
        with backend.database.writing() as session:
            batch = batches.create(session, caller, body, now)
            text = "".join(json.dumps(row) + "\n" for row in rows(first, count))
            incoming = backend.uploads.receive(batch.id, "a.json")
            incoming.write(text.encode())
            incoming.finish()
            incoming.publish()
            incoming.close()
            where = uploaded_files.upload_target(batch.id, world.dataset, "a.json")
            uploaded_files.put(session, caller, where, len(text), now)
            batches.act(session, caller, batch, "COMPLETE", now)


@contextmanager
def collecting(world: World) -> Iterator[None]:
    """A consumer that takes files away the moment they appear, into the folder `taken` next to the zone.

    Each gets a name of its own there, so that a file that comes again is not taken for the first one.
    """
    over = threading.Event()
    taken = world.zone.with_name("taken")
    taken.mkdir(parents=True, exist_ok=True)

    def collect() -> None:
        while not over.wait(0.01):
            for path in moving_files(world.zone, "part-*", "manifest-*"):
                with contextlib.suppress(FileNotFoundError):
                    path.rename(taken / f"{len([*taken.iterdir()])}-{path.name}")

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def collected(world: World) -> list[int]:
    """The ids of all rows that the consumer has taken away or finds."""
    found = [*world.zone.with_name("taken").glob("*part-*"), *world.zone.rglob("part-*")]
    return sorted(row for path in found for row in pq.read_table(path)["id"].to_pylist())


def manifests(world: World) -> list[str]:
    """The runs of all manifest files that the consumer has taken away or finds."""
    found = [*world.zone.with_name("taken").glob("*manifest-*"), *world.zone.rglob("manifest-*")]
    return [json.loads(path.read_bytes())["flowRunId"] for path in found]


COMPLETION = [
    *("part_intended:2:stop", "part_uploaded:2:stop", "part_before_record:3", "before_manifest"),
    *("manifest_intended", "after_manifest", "before_commit"),
]


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize("point", COMPLETION)
def test_a_consumer_that_collects_at_once_receives_every_row_once_from_a_run_that_is_killed(
    world: World, point: str
) -> None:
    world.with_pools(point)
    with collecting(world):
        kill(world.site, point, workers=1)
        send(world, 2)
        worker_processes.start(world.at(SLOT_MS), "next").done()
    assert collected(world) == world.source
    assert len(manifests(world)) == len(set(manifests(world))) == 2


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize("point", ["run_failed", "disposed", "files_removed"])
def test_such_a_consumer_receives_every_row_once_also_from_a_run_that_is_cancelled(world: World, point: str) -> None:
    with collecting(world):
        worker_processes.start(world.site, "killed", "part_recorded:3").killed()
        with world.site.opened() as backend:
            runs.release_all_of(backend.database, "killed")
            with backend.database.writing() as session:
                runs.cancel(session, world.flow, backend.clock.now_ms())
        kill(world.site, point, workers=1)
        send(world, 2)
        worker_processes.start(world.at(SLOT_MS), "next").done()
    assert collected(world) == world.source
