"""A worker that is paused, for real, wherever it hurts: another takes over, and the first changes nothing any more."""

import time
from typing import Any

import pytest
from sqlalchemy import select

from offtake.store import run_states, runs
from offtake.store.tables import Batch, Run, RunDataset, RunPart, Watermark
from tests import worker_processes
from tests.scheduling.test_killed_anywhere import World, check, delivered, prepared, send, world

pytestmark = pytest.mark.matrix(one_in=3)

__all__ = ["prepared", "world"]

STEPS = [
    "claimed",
    "planned",
    "plan_stored",
    "part_started:2",
    "part_written:2",
    "part_allowed:2",
    "part_intended:2",
    "part_uploaded:2",
    "part_before_record:2",
    "part_recorded:2",
    "before_manifest",
    "after_manifest",
    "before_commit",
]


def state(world: World) -> dict[str, Any]:
    """Every row about runs and batches, and every file at the destination as it lies there."""
    rows = {}
    with world.site.opened() as backend, backend.database.reading() as session:
        for kind in (Run, RunDataset, RunPart, Watermark, Batch):
            found = session.execute(select(kind.__table__)).all()
            rows[kind.__tablename__] = sorted(map(str, found))
    files = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in world.zone.rglob("*") if path.is_file()}
    return rows | {"files": files}


def overtake(world: World, point: str) -> dict[str, Any]:
    """One worker stops at a point, another does everything, then the first goes on: how things were before that."""
    slow = worker_processes.start(world.site, "slow", f"{point}:stop" if ":" in point else f"{point}:1:stop")
    quick = worker_processes.start(world.site, "quick", free=False)
    try:
        slow.paused(world.site)
        quick.let_work()
        quick.done()
        before = state(world)
        slow.go_on()
        slow.done()
    finally:
        slow.end()
        quick.end()
    return before


@pytest.mark.parametrize("point", STEPS)
def test_a_worker_that_was_only_slow_changes_nothing_once_another_has_the_run(world: World, point: str) -> None:
    world.with_pools(point)
    before = overtake(world, point)
    assert state(world) == before
    check(world, slots=1)
    send(world, 2)
    worker_processes.start(world.at(3 * 3_600_000), "next").done()
    check(world, slots=2)


@pytest.mark.parametrize("point", ["batch_claimed", "batch_writing", "batch_written", "batch_committed"])
def test_an_ingestor_that_was_only_slow_brings_nothing_in_twice(world: World, point: str) -> None:
    send(world, 3)
    overtake(world, point)
    worker_processes.start(world.at(3 * 3_600_000), "next").done()
    assert delivered(world) == world.source


@pytest.mark.parametrize("point", ["run_failed", "file_recalled:2", "disposed", "file_removed:2", "files_removed"])
def test_a_worker_that_was_only_slow_in_removing_a_cancelled_run(world: World, point: str) -> None:
    worker_processes.start(world.site, "killed", "part_recorded:3").killed()
    with world.site.opened() as backend:
        runs.release_all_of(backend.database, "killed")
        with backend.database.writing() as session:
            runs.cancel(session, world.flow, backend.clock.now_ms())
    before = overtake(world, point)
    assert state(world) == before
    check(world, slots=0)


def test_only_the_process_that_writes_stalls_and_its_run_waits_for_it(world: World) -> None:
    """The holder lives, so no other worker takes the run."""
    world.with_pools("part_written")
    slow = worker_processes.start(world.site, "slow", "part_written:2:stop")
    other = worker_processes.start(world.site, "other", free=False)
    try:
        slow.paused(world.site)
        slow.family()[0].resume()
        other.let_work()
        time.sleep(3 * worker_processes.LEASE_SECONDS)
        with world.site.opened() as backend, backend.database.reading() as session:
            run = session.scalars(select(Run)).one()
            assert (run.status, run.fence) == (run_states.PROCESSING, 1)
        slow.go_on()
        slow.done()
        other.done()
    finally:
        slow.end()
        other.end()
    check(world, slots=1)
