"""A JSON file is one gzip member, which every reader reads completely; several members are an option."""

import gzip
import itertools
import random
import zlib
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from offtake.formats.gzip_stream import BLOCK, MEMBERS, GzipStream, Members
from tests.formats.files import batch_of, encoded
from tests.formats.gzip_readers import READS_ALL, READS_ONE, Reader
from tests.matrix import examples

LEVELS = range(1, 10)


def make_text(size: int, seed: int = 1) -> bytes:
    """Lines that compress about as well as exports, truncated to a size."""
    chance = random.Random(seed)
    words = [f"{chance.getrandbits(32):x}" for _ in range(500)]
    line = "".join(f'{{"id":%d,"name":"{one}","score":0.%d}}\n' for one in words)
    pieces, length = list[bytes](), 0
    while length < size:
        numbers = [chance.getrandbits(20) for _ in range(2 * len(words))]
        pieces.append((line % tuple(numbers)).encode())
        length += len(pieces[-1])
    return b"".join(pieces)[:size]


def compress(chunks: Iterable[bytes], level: int, members: Members = "single") -> bytes:
    """The gzip file for chunks of text."""
    stream = GzipStream(level, members)
    taken = []
    for chunk in chunks:
        stream.write(chunk)
        taken += stream.take()
    stream.finish()
    return b"".join([*taken, *stream.take()])


def cut(text: bytes, places: Iterable[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[first:last] for first, last in itertools.pairwise(ends)]


def read_only_member(data: bytes) -> bytes:
    """The text of a file; asserts that it is exactly one member."""
    stream = zlib.decompressobj(31)
    text = stream.decompress(data) + stream.flush()
    assert stream.eof
    assert stream.unused_data == b"", "more than one member"
    return text


sizes = st.integers(0, 3 * BLOCK) | st.builds(
    lambda blocks, more: max(0, blocks * BLOCK + more), st.integers(0, 3), st.integers(-2, 2)
)


@settings(deadline=None, max_examples=examples(25))
@given(sizes, st.integers(1, 1000), st.lists(st.integers(0, 4 * BLOCK), max_size=8), st.sampled_from(LEVELS))
@example(0, 1, [], 2)
@example(BLOCK, 1, [], 2)
@example(BLOCK + 1, 1, [BLOCK, BLOCK, 3], 2)
@example(2 * BLOCK, 1, [], 5)
def test_any_text_is_one_member_whose_bytes_do_not_depend_on_write_sizes(
    size: int, seed: int, places: list[int], level: int
) -> None:
    text = make_text(size, seed)
    whole = compress([text], level)
    assert read_only_member(whole) == text
    assert compress(cut(text, places), level) == whole


@settings(deadline=None, max_examples=examples(15))
@given(st.binary(max_size=64), st.integers(0, BLOCK + 9000), st.sampled_from(LEVELS), st.sampled_from(MEMBERS))
def test_any_bytes_are_decompressed_unchanged(some: bytes, size: int, level: int, members: Members) -> None:
    chance = random.Random(size)
    text = (some * (size // max(1, len(some))))[:size] + chance.randbytes(size)
    assert gzip.decompress(compress([text], level, members)) == text


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("members", MEMBERS)
def test_a_short_text_is_one_member_with_either_setting(level: int, members: Members) -> None:
    for size in (0, 1, 100, 10_000, BLOCK):
        text = make_text(size)
        assert read_only_member(compress([text], level, members)) == text


def test_no_rows_and_few_rows_are_one_member() -> None:
    batch = batch_of(pa.array(["x", "y"]))
    assert read_only_member(encoded([], batch.schema, "JSON")) == b""
    assert read_only_member(encoded([batch], batch.schema, "JSON")) == b'{"x":"x"}\n{"x":"y"}\n'


@pytest.fixture(scope="module")
def text() -> bytes:
    """Lines that fill three blocks."""
    text = make_text(3 * BLOCK)
    return text[: text.rindex(b"\n") + 1]


@pytest.mark.parametrize("reader", [pytest.param(reader, id=name) for name, reader in (READS_ALL | READS_ONE).items()])
def test_every_reader_reads_one_member_completely(reader: Reader, text: bytes, tmp_path: Path) -> None:
    file = tmp_path / "part.json.gz"
    file.write_bytes(compress([text], 2))
    assert reader(file) == text


@pytest.mark.parametrize("reader", [pytest.param(reader, id=name) for name, reader in READS_ALL.items()])
def test_readers_with_multi_member_support_read_many_members_completely(
    reader: Reader, text: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "part.json.gz"
    file.write_bytes(compress([text], 2, "many"))
    assert zlib.decompress(file.read_bytes(), 31) == text[:BLOCK]
    assert reader(file) == text


def test_a_text_of_more_than_4_gib_ends_with_the_low_32_bits_of_its_size() -> None:
    chunk, count = bytes(BLOCK), 2049
    data = compress((chunk for _ in range(count)), 1)
    assert int.from_bytes(data[-4:], "little") == BLOCK * count - 2**32
