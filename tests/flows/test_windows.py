"""Until when a run may wait: shortly before the flow's next slot, or for a day."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offtake.flows.schedule import Schedule, next_slot
from offtake.flows.windows import Limits, end_before_slot, window_of
from offtake.store.tables import Flow
from tests.conftest import NOON

NOON_S = NOON // 1000
HOUR = 3600
LIMITS = Limits(300, 86_400)
EVERY_3_HOURS = {
    "export_mode": "FIRST_FULL_THEN_INCREMENTAL",
    "time_unit": "hour",
    "interval": 3,
    "start_time": NOON_S,
    "end_time": None,
    "end_defaulted": False,
    "folder_name_template": None,
}
DAY_LATER = NOON + 86_400_000


def flow(state: str = "enabled", **schedule: object) -> Flow:
    return Flow(state=state, schedule=EVERY_3_HOURS | schedule)


@pytest.mark.parametrize(
    ("one", "trigger", "end"),
    [
        (flow(), "schedule", NOON + (3 * HOUR - 300) * 1000),
        (flow(interval=1), "schedule", NOON + (HOUR - 300) * 1000),
        (flow(end_time=NOON_S + 3 * HOUR), "schedule", DAY_LATER),
        (flow(end_time=NOON_S + 3 * HOUR + 1), "schedule", NOON + (3 * HOUR - 300) * 1000),
        (flow(export_mode="DAILY_FULL_EXPORT", time_unit="day", interval=0), "schedule", DAY_LATER),
        (flow(state="disabled"), "schedule", DAY_LATER),
        (flow(), "adhoc", DAY_LATER),
        (flow(), "request", DAY_LATER),
        (flow(), "backfill", DAY_LATER),
        (None, "schedule", DAY_LATER),
    ],
)
def test_a_run_waits_until_the_next_slot_is_near_or_for_a_day(one: Flow | None, trigger: str, end: int) -> None:
    assert window_of(one, trigger, LIMITS)(NOON) == end


@pytest.mark.parametrize(
    ("minutes", "hours"), [(0, 3), (174, 3), (175, 6), (179, 6), (180, 6), (354, 6), (355, 9), (539, None)]
)
def test_a_wait_that_begins_late_in_a_run_lasts_until_the_slot_after_that(minutes: int, hours: int | None) -> None:
    began = NOON + minutes * 60_000
    end = window_of(flow(end_time=NOON_S + 9 * HOUR + 1), "schedule", LIMITS)(began)
    assert end == (began + 86_400_000 if hours is None else NOON + (hours * HOUR - 300) * 1000)


@given(
    interval=st.integers(1, 24),
    start=st.integers(-(10**7), 10**7),
    end=st.none() | st.integers(1, 10**7),
    began=st.integers(-(10**10), 10**10),
    margin=st.floats(0, 10**6),
    without=st.floats(0, 10**6),
)
def test_a_window_ends_before_the_next_slot_and_not_more_than_half_a_period_before(
    interval: int, start: int, end: int | None, began: int, margin: float, without: float
) -> None:
    schedule = Schedule(
        "FIRST_FULL_THEN_INCREMENTAL",
        "hour",
        interval,
        NOON_S + start,
        None if end is None else NOON_S + start + end,
        False,
        None,
    )
    began_ms = NOON + began
    half = interval * HOUR * 500
    before = min(round(margin * 1000), half)
    slot = next_slot(schedule, began_ms // 1000, began_ms // 1000)
    if slot is not None and slot * 1000 - before <= began_ms:
        slot = next_slot(schedule, slot, began_ms // 1000)
    ends = end_before_slot(schedule, began_ms, Limits(margin, without))
    assert ends > began_ms or slot is None
    assert ends == (began_ms + round(without * 1000) if slot is None else slot * 1000 - before)
