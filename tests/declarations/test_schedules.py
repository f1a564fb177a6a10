"""Schedules as users write them."""

import pytest

from offtake.client import schedules
from offtake.errors import OfftakeError

NOON = 1_767_268_800


@pytest.mark.parametrize(
    ("text", "unit", "interval"), [("3h", "hour", 3), (" 12 H ", "hour", 12), ("1d", "day", 1), ("24h", "hour", 24)]
)
def test_periods(text: str, unit: str, interval: int) -> None:
    found = schedules.parse_every(text)
    assert (found.unit, found.interval) == (unit, interval)
    assert found.params["exportMode"] == "FIRST_FULL_THEN_INCREMENTAL"


@pytest.mark.parametrize("text", ["", "3", "0h", "3m", "2d", "3h30", "-3h"])
def test_texts_that_are_not_periods(text: str) -> None:
    with pytest.raises(OfftakeError, match="is not"):
        schedules.parse_every(text)


def test_a_daily_slot_is_the_next_time_of_day() -> None:
    morning = schedules.parse_daily("06:00")
    assert schedules.first_start(morning, None, NOON) == NOON + 18 * 3600
    assert schedules.first_start(schedules.parse_daily("12:00"), None, NOON) == NOON
    assert schedules.describe(morning.params | {"startTime": NOON + 18 * 3600}) == {"daily": "06:00"}


@pytest.mark.parametrize("text", ["6:00", "24:00", "06:60", "", "noon"])
def test_texts_that_are_not_times_of_day(text: str) -> None:
    with pytest.raises(OfftakeError, match="is not a time of day"):
        schedules.parse_daily(text)


@pytest.mark.parametrize(
    "value", ["0001-01-01", "9999-12-31T23:59:59-12:00", "5138-11-16T09:46:40", -1, 10**11, 10**30]
)
def test_instants_that_no_server_takes(value: str | int) -> None:
    with pytest.raises(OfftakeError, match="not between 1970-01-01 and 5138-11-16"):
        schedules.parse_instant(value)


def test_instants_are_utc_unless_they_have_an_offset() -> None:
    assert schedules.parse_instant("2026-01-01T12:00:00Z") == NOON
    assert schedules.parse_instant("2026-01-01T13:00+01:00") == NOON
    assert schedules.parse_instant("2026-01-01") == NOON - 43_200
    assert schedules.parse_instant(schedules.format_instant(NOON)) == NOON
    with pytest.raises(OfftakeError, match="is not a date"):
        schedules.parse_instant("tomorrow")


def test_schedules_are_described_as_they_are_written() -> None:
    assert schedules.describe(schedules.ONCE.params) == {"once": True}
    assert schedules.describe(schedules.parse_every("6h").params) == {"every": "6h"}
    full = {"exportMode": "DAILY_FULL_EXPORT", "timeUnit": "day", "interval": 1, "startTime": 60}
    assert schedules.describe(full) == {"daily": "00:01", "full": True}
