"""Downtime, and clocks that are set: every row goes out once, no slot runs twice."""

from collections import Counter
from typing import Any

import pytest

from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store import runs as store
from offtake.store.leases import LeaseMonitor
from tests.deployment import Deployment
from tests.scheduling.delivered_files import DAILY, DAY, HOUR, ONCE, STAGES, Exported, make


@pytest.fixture
def exported(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """A flow of every three hours that begins now, with small parts; nothing has run yet."""
    return make(deployed, monkeypatch)


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
    schedules: list[dict[str, Any]] = [{"interval": 6}, {"interval": 12}, DAILY, ONCE]
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
        assert enqueue_due_runs(exported.deployed.backend.database, exported.deployed.clock) == []
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
    enqueue_due_runs(database, clock)
    watch = LeaseMonitor(clock.elapsed_ms, 30_000)
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
