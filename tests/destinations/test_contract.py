"""What every destination promises, whatever it is."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from offtake.destinations.base import Sink
from offtake.destinations.drivers.object_store import PART_BYTES
from offtake.errors import CancelledError
from tests.destinations.cases import Case

SIZES = [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 7]
NAMES = [
    "plain.json.gz",
    "out/a b/c.json.gz",
    "out/a+b=c/d.json.gz",
    "out/exportTime=202603010600/part-00000-c000.gz.parquet",
    "out/Zürich/日本.json.gz",
    "out/50%/a&b?c#d.json.gz",
    "out/" + "x" * 200 + ".json.gz",
]


def chunks(size: int, step: int = 1_000_003) -> Iterator[bytes]:
    """`size` bytes that do not repeat, in uneven pieces."""
    for start in range(0, size, step):
        seed = hashlib.sha256(str(start).encode()).digest()
        yield (seed * (step // 32 + 1))[: min(step, size - start)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.matrix(one_in=2)
def test_what_is_put_is_read_back(sink: Sink, size: int) -> None:
    given = b"".join(chunks(size))
    assert sink.put("out/file.json.gz", chunks(size)) == size
    assert sink.size("out/file.json.gz") == size
    assert b"".join(sink.read("out/file.json.gz")) == given


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.matrix(one_in=2)
def test_names_stay_as_they_are(sink: Sink, case: Case, name: str) -> None:
    sink.put(name, [b"x"])
    assert [one.key for one in sink.list("")] == [name]
    assert sink.size(name) == 1
    assert case.names() == [name]
    sink.delete(name)
    assert sink.size(name) is None


def test_an_object_is_replaced_whole(sink: Sink) -> None:
    sink.put("out/a.json", [b"a longer first version"])
    sink.put("out/a.json", [b"short"])
    assert b"".join(sink.read("out/a.json")) == b"short"


def test_what_is_not_there_has_no_size_and_can_be_deleted(sink: Sink) -> None:
    assert sink.size("out/none.json") is None
    sink.delete("out/none.json")
    sink.put("out/one.json", [b"x"])
    sink.delete("out/one.json")
    sink.delete("out/one.json")
    assert list(sink.list("")) == []


def test_a_list_holds_the_folder_and_not_its_neighbours(sink: Sink) -> None:
    for key in ("out/a/1.json", "out/a/b/2.json", "out/a-b/3.json", "out/ab.json"):
        sink.put(key, [b"x"])
    assert sorted(one.key for one in sink.list("out/a")) == ["out/a/1.json", "out/a/b/2.json"]
    assert sorted(one.key for one in sink.list("")) == [
        "out/a-b/3.json",
        "out/a/1.json",
        "out/a/b/2.json",
        "out/ab.json",
    ]
    assert list(sink.list("elsewhere")) == []


@pytest.mark.parametrize("after", [0, 1, 3 * PART_BYTES])
@pytest.mark.parametrize("error", [ValueError("the encoder broke"), CancelledError("stop"), OSError("no such file")])
@pytest.mark.matrix(one_in=2)
def test_a_producer_that_fails_leaves_nothing_and_its_error_comes_through(
    sink: Sink, case: Case, after: int, error: Exception
) -> None:
    def failing() -> Iterator[bytes]:
        yield from chunks(after)
        raise error

    with pytest.raises(type(error)) as caught:
        sink.put("out/file.json.gz", failing())
    assert caught.value is error
    assert sink.size("out/file.json.gz") is None
    assert case.names() == []


@pytest.mark.needs("unseen writing")
def test_a_failed_overwrite_keeps_the_old_object(sink: Sink) -> None:
    def failing() -> Iterator[bytes]:
        yield from chunks(2 * PART_BYTES)
        raise ValueError("the encoder broke")

    sink.put("out/file.json.gz", [b"old"])
    with pytest.raises(ValueError, match="encoder"):
        sink.put("out/file.json.gz", failing())
    assert b"".join(sink.read("out/file.json.gz")) == b"old"


@pytest.mark.needs("unseen writing")
def test_an_object_is_not_seen_before_it_is_whole(sink: Sink) -> None:
    seen: list[object] = []

    def watched() -> Iterator[bytes]:
        for chunk in chunks(3 * PART_BYTES):
            yield chunk
            with ThreadPoolExecutor() as another:  # a driver is not called from within its own callback
                seen.append(another.submit(sink.size, "out/file.json.gz").result())
                seen.extend(another.submit(lambda: list(sink.list("out"))).result())

    sink.put("out/file.json.gz", watched())
    assert set(seen) == {None}
    assert sink.size("out/file.json.gz") == 3 * PART_BYTES


def test_several_objects_are_put_at_once(sink: Sink) -> None:
    def put(number: int) -> None:
        sink.put(f"out/{number}.json", [bytes([number]) * 1000])

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [b"".join(sink.read(f"out/{number}.json"))[0] for number in range(8)] == list(range(8))


def test_an_address_names_the_object_and_no_credentials(sink: Sink) -> None:
    assert sink.uri("out/file.json").endswith("/out/file.json")
    assert "secret" not in sink.uri("out/file.json")
