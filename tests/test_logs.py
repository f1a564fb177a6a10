"""Log lines that are the same are written once a second, with the number of those left out."""

import logging
import time

import pytest

from offtake.logs import Repeats, retried, same_line


def record(message: str, **extra: object) -> logging.LogRecord:
    return logging.getLogger("offtake.x").makeRecord("offtake.x", logging.INFO, "", 0, message, (), None, extra=extra)


def test_of_lines_that_are_the_same_one_a_second_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    repeats = Repeats()
    passed = [repeats(record(f"line {n}", **same_line("kind"))) for n in range(5)]
    assert passed == [True, False, False, False, False]
    assert repeats(record("another", **same_line("other")))
    now = 101.5
    later = record("line 5", **same_line("kind"))
    assert repeats(later)
    assert later.getMessage() == "line 5 (4 similar lines were suppressed)"


def test_what_was_left_out_last_is_written_when_nothing_follows() -> None:
    repeats = Repeats()
    for n in range(3):
        repeats(record(f"line {n}", **same_line("kind")))
    assert repeats.due(time.monotonic()) == []
    (last,) = repeats.due(time.monotonic() + 1)
    assert last.getMessage() == "line 2 (1 similar lines were suppressed)"
    assert repeats(last)
    assert repeats.due(time.monotonic() + 2) == []


def test_failures_of_background_work_are_written_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away for an hour makes 3,600 lines of each task otherwise."""
    now, written = 100.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    repeats = Repeats()
    for _ in range(180):
        written += [line for line in [record("no run can be claimed", **retried("run"))] if repeats(line)]
        written += repeats.due(now)
        now += 1
    assert [line.getMessage() for line in written] == [
        "no run can be claimed",
        "no run can be claimed (59 similar lines were suppressed)",
        "no run can be claimed (59 similar lines were suppressed)",
    ]


def test_other_lines_are_written_whenever_they_come() -> None:
    repeats = Repeats()
    assert all(repeats(record("same")) for _ in range(3))
