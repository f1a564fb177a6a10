"""Flows by the fields of their schedules, and runs by their start, with the store in each database (section 5.4)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from offtake.engines.local import LocalEngine
from tests.conftest import NOON
from tests.deployment import Deployment, deployment, rows
from tests.fake_clock import FakeClock
from tests.postgres import migrated_database

START = NOON // 1000
END = 1_975_901_210
LATE = 4_102_444_800  # beyond 32 bits
ONCE: dict[str, Any] = {"exportMode": "DAILY_FULL_EXPORT", "timeUnit": "day", "interval": 0, "startTime": START + 30}
MODE = "scheduleParams.exportMode"


def settings_on(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of a deployment on the database that is the fixture's parameter."""
    if request.param == "sqlite":
        return {}
    return {"database_url": migrated_database(request.getfixturevalue("postgres"))}


@pytest.fixture(params=["sqlite", "postgres"])
def deployed(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock, engine: LocalEngine
) -> Iterator[Deployment]:
    with deployment(tmp_path / "data", clock, engine, **settings_on(request)) as opened:
        yield opened


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def scheduled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engine: LocalEngine
) -> Iterator[Deployment]:
    """The deployment with the flows, for all tests that only read."""
    folder = tmp_path_factory.mktemp("scheduled") / "data"
    with deployment(folder, FakeClock(NOON), engine, **settings_on(request)) as opened:
        yield opened


@pytest.fixture(scope="module")
def flows(scheduled: Deployment) -> dict[str, str]:
    """Flows of different schedules: the name of each by its id."""
    dataset = scheduled.import_rows("events", rows(0, 3))
    schedules: dict[str, dict[str, Any]] = {
        "hourly": {"interval": 1, "endTime": END, "foldernameTemplate": "a/%DATASET_ID%"},
        "daily": {"interval": 1, "timeUnit": "day", "startTime": START + 10, "endTime": LATE},
        "half": {"interval": 12, "startTime": START + 20, "endTime": END - 1},
        "once": ONCE,
    }
    return {scheduled.flow(dataset, schedule=schedule): name for name, schedule in schedules.items()}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"endTime=={END}", {"hourly"}),
        (f"endTime=={END},{LATE}", {"hourly", "daily"}),
        (f"endTime!={END}", {"daily", "half", "once"}),
        (f"endTime<{END}", {"half"}),
        (f"endTime<={END}", {"half", "hourly"}),
        (f"endTime>{END}", {"daily"}),
        (f"endTime>={END}", {"hourly", "daily"}),
        (f"startTime>{START}", {"daily", "half", "once"}),
        (f"startTime<={START + 20}&property=scheduleParams.interval==1", {"hourly", "daily"}),
        ("interval<12", {"hourly", "daily", "once"}),
        ("interval!=0", {"hourly", "daily", "half"}),
        ("timeUnit==hour", {"hourly", "half"}),
        ("timeUnit!=HOUR", {"daily", "once"}),
        ("exportMode==daily_full_export", {"once"}),
        ("foldernameTemplate==a/%25DATASET_ID%25", {"hourly"}),
        ("foldernameTemplate!=x", {"hourly", "daily", "half", "once"}),
    ],
)
def test_flows_are_found_by_their_schedules(
    scheduled: Deployment, flows: dict[str, str], query: str, expected: set[str]
) -> None:
    found = scheduled.get(f"/flows?property=scheduleParams.{query}")
    assert {flows[one["id"]] for one in found["items"]} == expected
    assert scheduled.get(f"/flows?count=true&property=scheduleParams.{query}") == {"count": len(expected)}


def test_what_a_schedules_field_cannot_do_is_refused(deployed: Deployment) -> None:
    for query, code in (
        ("property=scheduleParams.endTime==soon", "1454"),
        ("property=scheduleParams.timeUnit>day", "1448"),
        ("property=scheduleParams.endTime>=1,2", "1443"),
        ("property=scheduleParams.nothing==1", "1449"),
        ("orderby=scheduleParams.nothing", "1433"),
    ):
        assert deployed.get(f"/flows?{query}", 400)["type"].endswith(f"/FLOW-{code}-400")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("scheduleParams.endTime", ["once", "half", "hourly", "daily"]),
        ("-scheduleParams.endTime", ["daily", "hourly", "half", "once"]),
        ("-scheduleParams.startTime", ["once", "half", "daily", "hourly"]),
        ("scheduleParams.interval,-scheduleParams.startTime", ["once", "daily", "hourly", "half"]),
        (f"{MODE},scheduleParams.timeUnit,scheduleParams.startTime", ["once", "daily", "hourly", "half"]),
    ],
)
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_flows_are_ordered_by_their_schedules_page_by_page(
    scheduled: Deployment, flows: dict[str, str], order: str, expected: list[str], limit: int
) -> None:
    assert [flows[one] for one in pages(scheduled, f"/flows?orderby={order}&limit={limit}")] == expected


def test_runs_are_found_and_ordered_by_their_own_start(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 3)))
    deployed.run_due()
    for number in range(1, 4):
        deployed.import_rows("events", rows(3 * number, 3))
        deployed.clock.advance(hours=3)
        deployed.run_due()
    runs = sorted(deployed.runs(flow), key=start_of)
    assert len({start_of(one) for one in runs}) == 4
    field, second = "lastRunDetails.startedAtUTC", start_of(runs[1])
    wanted = {"==": runs[1:2], "!=": [runs[0], *runs[2:]], "<": runs[:1], "<=": runs[:2], ">": runs[2:], ">=": runs[1:]}
    for operator, expected in wanted.items():
        query = f"/runs?property=flowId=={flow}&property={field}{operator}{second}&orderby={field}&limit=2"
        assert pages(deployed, query) == [one["id"] for one in expected]
    assert pages(deployed, f"/runs?orderby=-{field}&limit=1") == [one["id"] for one in reversed(runs)]


def start_of(run: Any) -> int:
    return int(run["metrics"]["durationSummary"]["startedAtUTC"])


def pages(deployed: Deployment, path: str) -> list[str]:
    """The ids of every item, in the list's order, by following the links."""
    found = list[str]()
    while path:
        answer = deployed.get(path)
        found += [one["id"] for one in answer["items"]]
        path = answer["_links"].get("next", {}).get("href", "")
    return found
