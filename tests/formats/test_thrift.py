"""Thrift's compact protocol: encoded structures are decoded unchanged, and invalid bytes fail fast."""

import struct
import time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offtake.formats.parquet_pages import footer, thrift
from offtake.formats.parquet_pages.footer import NotRecompressibleError
from offtake.formats.parquet_pages.thrift import (
    BINARY,
    BYTE,
    DOUBLE,
    I16,
    I32,
    I64,
    LIST,
    SET,
    STRUCT,
    TRUE,
    Items,
    ThriftError,
)
from tests.formats import parquets
from tests.matrix import examples

thoroughly = settings(max_examples=examples(100), deadline=None)

_WHOLE = st.integers(-(2**63), 2**63 - 1)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    TRUE: st.booleans(),
    BYTE: st.integers(0, 255),
    I16: st.integers(-(2**15), 2**15 - 1),
    I32: st.integers(-(2**31), 2**31 - 1),
    I64: _WHOLE,
    DOUBLE: st.floats(allow_nan=False),
    BINARY: st.binary(max_size=200),
}
_KINDS = st.sampled_from(sorted(_SCALARS))


def _typed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[int, Any]]:
    scalars = _KINDS.flatmap(lambda kind: st.tuples(st.just(kind), _SCALARS[kind]))
    structs = st.tuples(st.just(STRUCT), inner)
    items = _KINDS.flatmap(
        lambda kind: st.builds(Items, st.just(kind), st.lists(_SCALARS[kind], max_size=20))
    ) | st.builds(Items, st.just(STRUCT), st.lists(inner, max_size=3))
    return scalars | structs | st.tuples(st.sampled_from([LIST, SET]), items)


def _fields(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[thrift.Struct]:
    return st.dictionaries(st.integers(1, 2**15 - 1) | st.integers(1, 20), _typed(inner), max_size=5)


STRUCTS: st.SearchStrategy[thrift.Struct] = st.recursive(st.just({}), _fields, max_leaves=8)


@thoroughly
@given(STRUCTS)
def test_encoded_structures_are_decoded_unchanged(fields: thrift.Struct) -> None:
    data = thrift.encode(fields)
    assert thrift.decode(data) == (fields, len(data))
    assert thrift.decode(memoryview(b"before" + data + b"after"), 6) == (fields, 6 + len(data))


@thoroughly
@given(STRUCTS, st.data())
def test_truncated_structures_are_refused(fields: thrift.Struct, data: st.DataObject) -> None:
    whole = thrift.encode(fields)
    with pytest.raises(thrift.TruncatedError):
        thrift.decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@pytest.mark.parametrize("writer", ["arrow", "duck", "polars"])
def test_metadata_of_other_libraries_is_encoded_to_the_same_bytes(tmp_path: Any, writer: str) -> None:
    table = pa.table({"n": pa.array(range(40)), "text": pa.array([f"town {n}" for n in range(40)])})
    made = {
        "arrow": lambda: parquets.arrow(table, write_page_index=True, row_group_size=10),
        "duck": lambda: parquets.duck(table, tmp_path / "duck.parquet", "parquet_version v2"),
        "polars": lambda: parquets.polars(table, row_group_size=10),
    }
    data = made[writer]()
    length = int.from_bytes(data[-8:-4], "little")
    end = data[-8 - length : -8]
    assert thrift.encode(thrift.decode(end)[0]) == end


def test_the_specifications_examples_are_decoded() -> None:
    # Varints and zigzag numbers, from the protocol's text.
    assert thrift.encode({1: (I64, 50_399)}) == bytes([0x16, *_varint(50_399 * 2), 0])
    for number, zigzag in ((0, 0), (-1, 1), (1, 2), (-2, 3), (2**63 - 1, 2**64 - 2), (-(2**63), 2**64 - 1)):
        data = bytes([0x16, *_varint(zigzag), 0])
        assert thrift.decode(data)[0] == {1: (I64, number)}
        assert thrift.encode({1: (I64, number)}) == data
    # A field number more than 15 after the last is written in full; booleans are in the field header.
    assert thrift.encode({1: (TRUE, True), 17: (TRUE, False)}) == bytes([0x11, 0x02, 34, 0])


def _varint(number: int) -> list[int]:
    return [number] if number < 128 else [number & 127 | 128, *_varint(number >> 7)]


BOMBS = {
    "structures in structures": b"\x1c" * 100_000,
    "lists in lists": b"\x19" + b"\x19" * 100_000,
    "lists of structures of lists": b"\x19\x1c" * 50_000,
    "a list of two billion": b"\x19\xfc\xff\xff\xff\xff\x07" + b"\0" * 100,
    "a list of more than there can be": b"\x19\xfc" + b"\xff" * 9 + b"\x01" + b"\0" * 100,
    "bytes of more than there can be": b"\x18" + b"\xff" * 9 + b"\x01",
    "a number that does not end": b"\x16" + b"\xff" * 100_000,
    "a number of 70 bits": b"\x16" + b"\xff" * 9 + b"\x7f\0",
    "a field's number that does not end": b"\x06" + b"\xff" * 100_000,
    "a map": b"\x1b\x01\x88\0\0\0",
    "a kind that there is none of": b"\x1e\0",
    "a list of no kind": b"\x19\x10\0\0",
    "nothing": b"",
    "half a number with a point": b"\x17\0\0\0",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_decompression_bombs_fail_fast(bomb: str) -> None:
    began = time.process_time()
    with pytest.raises(ThriftError):
        thrift.decode(BOMBS[bomb])
    file = b"PAR1" + BOMBS[bomb] + struct.pack("<I", len(BOMBS[bomb])) + b"PAR1"
    with pytest.raises(NotRecompressibleError):
        footer.footer(pa.BufferReader(file))
    assert time.process_time() - began < 1


@settings(max_examples=examples(400), deadline=None)
@given(st.binary(max_size=200) | st.lists(st.sampled_from([0x19, 0x1C, 0xFC, 0x15, 0x18, 0, 0xFF, 1])).map(bytes))
def test_any_bytes_are_a_structure_or_an_error(data: bytes) -> None:
    try:
        fields, end = thrift.decode(data)
    except ThriftError:
        return
    assert end <= len(data)
    # There are several encodings of the same structure; ours is canonical.
    again = thrift.encode(fields)
    assert thrift.encode(thrift.decode(again)[0]) == again


def test_fields_of_wrong_types_are_refused() -> None:
    fields: thrift.Struct = {
        1: (BINARY, b"x"),
        2: (I32, 7),
        3: (STRUCT, {}),
        4: (LIST, Items(I32, [1])),
        5: (LIST, Items(STRUCT, [{}])),
        6: (TRUE, True),
    }
    assert thrift.number(fields, 2) == 7
    assert thrift.number(fields, 9, 5) == 5
    assert thrift.inner(fields, 3) == {}
    assert thrift.inners(fields, 5) == [{}]
    for read, good in ((thrift.number, 2), (thrift.inner, 3), (thrift.inners, 5)):
        for field in {1, 2, 3, 4, 5, 6, 9} - {good}:
            with pytest.raises(ThriftError):
                read(fields, field)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "does not end"),
        (b"PAR1", "does not end"),
        (b"PAR1" + struct.pack("<I", 0) + b"PARE", "does not end"),
        (b"PAR1" + struct.pack("<I", 2**32 - 1) + b"PAR1", "longer than the file"),
        (b"PAR1" + struct.pack("<I", 0) + b"PAR1", "cannot be read"),
        (b"PAR1" + b"\0" * 2_000_000 + struct.pack("<I", 2_000_000) + b"PAR1", "large"),
        (b"PAR1\x8c\0\0" + struct.pack("<I", 3) + b"PAR1", "encrypted"),
    ],
)
def test_files_without_readable_metadata_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(NotRecompressibleError, match=why):
        footer.footer(pa.BufferReader(data))


def test_long_metadata_is_read_completely() -> None:
    table = pa.table({f"column {n}": pa.array([n]) for n in range(1000)})
    data = parquets.arrow(table)
    assert int.from_bytes(data[-8:-4], "little") > 100_000
    (group,) = footer.row_groups(footer.footer(pa.BufferReader(data)))
    assert len(footer.columns(group)) == 1000
