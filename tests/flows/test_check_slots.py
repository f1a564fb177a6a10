"""Connection tests that wait for a destination take few threads, and a request does not wait for ever."""

import threading
from typing import Any

import pytest

from offtake.flows import connection_checks
from offtake.flows.connection_checks import ChecksBusyError, _Slots


class Waiting:
    """A test that waits until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Semaphore(0), threading.Event()

    def __call__(self) -> dict[str, Any]:
        self.begun.release()
        self.go.wait(10)
        return {"result": True}


def start(slots: _Slots, owner: str, test: Waiting) -> threading.Thread:
    thread = threading.Thread(target=slots.run, args=(owner, test))
    thread.start()
    assert test.begun.acquire(timeout=5)
    return thread


def test_one_client_and_all_together_have_few_tests_at_once() -> None:
    slots, test = _Slots(), Waiting()
    threads = [start(slots, "a", test) for _ in range(3)]
    with pytest.raises(ChecksBusyError):
        slots.run("a", dict)
    assert slots.run("b", dict) == {}
    threads += [start(slots, owner, test) for owner in ("b", "b", "b", "c", "c")]
    with pytest.raises(ChecksBusyError):
        slots.run("d", dict)
    test.go.set()
    for thread in threads:
        thread.join()
    assert slots.run("a", dict) == {}


def test_a_test_that_lasts_too_long_is_reported_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_checks, "_SECONDS", 0.05)
    slots, test = _Slots(), Waiting()
    answer = slots.run("a", test)
    assert answer["result"] is False
    assert "did not complete the test within 0.05 seconds" in answer["errors"][0]["message"]
    test.go.set()


def test_an_error_of_the_test_is_raised_and_frees_its_slot() -> None:
    slots = _Slots()

    def fail() -> dict[str, Any]:
        raise LookupError("x")

    for _ in range(5):
        with pytest.raises(LookupError):
            slots.run("a", fail)
