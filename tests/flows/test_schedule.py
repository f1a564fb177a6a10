from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offtake.errors import InvalidInputError
from offtake.flows.schedule import (
    Schedule,
    ScheduleRules,
    add_months,
    first_slot,
    next_slot,
    parse_schedule,
    schedule_params,
)

NOW = 1_772_344_200  # 2026-03-01T05:50:00Z
FULL, INCREMENTAL = "DAILY_FULL_EXPORT", "FIRST_FULL_THEN_INCREMENTAL"
HOUR = 3600


def parse(**params: Any) -> Schedule:
    rules = params.pop("rules", ScheduleRules())
    return parse_schedule({"startTime": NOW, **params}, created_at=NOW, rules=rules)


@pytest.mark.parametrize(
    ("mode", "unit", "interval", "period"),
    [
        (FULL, "day", 0, None),
        (INCREMENTAL, "day", 1, 24 * HOUR),
        (INCREMENTAL, "hour", 3, 3 * HOUR),
        (INCREMENTAL, "hour", 6, 6 * HOUR),
        (INCREMENTAL, "hour", 9, 9 * HOUR),
        (INCREMENTAL, "hour", 12, 12 * HOUR),
        (INCREMENTAL, "hour", 24, 24 * HOUR),
        (None, "hour", 3, 3 * HOUR),
        (None, "day", 1, 24 * HOUR),
        (None, "day", 0, None),
        ("first_full_then_incremental", "HOUR", "3", 3 * HOUR),
    ],
)
def test_what_the_truth_table_allows(mode: str | None, unit: str, interval: Any, period: int | None) -> None:
    assert parse(exportMode=mode, timeUnit=unit, interval=interval).period_seconds == period


@pytest.mark.parametrize(
    ("mode", "unit", "interval", "field"),
    [
        (FULL, "day", 1, "interval"),
        (FULL, "day", 7, "interval"),
        (FULL, "hour", 0, "timeUnit"),
        (FULL, "hour", 3, "timeUnit"),
        (INCREMENTAL, "hour", 8, "interval"),
        (INCREMENTAL, "hour", 0, "interval"),
        (INCREMENTAL, "hour", 1, "interval"),
        (INCREMENTAL, "day", 0, "interval"),
        (INCREMENTAL, "day", 2, "interval"),
        (None, "hour", 5, "interval"),
        ("WEEKLY", "day", 1, "exportMode"),
        (INCREMENTAL, "week", 1, "timeUnit"),
        (INCREMENTAL, "hour", 3.5, "interval"),
        (INCREMENTAL, "hour", True, "interval"),
        (INCREMENTAL, "hour", "three", "interval"),
        (INCREMENTAL, "hour", -3, "interval"),
        (INCREMENTAL, "hour", None, "interval"),
        (INCREMENTAL, None, 3, "timeUnit"),
    ],
)
def test_what_the_truth_table_refuses_names_the_field(mode: Any, unit: Any, interval: Any, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse(exportMode=mode, timeUnit=unit, interval=interval)
    assert {problem.path for problem in caught.value.problems} == {f"/scheduleParams/{field}"}


def test_settings_allow_more() -> None:
    assert parse(timeUnit="hour", interval=8, rules=ScheduleRules(hour_intervals=frozenset({8}))).interval == 8
    daily = parse(exportMode=FULL, timeUnit="day", interval=1, rules=ScheduleRules(recurring_full=True))
    assert daily.period_seconds == 24 * HOUR


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_schedule(
            {
                "interval": 5,
                "timeUnit": "hour",
                "startTime": NOW * 1000,
                "folderTemplate": "x",
                "foldernameTemplate": "%",
            },
            created_at=NOW,
        )
    told = {problem.path.rpartition("/")[2]: problem.message for problem in caught.value.problems}
    assert set(told) == {"interval", "startTime", "folderTemplate", "foldernameTemplate"}
    assert "3, 6, 9, 12" in told["interval"]
    assert "milliseconds" in told["startTime"]


def test_a_missing_start_is_said_to_be_missing() -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_schedule({"timeUnit": "day", "interval": 1}, created_at=NOW)
    assert [(problem.path, problem.missing) for problem in caught.value.problems] == [
        ("/scheduleParams/startTime", True)
    ]


def test_frequency_stands_in_for_a_missing_time_unit_only() -> None:
    assert parse(frequency="hour", interval="3").time_unit == "hour"
    assert parse(frequency="hour", timeUnit="day", interval="1").time_unit == "day"


def test_both_spellings_of_the_template_are_stored_as_one() -> None:
    for key in ("foldernameTemplate", "folderNameTemplate"):
        made = parse(timeUnit="day", interval=1, **{key: "%DATASET_ID%"})
        assert schedule_params(made)["foldernameTemplate"] == "%DATASET_ID%"


@pytest.mark.parametrize("end", [NOW, NOW - 1])
def test_an_end_that_is_not_after_the_start_is_refused(end: int) -> None:
    with pytest.raises(InvalidInputError, match="later than startTime"):
        parse(timeUnit="day", interval=1, endTime=end)


def test_the_end_defaults_to_six_calendar_months_after_creation() -> None:
    made = parse(timeUnit="day", interval=1)
    assert (made.end_defaulted, made.end_time) == (True, at(2026, 9, 1, 5, 50))
    assert parse(exportMode=FULL, timeUnit="day", interval=0).end_time is None
    assert parse(timeUnit="day", interval=1, rules=ScheduleRules(default_end_months=None)).end_time is None


def test_a_flow_parked_beyond_its_defaulted_end_is_accepted_and_never_due() -> None:
    parked = parse(timeUnit="day", interval=1, startTime=NOW + 365 * 24 * HOUR)
    assert first_slot(parked, NOW) is None


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ((2026, 8, 31), 6, (2027, 2, 28)),
        ((2027, 8, 31), 6, (2028, 2, 29)),
        ((2026, 12, 15), 1, (2027, 1, 15)),
        ((2026, 1, 31), 1, (2026, 2, 28)),
        ((2026, 11, 30), 12, (2027, 11, 30)),
    ],
)
def test_months_are_calendar_months(start: tuple[int, int, int], months: int, end: tuple[int, int, int]) -> None:
    assert add_months(at(*start), months) == at(*end)


def test_a_start_in_the_past_is_due_at_its_latest_slot() -> None:
    made = parse(timeUnit="hour", interval=9, startTime=at(2026, 2, 27, 20))
    assert first_slot(made, NOW) == at(2026, 2, 28, 23)  # anchored on the start, across midnight


def test_a_start_in_the_future_waits() -> None:
    assert first_slot(parse(timeUnit="hour", interval=3, startTime=NOW + 60), NOW) == NOW + 60


def test_a_one_time_export_runs_once_at_its_start() -> None:
    once = parse(exportMode=FULL, timeUnit="day", interval=0, startTime=NOW - 5)
    assert first_slot(once, NOW) == NOW - 5
    assert next_slot(once, NOW - 5, NOW) is None


def test_the_end_is_not_part_of_the_window() -> None:
    made = parse(timeUnit="hour", interval=3, endTime=NOW + 6 * HOUR)
    assert next_slot(made, NOW, NOW) == NOW + 3 * HOUR
    assert next_slot(made, NOW + 3 * HOUR, NOW + 3 * HOUR) is None


def test_a_window_that_is_over_has_no_first_slot() -> None:
    assert first_slot(parse(timeUnit="hour", interval=3, startTime=NOW - 9 * HOUR, endTime=NOW), NOW) is None


def test_missed_slots_collapse_into_the_latest() -> None:
    made = parse(timeUnit="hour", interval=3)
    assert next_slot(made, NOW, NOW + 31 * HOUR) == NOW + 30 * HOUR


def test_a_slot_missed_at_the_end_of_the_window_still_runs() -> None:
    made = parse(timeUnit="hour", interval=3, endTime=NOW + 7 * HOUR)
    assert next_slot(made, NOW, NOW + 100 * HOUR) == NOW + 6 * HOUR


@given(
    start=st.integers(0, 4 * 10**9),
    period=st.sampled_from([3, 6, 9, 12]),
    length=st.none() | st.integers(1, 10**7),
    behind=st.integers(0, 400),
    later=st.integers(-(10**6), 10**6),
)
def test_slots_are_on_the_grid_in_the_window_and_only_go_forward(
    start: int, period: int, length: int | None, behind: int, later: int
) -> None:
    end = None if length is None else start + length
    schedule = Schedule("FIRST_FULL_THEN_INCREMENTAL", "hour", period, start, end, False, None)
    after = start + behind * period * HOUR
    following = next_slot(schedule, after, after + later)
    if following is None:
        assert end is not None
        assert after + period * HOUR >= end
        return
    assert following > after
    assert (following - start) % (period * HOUR) == 0
    assert end is None or following < end
    assert following <= max(after + later, after + period * HOUR)


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp())
