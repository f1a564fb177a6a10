import threading
from uuid import uuid4

import pytest

from offtake.errors import LeaseLostError
from offtake.store import runs
from offtake.store.database import Database, StoreConflictError
from offtake.store.tables import Run, RunDataset, RunPart, Watermark

LEASE = 30_000


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
                status=runs.WAITING,
                cancel_requested=False,
                fence=0,
                errors=[],
                warnings=[],
            )
        )
    return run_id


def test_the_oldest_waiting_run_is_claimed_first(database: Database) -> None:
    younger, older = waiting_run(database, 20), waiting_run(database, 10)
    claims = [runs.claim(database, "w", 100, LEASE) for _ in range(3)]
    assert [lease and lease.run_id for lease in claims] == [older, younger, None]


def test_a_silent_holder_loses_its_run_and_can_write_nothing_more(database: Database) -> None:
    waiting_run(database)
    first = runs.claim(database, "slow", 0, LEASE)
    assert first is not None
    assert runs.claim(database, "other", LEASE - 1, LEASE) is None
    second = runs.claim(database, "other", LEASE, LEASE)
    assert second is not None
    assert second.fence > first.fence
    for write in (
        lambda: runs.renew(database, first, LEASE, LEASE),
        lambda: runs.save_plan(database, first, [], [], [], LEASE),
        lambda: runs.complete(database, first, None, LEASE),
        lambda: runs.fail(database, first, {}, LEASE),
        lambda: runs.release(database, first),
    ):
        with pytest.raises(LeaseLostError):
            write()
    runs.complete(database, second, None, LEASE)


def test_a_renewed_lease_is_not_taken(database: Database) -> None:
    waiting_run(database)
    lease = runs.claim(database, "w", 0, LEASE)
    assert lease is not None
    runs.renew(database, lease, LEASE - 1, LEASE)
    assert runs.claim(database, "other", LEASE + 1, LEASE) is None


def test_runs_of_a_dead_owner_are_free_at_once(database: Database) -> None:
    waiting_run(database)
    runs.claim(database, "dead", 0, LEASE)
    runs.abandon(database, "somebody else")
    assert runs.claim(database, "w", 1, LEASE) is None
    runs.abandon(database, "dead")
    assert runs.claim(database, "w", 1, LEASE) is not None


def test_two_workers_never_claim_the_same_run(database: Database) -> None:
    wanted = {waiting_run(database, number) for number in range(12)}
    claimed: list[str] = []

    def work() -> None:
        while (lease := runs.claim(database, threading.current_thread().name, 100, LEASE)) is not None:
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


def test_completing_moves_the_positions_of_what_was_delivered_only(database: Database) -> None:
    waiting_run(database)
    lease = runs.claim(database, "w", 0, LEASE)
    assert lease is not None
    delivered, failed = planned(lease.run_id, "good", None), planned(lease.run_id, "bad", {"code": "EXPORT-1404-404"})
    runs.save_plan(database, lease, [delivered, failed], [part(lease.run_id, 0)], [], 5)
    runs.record_part(database, lease, 0, rows=3, size=30, sha256="ab", now_ms=6)
    runs.complete(database, lease, None, 7)
    with database.reading() as session:
        run = session.get_one(Run, lease.run_id)
        positions = {one.dataset_id: one.snapshot_id for one in session.query(Watermark).filter_by(flow_id=run.flow_id)}
        assert (run.status, run.completed_at, run.errors) == ("failed", 7, [{"code": "EXPORT-1404-404"}])
        assert positions == {"good": 9_223_372_036_854_775_807}


def planned(run_id: str, dataset_id: str, error: dict[str, str] | None) -> RunDataset:
    return RunDataset(
        run_id=run_id,
        dataset_id=dataset_id,
        dataset_name=dataset_id,
        kind="full",
        to_snapshot=9_223_372_036_854_775_807,
        folder="f",
        input_files=1,
        input_rows=3,
        input_bytes=30,
        deleted_rows=0,
        error=error,
    )


def part(run_id: str, number: int) -> RunPart:
    return RunPart(run_id=run_id, number=number, dataset_id="good", key="f/p", slices=[], input_rows=3, input_bytes=30)
