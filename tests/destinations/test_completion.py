"""The last step of a write: announced before it is taken; settled or taken back when its answer is lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from offtake.destinations.base import Pending, Sink
from offtake.destinations.drivers.object_store import PART_BYTES
from offtake.errors import CancelledError, DeliveryError
from tests.destinations.cases import Case
from tests.destinations.test_contract import chunks

pytestmark = pytest.mark.matrix(one_in=2)

KEY = "out/a b/part-0.json.gz"
SIZE = PART_BYTES + 5
CONTENT = b"".join(chunks(SIZE))


class Stop:
    """Notes what is announced, and stops the writer there."""

    def __init__(self) -> None:
        self.seen: list[Pending] = []

    def __call__(self, pending: Pending) -> None:
        self.seen.append(pending)
        raise CancelledError("stop")


@pytest.fixture
def pending(sink: Sink) -> Pending:
    """A writer was stopped right before its last step."""
    stop = Stop()
    with pytest.raises(CancelledError):
        sink.put(KEY, chunks(SIZE), stop)
    (announced,) = stop.seen
    assert announced.bytes == SIZE
    assert (sink.size(KEY), list(sink.list(""))) == (None, [])
    return announced


@pytest.mark.needs("unseen writing")
def test_the_last_step_is_announced_once_and_nothing_is_seen_before(sink: Sink) -> None:
    seen: list[Pending] = []
    assert sink.put(KEY, chunks(SIZE), seen.append) == SIZE
    assert [one.bytes for one in seen] == [SIZE]
    assert b"".join(sink.read(KEY)) == CONTENT
    assert sink.settle(KEY, seen[0])
    assert b"".join(sink.read(KEY)) == CONTENT


@pytest.mark.needs("unseen writing")
def test_a_writer_that_was_stopped_before_its_last_step_is_completed_where_that_can_be(
    case: Case, sink: Sink, pending: Pending
) -> None:
    later = case.open()
    assert later.settle(KEY, pending) == (pending.token is not None)
    assert later.size(KEY) == (SIZE if pending.token else None)
    if pending.token is None:
        sink.put(KEY, [CONTENT])
    assert b"".join(later.read(KEY)) == CONTENT
    later.clear([KEY])
    assert case.names() == [KEY]


@pytest.mark.needs("unseen writing")
def test_a_file_collected_after_its_last_step_counts_as_complete_where_that_is_known(sink: Sink) -> None:
    seen: list[Pending] = []
    sink.put(KEY, chunks(SIZE), seen.append)
    sink.delete(KEY)
    assert sink.settle(KEY, seen[0]) == (seen[0].token is not None)
    assert sink.size(KEY) is None


@pytest.mark.needs("unseen writing")
@pytest.mark.needs("unfinished uploads")
def test_an_announced_write_that_was_taken_back_is_never_completed(case: Case, sink: Sink) -> None:
    other = case.open()

    def take_back(announced: Pending) -> None:
        assert other.recall(KEY, announced)
        assert other.recall(KEY, announced)
        other.delete(KEY)
        other.clear([KEY])

    def overtake(announced: Pending) -> None:
        with ThreadPoolExecutor(1) as another:  # a driver is not called from within its own callback
            another.submit(take_back, announced).result()

    with pytest.raises(DeliveryError) as caught:
        sink.put(KEY, chunks(SIZE), overtake)
    assert caught.value.transient
    assert case.names() == []


def test_an_object_that_was_taken_back_stays_so_until_it_is_deleted(case: Case, sink: Sink) -> None:
    sink.put(KEY, [b"x"])
    assert sink.recall(KEY)
    assert (sink.size(KEY), list(sink.list(""))) == (None, [])
    assert sink.clear([KEY]) == 0
    assert case.open().recall(KEY, again=True)
    sink.delete(KEY)
    assert case.names() == []


def test_an_object_that_was_collected_cannot_be_taken_back(case: Case, sink: Sink) -> None:
    sink.put(KEY, [b"x"])
    case.open().delete(KEY)
    assert not sink.recall(KEY)


@pytest.mark.needs("unseen writing")
def test_a_writer_that_was_only_slow_does_not_clear_its_successors_files(sink: Sink) -> None:
    stop = Stop()
    with pytest.raises(CancelledError):
        sink.put(KEY, chunks(SIZE), stop, writer=3)
    (announced,) = stop.seen
    sink.clear([KEY], upto=2)
    if announced.token is not None:
        assert sink.settle(KEY, announced)
    sink.clear([KEY], upto=3)


@pytest.mark.needs("unseen writing")
def test_what_fits_in_one_request_is_announced_only_where_there_is_a_last_step(sink: Sink, pending: Pending) -> None:
    seen: list[Pending] = []
    sink.put("out/small.json", [b"x"], seen.append)
    assert len(seen) == (pending.token is not None)


def test_an_error_before_the_last_step_is_announced_leaves_nothing(case: Case, sink: Sink) -> None:
    def failing() -> Iterator[bytes]:
        yield CONTENT
        raise ValueError("the encoder broke")

    seen: list[Pending] = []
    with pytest.raises(ValueError, match="encoder"):
        sink.put(KEY, failing(), seen.append)
    assert (seen, case.names()) == ([], [])
