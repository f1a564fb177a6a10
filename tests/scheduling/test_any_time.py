"""Whatever time, people and failures do to a flow, in whatever order: every row once, no slot twice.

Ticks, corrections, changes and the store's writes about runs are the real ones; only the files are left out: a run
plans the rows that a dataset has, as snapshot numbers.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from offtake.access import access, clients
from offtake.contract.caller import Caller
from offtake.contract.entities import ENABLED
from offtake.documents import InfoItem
from offtake.flows import flow_changes, flows
from offtake.flows.failure_alerts import alert_failing_flows
from offtake.flows.schedule import Schedule, ScheduleRules, next_slot
from offtake.flows.windows import Limits, window_of
from offtake.scheduling.scheduler import enqueue_due_runs, repair_future_slots
from offtake.store import run_plans, run_states, runs, waits
from offtake.store.database import Database
from offtake.store.health import Failure
from offtake.store.leases import LeaseMonitor
from offtake.store.run_leases import Lease
from offtake.store.tables import Flow, Run, RunDataset, SourceConnection, Watermark
from offtake.store.waits import Wait
from tests.fake_clock import FakeClock
from tests.matrix import examples
from tests.scheduling.contention import DATASETS, crowd
from tests.scheduling.delivered_files import DAY, HOUR

NOON = 1_772_366_400_000
SLOTS = {"exportMode": "FIRST_FULL_THEN_INCREMENTAL", "timeUnit": "hour", "interval": 3}
steps = st.sampled_from([1, 60, HOUR, 3 * HOUR, 7 * HOUR, DAY, 31 * DAY])
jumps = st.sampled_from([-400 * DAY, -DAY, -3 * HOUR, -HOUR, -60, -1, 1, 60, HOUR, 4 * HOUR, DAY, 365 * DAY])


@dataclass
class World:
    """One store for all examples; each has a flow of its own in it."""

    database: Database
    caller: Caller
    clock: FakeClock


@dataclass
class Course:
    """What was delivered of one dataset since it last started over: (from, to] of each run that moved the position."""

    delivered: list[tuple[int | None, int]] = field(default_factory=list)


class AnyTime(RuleBasedStateMachine):
    """A flow of two datasets, seen by what it has delivered."""

    world: World

    @initialize()
    def begin(self) -> None:
        world = self.world
        world.clock.ms = max(world.clock.ms, NOON) + DAY * 1000
        (self.flow,) = crowd(world.database, world.clock, 1)
        self.rows = dict.fromkeys(DATASETS, 1)
        self.courses = defaultdict[str, Course](Course)
        self.lease: Lease | None = None
        self.plan: list[RunDataset] = []
        self.corrected = False

    # Time

    @rule(seconds=steps)
    def time_passes(self, seconds: int) -> None:
        self.world.clock.advance(seconds=seconds)
        self.corrected = False

    @rule(seconds=jumps)
    def the_clock_is_set(self, seconds: int) -> None:
        self.world.clock.set_by(seconds=seconds)
        self.corrected = False

    @rule()
    def ticked(self) -> None:
        due, before = self._flow(), self._runs()
        now_ms = self.world.clock.now_ms()
        live = [run for run in before if run.status in run_states.LIVE and not waits.is_overdue(run, now_ms)]
        enqueue_due_runs(self.world.database, self.world.clock)
        made = {run.id for run in self._runs()} - {run.id for run in before}
        now = self.world.clock.now_seconds()
        is_due = due.state == ENABLED and due.next_run_s is not None and due.next_run_s <= now
        assert len(made) <= (is_due and not live)
        after = self._flow().next_run_s
        if is_due and after is not None and after <= now:
            # Only the last slot waits, and only for a run that is live.
            assert live
            assert next_slot(self._schedule(), after, now) is None

    @rule()
    def corrected_slots(self) -> None:
        repair_future_slots(self.world.database, self.world.clock)
        waits.correct_clock(self.world.database, self.world.clock.now_ms())
        self.corrected = True

    # Rows and runs

    @rule(dataset=st.sampled_from(DATASETS))
    def rows_come_in(self, dataset: str) -> None:
        self.rows[dataset] += 1

    @precondition(lambda self: self.lease is None)
    @rule()
    def claimed(self) -> None:
        watch = LeaseMonitor(self.world.clock.elapsed_ms, 30_000)
        self.lease = runs.claim(self.world.database, "worker", watch, self.world.clock.now_ms())
        self.plan = []

    @precondition(lambda self: self.lease is not None and not self.plan)
    @rule()
    def planned(self) -> None:
        assert self.lease is not None
        stored = run_plans.load_plan(self.world.database, self.lease)
        if stored is not None:
            self.plan = stored[0]
            return
        with self.world.database.reading() as session:
            run = session.get_one(Run, self.lease.run_id)
            full = session.get_one(Flow, self.flow).schedule["export_mode"] == "DAILY_FULL_EXPORT"
        known = self._positions()
        self.plan = [
            RunDataset(
                run_id=run.id,
                dataset_id=one,
                dataset_name=one,
                kind="full" if full or one not in known else "incremental",
                position=known.get(one),
                from_snapshot=None if full else known.get(one),
                to_snapshot=self.rows[one],
                schema=None,
                folder="",
                input_files=0,
                input_rows=0,
                input_bytes=0,
                deleted_rows=0,
                error=None,
            )
            for one in run.dataset_ids
        ]
        run_plans.save_plan(self.world.database, self.lease, self.plan, [], [], self.world.clock.now_ms())

    @precondition(lambda self: self.lease is not None and self.plan)
    @rule()
    def completed(self) -> None:
        assert self.lease is not None
        before = self._positions()
        runs.complete(self.world.database, self.lease, None, self.world.clock.now_ms())
        for dataset, position in self._positions().items():
            if before.get(dataset) != position:
                (planned,) = [one for one in self.plan if one.dataset_id == dataset]
                self.courses[dataset].delivered.append((planned.from_snapshot, position))
        self.lease = None

    @precondition(lambda self: self.lease is not None)
    @rule()
    def failed(self) -> None:
        assert self.lease is not None
        before = self._positions()
        error: InfoItem = {"code": "EXPORT-2003-504", "message": "It was away.", "type": "Error"}
        runs.record_failure(self.world.database, self.lease, error, self.world.clock.now_ms())
        runs.fail(self.world.database, self.lease, error, self.world.clock.now_ms())
        assert self._positions() == before
        self.lease = None

    @precondition(lambda self: self.lease is not None)
    @rule(seconds=st.sampled_from([1, 60, HOUR, DAY]), outage=st.booleans())
    def deferred(self, seconds: int, outage: bool) -> None:
        assert self.lease is not None
        before, now_ms = self._positions(), self.world.clock.now_ms()
        error: InfoItem = {"code": "EXPORT-2003-504", "message": "It is away.", "type": "Error"}
        with self.world.database.reading() as session:
            run = session.get_one(Run, self.lease.run_id)
            end = window_of(session.get(Flow, self.flow), run.trigger, Limits())(run.waiting_since or now_ms)
        failure = Failure(error, 0) if outage else None
        waits.defer(self.world.database, self.lease, Wait(error, seconds, end, {}, failure), lambda _: 60.0, now_ms)
        assert self._positions() == before
        self.lease, self.plan = None, []

    @precondition(lambda self: self.lease is not None)
    @rule()
    def given_back(self) -> None:
        assert self.lease is not None
        runs.release(self.world.database, self.lease)
        self.lease = runs.claim(
            self.world.database, "other", LeaseMonitor(self.world.clock.elapsed_ms, 30_000), self.world.clock.now_ms()
        )
        assert self.lease is not None

    @rule(disable=st.booleans())
    def alert(self, disable: bool) -> None:
        alert_failing_flows(self.world.database, self.world.clock.now_ms(), 3, disable=disable)

    # What takes several steps, and chance would seldom find

    @rule(dataset=st.sampled_from(DATASETS), seconds=st.sampled_from([3 * HOUR, DAY, 31 * DAY]))
    def served_later(self, dataset: str, seconds: int) -> None:
        self.rows_come_in(dataset)
        self.time_passes(seconds)
        self._serve()

    @rule(seconds=st.sampled_from([HOUR, 4 * HOUR, DAY, 365 * DAY]), served=st.booleans())
    def the_clock_is_wrong_for_a_while(self, seconds: int, served: bool) -> None:
        self.the_clock_is_set(seconds)
        self.ticked()
        if served:
            self._deliver()
        self.the_clock_is_set(-seconds)
        self._serve()

    @rule(datasets=st.sampled_from([DATASETS[:1], DATASETS[1:]]))
    def datasets_leave_while_a_run_is_live(self, datasets: list[str]) -> None:
        self.datasets_chosen(DATASETS)
        self.time_passes(3 * HOUR)
        self.ticked()
        if self.lease is None:
            self.claimed()
        if self.lease is not None and not self.plan:
            self.planned()
        self.datasets_chosen(datasets)
        self._deliver()

    @rule()
    def the_mode_changes_while_a_run_is_live(self) -> None:
        self.time_passes(3 * HOUR)
        self.ticked()
        if self.lease is None:
            self.claimed()
        if self.lease is not None and not self.plan:
            self.planned()
        self.mode_changed()
        self._deliver()

    # People

    @rule()
    def switched(self) -> None:
        op = "disable" if self._flow().state == ENABLED else "enable"
        now_ms = self.world.clock.now_ms()
        with self.world.database.writing() as session:
            flow = flow_changes.act(session, self.world.caller, self.flow, op, None, None, now_ms)
            assert op == "disable" or flow.next_run_s is None or flow.next_run_s > now_ms // 1000 or self._once()
        self.corrected = False

    @rule(interval=st.sampled_from([3, 6, 24]))
    def made_more_or_less_frequent(self, interval: int) -> None:
        self._change({"interval": interval} if not self._once() else {})

    @rule(offset=st.sampled_from([-2 * DAY, -HOUR, 0, HOUR, 40 * DAY]))
    def start_moved(self, offset: int) -> None:
        self._change({"startTime": max(0, self.world.clock.now_seconds() + offset), "endTime": None})

    @rule(offset=st.sampled_from([-HOUR, 60, HOUR, 4 * HOUR, DAY, 100 * DAY]))
    def end_moved(self, offset: int) -> None:
        end = self.world.clock.now_seconds() + offset
        if end > self._schedule().start_time:
            self._change({"endTime": end})

    @rule()
    def mode_changed(self) -> None:
        self._change(
            SLOTS if self._once() else {"exportMode": "DAILY_FULL_EXPORT", "timeUnit": "day", "interval": 0},
        )
        for dataset in DATASETS:
            self.courses[dataset] = Course()

    @rule(datasets=st.sampled_from([DATASETS, DATASETS[:1], DATASETS[1:]]))
    def datasets_chosen(self, datasets: list[str]) -> None:
        with self.world.database.writing() as session:
            flow = session.get_one(Flow, self.flow)
            source = session.get_one(SourceConnection, flow.source_connection_id)
            columns = {one.name: getattr(source, one.name) for one in SourceConnection.__table__.columns}
            session.add(other := SourceConnection(**columns | {"id": str(uuid4()), "dataset_ids": datasets}))
        self._patch("/sourceConnectionIds", [other.id])
        for dataset in set(DATASETS) - set(datasets):
            self.courses[dataset] = Course()

    # What always holds

    @invariant()
    def no_slot_runs_twice_and_one_run_is_live(self) -> None:
        found = self._runs()
        slots = [run.scheduled_at for run in found]
        assert len(slots) == len(set(slots))
        assert sum(run.status in run_states.LIVE for run in found) <= 1

    @invariant()
    def every_row_is_delivered_once_in_order(self) -> None:
        known = self._positions()
        for dataset in DATASETS:
            delivered = self.courses[dataset].delivered
            assert [began for began, _ in delivered] == [None, *(ended for _, ended in delivered)][: len(delivered)]
            assert known.get(dataset) == (delivered[-1][1] if delivered else None)
            assert all(began is None or began <= ended for began, ended in delivered)

    @invariant()
    def no_flow_waits_longer_than_until_the_next_slot(self) -> None:
        flow, now = self._flow(), self.world.clock.now_seconds()
        slot = next_slot(self._schedule(), now, now)
        if self.corrected and flow.state == ENABLED and slot is not None and not self._once():
            assert flow.next_run_s is not None
            assert flow.next_run_s <= slot

    def teardown(self) -> None:
        """In the end the flow is enabled, without an end: then it delivers all that is there."""
        if not hasattr(self, "flow"):
            return
        if self._once():
            self.mode_changed()
        if self._flow().state != ENABLED:
            self.switched()
        self._change({"startTime": self.world.clock.now_seconds(), "endTime": None})
        self._deliver()
        for _ in range(60):
            # Slots that were used up while the clock was wrong are passed over.
            if self._positions() == {one: self.rows[one] for one in self._source()}:
                break
            self.world.clock.advance(seconds=DAY)
            self.corrected_slots()
            self.ticked()
            self._deliver()
        assert self._positions() == {one: self.rows[one] for one in self._source()}
        self.every_row_is_delivered_once_in_order()
        with self.world.database.writing() as session:
            flow_changes.delete(session, self.world.caller, self.flow, self.world.clock.now_ms())

    def _serve(self) -> None:
        self.corrected_slots()
        self.ticked()
        self._deliver()

    def _deliver(self) -> None:
        for _ in range(2):
            if self.lease is None:
                self.claimed()
            if self.lease is not None and not self.plan:
                self.planned()
            if self.lease is not None:
                self.completed()

    def _change(self, schedule: dict[str, Any]) -> None:
        if schedule.get("endTime", "") is None:
            schedule = {key: value for key, value in schedule.items() if key != "endTime"}
            if self._schedule().end_time is not None:
                self._patch("/scheduleParams/endTime", None, op="remove")
        self._patch("/scheduleParams", schedule)

    def _patch(self, path: str, value: Any, op: str = "replace") -> None:
        body = json.dumps([{"op": op, "path": path, "value": value}]).encode()
        now_ms = self.world.clock.now_ms()
        with self.world.database.writing() as session:
            flow_changes.update(session, self.world.caller, self.flow, body, "*", now_ms, ScheduleRules())
        self.corrected = False
        self._forget_cancelled()

    def _forget_cancelled(self) -> None:
        """A run of nothing but datasets that have left is cancelled; its holder ends it."""
        if self.lease is None:
            return
        with self.world.database.reading() as session:
            run = session.get_one(Run, self.lease.run_id)
        if run.cancel_requested:
            self.failed()

    def _flow(self) -> Flow:
        with self.world.database.reading() as session:
            return session.get_one(Flow, self.flow)

    def _schedule(self) -> Schedule:
        return flows.stored_schedule(self._flow())

    def _once(self) -> bool:
        return self._schedule().one_time

    def _source(self) -> list[str]:
        with self.world.database.reading() as session:
            return session.get_one(SourceConnection, self._flow().source_connection_id).dataset_ids

    def _runs(self) -> list[Run]:
        with self.world.database.reading() as session:
            return list(session.scalars(select(Run).filter_by(flow_id=self.flow)))

    def _positions(self) -> dict[str, int]:
        with self.world.database.reading() as session:
            found = session.scalars(select(Watermark).filter_by(flow_id=self.flow))
            return {one.dataset_id: one.snapshot_id for one in found}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'store.db'}")
        database.migrate()
        clock = FakeClock(NOON)
        clients.create_organisation(database, clock)
        yield World(database, access.operator_caller(database), clock)
        database.close()


@pytest.mark.search
def test_whatever_happens_in_whatever_order(world: World) -> None:
    machine = type("AnyTimeHere", (AnyTime,), {"world": world})
    run_state_machine_as_test(machine, settings=settings(max_examples=examples(20), stateful_step_count=40))
