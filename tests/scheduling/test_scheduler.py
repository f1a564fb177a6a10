"""Many flows, many schedulers: one run for each flow and slot, and no flow waits for another."""

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, select, update

from offtake.access import access
from offtake.flows import adhoc, flow_changes
from offtake.flows.adhoc import AdhocDestination, AdhocRefusedError
from offtake.flows.schedule import ScheduleRules
from offtake.scheduling import scheduler
from offtake.scheduling.background import background_services
from offtake.scheduling.scheduler import enqueue_due_runs, repair_future_slots
from offtake.store import run_states
from offtake.store import runs as store
from offtake.store.database import Database
from offtake.store.leases import LeaseMonitor
from offtake.store.tables import Flow, Run, Watermark
from tests.deployment import Deployment, etag_of
from tests.fake_clock import FakeClock
from tests.scheduling.contention import PERIOD, crowd, together
from tests.scheduling.delivered_files import ONCE, Exported, make


@pytest.fixture
def exported(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """A flow of every three hours that begins now, with small parts; nothing has run yet."""
    return make(deployed, monkeypatch)


# One flow that cannot be ticked


def test_a_flow_that_cannot_be_read_keeps_no_other_from_its_run(
    exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    deployed = exported.deployed
    broken = deployed.flow(exported.dataset)
    with deployed.backend.database.writing() as session:
        flow = session.get_one(Flow, broken)
        flow.schedule = {"from": "another version"}
        flow.next_run_s = exported.start - 1
    with caplog.at_level(logging.ERROR):
        exported.serve()
    assert exported.slots() == [0]
    assert {record.name for record in caplog.records} == {scheduler.__name__}
    assert all(broken in record.getMessage() for record in caplog.records)


def test_the_scheduler_of_a_server_ticks_despite_a_flow_that_cannot_be_read(exported: Exported) -> None:
    deployed = exported.deployed
    unreadable = deployed.flow(exported.dataset)
    with deployed.backend.database.writing() as session:
        session.get_one(Flow, unreadable).schedule = {"from": "another version"}
    deployed.clock.set_by(hours=4)
    with background_services(deployed.backend, "server"):
        pause = threading.Event()
        assert any(exported.slots() == [3] or pause.wait(0.05) for _ in range(200))


def test_etags_outlive_ticks_and_corrections(exported: Exported) -> None:
    """Bookkeeping does not change a flow's version (contract, section 5.6)."""
    before = etag_of(exported.deployed, f"/flows/{exported.flow}")
    exported.serve()
    exported.set_clock(days=365)
    exported.set_clock(days=-365)
    exported.deployed.sign_in()
    assert etag_of(exported.deployed, f"/flows/{exported.flow}") == before


# Several schedulers at the same instant


def made(database: Database) -> Counter[tuple[str, int]]:
    """The runs by flow and slot, in seconds."""
    with database.reading() as session:
        found = session.execute(select(Run.flow_id, Run.scheduled_at))
        return Counter((flow_id, at // 1000) for flow_id, at in found)


def end_all(database: Database) -> None:
    with database.writing() as session:
        session.execute(update(Run).values(status=run_states.SUCCESS))


def at_once(*acts: Callable[[], object]) -> None:
    """Do all of it in threads from the same instant on; raises what one of them raised."""
    barrier = threading.Barrier(len(acts))
    raised: list[BaseException] = []

    def do(act: Callable[[], object]) -> None:
        try:
            barrier.wait(10)
            act()
        except BaseException as error:  # noqa: BLE001 - asserted by the caller
            raised.append(error)

    threads = [threading.Thread(target=do, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == []


def test_threads_that_tick_at_the_same_instant_make_one_run_a_flow_and_slot(
    database: Database, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    flows, start = crowd(database, clock, 120), clock.now_seconds()
    others = [Database(database.url) for _ in range(2)]
    try:
        for _ in range(6):
            at_once(*(lambda one=one: enqueue_due_runs(one, clock) for one in (database, *others)))
            end_all(database)
            clock.advance(hours=3)
            repair_future_slots(database, clock)
    finally:
        for one in others:
            one.close()
    slots = range(start, start + 6 * PERIOD, PERIOD)
    assert made(database) == Counter((flow, slot) for flow in flows for slot in slots)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_runs_that_are_asked_for_while_others_tick_are_the_only_ones(
    database: Database, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    flows = crowd(database, clock, 60)
    caller = access.operator_caller(database)
    refused: list[str] = []

    def ask() -> None:
        for flow in flows:
            try:
                with database.writing() as session:
                    adhoc.run_now(session, caller, AdhocDestination(flowId=flow), clock.now_ms())
            except AdhocRefusedError as error:
                refused.append(str(error))

    for _ in range(3):
        refused.clear()
        at_once(ask, lambda: enqueue_due_runs(database, clock), ask)
        with database.reading() as session:
            live = Counter(session.scalars(select(Run.flow_id).where(Run.status.in_(run_states.LIVE))))
        assert live == Counter(flows)
        assert all("already going on" in one for one in refused)
        end_all(database)
        clock.advance(hours=3)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_processes_that_tick_at_the_same_instants_make_one_run_a_flow_and_slot(
    database: Database, clock: FakeClock
) -> None:
    flows, start = crowd(database, clock, 60), clock.now_seconds()
    script = f"""
clock = FakeClock({clock.now_ms()})
for _ in range(8):
    repair_future_slots(database, clock)
    print(*enqueue_due_runs(database, clock), sep="\\n")
    with database.writing() as session:
        session.connection().exec_driver_sql("UPDATE runs SET status = 'success'")
    clock.advance(hours=3)
"""  # noqa: S608 - the one number in it is the test's own
    printed = [line for output in together(database, script) for line in output.splitlines() if line]
    with database.reading() as session:
        ids = list(session.scalars(select(Run.id)))
    # The processes printed nothing else but events, and no two of them created the same run.
    assert sorted(line for line in printed if not line.startswith("schedule.")) == sorted(ids)
    runs = made(database)
    assert max(runs.values()) == 1
    assert {slot for _, slot in runs} <= set(range(start, start + 8 * PERIOD, PERIOD))
    assert {(flow, start) for flow in flows} <= set(runs)


def _none_used(_session: object, _slots: object) -> set[str]:
    return set()


def test_a_conflict_about_one_flow_undoes_no_other_run(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever slips through the checks, the database refuses: that flow waits, all others run."""
    flows = crowd(database, clock, 150)
    enqueue_due_runs(database, clock)
    end_all(database)
    with database.writing() as session:
        session.execute(update(Run).where(Run.flow_id != flows[70]).values(scheduled_at=0))
        session.execute(update(Flow).values(next_run_s=clock.now_seconds()))
    monkeypatch.setattr(scheduler, "_used", _none_used)
    assert len(enqueue_due_runs(database, clock)) == 149
    (record,) = [record for record in caplog.records if record.name == scheduler.__name__]
    assert flows[70] in record.getMessage()


def test_ticks_ask_the_database_a_few_times_for_a_hundred_flows(database: Database, clock: FakeClock) -> None:
    crowd(database, clock, 1000)
    statements: list[object] = []
    event.listen(database.engine, "before_cursor_execute", lambda *what: statements.append(what[2]))
    assert len(enqueue_due_runs(database, clock)) == 1000
    assert len(statements) <= 10 * 10
    clock.set_by(days=400)
    end_all(database)
    assert len(enqueue_due_runs(database, clock)) == 1000
    clock.set_by(days=-400)
    statements.clear()
    assert repair_future_slots(database, clock) == 1000
    assert len(statements) <= 10 * 6


CHANGES: list[tuple[str, Any]] = [
    ("/scheduleParams", ONCE),
    ("/scheduleParams", {"interval": 6}),
    ("/name", "another"),
]


@pytest.mark.parametrize(("path", "value"), CHANGES)
def test_a_flow_is_changed_while_its_run_is_completed(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, path: str, value: Any
) -> None:
    """Both lock the run before the flow: neither is undone because each waits for the other."""
    (flow,) = crowd(database, clock, 1)
    caller = access.operator_caller(database)
    enqueue_due_runs(database, clock)
    lease = store.claim(database, "worker", LeaseMonitor(clock.elapsed_ms, 30_000), clock.now_ms())
    assert lease is not None
    holds, move = threading.Event(), store._move_positions  # noqa: SLF001 - where a completion can be held up

    def slowly(*arguments: Any) -> None:
        holds.set()
        threading.Event().wait(0.5)
        move(*arguments)

    def change() -> None:
        assert holds.wait(10)
        body = json.dumps([{"op": "replace", "path": path, "value": value}]).encode()
        with database.writing() as session:
            flow_changes.update(session, caller, flow, body, "*", clock.now_ms(), ScheduleRules())

    monkeypatch.setattr(store, "_move_positions", slowly)
    at_once(lambda: store.complete(database, lease, None, clock.now_ms()), change)
    with database.reading() as session:
        changed = session.get_one(Flow, flow)
        assert (changed.last_run_state, changed.last_operation["operation"]) == (run_states.SUCCESS, "update")
        assert session.scalars(select(Watermark)).all() == []
