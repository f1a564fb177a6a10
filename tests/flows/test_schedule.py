from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offtake.errors import InvalidInputError
from offtake.flows.schedule import Schedule, ScheduleRules, add_months, first_slot, next_slot
from offtake.flows.schedule import parse_schedule as parse
from offtake.flows.schedule import schedule_params as given_back

HOUR = 3600
DAY = 86_400


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


CREATED = at("2026-03-01T05:50:00")
START = at("2026-03-01T06:00:00")
FULL = "DAILY_FULL_EXPORT"
DAY_BEFORE = at("2026-03-28T06:00:00")  # the day before summer time begins in Europe
INCREMENTAL = "FIRST_FULL_THEN_INCREMENTAL"
DEFAULT = ScheduleRules()
SIX: dict[str, object] = {"exportMode": INCREMENTAL, "timeUnit": "hour", "interval": 6, "startTime": START}


def parsed(changes: Mapping[str, object] | None = None, *, rules: ScheduleRules = DEFAULT) -> Schedule:
    return parse({**SIX, **(changes or {})}, created_at=CREATED, rules=rules)


def refused(changes: Mapping[str, object], *, rules: ScheduleRules = DEFAULT) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as caught:
        parsed(changes, rules=rules)
    return {problem.path.removeprefix("/scheduleParams/"): problem.message for problem in caught.value.problems}


def schedule(hours: int, *, end: int | None = None) -> Schedule:
    return Schedule("FIRST_FULL_THEN_INCREMENTAL", "hour", hours, START, end, False, None)


def once(*, end: int | None = None) -> Schedule:
    return Schedule("DAILY_FULL_EXPORT", "day", 0, START, end, False, None)


@pytest.mark.parametrize(
    ("mode", "unit", "interval", "period"),
    [
        (FULL, "day", 0, None),
        (INCREMENTAL, "day", 1, DAY),
        (INCREMENTAL, "hour", 1, HOUR),
        (INCREMENTAL, "hour", 3, 3 * HOUR),
        (INCREMENTAL, "hour", 6, 6 * HOUR),
        (INCREMENTAL, "hour", 8, 8 * HOUR),
        (INCREMENTAL, "hour", 9, 9 * HOUR),
        (INCREMENTAL, "hour", 12, 12 * HOUR),
        (INCREMENTAL, "hour", 24, DAY),
    ],
)
def test_what_the_truth_table_allows_is_accepted(mode: str, unit: str, interval: int, period: int | None) -> None:
    made = parsed({"exportMode": mode, "timeUnit": unit, "interval": interval})
    assert (made.export_mode, made.time_unit, made.interval) == (mode, unit, interval)
    assert made.period_seconds == period
    assert made.one_time is (period is None)


@pytest.mark.parametrize(
    ("mode", "unit", "interval", "key", "allowed"),
    [
        (FULL, "day", 1, "interval", "must be 0"),
        (FULL, "day", 2, "interval", "must be 0"),
        (FULL, "hour", 0, "timeUnit", "must be day"),
        (FULL, "hour", 3, "timeUnit", "must be day"),
        (INCREMENTAL, "hour", 0, "interval", "1, 3, 6, 8, 9, 12, 24"),
        (INCREMENTAL, "hour", 2, "interval", "1, 3, 6, 8, 9, 12, 24"),
        (INCREMENTAL, "hour", 5, "interval", "1, 3, 6, 8, 9, 12, 24"),
        (INCREMENTAL, "hour", 48, "interval", "1, 3, 6, 8, 9, 12, 24"),
        (None, "hour", 0, "interval", INCREMENTAL),
        (INCREMENTAL, "day", 0, "interval", "must be 1"),
        (INCREMENTAL, "day", 2, "interval", "must be 1"),
    ],
)
def test_what_the_truth_table_refuses_names_what_is_allowed(
    mode: str | None, unit: str, interval: int, key: str, allowed: str
) -> None:
    assert allowed in refused({"exportMode": mode, "timeUnit": unit, "interval": interval})[key]


@pytest.mark.parametrize(
    ("unit", "interval", "mode"), [("day", 0, FULL), ("day", 1, INCREMENTAL), ("hour", 6, INCREMENTAL)]
)
def test_without_an_export_mode_only_a_daily_zero_means_a_full_export(unit: str, interval: int, mode: str) -> None:
    params = {"timeUnit": unit, "interval": interval, "startTime": START}
    for absent in ({}, {"exportMode": None}):
        assert parse(params | absent, created_at=CREATED).export_mode == mode


def test_a_deployment_may_allow_other_hours_but_never_zero() -> None:
    rules = ScheduleRules(hour_intervals=frozenset({0, 2, 8}))
    assert [parsed({"interval": hours}, rules=rules).period_seconds for hours in (2, 8)] == [2 * HOUR, 8 * HOUR]
    for hours in (0, 6):
        assert "must be one of 2, 8" in refused({"interval": hours}, rules=rules)["interval"]


def test_a_deployment_may_allow_recurring_full_exports() -> None:
    rules = ScheduleRules(allow_daily_full_export=True)
    daily = parsed({"exportMode": FULL, "timeUnit": "day", "interval": 1}, rules=rules)
    assert (daily.export_mode, daily.period_seconds, daily.end_defaulted) == (FULL, DAY, True)
    assert parsed({"exportMode": FULL, "timeUnit": "day", "interval": 0}, rules=rules).one_time
    weekly = refused({"exportMode": FULL, "timeUnit": "day", "interval": 7}, rules=rules)
    assert "must be one of 0, 1" in weekly["interval"]


@pytest.mark.parametrize(
    "changes",
    [
        {"interval": "6"},
        {"interval": " 6 "},
        {"interval": 6.0},
        {"startTime": str(START)},
        {"startTime": float(START)},
        {"exportMode": "first_full_then_incremental"},
        {"timeUnit": "HOUR"},
        {"frequency": "day"},
        {"frequency": 7},
        {"timeUnit": None, "frequency": "Hour"},
        {"endTime": None, "foldernameTemplate": None, "folderNameTemplate": None, "frequency": None},
    ],
)
def test_the_same_schedule_is_read_from_other_spellings(changes: dict[str, object]) -> None:
    assert parsed(changes) == parsed()


@pytest.mark.parametrize(
    "value", [True, False, 6.5, float("nan"), float("inf"), -6, "-6", "six", "", "6.0", "٦", "9" * 30, []]
)
@pytest.mark.parametrize("key", ["interval", "startTime", "endTime"])
def test_what_is_no_whole_number_is_refused(key: str, value: object) -> None:
    assert refused({key: value}) == {key: "must be a whole number, 0 or more"}


@pytest.mark.parametrize("key", ["startTime", "endTime"])
@pytest.mark.parametrize("value", [START * 1000, str(START * 1000), 10**11])
def test_milliseconds_are_refused_by_that_name(key: str, value: object) -> None:
    assert refused({key: value}) == {key: "looks like milliseconds; send epoch seconds"}
    assert parsed({"endTime": 10**11 - 1}).end_time == 10**11 - 1


@pytest.mark.parametrize("key", ["timeUnit", "interval", "startTime"])
def test_a_required_key_that_is_missing_says_so(key: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parsed({key: None})
    (problem,) = caught.value.problems
    assert (problem.path, problem.missing) == (f"/scheduleParams/{key}", True)
    assert "is required" in problem.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exportMode": "FULL"}, "must be one of DAILY_FULL_EXPORT, FIRST_FULL_THEN_INCREMENTAL"),
        ({"exportMode": 1}, "must be one of DAILY_FULL_EXPORT, FIRST_FULL_THEN_INCREMENTAL"),
        ({"timeUnit": "week"}, "must be one of hour, day"),
        ({"timeUnit": ""}, "must be one of hour, day"),
        ({"timeUnit": "week", "frequency": "hour"}, "must be one of hour, day"),
        ({"timeUnit": None, "frequency": "weekly"}, "is required: hour or day"),
    ],
)
def test_a_word_that_is_not_in_the_list_is_refused_with_the_list(changes: dict[str, object], message: str) -> None:
    assert message in refused(changes).values()


@pytest.mark.parametrize(
    ("key", "path"),
    [("folderTemplate", "folderTemplate"), ("StartTime", "StartTime"), ("a/b~c", "a~1b~0c"), ("", "")],
)
def test_an_unknown_key_is_refused_under_its_pointer(key: str, path: str) -> None:
    message = refused({key: "x"})[path]
    assert "is unknown" in message
    assert "foldernameTemplate" in message


def test_every_problem_is_reported_at_once() -> None:
    wrong = {
        "exportMode": FULL,
        "timeUnit": "hour",
        "interval": 5,
        "startTime": START * 1000,
        "endTime": "soon",
        "folderNameTemplate": "%FOO%",
        "folderTemplate": "x",
    }
    assert set(refused(wrong)) == set(wrong) - {"exportMode"}


@pytest.mark.parametrize("key", ["foldernameTemplate", "folderNameTemplate"])
def test_both_spellings_of_the_template_are_read_and_the_first_is_given_back(key: str) -> None:
    made = parsed({key: "%DATASET_ID%/%EXPORT_TIME%"})
    assert given_back(made) == given_back(parsed()) | {"foldernameTemplate": "%DATASET_ID%/%EXPORT_TIME%"}


@pytest.mark.parametrize("key", ["foldernameTemplate", "folderNameTemplate"])
@pytest.mark.parametrize(
    ("template", "words"),
    [("%FOO%", "unknown macro"), ("", "must not be empty"), (7, "must be a string"), ("a/..", "dots or spaces")],
)
def test_a_template_that_cannot_be_used_is_refused_under_the_spelling_sent(
    key: str, template: object, words: str
) -> None:
    assert words in refused({key: template})[key]


def test_two_spellings_may_agree_but_not_differ() -> None:
    assert parsed({"foldernameTemplate": "a", "folderNameTemplate": "a"}).folder_name_template == "a"
    assert "differs" in refused({"foldernameTemplate": "a", "folderNameTemplate": "b"})["folderNameTemplate"]


@pytest.mark.parametrize("end", [START, START - 1, 0])
def test_an_end_that_is_given_is_kept_and_must_be_later_than_the_start(end: int) -> None:
    assert refused({"endTime": end}) == {"endTime": "must be later than startTime"}
    made = parsed({"endTime": START + 1})
    assert (made.end_time, made.end_defaulted, given_back(made)["endTime"]) == (START + 1, False, START + 1)


def test_an_end_that_is_left_out_is_six_months_after_the_creation() -> None:
    made = parsed()
    assert (made.end_time, made.end_defaulted) == (1_788_241_800, True)
    assert given_back(made) == {**SIX, "endTime": 1_788_241_800}


def test_a_one_time_export_has_no_end_of_its_own() -> None:
    made = parsed({"exportMode": FULL, "timeUnit": "day", "interval": 0})
    assert (made.end_time, made.end_defaulted) == (None, False)
    assert "endTime" not in given_back(made)


def test_a_deployment_sets_the_months_until_the_end() -> None:
    assert parsed(rules=ScheduleRules(default_schedule_months=1)).end_time == at("2026-04-01T05:50:00")
    never = parsed(rules=ScheduleRules(default_schedule_months=None))
    assert (never.end_time, never.end_defaulted) == (None, False)


def test_a_parked_flow_is_accepted_and_never_due() -> None:
    parked = parse({"timeUnit": "day", "interval": 1, "startTime": CREATED + 365 * DAY}, created_at=CREATED)
    assert parked.end_defaulted
    assert parked.end_time is not None
    assert parked.end_time < parked.start_time
    for now in (CREATED, parked.end_time, parked.start_time, parked.start_time + 10 * DAY):
        assert first_slot(parked, now) is None
        assert next_slot(parked, CREATED, now) is None


def test_what_is_given_back_can_be_sent_again() -> None:
    made = parsed({"endTime": START + 30 * DAY, "folderNameTemplate": "/"})
    assert parse(given_back(made), created_at=CREATED) == made


@pytest.mark.parametrize(
    ("start", "months", "later"),
    [
        ("2026-08-31T10:20:30", 6, "2027-02-28T10:20:30"),
        ("2027-08-31T10:20:30", 6, "2028-02-29T10:20:30"),
        ("2026-03-01T05:50:00", 6, "2026-09-01T05:50:00"),
        ("2026-12-31T23:59:59", 2, "2027-02-28T23:59:59"),
        ("2026-06-30T00:00:00", 6, "2026-12-30T00:00:00"),
        ("2026-07-31T00:00:00", 5, "2026-12-31T00:00:00"),
        ("2024-02-29T00:00:00", 12, "2025-02-28T00:00:00"),
        ("2026-01-31T00:00:00", 13, "2027-02-28T00:00:00"),
        ("2026-05-05T05:05:05", 0, "2026-05-05T05:05:05"),
    ],
)
def test_months_are_the_calendars(start: str, months: int, later: str) -> None:
    assert add_months(at(start), months) == at(later)


@pytest.mark.parametrize(
    ("made", "now", "slot"),
    [
        pytest.param(schedule(6), START - DAY, START, id="a start to come is waited for"),
        pytest.param(schedule(6), START, START, id="a start is due on its second"),
        pytest.param(schedule(6), START + 1, START, id="a start just past is due at once"),
        pytest.param(schedule(6), START + 6 * HOUR - 1, START, id="until the next slot"),
        pytest.param(schedule(6), START + 6 * HOUR, START + 6 * HOUR, id="which is due on its second"),
        pytest.param(schedule(6), START + 25 * HOUR, START + 24 * HOUR, id="missed slots are not replayed"),
        pytest.param(schedule(6, end=START + 1), START, START, id="a window of one second holds the start"),
        pytest.param(schedule(6, end=START + 1), START + 1, None, id="and is over after it"),
        pytest.param(schedule(6, end=START + DAY), START + DAY - 1, START + 18 * HOUR, id="just inside the window"),
        pytest.param(schedule(6, end=START + DAY), START + DAY, None, id="the end is exclusive"),
        pytest.param(once(), START - DAY, START, id="one export, to come"),
        pytest.param(once(), START + 900 * DAY, START, id="one export, long due"),
        pytest.param(once(end=START + 1), START - 1, START, id="one export in its window"),
        pytest.param(once(end=START + 1), START + 1, None, id="one export, window over"),
    ],
)
def test_the_first_slot(made: Schedule, now: int, slot: int | None) -> None:
    assert first_slot(made, now) == slot


@pytest.mark.parametrize(
    ("made", "after", "now", "slot"),
    [
        pytest.param(schedule(6), START, START + 60, START + 6 * HOUR, id="the one to come"),
        pytest.param(schedule(6), START, START + 6 * HOUR, START + 6 * HOUR, id="the one due this second"),
        pytest.param(schedule(6), START, START + 25 * HOUR, START + 24 * HOUR, id="missed ones collapse"),
        pytest.param(schedule(6), START + 24 * HOUR, START, START + 30 * HOUR, id="a clock set back repeats nothing"),
        pytest.param(schedule(6), START + 1, START + 2, START + 6 * HOUR, id="a slot of another schedule"),
        pytest.param(schedule(6), START - 50 * DAY, START - DAY, START, id="a start that was moved later"),
        pytest.param(schedule(6, end=START + 6 * HOUR), START, START + 60, None, id="the end is exclusive"),
        pytest.param(schedule(6, end=START + 6 * HOUR + 1), START, START + 60, START + 6 * HOUR, id="just inside"),
        pytest.param(schedule(6, end=START + DAY + 1), START, START + 9 * DAY, START + DAY, id="missed at the end"),
        pytest.param(schedule(6, end=START + DAY + 1), START + DAY, START + 9 * DAY, None, id="all done"),
        pytest.param(once(), START, START + 60, None, id="once is once"),
        pytest.param(once(), START - DAY, START - 60, START, id="once, and not yet"),
    ],
)
def test_the_next_slot(made: Schedule, after: int, now: int, slot: int | None) -> None:
    assert next_slot(made, after, now) == slot


def test_nine_hours_are_anchored_on_the_start_and_not_on_midnight() -> None:
    slots = ["2026-03-01T06:00", "2026-03-01T15:00", "2026-03-02T00:00", "2026-03-02T09:00", "2026-03-02T18:00"]
    for slot, following in pairwise(map(at, slots)):
        assert next_slot(schedule(9), slot, slot) == following


def test_days_have_no_summer_time() -> None:
    daily = Schedule("FIRST_FULL_THEN_INCREMENTAL", "day", 1, DAY_BEFORE, None, False, None)
    assert next_slot(daily, DAY_BEFORE, DAY_BEFORE) == at("2026-03-29T06:00:00")


hours = st.sampled_from([1, 3, 6, 8, 9, 12, 24])
ends = st.none() | st.integers(START + 1, START + 20 * DAY)
schedules = st.builds(schedule, hours, end=ends)
moments = st.integers(START - 40 * DAY, START + 40 * DAY)


def in_window(made: Schedule, slot: int) -> bool:
    assert made.period_seconds is not None
    on_grid = (slot - made.start_time) % made.period_seconds == 0
    return on_grid and slot >= made.start_time and (made.end_time is None or slot < made.end_time)


def slots_between(made: Schedule, low: int, high: int) -> list[int]:
    """The slots in `(low, high]` by counting from the start, as the contract defines them."""
    assert made.period_seconds is not None
    last = high if made.end_time is None else min(high, made.end_time - 1)
    return [slot for slot in range(made.start_time, last + 1, made.period_seconds) if slot > low]


@given(schedules, moments)
def test_the_first_slot_is_on_the_grid_and_the_latest_that_is_due(made: Schedule, now: int) -> None:
    slot = first_slot(made, now)
    if slot is None:
        assert made.end_time is not None
        assert now >= made.end_time
        return
    assert in_window(made, slot)
    assert slot == max(slots_between(made, START - 1, now), default=START)


@given(schedules, moments, moments)
def test_the_next_slot_is_later_on_the_grid_and_the_latest_that_is_due(made: Schedule, after: int, now: int) -> None:
    slot = next_slot(made, after, now)
    left = slots_between(made, after, START + 100 * DAY)
    if slot is None:
        assert left == []
        return
    assert slot > after
    assert in_window(made, slot)
    assert slot == max(slots_between(made, after, now), default=left[0])
    assert slots_between(made, slot, now) == []


@given(schedules, st.lists(moments, min_size=1, max_size=30).map(sorted))
def test_slots_run_one_after_another_inside_the_window(made: Schedule, looks: list[int]) -> None:
    due, ran = first_slot(made, looks[0]), []
    for now in looks:
        if due is not None and due <= now:
            ran.append(due)
            due = next_slot(made, due, now)
    assert all(earlier < later for earlier, later in pairwise(ran))
    assert all(in_window(made, slot) for slot in ran)


sampled = st.sampled_from([FULL, INCREMENTAL, "hour", "day", "/", 0, 1, 6, START])
values = sampled | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)


@given(st.dictionaries(st.sampled_from([*SIX, "endTime", "foldernameTemplate", "frequency", "other"]), values))
def test_whatever_is_sent_is_read_or_refused(params: dict[str, object]) -> None:
    try:
        made = parse(params, created_at=CREATED)
    except InvalidInputError:
        return
    again = parse(given_back(made) | {"endTime": params.get("endTime")}, created_at=CREATED)
    assert again == made
