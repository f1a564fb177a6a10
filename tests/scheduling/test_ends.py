"""Ends that come near are in the log: once per flow and threshold, however often, by whom and when it is looked."""

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offtake.flows import flow_ends
from offtake.flows.flow_ends import THRESHOLDS, log_ending_soon, report_ends
from offtake.flows.schedule import Schedule
from offtake.scheduling.background import ProcessRoles, background_services
from offtake.store.database import Database
from offtake.store.tables import Flow
from tests.conftest import NOON
from tests.deployment import Deployment
from tests.event_lines import lines
from tests.fake_clock import FakeClock
from tests.scheduling.contention import crowd, together
from tests.scheduling.delivered_files import DAILY, DAY, ONCE, Exported, make

LATER = NOON // 1000 + 60 * DAY


@pytest.fixture
def exported(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """A daily flow whose end is filled in: 2026-09-01T12:00:00Z, in 184 days."""
    return make(deployed, monkeypatch, **DAILY)


def schedule(end: int | None, *, defaulted: bool = True, start: int = NOON // 1000) -> dict[str, Any]:
    return asdict(Schedule("FIRST_FULL_THEN_INCREMENTAL", "hour", 3, start, end, defaulted, None))


def look(exported: Exported) -> int:
    """What the scheduler does every minute."""
    return report_ends(exported.deployed.backend.database, exported.deployed.clock)


def soon(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return lines(caplog, "flow.ending_soon")


def days_logged(caplog: pytest.LogCaptureFixture) -> list[int]:
    """The days of the events; 0 for the end itself."""
    return [one.get("days", 0) for one in lines(caplog, "flow.ending_soon", "flow.ended")]


def at_start(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == flow_ends.__name__]


def test_each_threshold_is_logged_once_while_a_server_runs(
    exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    deployed = exported.deployed
    deployed.clock.advance(days=153)
    for _ in range(32 * 4):
        look(exported)
        deployed.clock.advance(hours=6)
    assert days_logged(caplog) == [30, 7, 1, 0]
    for line in lines(caplog, "flow.ending_soon", "flow.ended"):
        assert (line["level"], line["flow_id"], line["flow"]) == ("warning", exported.flow, "flow")
        assert line["until"] == "2026-09-01T12:00:00Z"
        assert line["remedy"].startswith("To extend it: PATCH /data/")


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (30 * DAY + 1, []),
        (30 * DAY, [30]),
        (8 * DAY, [30]),
        (7 * DAY, [7]),
        (DAY, [1]),
        (1, [1]),
        (0, [0]),
        (1 - DAY, [0]),
        (-DAY, []),
    ],
)
def test_a_server_that_comes_up_late_logs_the_nearest_threshold_and_no_old_end(
    exported: Exported, caplog: pytest.LogCaptureFixture, left: int, expected: list[int]
) -> None:
    exported.deployed.clock.advance(seconds=184 * DAY - left)
    look(exported)
    look(exported)
    assert days_logged(caplog) == expected


@pytest.mark.parametrize("end", [184 * DAY, 190 * DAY, 184 * DAY + 1])
def test_an_end_that_is_changed_or_chosen_starts_over(
    exported: Exported, caplog: pytest.LogCaptureFixture, end: int
) -> None:
    caplog.set_level(logging.INFO)
    exported.deployed.clock.advance(days=170)
    look(exported)
    exported.edit(interval=1)
    look(exported)
    assert days_logged(caplog) == [30]
    exported.edit(endTime=exported.start + end)
    look(exported)
    look(exported)
    assert days_logged(caplog) == [30, 30]


def test_an_end_that_is_moved_away_and_back_starts_over(exported: Exported, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for days in (20, 100, 20):
        exported.edit(endTime=exported.start + days * DAY)
        look(exported)
    assert days_logged(caplog) == [30, 30]


def test_flows_that_are_disabled_or_run_once_are_not_logged(
    exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    deployed = exported.deployed
    deployed.flow(exported.dataset, schedule=ONCE | {"endTime": exported.start + 180 * DAY})
    deployed.clock.advance(days=170)
    exported.act("disable")
    assert look(exported) == 0
    exported.act("enable")
    assert look(exported) == 1


def test_a_flow_that_cannot_be_read_keeps_no_other_from_the_log(exported: Exported) -> None:
    deployed = exported.deployed
    unreadable = deployed.flow(exported.dataset)
    with deployed.backend.database.writing() as session:
        session.get_one(Flow, unreadable).schedule = {"from": "another version"}
    deployed.clock.advance(days=170)
    assert look(exported) == 1


def test_a_name_of_several_lines_is_logged_in_one(exported: Exported, caplog: pytest.LogCaptureFixture) -> None:
    exported.patch("/name", "two\nlines")
    exported.deployed.clock.advance(days=170)
    look(exported)
    log_ending_soon(exported.deployed.backend.database, exported.deployed.clock)
    (line,) = at_start(caplog)
    assert "(two lines)" in line
    assert "\n" not in line
    assert soon(caplog)[0]["flow"] == "two\nlines"  # escaped by the log's formats


def test_the_etag_outlives_the_log(exported: Exported) -> None:
    """Bookkeeping does not change a flow's version (contract, section 5.6)."""
    path = f"/flows/{exported.flow}"
    before = exported.deployed.get(path)["items"][0]["etag"]
    exported.deployed.clock.advance(days=170)
    assert look(exported) == 1
    exported.deployed.sign_in()
    assert exported.deployed.get(path)["items"][0]["etag"] == before


# Servers


def test_a_server_logs_ends_and_a_worker_does_not(exported: Exported, caplog: pytest.LogCaptureFixture) -> None:
    exported.deployed.clock.advance(days=170)
    pause = threading.Event()
    with background_services(exported.deployed.backend, "worker", ProcessRoles(schedules=False)):
        pause.wait(0.5)
        assert soon(caplog) == []
    for _ in range(2):  # and a restart does not repeat it
        with background_services(exported.deployed.backend, "server"):
            assert any(soon(caplog) or pause.wait(0.05) for _ in range(200))
            pause.wait(0.3)
    assert days_logged(caplog) == [30]


def test_processes_that_look_at_the_same_instant_log_each_flow_once(database: Database, clock: FakeClock) -> None:
    flows = crowd(database, clock, 150, schedule=schedule(NOON // 1000 + 5 * DAY))
    script = (
        "from offtake.flows.flow_ends import report_ends\n"
        f"for _ in range(5): report_ends(database, FakeClock({clock.now_ms()}))"
    )
    printed = [line for output in together(database, script) for line in output.splitlines()]
    assert Counter(printed) == Counter(f"flow.ending_soon {flow}" for flow in flows)


def test_ends_after_2038_are_found_on_either_database(database: Database, clock: FakeClock) -> None:
    """An instant that an integer of four bytes does not hold."""
    far = 2**33
    crowd(database, clock, 2, schedule=schedule(far))
    clock.ms = (far - 3 * DAY) * 1000
    assert report_ends(database, clock) == 2


def test_a_start_logs_one_line_with_the_flows_that_end_within_30_days(
    database: Database, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    now = clock.now_seconds()
    crowd(database, clock, 1, schedule=schedule(now + 31 * DAY), name="later")
    crowd(database, clock, 1, schedule=schedule(now - 1), name="over")
    crowd(database, clock, 1, schedule=schedule(now + DAY), name="disabled", state="disabled")
    log_ending_soon(database, clock)
    assert at_start(caplog) == []
    crowd(database, clock, 1, schedule=schedule(now + 2 * DAY), name="second")
    crowd(database, clock, 1, schedule=schedule(now + DAY, defaulted=False), name="first")
    log_ending_soon(database, clock)
    (line,) = at_start(caplog)
    assert line.startswith("2 flow(s) end within 30 days: flow ")
    assert line.index("(first) at 2026-03-02 12:00:00Z;") < line.index("(second) at 2026-03-03 12:00:00Z (filled in")
    assert line.endswith("See: offtake flow list --ending-within 30")
    assert not any(name in line for name in ("later", "over", "disabled"))
    crowd(database, clock, 40, schedule=schedule(now + DAY))
    log_ending_soon(database, clock)
    assert "; and 22 more. See: " in at_start(caplog)[1]


# Any course of time


@pytest.fixture(scope="module")
def store() -> Iterator[Database]:
    with TemporaryDirectory() as folder:
        opened = Database(f"sqlite:///{Path(folder) / 'store.db'}")
        opened.migrate()
        yield opened
        opened.close()


def period(left: int) -> int | None:
    """The threshold whose time it is when so many seconds are left."""
    if -DAY < left <= 0:
        return 0
    for nearest, earlier in zip((0, 1, 7), (1, 7, 30), strict=True):
        if nearest * DAY < left <= earlier * DAY:
            return earlier
    return None


@given(
    jumps=st.lists(
        st.tuples(
            st.sampled_from([-1, 1]) | st.just(1),
            st.integers(0, 40 * DAY) | st.sampled_from([0, 1, 60, DAY, 6 * DAY, 23 * DAY, 30 * DAY]),
            st.booleans(),
        ),
        max_size=25,
    )
)
def test_each_threshold_is_logged_once_if_a_server_runs_in_its_time_whatever_the_clock_does(
    store: Database, jumps: list[tuple[int, int, bool]]
) -> None:
    clock = FakeClock(NOON)
    (flow,) = crowd(store, clock, 1, schedule=schedule(LATER))
    expected = set[int]()
    heard = Counter[str]()
    store.observers[:] = [lambda event: heard.update([str(event.fields.get("days", 0))])]
    for sign, seconds, runs in jumps:
        clock.ms = max(0, clock.ms + sign * seconds * 1000)
        if runs:
            now = period(LATER - clock.now_seconds())
            expected |= {now} if now is not None else set()
            report_ends(store, clock)
    with store.writing() as session:
        session.delete(session.get_one(Flow, flow))
    assert heard == Counter(map(str, expected))
    assert expected <= {*THRESHOLDS, 0}


def test_rows_are_delivered_until_the_end(exported: Exported) -> None:
    """What was due before the end still goes out after it, although the flow is shown as ended."""
    exported.edit(endTime=exported.start + 2 * DAY + 1)
    exported.serve()
    exported.append()
    exported.pass_time(days=5)
    exported.check_all_once()
    assert exported.next() is None
