import threading
from uuid import uuid4

import pytest

from offtake.documents import InfoItem
from offtake.errors import LeaseLostError
from offtake.store import run_parts, run_plans, run_states, runs
from offtake.store.database import Database, StoreConflictError
from offtake.store.leases import LeaseMonitor
from offtake.store.run_parts import PartRecord
from offtake.store.tables import (
    Connection,
    Flow,
    Run,
    RunDataset,
    RunPart,
    SourceConnection,
    TargetConnection,
    Watermark,
)
from tests.fake_clock import FakeClock
from tests.info_items import failure

LEASE = 30_000
FAR = 9_223_372_036_854_775_807


def waiting_run(database: Database, created_at: int = 0, flow_id: str | None = None) -> str:
    run_id = str(uuid4())
    with database.writing() as session:
        session.add(
            Run(
                id=run_id,
                org_id="org",
                sandbox_id="sandbox",
                created_at=created_at,
                updated_at=created_at,
                created_by="me",
                updated_by="me",
                created_client="me",
                updated_client="me",
                version="v",
                flow_id=flow_id or str(uuid4()),
                flow_spec_id="spec",
                source_connection_id="source",
                target_connection_id="target",
                trigger="schedule",
                scheduled_at=created_at,
                dataset_ids=["d"],
                full_export=False,
                moves_position=True,
                status=run_states.WAITING,
                cancel_requested=False,
                fence=0,
                errors=[],
                warnings=[],
            )
        )
    return run_id


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(0)


@pytest.fixture
def watch(clock: FakeClock) -> LeaseMonitor:
    """What a worker sees that is not the holder."""
    return LeaseMonitor(clock.elapsed_ms, LEASE)


def test_the_oldest_waiting_run_is_claimed_first(database: Database, watch: LeaseMonitor) -> None:
    younger, older = waiting_run(database, 20), waiting_run(database, 10)
    claims = [runs.claim(database, "w", watch, 100) for _ in range(3)]
    assert [lease and lease.run_id for lease in claims] == [older, younger, None]


def test_a_silent_holder_loses_its_run_and_can_write_nothing_more(
    database: Database, clock: FakeClock, watch: LeaseMonitor
) -> None:
    waiting_run(database)
    first = runs.claim(database, "slow", LeaseMonitor(clock.elapsed_ms, LEASE), 0)
    assert first is not None
    assert runs.claim(database, "other", watch, 0) is None
    clock.advance(seconds=29.9)
    assert runs.claim(database, "other", watch, 0) is None
    clock.advance(seconds=0.1)
    second = runs.claim(database, "other", watch, 0)
    assert second is not None
    assert second.fence > first.fence
    for write in (
        lambda: runs.renew(database, first),
        lambda: run_plans.save_plan(database, first, [], [], [], LEASE),
        lambda: runs.complete(database, first, None, LEASE),
        lambda: runs.record_failure(database, first, failure(), LEASE),
        lambda: runs.fail(database, first, failure(), LEASE),
        lambda: runs.release(database, first),
    ):
        with pytest.raises(LeaseLostError):
            write()
    runs.complete(database, second, None, LEASE)


def test_a_renewed_lease_is_not_taken(database: Database, clock: FakeClock, watch: LeaseMonitor) -> None:
    waiting_run(database)
    lease = runs.claim(database, "w", LeaseMonitor(clock.elapsed_ms, LEASE), 0)
    assert lease is not None
    for _ in range(5):
        assert runs.claim(database, "other", watch, 0) is None
        clock.advance(seconds=29)
        runs.renew(database, lease)
    clock.advance(seconds=29)
    assert runs.claim(database, "other", watch, 0) is None


def test_clocks_that_are_set_do_not_matter_to_leases(database: Database, clock: FakeClock, watch: LeaseMonitor) -> None:
    waiting_run(database)
    runs.claim(database, "w", LeaseMonitor(clock.elapsed_ms, LEASE), clock.now_ms())
    assert runs.claim(database, "other", watch, clock.now_ms()) is None
    clock.set_by(days=400)
    assert runs.claim(database, "other", watch, clock.now_ms()) is None
    clock.set_by(days=-800)
    assert runs.claim(database, "other", watch, clock.now_ms()) is None
    clock.advance(seconds=30)
    assert runs.claim(database, "other", watch, clock.now_ms()) is not None


def test_runs_of_a_dead_owner_are_free_at_once(database: Database, watch: LeaseMonitor) -> None:
    waiting_run(database)
    runs.claim(database, "dead", watch, 0)
    runs.release_all_of(database, "another worker")
    assert runs.claim(database, "w", watch, 1) is None
    runs.release_all_of(database, "dead")
    assert runs.claim(database, "w", watch, 1) is not None


def test_a_run_with_a_verdict_is_never_delivered(database: Database, watch: LeaseMonitor) -> None:
    waiting_run(database)
    first = runs.claim(database, "w", watch, 0)
    assert first is not None
    runs.record_failure(database, first, failure("why"), 1)
    runs.record_failure(database, first, failure("another reason"), 1)
    runs.release(database, first)
    second = runs.claim(database, "other", watch, 2)
    assert second is not None
    assert second.failure == failure("why")
    with pytest.raises(LeaseLostError):
        runs.complete(database, second, None, 3)
    runs.fail(database, second, failure("a third"), 3)
    with database.reading() as session:
        run = session.get_one(Run, second.run_id)
        assert (run.status, run.errors) == ("failed", [failure("why")])


def test_claims_are_counted_until_there_is_progress(database: Database, watch: LeaseMonitor) -> None:
    waiting_run(database)
    counts = []
    for _ in range(3):
        lease = runs.claim(database, "w", watch, 0)
        assert lease is not None
        counts.append(lease.claims)
        runs.release_all_of(database, "w")
    lease = runs.claim(database, "w", watch, 0)
    assert lease is not None
    run_plans.save_plan(database, lease, [planned(lease.run_id, "good", None)], [part(lease.run_id, 0)], [], 5)
    run_parts.record_part(database, lease, 0, PartRecord(rows=3, bytes=30, sha256="ab"), 6)
    runs.release(database, lease)
    lease = runs.claim(database, "w", watch, 0)
    assert lease is not None
    assert (counts, lease.claims) == ([1, 2, 3], 1)


def test_two_workers_never_claim_the_same_run(database: Database) -> None:
    wanted = {waiting_run(database, number) for number in range(12)}
    claimed: list[str] = []

    def work() -> None:
        watch = LeaseMonitor(lambda: 0, LEASE)
        while (lease := runs.claim(database, threading.current_thread().name, watch, 100)) is not None:
            claimed.append(lease.run_id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(wanted)


def test_a_flow_has_at_most_one_live_run(database: Database) -> None:
    waiting_run(database, 1, flow_id="flow")
    with pytest.raises(StoreConflictError):
        waiting_run(database, 2, flow_id="flow")


def test_completing_moves_the_positions_of_what_was_delivered_only(database: Database, watch: LeaseMonitor) -> None:
    with_flow(database, "flow", ["good", "bad"])
    waiting_run(database, flow_id="flow")
    lease = runs.claim(database, "w", watch, 0)
    assert lease is not None
    delivered, failed = planned(lease.run_id, "good", None), planned(lease.run_id, "bad", failure("EXPORT-1404-404"))
    run_plans.save_plan(database, lease, [delivered, failed], [part(lease.run_id, 0)], [], 5)
    run_parts.record_part(database, lease, 0, PartRecord(rows=3, bytes=30, sha256="ab"), 6)
    runs.complete(database, lease, None, 7)
    with database.reading() as session:
        run = session.get_one(Run, lease.run_id)
        assert (run.status, run.completed_at, run.errors) == ("failed", 7, [failure("EXPORT-1404-404")])
    assert positions(database) == {"good": FAR}


def test_a_position_moves_from_where_the_plan_began_and_from_nowhere_else(
    database: Database, watch: LeaseMonitor
) -> None:
    with_flow(database, "flow", ["good", "moved"])
    with database.writing() as session:
        session.add(Watermark(flow_id="flow", dataset_id="moved", snapshot_id=8, run_id="r", updated_at=0))
    waiting_run(database, flow_id="flow")
    lease = runs.claim(database, "w", watch, 0)
    assert lease is not None
    datasets = [planned(lease.run_id, name, None) for name in ("good", "moved", "gone")]
    datasets[1].position = 7
    run_plans.save_plan(database, lease, datasets, [], [], 5)
    runs.complete(database, lease, None, 7)
    assert positions(database) == {"good": FAR, "moved": 8}


def positions(database: Database) -> dict[str, int]:
    with database.reading() as session:
        return {one.dataset_id: one.snapshot_id for one in session.query(Watermark).filter_by(flow_id="flow")}


def with_flow(database: Database, flow_id: str, dataset_ids: list[str]) -> None:
    """A flow of these datasets, and what it refers to."""
    stamp = {"org_id": "org", "sandbox_id": "sandbox", "created_at": 0, "updated_at": 0, "version": "v"}
    stamp |= {"created_by": "me", "updated_by": "me", "created_client": "me", "updated_client": "me"}
    stamp |= {"name": "n", "state": "enabled"}
    with database.writing() as session:
        session.add(Connection(id="base", connection_spec_id="spec", **stamp))
        session.flush()
        session.add(
            SourceConnection(
                id="source", connection_spec_id="spec", base_connection_id="b", dataset_ids=dataset_ids, **stamp
            )
        )
        session.add(
            TargetConnection(id="target", connection_spec_id="spec", base_connection_id="base", params={}, **stamp)
        )
        session.flush()
        ends = {"source_connection_id": "source", "target_connection_id": "target"}
        session.add(Flow(id=flow_id, flow_spec_id="spec", schedule={}, last_operation={}, **ends, **stamp))


def planned(run_id: str, dataset_id: str, error: InfoItem | None) -> RunDataset:
    return RunDataset(
        run_id=run_id,
        dataset_id=dataset_id,
        dataset_name=dataset_id,
        kind="full",
        to_snapshot=FAR,
        folder="f",
        input_files=1,
        input_rows=3,
        input_bytes=30,
        deleted_rows=0,
        error=error,
    )


def part(run_id: str, number: int) -> RunPart:
    return RunPart(run_id=run_id, number=number, dataset_id="good", key="f/p", slices=[], input_rows=3, input_bytes=30)
