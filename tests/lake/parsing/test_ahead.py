"""Items are computed one ahead, and errors are raised in order."""

import threading
from collections.abc import Generator, Iterator
from typing import Any, cast

import pytest

from offtake.lake.parsing.ahead import map_ahead


def test_the_next_result_is_computed_while_the_caller_uses_this_one() -> None:
    begun = {number: threading.Event() for number in range(4)}

    def make(number: int) -> str:
        begun[number].set()
        return str(number)

    found = []
    for number, made in map_ahead(make, begun):
        assert number == 3 or begun[number + 1].wait(10)
        assert number >= 2 or not begun[number + 2].is_set()
        found.append(made)
    assert found == ["0", "1", "2", "3"]


@pytest.mark.parametrize("faulty", ["the items", "what is made of them"])
def test_results_before_an_error_are_yielded_first(faulty: str) -> None:
    def items() -> Iterator[int]:
        yield from (0, 1)
        if faulty == "the items":
            raise OSError("2")
        yield 2

    def make(number: int) -> int:
        if number == 2:
            raise OSError("2")
        return number

    made = map_ahead(make, items())
    assert [next(made), next(made)] == [(0, 0), (1, 1)]
    with pytest.raises(OSError, match="2"):
        next(made)


def test_no_thread_remains_when_the_caller_stops_early() -> None:
    before = threading.active_count()
    reading = cast(Generator[Any, None, None], map_ahead(str, range(100)))
    assert next(reading) == (0, "0")
    reading.close()
    assert threading.active_count() == before
    assert list(map_ahead(str, [])) == []
    assert threading.active_count() == before
