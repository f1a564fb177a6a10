"""Writers that are killed, and writers that are only slow: neither leaves half an object or disturbs a successor."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from offtake.destinations.base import Sink
from offtake.destinations.drivers.object_store import PART_BYTES
from offtake.errors import DeliveryError
from tests.destinations.cases import Case
from tests.destinations.test_contract import chunks
from tests.destinations.writers import BEFORE, apart, held, killed

pytestmark = pytest.mark.matrix(one_in=2)

KEY = "out/a b/part-0.json.gz"
FIRST = bytes(BEFORE) + b"the first writer's"
SECOND = b"".join(chunks(PART_BYTES + 5))


def whole(sink: Sink) -> bytes:
    return b"".join(sink.read(KEY))


@pytest.mark.needs("unseen writing")
@pytest.mark.needs("unfinished uploads")
def test_what_a_killed_writer_left_is_cleared_away(case: Case) -> None:
    killed(case, KEY)
    sink = case.open()
    assert list(sink.list("")) == []
    assert sink.clear([KEY]) == 1
    assert case.names() == []
    assert sink.clear([KEY, "elsewhere/none.json"]) == 0


@pytest.mark.needs("unseen writing")
def test_a_killed_writer_is_not_in_the_way_of_the_next(case: Case) -> None:
    killed(case, KEY)
    sink = case.open()
    assert (sink.size(KEY), list(sink.list(""))) == (None, [])
    sink.clear([KEY])
    sink.put(KEY, [SECOND])
    assert whole(sink) == SECOND
    assert case.names() == [KEY]


@pytest.mark.needs("unfinished uploads")
def test_an_object_that_is_cleared_and_deleted_is_gone_with_all_that_was_left_of_it(case: Case) -> None:
    sink = case.open()
    sink.put(KEY, [b"x"])
    killed(case, KEY)
    sink.clear([KEY])
    sink.delete(KEY)
    assert case.names() == []


@pytest.mark.needs("unseen writing")
def test_a_writer_that_was_only_slow_cannot_disturb_its_successor(case: Case) -> None:
    sink = case.open()
    with held(case, KEY, FIRST) as first:
        sink.clear([KEY])
        sink.put(KEY, [SECOND])
        seen: set[bytes] = set()
        begun, over = threading.Event(), threading.Event()

        def watch() -> None:
            watching = case.open()
            while not over.is_set():
                seen.add(whole(watching))
                begun.set()
            seen.add(whole(watching))

        with ThreadPoolExecutor(1) as threads:
            watcher = threads.submit(watch)
            assert begun.wait(30)
            error = first.let_go()
            over.set()
            watcher.result(30)
    assert isinstance(error, DeliveryError)
    assert (error.code, error.transient) == ("EXPORT-2003-504", True)
    assert "deleted by another process" in error.message
    assert seen == {SECOND}
    assert whole(sink) == SECOND
    assert case.names() == [KEY]


@pytest.mark.needs("unseen writing")
def test_a_process_that_was_stopped_cannot_disturb_its_successor_when_it_goes_on(case: Case) -> None:
    sink = case.open()
    with apart(case, KEY) as first:
        first.send_signal(signal.SIGSTOP)
        sink.clear([KEY])
        sink.put(KEY, [SECOND])
        first.send_signal(signal.SIGCONT)
        assert first.let_go() == "EXPORT-2003-504 transient"
    assert whole(sink) == SECOND
    assert case.names() == [KEY]


@pytest.mark.needs("unseen writing")
@pytest.mark.needs("unfinished uploads")
@pytest.mark.parametrize("deleted", [False, True])
def test_a_writer_whose_work_was_cleared_away_is_refused_before_anybody_else_writes(case: Case, deleted: bool) -> None:
    sink = case.open()
    with held(case, KEY, FIRST) as first:
        assert sink.clear([KEY]) == 1
        if deleted:
            sink.delete(KEY)
        assert case.names() == []
        assert isinstance(first.let_go(), DeliveryError)
    assert case.names() == []


def test_clearing_touches_neither_finished_objects_nor_other_keys(case: Case) -> None:
    sink = case.open()
    sink.put(KEY, [SECOND])
    other = f"{KEY}.gz"
    with held(case, other, FIRST) as first:
        assert sink.clear([KEY, "out/a b", "out/a b/part-0.json"]) == 0
        assert sink.clear([]) == 0
        assert first.let_go() is None
    assert whole(sink) == SECOND
    assert sink.size(other) == len(FIRST)
    assert case.names() == [KEY, other]


@pytest.mark.needs("unseen writing")
def test_of_two_that_write_at_once_one_is_there_whole(case: Case) -> None:
    with ThreadPoolExecutor(2) as threads:
        for _ in range(3):
            barrier = threading.Barrier(2)

            def put(content: bytes, barrier: threading.Barrier = barrier) -> None:
                sink = case.open()
                barrier.wait(30)
                sink.put(KEY, [content[:1], content[1:]])

            failed = [one.exception(60) for one in [threads.submit(put, one) for one in (FIRST, SECOND)]]
            assert None in failed
            assert all(one is None or (isinstance(one, DeliveryError) and one.transient) for one in failed)
            assert whole(case.open()) in (FIRST, SECOND)
            assert case.names() == [KEY]


@pytest.mark.needs("folders")
def test_folders_that_one_removes_are_made_again_by_those_that_write_in_them(case: Case) -> None:
    def come_and_go(number: int) -> None:
        sink = case.open()
        key = f"out/deep/er/{number}.json"
        for _ in range(12):
            sink.put(key, [b"x"])
            assert sink.size(key) == 1
            sink.delete(key)

    with ThreadPoolExecutor(4) as threads:
        for one in [threads.submit(come_and_go, number) for number in range(4)]:
            one.result(120)
    assert case.names() == []
