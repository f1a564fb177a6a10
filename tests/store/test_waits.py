"""Runs that wait in the queue: who is claimed when, who asks a destination for all, and how waits end."""

from collections.abc import Sequence
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import event, select

from offtake.documents import InfoItem
from offtake.errors import CANCELLED, LeaseLostError
from offtake.store import health, run_parts, run_plans, runs, waits
from offtake.store.database import Database
from offtake.store.health import KNOWN_MS, PROBE_MS, Failure
from offtake.store.leases import LeaseMonitor
from offtake.store.run_leases import Lease
from offtake.store.run_parts import PartRecord
from offtake.store.tables import DestinationHealth, Run, RunDataset, RunPart
from offtake.store.waits import Wait
from tests.conftest import NOON
from tests.fake_clock import FakeClock
from tests.store.test_runs import waiting_run

HOST = "sftp.example.org:22"
AWAY: InfoItem = {"code": "EXPORT-2003-504", "message": "It does not answer.", "type": "Error"}
DAY_MS = 86_400_000


@pytest.fixture
def watch(clock: FakeClock) -> LeaseMonitor:
    return LeaseMonitor(clock.elapsed_ms, 30_000)


class Queue:
    """Runs in one database, claimed by one worker after another."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database, self.clock = database, clock
        self.watch = LeaseMonitor(clock.elapsed_ms, 30_000)
        self.added = 0

    def add(self, count: int = 1, address: str | None = None) -> list[str]:
        """Runs to that destination, from the oldest to the youngest; their ids."""
        self.added += count
        first = self.clock.ms - 1000 + self.added
        added = [waiting_run(self.database, first + number) for number in range(count)]
        with self.database.writing() as session:
            for one in added:
                session.get_one(Run, one).address = address
        return added

    def claim(self) -> Lease | None:
        return runs.claim(self.database, "worker", self.watch, self.clock.now_ms())

    def must_claim(self) -> Lease:
        lease = self.claim()
        assert lease is not None
        return lease

    def defer(self, lease: Lease, seconds: float, *, outage: bool = False, window: float = 86_400) -> int | None:
        until = self.clock.ms + round(window * 1000)
        failure = Failure(AWAY, 0) if outage else None
        wait = Wait(AWAY, seconds, until, {"meeting": [1, self.clock.ms]}, failure)
        return waits.defer(self.database, lease, wait, lambda failures: 2.0 ** (failures - 1), self.clock.ms)

    def run(self, run_id: str) -> Run:
        with self.database.reading() as session:
            return session.get_one(Run, run_id)

    def plan(self, lease: Lease, files: int) -> None:
        """Store a plan of so many files, and record the first."""
        dataset = RunDataset(
            run_id=lease.run_id,
            dataset_id="d",
            dataset_name="d",
            kind="full",
            folder="",
            input_files=1,
            input_rows=files,
            input_bytes=1,
            deleted_rows=0,
        )
        parts = [
            RunPart(
                run_id=lease.run_id,
                number=number,
                dataset_id="d",
                key=f"{number}",
                slices=[],
                input_rows=1,
                input_bytes=1,
            )
            for number in range(files)
        ]
        run_plans.save_plan(self.database, lease, [dataset], list(parts), [], self.clock.ms)
        run_parts.record_part(self.database, lease, 0, PartRecord(rows=1, bytes=1, sha256=""), self.clock.ms)

    def end(self, lease: Lease) -> None:
        runs.complete(self.database, lease, None, self.clock.ms)


@pytest.fixture
def queue(database: Database, clock: FakeClock) -> Queue:
    return Queue(database, clock)


# One run


def test_a_run_that_waits_is_not_claimed_before_its_time_and_keeps_what_is_recorded(queue: Queue) -> None:
    (run_id,) = queue.add()
    lease = queue.must_claim()
    queue.plan(lease, 2)
    assert queue.defer(lease, 60) == NOON + 60_000
    waiting = queue.run(run_id)
    assert (waiting.status, waiting.heartbeat_counter, waiting.claims, waiting.lease_owner) == ("waiting", 0, 0, None)
    assert (waiting.waiting_since, waiting.wait_reason, waiting.wait_until) == (NOON, AWAY, NOON + DAY_MS)
    queue.clock.advance(seconds=59.9)
    assert queue.claim() is None
    queue.clock.advance(seconds=0.1)
    again = queue.must_claim()
    assert (again.run_id, again.claims, again.fence) == (run_id, 1, 2)
    assert again.retries == {"meeting": [1, NOON]}
    stored = run_plans.load_plan(queue.database, again)
    assert stored is not None
    assert [part.finished_at is not None for part in stored[1]] == [True, False]
    queue.end(again)
    ended = queue.run(run_id)
    assert (ended.status, ended.not_before, ended.waiting_since) == ("success", None, None)


def test_waits_without_number_are_no_crashes(queue: Queue) -> None:
    queue.add()
    for _ in range(30):
        lease = queue.must_claim()
        assert lease.claims == 1
        queue.defer(lease, 60)
        queue.clock.advance(seconds=60)


def test_the_holder_before_can_write_nothing_about_a_run_that_waits(queue: Queue) -> None:
    queue.add(1, HOST)
    lease = queue.must_claim()
    queue.defer(lease, 60)
    with pytest.raises(LeaseLostError):
        queue.defer(lease, 60)
    with pytest.raises(LeaseLostError):
        runs.renew(queue.database, lease)
    with pytest.raises(LeaseLostError):
        waits.note_failure(queue.database, lease, Failure(AWAY, 0), lambda _: 1.0, NOON)


def test_a_cancelled_run_that_waits_ends_at_once_or_by_the_next_worker_when_it_may_have_files(queue: Queue) -> None:
    (bare,) = queue.add()
    queue.defer(queue.must_claim(), 3600)
    (half,) = queue.add()
    lease = queue.must_claim()
    queue.plan(lease, 2)
    queue.defer(lease, 3600)
    with queue.database.writing() as session:
        for one in (bare, half):
            runs.cancel_run(session, session.get_one(Run, one), NOON)
    assert (queue.run(bare).status, queue.run(half).status) == ("failed", "waiting")
    assert [error["code"] for error in queue.run(bare).errors] == [CANCELLED.code]
    again = queue.must_claim()
    assert (again.run_id, again.cancelled) == (half, True)


def test_a_run_that_was_cancelled_while_it_failed_does_not_wait(queue: Queue) -> None:
    (run_id,) = queue.add()
    lease = queue.must_claim()
    with queue.database.writing() as session:
        runs.cancel_run(session, session.get_one(Run, run_id), NOON)
    assert queue.defer(lease, 3600) is None
    assert queue.must_claim().cancelled


# One destination


def test_one_run_asks_a_destination_for_all_and_others_are_free_when_it_answers(queue: Queue) -> None:
    first, *others = queue.add(5, HOST)
    (elsewhere,) = queue.add(1, "other.example.org:22")
    lease = queue.must_claim()
    assert (lease.run_id, lease.admission) == (first, "probe")
    assert queue.must_claim().run_id == elsewhere
    assert queue.claim() is None
    waits.note_answer(queue.database, lease, queue.clock.ms)
    claimed = [queue.must_claim() for _ in others]
    assert [(one.run_id, one.admission) for one in claimed] == [(one, "known") for one in others]


def test_a_destination_that_does_not_answer_is_asked_by_one_run_at_a_time(queue: Queue) -> None:
    ids = queue.add(4, HOST)
    asked = []
    due = NOON
    for failures in range(6):
        lease = queue.must_claim()
        assert (lease.admission, lease.away) == ("probe", failures > 0)
        asked.append(lease.run_id)
        due = queue.clock.ms + 2**failures * 1000
        assert queue.defer(lease, 0.1, outage=True) == due
        assert queue.claim() is None
        others = [queue.run(one) for one in ids if one != lease.run_id]
        assert {(one.not_before, one.waiting_since, str(one.wait_reason)) for one in others} == {
            (due, NOON, str(AWAY)),
        }
        queue.clock.ms = due
    assert sorted(asked[:4]) == sorted(ids), "each asks in turn"
    lease = queue.must_claim()
    waits.note_answer(queue.database, lease, queue.clock.ms)
    assert all(queue.claim() is not None for _ in range(3))


def test_runs_come_back_a_few_at_a_time_after_an_outage(queue: Queue) -> None:
    queue.add(30, HOST)
    queue.defer(queue.must_claim(), 1, outage=True)
    queue.clock.advance(seconds=1)
    waits.note_answer(queue.database, queue.must_claim(), queue.clock.ms)
    rounds = []
    for _ in range(4):
        count = 0
        while queue.claim() is not None:
            count += 1
        rounds.append(count)
        queue.clock.advance(seconds=0.2)
    assert rounds == [8, 8, 8, 5]


def test_runs_that_come_during_an_outage_are_held_and_healthy_ones_are_not(queue: Queue) -> None:
    queue.add(1, HOST)
    queue.defer(queue.must_claim(), 60, outage=True)
    late = queue.add(3, HOST)
    with queue.database.writing() as session:
        created = list(session.scalars(select(Run).where(Run.id.in_(late))))
        health.hold_new(session, created, queue.clock.ms)
    (healthy,) = queue.add()
    assert queue.must_claim().run_id == healthy
    assert {queue.run(one).not_before for one in late} == {NOON + 1000}
    # One that slipped through is held when it is claimed.
    (slipped,) = queue.add(1, HOST)
    assert queue.claim() is None
    assert queue.run(slipped).not_before == NOON + 1000


def test_another_run_asks_when_the_one_that_was_to_has_died(queue: Queue) -> None:
    first, second = queue.add(2, HOST)
    assert queue.must_claim().run_id == first
    queue.watch = LeaseMonitor(queue.clock.elapsed_ms, PROBE_MS * 10)
    assert queue.claim() is None
    queue.clock.advance(seconds=PROBE_MS / 1000)
    lease = queue.must_claim()
    assert (lease.run_id, lease.admission) == (second, "probe")


def test_a_run_that_ends_without_having_asked_lets_others_ask(queue: Queue) -> None:
    _, second = queue.add(2, HOST)
    lease = queue.must_claim()
    queue.end(lease)
    waits.leave_probe(queue.database, lease, queue.clock.ms)
    again = queue.must_claim()
    assert (again.run_id, again.admission) == (second, "probe")


def test_a_destination_without_a_recent_answer_is_probed_again(queue: Queue) -> None:
    queue.add(1, HOST)
    lease = queue.must_claim()
    waits.note_answer(queue.database, lease, queue.clock.ms)
    queue.end(lease)
    heard = queue.clock.ms
    for seconds, admission in ((KNOWN_MS / 1000 - 1, "known"), (KNOWN_MS / 1000, "probe")):
        queue.add(1, HOST)
        queue.clock.ms = heard + round(seconds * 1000)
        lease = queue.must_claim()
        assert lease.admission == admission
        queue.end(lease)


def test_a_run_that_fails_alone_is_not_retried_with_every_success_of_others(queue: Queue) -> None:
    queue.add(2, HOST)
    first = queue.must_claim()
    waits.note_answer(queue.database, first, queue.clock.ms)
    queue.end(first)
    failing = queue.must_claim()
    assert failing.admission == "known"
    assert queue.defer(failing, 40, outage=True) == NOON + 40_000
    queue.add(1, HOST)
    queue.clock.advance(seconds=1)
    lease = queue.must_claim()
    waits.note_answer(queue.database, lease, queue.clock.ms)
    queue.end(lease)
    assert queue.claim() is None
    queue.clock.advance(seconds=39)
    assert queue.must_claim().run_id == failing.run_id


def test_other_credentials_wake_what_waits_and_name_the_new_server(queue: Queue) -> None:
    queue.add(2, HOST)
    held = queue.must_claim()
    queue.defer(held, 3600, outage=True)
    busy_id = queue.add(1, "else:22")[0]
    busy = queue.must_claim()
    assert busy.run_id == busy_id
    with queue.database.writing() as session:
        session.execute(sa.update(Run).values(address="new:22", not_before=None, held=False))
        health.retry_now(session, "new:22", queue.clock.ms)
    # One whose credentials were changed while it failed is tried at once, whatever it failed of.
    assert queue.defer(busy, 3600, outage=True) is None
    lease = queue.must_claim()
    assert (lease.address, lease.admission) == ("new:22", "probe")


# Ends


def test_a_run_beyond_its_window_ends_with_its_reason(queue: Queue) -> None:
    (bare,) = queue.add()
    queue.defer(queue.must_claim(), 3600, window=60)
    (half,) = queue.add()
    lease = queue.must_claim()
    queue.plan(lease, 2)
    queue.defer(lease, 3600, window=60)
    assert queue.run(bare).not_before == NOON + 60_000, "the last try is when the window ends"
    assert waits.give_up(queue.database, [bare, half], queue.clock.ms) == 0
    queue.clock.advance(seconds=61)
    late = [run_id for run_id, _, _ in waits.list_overdue(queue.database, queue.clock.ms, 10)]
    assert sorted(late) == sorted([bare, half])
    assert waits.give_up(queue.database, late, queue.clock.ms) == 2
    assert (queue.run(bare).status, queue.run(bare).errors) == ("failed", [AWAY])
    assert (queue.run(half).status, queue.run(half).failure) == ("waiting", AWAY)
    assert queue.must_claim().failure == AWAY


@pytest.mark.parametrize("back", [1, 3600, 400 * 86_400])
def test_a_clock_that_is_set_back_keeps_no_run_and_no_destination_waiting(queue: Queue, back: int) -> None:
    ids = queue.add(3, HOST)
    queue.defer(queue.must_claim(), 30, outage=True)
    queue.clock.set_by(seconds=-back)
    waits.correct_clock(queue.database, queue.clock.ms)
    lease = queue.must_claim()
    assert queue.run(lease.run_id).started_at == queue.clock.ms
    waits.note_answer(queue.database, lease, queue.clock.ms)
    assert {queue.must_claim().run_id for _ in range(2)} | {lease.run_id} == set(ids)


@pytest.mark.parametrize("forward", [3600, 400 * 86_400])
def test_a_clock_that_jumps_over_the_windows_end_loses_no_run(queue: Queue, forward: int) -> None:
    ids = queue.add(3, HOST)
    queue.defer(queue.must_claim(), 30, outage=True, window=1800)
    queue.clock.set_by(seconds=forward)
    lease = queue.must_claim()
    waits.note_answer(queue.database, lease, queue.clock.ms)
    assert {queue.must_claim().run_id for _ in range(2)} | {lease.run_id} == set(ids)


def test_old_destinations_are_forgotten_unless_a_run_waits_for_them(queue: Queue) -> None:
    queue.add(2, HOST)
    queue.defer(queue.must_claim(), 1, outage=True)
    queue.add(1, "gone:22")
    lease = queue.must_claim()
    waits.note_answer(queue.database, lease, queue.clock.ms)
    queue.end(lease)
    queue.clock.advance(days=8)
    with queue.database.writing() as session:
        health.forget_old(session, queue.clock.ms)
    with queue.database.reading() as session:
        assert list(session.scalars(select(DestinationHealth.address))) == [HOST]


# Cost


def test_a_claim_reads_the_first_entries_of_indexes_however_many_runs_wait(queue: Queue) -> None:
    queue.add(3, HOST)
    queue.defer(queue.must_claim(), 3600, outage=True)
    asked: list[tuple[str, object]] = []
    event.listen(queue.database.engine, "before_cursor_execute", lambda *what: asked.append((what[2], what[3])))
    assert queue.claim() is None
    looks = [(text, values) for text, values in asked if text.startswith("SELECT runs.") and "LIMIT" in text]
    # The first one finds out whether any run is live.
    looks = looks[1:]
    assert len(looks) == 3
    plans = [_plan(queue.database, text, values) for text, values in looks]
    for plan, index in zip(plans, ("ix_runs_queue", "ix_runs_ready", "ix_runs_waits"), strict=True):
        # A planner may know a better one of the runs that are live; it may not read all runs.
        used = any(index in line for line in plan)
        assert used or (queue.database.engine.dialect.name == "postgresql" and "Seq Scan" not in str(plan)), plan


def _plan(database: Database, text: str, values: object) -> Sequence[str]:
    sqlite = database.engine.dialect.name == "sqlite"
    with database.engine.connect() as connection:
        if not sqlite:
            connection.exec_driver_sql("SET enable_seqscan = off")
        found = connection.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' if sqlite else ''}{text}", values)  # type: ignore[arg-type] # as the driver was given them
        return [str(row[-1]) for row in found]


def test_a_thousand_runs_that_wait_do_not_slow_claims_down(queue: Queue) -> None:
    (first,) = queue.add()
    with queue.database.writing() as session:
        columns = {one.key: getattr(session.get_one(Run, first), one.key) for one in Run.__mapper__.column_attrs}
        waiting = {"held": True, "not_before": NOON + 60_000, "waiting_since": NOON}
        many = [
            columns | waiting | {"id": str(uuid4()), "flow_id": str(uuid4()), "scheduled_at": n} for n in range(1000)
        ]
        session.execute(sa.insert(Run), many)
    statements: list[object] = []
    event.listen(queue.database.engine, "before_cursor_execute", lambda *what: statements.append(what[2]))
    assert queue.must_claim().run_id == first
    before = len(statements)
    assert queue.claim() is None
    assert len(statements) - before <= 10


def test_one_worker_of_a_process_at_most_asks_destinations_that_are_away(queue: Queue) -> None:
    queue.add(2, HOST)
    queue.add(2, "other.example.org:22")
    for _ in range(2):
        queue.defer(queue.must_claim(), 1, outage=True)
    queue.clock.advance(seconds=1)
    asking = queue.must_claim()
    assert (asking.admission, asking.away) == ("probe", True)
    now = queue.clock.now_ms()
    assert runs.claim(queue.database, "worker", queue.watch, now, may_probe=False) is None
    (healthy,) = queue.add()
    lease = runs.claim(queue.database, "worker", queue.watch, now, may_probe=False)
    assert lease is not None
    assert lease.run_id == healthy
    queue.clock.advance(seconds=1)
    assert queue.must_claim().away


def test_a_pause_without_end_holds_other_runs_for_a_day_at_most(queue: Queue) -> None:
    queue.add(2, HOST)
    lease = queue.must_claim()
    waits.note_failure(queue.database, lease, Failure(AWAY, float("inf")), lambda _: 1.0, NOON)
    runs.fail(queue.database, lease, AWAY, NOON)
    queue.clock.advance(days=1)
    assert queue.must_claim().admission == "probe"
