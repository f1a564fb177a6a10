"""Downtime, clocks that are set, schedules that change: every row goes out once, no slot runs twice."""

import json
import logging
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select, text

from offtake.exporting import run as exporting_run
from offtake.scheduling import service, ticks
from offtake.scheduling.service import worker_of
from offtake.scheduling.ticks import correct, tick
from offtake.store import runs as store
from offtake.store.leases import Watch
from offtake.store.tables import Flow, Run, Watermark
from tests.deployment import Deployment, etag_of, rows, source_body, table_of, target_body

HOUR = 3600
DAY = 24 * HOUR
ONCE = {"exportMode": "DAILY_FULL_EXPORT", "timeUnit": "day", "interval": 0}
DAILY = {"timeUnit": "day", "interval": 1}
STAGES = ["waiting", "planned", "parts"]


@dataclass
class Exported:
    """A deployment with a flow and what tests ask of it; hours are counted from its first slot."""

    deployed: Deployment
    dataset: str
    flow: str
    start: int
    monkeypatch: pytest.MonkeyPatch
    count: int = 0

    def append(self, count: int = 4) -> None:
        """So many new rows, in two batches: two files, and with small parts two parts."""
        for _ in range(2):
            self.deployed.import_rows("events", rows(self.count, count // 2))
            self.count += count // 2

    def pass_time(self, **time: float) -> None:
        """Let time pass; whatever is due then is carried out, as a server does that comes up again."""
        self.deployed.clock.advance(**time)
        self.serve()

    def set_clock(self, **time: float) -> None:
        """Somebody sets the clock; the server goes on."""
        self.deployed.clock.set_by(**time)
        self.serve()

    def serve(self) -> None:
        """What the scheduler and a worker do until nothing is left to do."""
        correct(self.deployed.backend.database, self.deployed.clock)
        self.deployed.run_due()
        self.deployed.sign_in()

    def begin(self, stage: str) -> None:
        """The run that is due is made, and brought as far as `stage` says; then its worker lets go of it."""
        database, clock = self.deployed.backend.database, self.deployed.clock
        assert len(tick(database, clock)) == 1
        if stage != "waiting":
            self.go_on(until=None if stage == "planned" else "part_recorded")

    def go_on(self, *, until: str | None) -> None:
        """A worker takes the run up and stops when it has planned it, or at that point."""
        stop = threading.Event()
        with self.monkeypatch.context() as patched:
            if until is None:
                stop.set()
            else:
                patched.setattr(exporting_run, "failpoint", lambda name: stop.set() if name == until else None)
            worker = worker_of(self.deployed.backend, self.deployed.engine, "stopped")
            assert worker.work_once(stop)
        (live,) = [run for run in self.runs() if run.status in store.LIVE]
        assert (live.planned_at is not None, live.beat) == (True, 0)

    def edit(self, **schedule: Any) -> None:
        """Change the schedule."""
        self.patch("/scheduleParams", schedule)

    def patch(self, path: str, value: Any) -> None:
        self.deployed.sign_in()
        self.deployed.patch(f"/flows/{self.flow}", [{"op": "replace", "path": path, "value": value}])

    def act(self, op: str) -> None:
        self.deployed.sign_in()
        self.deployed.post(f"/flows/{self.flow}/action?op={op}", {}, 200)

    def runs(self) -> list[Run]:
        """The flow's runs, in the order in which they were made, whatever the clock said."""
        of_flow = select(Run).filter_by(flow_id=self.flow).order_by(text("rowid"))
        with self.deployed.backend.database.reading() as session:
            return list(session.scalars(of_flow))

    def slots(self) -> list[float]:
        """The slots that have run, in hours."""
        return [(run.scheduled_at / 1000 - self.start) / HOUR for run in self.runs()]

    def next(self) -> float | None:
        """The flow's next slot, in hours."""
        with self.deployed.backend.database.reading() as session:
            due = session.get_one(Flow, self.flow).next_run_s
        return None if due is None else (due - self.start) / HOUR

    def position(self) -> int | None:
        with self.deployed.backend.database.reading() as session:
            known = session.get(Watermark, (self.flow, self.dataset))
        return known.snapshot_id if known else None

    def manifests(self) -> list[dict[str, Any]]:
        """The manifest of every run that has written one, in that order."""
        keys = [run.manifest["key"] for run in self.runs() if run.manifest]
        return [json.loads((self.deployed.zone / key).read_text()) for key in keys]

    def folders(self) -> list[str]:
        """Where each run that has delivered put its first file."""
        return [str(one["exportResults"][0]["sinkPath"]) for one in self.manifests()]

    def delivered(self) -> list[list[int]]:
        """The ids in the files that each manifest names."""
        return [table_of(self.deployed.delivered(one))["id"].to_pylist() for one in self.manifests()]

    def check_all_once(self) -> None:
        """Every row of the source was delivered, and none twice."""
        counted = Counter(row for ids in self.delivered() for row in ids)
        assert counted == Counter(range(self.count))
        assert {run.status for run in self.runs()} == {"success"}


@pytest.fixture
def exported(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """A flow of every three hours that begins now, with small parts; nothing has run yet."""
    return make(deployed, monkeypatch)


def make(deployed: Deployment, monkeypatch: pytest.MonkeyPatch, **schedule: Any) -> Exported:
    small = deployed.backend.settings.model_copy(update={"part_bytes": 1})
    object.__setattr__(deployed.backend, "settings", small)
    dataset = deployed.import_rows("events", rows(0, 2))
    start = deployed.clock.now_seconds()
    flow = deployed.flow(dataset, schedule=schedule)
    made = Exported(deployed, dataset, flow, start, monkeypatch, count=2)
    made.append(2)
    return made


# Downtime


@pytest.mark.parametrize(
    ("down", "slots", "following"),
    [
        pytest.param({"seconds": 60}, [0], 3, id="a minute"),
        pytest.param({"hours": 3, "seconds": -1}, [0], 3, id="until just before a slot"),
        pytest.param({"hours": 3}, [0, 3], 6, id="until the very slot"),
        pytest.param({"days": 1, "seconds": 60}, [0, 24], 27, id="a day"),
        pytest.param({"days": 30, "hours": 1}, [0, 720], 723, id="a month"),
    ],
)
def test_slots_missed_in_downtime_become_one_run(
    exported: Exported, down: dict[str, float], slots: list[float], following: float
) -> None:
    exported.serve()
    exported.append()
    exported.pass_time(**down)
    exported.serve()
    assert (exported.slots(), exported.next()) == (slots, following)
    exported.append()
    exported.pass_time(hours=3)
    exported.check_all_once()


def test_downtime_before_the_first_run_makes_one_full_export(exported: Exported) -> None:
    exported.pass_time(days=10, hours=2)
    exported.append()
    exported.pass_time(hours=1)
    assert exported.slots() == [240, 243]
    exported.check_all_once()


def test_downtime_in_which_several_flows_are_due_runs_each_once(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(deployed, monkeypatch)
    schedules = [{"interval": 6}, {"interval": 12}, DAILY, ONCE]
    flows = [first.flow, *(deployed.flow(first.dataset, schedule=one) for one in schedules)]
    first.serve()
    first.append()
    first.pass_time(days=2, hours=13)
    of = [Exported(deployed, first.dataset, flow, first.start, monkeypatch, first.count) for flow in flows]
    assert [one.slots() for one in of] == [[0, 60], [0, 60], [0, 60], [0, 48], [0]]
    assert [one.next() for one in of] == [63, 66, 72, 72, None]
    for one in of[:4]:
        one.check_all_once()


def test_downtime_past_the_end_still_delivers_what_was_due_inside(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = make(deployed, monkeypatch, endTime=deployed.clock.now_seconds() + 10 * HOUR)
    exported.serve()
    exported.append()
    exported.pass_time(days=30)
    exported.serve()
    assert (exported.slots(), exported.next()) == ([0, 9], None)
    exported.check_all_once()


def test_no_run_starts_after_the_end(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = make(deployed, monkeypatch, endTime=deployed.clock.now_seconds() + 3 * HOUR)
    for _ in range(3):
        exported.serve()
        exported.deployed.clock.advance(hours=3)
    assert (exported.slots(), exported.next()) == ([0], None)


def test_a_flow_with_a_run_that_is_stuck_is_passed_over_and_its_next_run_covers(exported: Exported) -> None:
    exported.begin("planned")
    exported.append()
    for _ in range(3):
        exported.deployed.clock.advance(hours=3)
        assert tick(exported.deployed.backend.database, exported.deployed.clock) == []
    assert exported.next() == 12
    exported.serve()
    exported.pass_time(hours=3)
    assert exported.slots() == [0, 12]
    assert exported.delivered() == [[0, 1, 2, 3], [4, 5, 6, 7]]


# Clocks that are set


def test_a_clock_forward_by_a_year_and_back_costs_one_early_run(exported: Exported) -> None:
    exported.edit(endTime=exported.start + 3 * 365 * DAY)
    exported.serve()
    exported.append()
    exported.pass_time(hours=1)
    exported.set_clock(days=365)
    exported.append()
    exported.set_clock(days=-365)
    assert (exported.slots(), exported.next()) == ([0, 8760], 3)
    exported.pass_time(hours=2)
    assert (exported.slots(), exported.next()) == ([0, 8760, 3], 6)
    # A year later the slot comes that was used up by mistake: the one after it covers.
    exported.append()
    exported.pass_time(days=365, hours=-3)
    exported.serve()
    assert (exported.slots(), exported.next()) == ([0, 8760, 3], 8763)
    exported.pass_time(hours=3)
    assert (exported.slots(), exported.next()) == ([0, 8760, 3, 8763], 8766)
    exported.check_all_once()


def test_an_end_that_passed_only_by_mistake_is_none(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = make(deployed, monkeypatch, endTime=deployed.clock.now_seconds() + 2 * DAY)
    exported.serve()
    exported.append()
    exported.set_clock(days=365)
    assert (exported.slots(), exported.next()) == ([0, 45], None)
    exported.set_clock(days=-365)
    exported.append()
    exported.pass_time(hours=3)
    assert (exported.slots(), exported.next()) == ([0, 45, 3], 6)
    exported.check_all_once()


def test_a_one_time_export_that_ran_by_mistake_does_not_run_again(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = make(deployed, monkeypatch, **ONCE, startTime=deployed.clock.now_seconds() + 30 * DAY)
    exported.serve()
    assert exported.slots() == []
    exported.set_clock(days=365)
    exported.set_clock(days=-365)
    assert (exported.slots(), exported.next()) == ([720], None)
    exported.pass_time(days=31)
    assert exported.slots() == [720]
    exported.check_all_once()


def test_a_one_time_export_whose_end_passed_by_mistake_is_still_made(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = deployed.clock.now_seconds() + DAY
    exported = make(deployed, monkeypatch, **ONCE, startTime=begin, endTime=begin + HOUR)
    exported.act("disable")
    exported.set_clock(days=365)
    exported.act("enable")
    assert exported.next() is None
    exported.set_clock(days=-365)
    assert exported.next() == 24
    exported.pass_time(days=1)
    exported.check_all_once()


@pytest.mark.parametrize("back", [1, 5 * 60, 2 * HOUR, 40 * HOUR])
def test_a_clock_set_back_across_the_slot_that_just_ran_runs_it_once(exported: Exported, back: int) -> None:
    for _ in range(15):
        exported.pass_time(hours=3)
    exported.append()
    made = exported.slots()
    exported.set_clock(seconds=-back)
    exported.set_clock(seconds=back)
    assert (exported.slots(), exported.next()) == (made, 48)
    exported.set_clock(seconds=-back)
    for _ in range(back // (3 * HOUR) + 2):
        exported.pass_time(hours=3)
    assert max(Counter(exported.slots()).values()) == 1
    assert exported.slots()[-1] >= 48
    exported.check_all_once()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("by", [-DAY, 365 * DAY])
def test_a_clock_that_is_set_while_a_run_is_live(exported: Exported, stage: str, by: int) -> None:
    exported.begin(stage)
    exported.append()
    exported.set_clock(seconds=by)
    (first, *_) = exported.runs()
    assert first.status == "success"
    exported.deployed.runs(exported.flow)  # the vendor's schema holds, whatever the times say
    exported.set_clock(seconds=-by)
    exported.pass_time(hours=6)
    assert exported.next() == 9
    exported.check_all_once()


def test_a_clock_set_forward_takes_no_lease_from_who_holds_it(exported: Exported) -> None:
    database, clock = exported.deployed.backend.database, exported.deployed.clock
    tick(database, clock)
    watch = Watch(clock.elapsed_ms, 30_000)
    held = store.claim(database, "holder", watch, clock.now_ms())
    assert held is not None
    assert store.claim(database, "other", watch, clock.now_ms()) is None
    clock.set_by(days=365)
    assert store.claim(database, "other", watch, clock.now_ms()) is None
    clock.set_by(days=-400)
    clock.advance(seconds=31)
    taken = store.claim(database, "other", watch, clock.now_ms())
    assert taken is not None
    assert taken.run_id == held.run_id


def test_a_clock_that_starts_in_the_past_asks_for_nothing_twice(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines without a battery begin in some year before, until the network tells them the time."""
    exported = make(deployed, monkeypatch)
    once = Exported(
        deployed, exported.dataset, deployed.flow(exported.dataset, schedule=ONCE), exported.start, monkeypatch
    )
    exported.pass_time(hours=4)
    exported.set_clock(days=-2000)
    assert exported.next() == 0
    exported.append()
    exported.set_clock(days=2000)
    assert (exported.slots(), exported.next()) == ([3], 6)
    exported.pass_time(hours=3)
    assert exported.slots() == [3, 6]
    assert once.slots() == [0]
    exported.check_all_once()


# Schedules that end or are changed while a run is live


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_ends_as_it_would_when_the_flow_ends_meanwhile(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    exported = make(deployed, monkeypatch, endTime=deployed.clock.now_seconds() + HOUR)
    exported.begin(stage)
    exported.pass_time(days=1)
    assert (exported.slots(), exported.next()) == ([0], None)
    assert exported.position() is not None
    exported.check_all_once()


def test_the_last_slot_waits_for_a_run_that_is_live(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = make(deployed, monkeypatch, endTime=deployed.clock.now_seconds() + 4 * HOUR)
    exported.begin("planned")
    exported.append()
    database, clock = deployed.backend.database, deployed.clock
    for _ in range(3):
        clock.advance(hours=3)
        assert tick(database, clock) == []
        correct(database, clock)
    assert exported.next() == 3
    exported.serve()  # the run that was live
    exported.serve()
    assert (exported.slots(), exported.next()) == ([0, 3], None)
    exported.check_all_once()


@pytest.mark.parametrize(("planned_before", "slots"), [(True, 2), (False, 1)])
def test_a_one_time_export_is_made_unless_one_that_was_asked_for_stands_for_it(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch, planned_before: bool, slots: int
) -> None:
    exported = make(deployed, monkeypatch, **ONCE, startTime=deployed.clock.now_seconds() + HOUR)
    deployed.post("/runs", {"flowId": exported.flow})
    if planned_before:
        exported.go_on(until=None)
        exported.append()
    deployed.clock.advance(hours=1)
    exported.serve()
    exported.serve()
    assert exported.next() is None
    whole = list(range(exported.count))
    assert exported.delivered() == ([[0, 1, 2, 3], whole] if planned_before else [whole])
    assert len(exported.slots()) == slots


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("change", "following"),
    [
        pytest.param({"interval": 6}, [6, 12], id="less often"),
        pytest.param({"timeUnit": "day", "interval": 1}, [24, 48], id="daily"),
        pytest.param({"startTime": 4 * HOUR}, [4, 7], id="another start, to come"),
        pytest.param({"startTime": -2 * HOUR}, [4, 7], id="another start, in the past"),
        pytest.param({"endTime": 7 * HOUR}, [6, None], id="an end to come"),
        pytest.param({"endTime": 3 * HOUR + 60}, [None], id="an end that has come"),
    ],
)
def test_a_schedule_that_changes_while_a_run_is_live(
    exported: Exported, stage: str, change: dict[str, int], following: list[float | None]
) -> None:
    exported.serve()
    exported.append()
    exported.deployed.clock.advance(hours=3)
    exported.begin(stage)
    exported.append()
    exported.deployed.clock.advance(seconds=120)
    exported.edit(**{key: value + exported.start if "Time" in key else value for key, value in change.items()})
    exported.serve()
    assert exported.slots() == [0, 3]
    assert len(exported.delivered()[1]) == (8 if stage == "waiting" else 4)
    for slot in following:
        assert exported.next() == slot
        if slot is not None:
            now = (exported.deployed.clock.now_seconds() - exported.start) / HOUR
            exported.append()
            exported.pass_time(hours=max(0.0, slot - now))
            assert exported.slots()[-1] == slot
    if following == [None]:
        exported.append()
        exported.pass_time(days=1)
        assert exported.slots() == [0, 3]
        exported.edit(endTime=exported.start + 10 * DAY)
        exported.pass_time(hours=3)
    exported.check_all_once()


@pytest.mark.parametrize("stage", STAGES)
def test_a_template_that_changes_while_a_run_is_live_names_the_folders_of_what_is_planned_later(
    exported: Exported, stage: str
) -> None:
    exported.begin(stage)
    exported.edit(foldernameTemplate="new/%DATASET_NAME%")
    exported.serve()
    exported.append()
    exported.pass_time(hours=3)
    assert ["new/" in one for one in exported.folders()] == [stage == "waiting", True]
    exported.check_all_once()


@pytest.mark.parametrize("stage", STAGES)
def test_a_flow_that_is_pointed_elsewhere_while_a_run_is_live_goes_there_from_the_next_run(
    exported: Exported, stage: str
) -> None:
    deployed = exported.deployed
    exported.begin(stage)
    target = deployed.get(f"/flows/{exported.flow}")["items"][0]["targetConnectionIds"][0]
    base = deployed.get(f"/targetConnections/{target}")["items"][0]["baseConnectionId"]
    other = deployed.post("/targetConnections", target_body(base, path="elsewhere"))["id"]
    exported.patch("/targetConnectionIds", [other])
    exported.serve()
    exported.append()
    exported.pass_time(hours=3)
    assert [one.lstrip("/").split("/")[0] for one in exported.folders()] == ["out", "elsewhere"]
    exported.check_all_once()


@pytest.mark.parametrize("stage", STAGES)
def test_leaving_increments_while_a_run_is_live_and_coming_back_starts_in_full(exported: Exported, stage: str) -> None:
    exported.serve()
    exported.append()
    exported.deployed.clock.advance(hours=3)
    exported.begin(stage)
    exported.edit(**ONCE)
    assert exported.position() is None
    exported.serve()
    assert (exported.next(), exported.position()) == (None, None)
    # What was planned as an increment stays one; what was not is the one full export.
    whole = list(range(exported.count))
    assert exported.delivered()[1:] == [whole if stage == "waiting" else [4, 5, 6, 7]]
    exported.edit(exportMode="FIRST_FULL_THEN_INCREMENTAL", timeUnit="hour", interval=3)
    exported.pass_time(hours=3)
    exported.append()
    exported.pass_time(hours=3)
    assert exported.delivered()[2:] == [whole, [8, 9, 10, 11]]


@pytest.mark.parametrize("stage", STAGES)
def test_a_dataset_that_joins_while_a_run_is_live_goes_out_in_full_with_the_next(
    exported: Exported, stage: str
) -> None:
    deployed = exported.deployed
    exported.begin(stage)
    other = deployed.import_rows("others", rows(1000, 3))
    exported.patch(
        "/sourceConnectionIds", [deployed.post("/sourceConnections", source_body(exported.dataset, other))["id"]]
    )
    exported.serve()
    exported.append()
    exported.pass_time(hours=3)
    assert exported.delivered() == [[0, 1, 2, 3], [4, 5, 6, 7, 1000, 1001, 1002]]


@pytest.mark.parametrize("stage", STAGES)
def test_a_dataset_that_leaves_while_a_run_is_live(exported: Exported, stage: str) -> None:
    """It is not delivered by what is planned later; when it comes back, it starts in full."""
    deployed = exported.deployed
    other = deployed.import_rows("others", rows(1000, 2))
    deployed.sign_in()
    together = deployed.post("/sourceConnections", source_body(exported.dataset, other))["id"]
    alone = deployed.post("/sourceConnections", source_body(exported.dataset))["id"]
    exported.patch("/sourceConnectionIds", [together])
    exported.serve()
    exported.append()
    deployed.import_rows("others", rows(1002, 2))
    deployed.clock.advance(hours=3)
    exported.begin(stage)
    exported.patch("/sourceConnectionIds", [alone])
    exported.serve()
    exported.patch("/sourceConnectionIds", [together])
    exported.append()
    exported.pass_time(hours=3)
    live = [4, 5, 6, 7] if stage == "waiting" else [4, 5, 6, 7, 1002, 1003]
    assert exported.delivered()[1:] == [live, [8, 9, 10, 11, 1000, 1001, 1002, 1003]]


def test_a_run_that_waits_for_nothing_but_what_has_left_is_cancelled(exported: Exported) -> None:
    deployed = exported.deployed
    other = deployed.import_rows("others", rows(1000, 2))
    exported.begin("waiting")
    exported.patch("/sourceConnectionIds", [deployed.post("/sourceConnections", source_body(other))["id"]])
    exported.pass_time(hours=3)
    assert [(run.status, [one["code"] for one in run.errors]) for run in exported.runs()] == [
        ("failed", [store.CANCELLED]),
        ("success", []),
    ]
    assert exported.delivered() == [[1000, 1001]]


# Disabled and enabled


def test_a_flow_that_is_enabled_after_long_waits_for_its_next_slot_and_covers_all(exported: Exported) -> None:
    exported.serve()
    position = exported.position()
    exported.act("disable")
    for _ in range(5):
        exported.append()
        exported.pass_time(days=20, hours=1)
    assert (exported.slots(), exported.position()) == ([0], position)
    exported.act("enable")
    exported.serve()
    assert (exported.slots(), exported.next()) == ([0], 2406)
    exported.pass_time(hours=1)
    assert exported.slots() == [0, 2406]
    exported.check_all_once()


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_is_live_ends_as_it_would_when_its_flow_is_disabled(exported: Exported, stage: str) -> None:
    exported.begin(stage)
    exported.act("disable")
    exported.pass_time(hours=4)
    exported.act("enable")
    exported.append()
    exported.pass_time(hours=2)
    assert exported.slots() == [0, 6]
    exported.check_all_once()


@pytest.mark.parametrize(("end", "slots"), [(2, [0]), (3, [0]), (5, [0, 3])])
def test_a_slot_that_waits_is_run_when_it_lies_in_the_window_that_is_set_meanwhile(
    exported: Exported, end: int, slots: list[int]
) -> None:
    exported.serve()
    exported.append()
    exported.deployed.clock.advance(hours=7)  # nobody ticks
    exported.edit(endTime=exported.start + end * HOUR)
    exported.serve()
    assert (exported.slots(), exported.next()) == (slots, None)


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
    assert {record.name for record in caplog.records} == {ticks.__name__}
    assert all(broken in record.getMessage() for record in caplog.records)


def test_the_scheduler_of_a_server_ticks_beside_a_flow_that_cannot_be_read(exported: Exported) -> None:
    deployed = exported.deployed
    with deployed.backend.database.writing() as session:
        session.get_one(Flow, deployed.flow(exported.dataset)).schedule = {"from": "another version"}
    deployed.clock.set_by(hours=4)
    stop = threading.Event()
    thread = threading.Thread(target=service._schedule, args=(deployed.backend, stop))
    thread.start()
    try:
        assert any(exported.slots() == [3] or stop.wait(0.05) for _ in range(200))
    finally:
        stop.set()
        thread.join()


def test_etags_outlive_ticks_and_corrections(exported: Exported) -> None:
    """Bookkeeping does not change a flow's version (contract, section 5.6)."""
    before = etag_of(exported.deployed, f"/flows/{exported.flow}")
    exported.serve()
    exported.set_clock(days=365)
    exported.set_clock(days=-365)
    exported.deployed.sign_in()
    assert etag_of(exported.deployed, f"/flows/{exported.flow}") == before
