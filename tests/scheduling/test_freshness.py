"""Late flows are reported once, with the reason, whatever the workers and the clock do; and when they deliver again."""

import logging
from dataclasses import asdict
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import update

from offtake.flows.schedule import Schedule
from offtake.scheduling.freshness import FreshnessJudge
from offtake.scheduling.scheduler import enqueue_due_runs, repair_future_slots
from offtake.scheduling.worker_watch import WorkerWatch
from offtake.store import runs
from offtake.store.database import Database
from offtake.store.events import Event
from offtake.store.leases import LeaseMonitor
from offtake.store.tables import Flow, Run
from tests.conftest import NOON
from tests.deployment import Deployment, rows
from tests.event_lines import lines
from tests.fake_clock import FakeClock
from tests.scheduling.contention import crowd, together

HOUR_MS = 3_600_000
TOLERANCE_MS = 3 * HOUR_MS // 10


class Seen(list[Event]):
    """The events of a database."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        database.observers.append(self.append)

    def kinds(self, prefix: str = "flow.") -> list[str]:
        return [one.kind for one in self if one.kind.startswith(prefix)]


def schedule(end: int | None = None) -> dict[str, Any]:
    return asdict(Schedule("FIRST_FULL_THEN_INCREMENTAL", "hour", 3, NOON // 1000, end, False, None))


def set_columns(database: Database, **columns: Any) -> None:
    with database.writing() as session:
        session.execute(update(Flow).values(**columns))


def deliver(database: Database, clock: FakeClock) -> None:
    """What the end of a successful run records in its flow."""
    set_columns(database, delivered_up_to=clock.ms, last_run_state="success", next_run_s=clock.now_seconds() + 10_800)


def test_a_slot_that_is_not_delivered_in_time_is_reported_once(database: Database, clock: FakeClock) -> None:
    (flow,) = crowd(database, clock, 1)
    seen, judge = Seen(database), FreshnessJudge(database, clock)
    for _ in range(20):
        clock.advance(seconds=300)
        judge.judge_if_due()
    assert seen.kinds() == ["flow.late"]
    late = seen[0]
    assert (late.flow_id, late.flow_name, late.at_ms) == (flow, "flow", NOON + TOLERANCE_MS + 120_000)
    assert late.fields["since"] == NOON + TOLERANCE_MS
    assert late.fields["reason"] == "not_started"
    deliver(database, clock)
    clock.advance(seconds=60)
    judge.judge_if_due()
    assert seen.kinds() == ["flow.late", "flow.recovered"]
    assert seen[1].fields["seconds"] == (clock.ms - NOON - TOLERANCE_MS) / 1000


def test_with_a_target_the_age_of_the_data_counts(database: Database, clock: FakeClock) -> None:
    crowd(database, clock, 1)
    seen, judge = Seen(database), FreshnessJudge(database, clock)
    deliver(database, clock)
    set_columns(database, freshness_seconds=5 * 3600, next_run_s=clock.now_seconds() + 86_400)
    clock.advance(hours=5)
    assert judge.judge() == 0
    clock.advance(seconds=1)
    assert judge.judge() == 1
    assert seen[0].fields["since"] == NOON + 5 * HOUR_MS
    assert (seen[0].fields["target_seconds"], seen[0].fields["reason"]) == (5 * 3600, "not_started")


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "disabled"},
        {"next_run_s": None, "last_run_state": "failed"},
        {"judged_from": NOON + 4 * HOUR_MS, "next_run_s": NOON // 1000 + 5 * 3600},
    ],
)
def test_lateness_ends_quietly_when_nothing_is_expected_any_more(
    database: Database, clock: FakeClock, columns: dict[str, Any]
) -> None:
    crowd(database, clock, 1)
    seen, judge = Seen(database), FreshnessJudge(database, clock)
    clock.advance(hours=4)
    assert judge.judge() == 1
    set_columns(database, **columns)
    assert judge.judge() == 1
    assert seen.kinds() == ["flow.late"]
    assert judge.judge() == 0


def test_flows_that_are_disabled_or_have_ended_are_never_late(database: Database, clock: FakeClock) -> None:
    crowd(database, clock, 1, state="disabled")
    crowd(database, clock, 1, schedule=schedule(NOON // 1000 + 60), next_run_s=None)
    clock.advance(days=30)
    assert FreshnessJudge(database, clock).judge() == 0


@pytest.mark.parametrize("hours", [-5, 5, 24 * 400])
def test_a_clock_that_is_set_reports_nothing_that_the_runs_after_it_deliver(
    database: Database, clock: FakeClock, hours: int
) -> None:
    crowd(database, clock, 50)
    seen, judge = Seen(database), FreshnessJudge(database, clock)
    deliver(database, clock)
    for _ in range(3):
        clock.advance(seconds=60)
        judge.judge_if_due()
    clock.set_by(hours=hours)
    for _ in range(4):
        judge.judge_if_due()
        clock.advance(seconds=60)
    deliver(database, clock)
    for _ in range(10):
        judge.judge_if_due()
        clock.advance(seconds=60)
    assert seen.kinds() == []


def test_a_clock_that_was_wrong_for_a_while_reports_each_late_flow_at_most_once(
    database: Database, clock: FakeClock
) -> None:
    """It jumps a year ahead while no worker runs, and back; then a slot is really late."""
    crowd(database, clock, 10)
    seen, judge = Seen(database), FreshnessJudge(database, clock)
    deliver(database, clock)
    for jump in (0, 8760, -8760, 8760, -8760):
        clock.set_by(hours=jump)
        for _ in range(4):
            clock.advance(seconds=60)
            judge.judge_if_due()
    assert seen.kinds() == []
    clock.set_by(hours=8760)
    for _ in range(10):
        clock.advance(seconds=60)
        judge.judge_if_due()
    assert seen.kinds() == ["flow.late"] * 10
    clock.set_by(hours=-8760)
    for _ in range(10):
        clock.advance(seconds=60)
        judge.judge_if_due()
    assert seen.kinds() == ["flow.late"] * 10
    clock.advance(hours=4)
    judge.judge_if_due()
    assert seen.kinds() == ["flow.late"] * 20


def test_a_delivery_that_was_recorded_in_the_future_does_not_hide_that_a_flow_is_late(
    database: Database, clock: FakeClock
) -> None:
    crowd(database, clock, 1)
    judge = FreshnessJudge(database, clock)
    clock.set_by(days=400)
    deliver(database, clock)
    clock.set_by(days=-400)
    repair_future_slots(database, clock)
    judge.judge()
    clock.advance(hours=4)
    assert judge.judge() == 1


def test_processes_that_judge_at_the_same_instant_report_each_flow_once(database: Database, clock: FakeClock) -> None:
    flows = crowd(database, clock, 150)
    clock.advance(hours=4)
    script = (
        "from offtake.scheduling.freshness import FreshnessJudge\n"
        f"for _ in range(3): FreshnessJudge(database, FakeClock({clock.ms})).judge()"
    )
    printed = [line for output in together(database, script) for line in output.splitlines()]
    assert sorted(printed) == sorted(f"flow.late {flow}" for flow in flows)


def test_thousands_of_flows_are_judged_by_two_queries(database: Database, clock: FakeClock) -> None:
    crowd(database, clock, 2000)
    statements: list[object] = []
    sqlalchemy_event.listen(database.engine, "before_cursor_execute", lambda *what: statements.append(what[2]))
    assert FreshnessJudge(database, clock).judge() == 0
    assert len([one for one in statements if str(one).startswith("SELECT")]) == 2


# Why


def test_the_reason_is_the_state_of_the_run_or_the_last_failure(
    deployed: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    database, clock = deployed.backend.database, deployed.clock
    flow = deployed.flow(deployed.import_rows("events", rows(0, 3)))
    caplog.set_level(logging.INFO, "offtake.events")
    judge = FreshnessJudge(database, clock)
    enqueue_due_runs(database, clock)
    clock.advance(hours=1)
    judge.judge()
    (late,) = lines(caplog, "flow.late")
    (run,) = deployed.runs(flow)
    assert (late["reason"], late["level"], run["id"] in late["message"]) == ("queued", "warning", True)
    deployed.run_due()
    judge.judge()
    assert [one["flow_id"] for one in lines(caplog, "flow.recovered")] == [flow]
    shown = deployed.get(f"/flows/{flow}")["items"][0]["extensions"]
    assert (shown["deliveredUpToUTC"], shown["lateSinceUTC"]) == (clock.ms, None)


def test_a_target_is_set_changed_and_removed_by_the_api(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 3)))
    path, pointer = f"/flows/{flow}", "/extensions/freshWithinSeconds"
    deployed.run_due()
    deployed.patch(path, [{"op": "add", "path": pointer, "value": 3600}])
    deployed.clock.advance(hours=2)
    deployed.sign_in()
    shown = deployed.get(path)["items"][0]["extensions"]
    assert shown["freshWithinSeconds"] == 3600
    assert shown["lateSinceUTC"] == shown["deliveredUpToUTC"] + HOUR_MS
    troubles = deployed.get("/overview")["attention"]
    assert [(one["kind"], one["flowId"], one["sinceUTC"]) for one in troubles] == [
        ("late", flow, shown["lateSinceUTC"])
    ]
    for value in (59, "4h", True, 10**12):
        deployed.patch(path, [{"op": "replace", "path": pointer, "value": value}], 400)
    deployed.patch(path, [{"op": "remove", "path": pointer}])
    assert deployed.get(path)["items"][0]["extensions"]["freshWithinSeconds"] is None
    with deployed.acting(deployed.new_client("view-destinations", "export-datasets")):
        deployed.patch(path, [{"op": "add", "path": pointer, "value": 3600}], 403)


# Workers


def test_missing_workers_are_reported_once_and_when_they_are_back(database: Database, clock: FakeClock) -> None:
    crowd(database, clock, 3)
    seen, watch = Seen(database), WorkerWatch(database, clock)
    monitor = LeaseMonitor(clock.elapsed_ms, 30_000)
    watch.look()
    clock.advance(hours=1)
    watch.look()
    assert seen.kinds("workers.") == [], "no run waits: nothing is known"
    enqueue_due_runs(database, clock)
    for _ in range(40):
        clock.advance(seconds=15)
        watch.look_if_due()
    assert seen.kinds("workers.") == ["workers.missing"]
    assert seen[-1].fields["runs"] == 3
    lease = runs.claim(database, "worker", monitor, clock.ms)
    assert lease is not None
    another = WorkerWatch(database, clock)
    for one in (watch, another):
        one.look()
    assert seen.kinds("workers.") == ["workers.missing", "workers.back"]


def test_busy_workers_are_not_missing(database: Database, clock: FakeClock) -> None:
    crowd(database, clock, 3)
    seen, watch = Seen(database), WorkerWatch(database, clock)
    enqueue_due_runs(database, clock)
    lease = runs.claim(database, "worker", LeaseMonitor(clock.elapsed_ms, 30_000), clock.ms)
    assert lease is not None
    for _ in range(40):
        runs.renew(database, lease)
        clock.advance(seconds=15)
        watch.look_if_due()
    assert seen.kinds("workers.") == []
    for _ in range(9):
        clock.advance(seconds=15)
        watch.look_if_due()
    assert seen.kinds("workers.") == ["workers.missing"], "its heartbeat has stopped"


def test_a_run_taken_over_from_a_dead_worker_is_reported_and_a_released_one_is_not(
    database: Database, clock: FakeClock
) -> None:
    crowd(database, clock, 1)
    seen = Seen(database)
    enqueue_due_runs(database, clock)
    monitor = LeaseMonitor(clock.elapsed_ms, 30_000)
    lease = runs.claim(database, "first", monitor, clock.ms)
    assert lease is not None
    runs.release(database, lease)
    assert runs.claim(database, "second", monitor, clock.ms) is not None
    assert seen.kinds("run.") == ["run.started"]
    runs.release_all_of(database, "second")
    assert runs.claim(database, "third", monitor, clock.ms) is not None
    assert seen.kinds("run.") == ["run.started", "run.taken_over"]
    with database.reading() as session:
        assert session.query(Run).one().fence == seen[-1].fields["attempt"] == 3
