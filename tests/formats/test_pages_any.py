"""Property tests of recompression: any row groups give the same rows in order, and always the same bytes."""

import hashlib
import io
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offtake.formats import parquet
from offtake.formats.parquet_pages import thrift
from tests.formats import parquets
from tests.formats.parquets import CODECS, TARGETS, Slice, paged, with_ids
from tests.formats.strategies import rows
from tests.matrix import examples


@pytest.fixture(autouse=True, scope="module")
def _small_groups_too() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "_LEAST_GROUP", 0)
        yield


OPTIONS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(CODECS),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "use_dictionary": st.booleans(),
        "write_page_checksum": st.booleans(),
        "write_page_index": st.booleans(),
        "write_statistics": st.booleans(),
        "store_schema": st.booleans(),
        "store_decimal_as_integer": st.booleans(),
        "row_group_size": st.integers(1, 12),
        "max_rows_per_page": st.integers(1, 12),
    }
)


@dataclass(frozen=True)
class Stored:
    """Slices of files, and the rows in them."""

    schema: pa.Schema
    slices: list[Slice]
    rows: str
    count: int


@st.composite
def stored(draw: st.DrawFn) -> Stored:
    """Up to three files with any rows by one writer, and a range of row groups of each."""
    table = pa.Table.from_batches([draw(rows().filter(lambda batch: batch.num_rows > 0))])
    options = draw(OPTIONS)
    slices, taken = list[Slice](), list[pa.Table]()
    for start, length in parquets.cut_evenly(table.num_rows, draw(st.integers(1, min(3, table.num_rows)))):
        part = table.slice(start, length)
        data = parquets.arrow(part, **options)
        groups = pq.ParquetFile(io.BytesIO(data)).num_row_groups
        first = draw(st.integers(0, groups - 1))
        last = draw(st.none() | st.integers(first + 1, groups))
        slices.append((data, first, last))
        size = options["row_group_size"]
        taken.append(part.slice(first * size, None if last is None else (last - first) * size))
    found = pa.concat_tables(taken)
    return Stored(with_ids(table.schema), slices, parquets.rows_of(found), found.num_rows)


@settings(max_examples=examples(150), deadline=None)
@given(stored(), st.sampled_from(sorted(TARGETS)))
def test_any_row_groups_become_one_file_with_their_rows_in_order(of: Stored, compression: str) -> None:
    count, made = paged(of.schema, compression, *of.slices)
    assert count == of.count
    assert parquets.arrow_rows(made) == of.rows
    assert {chunk.compression for chunk in parquets.chunks(made)} == {TARGETS[compression]}
    parquets.check_pages(made)
    assert paged(of.schema, compression, *of.slices) == (count, made)


def test_recompressing_twice_gives_the_same_pages() -> None:
    table = parquets.sample(50)
    data = parquets.arrow(table, data_page_version="2.0", write_page_checksum=True, write_page_index=True)
    schema = with_ids(table.schema)
    _, packed = paged(schema, "GZIP", (data, 0, None))
    _, plain = paged(schema, "NONE", (packed, 0, None))
    assert paged(schema, "NONE", (data, 0, None))[1] == plain
    assert paged(schema, "GZIP", (plain, 0, None))[1] == packed
    # Nothing needs to change: the bytes are copied.
    assert paged(schema, "GZIP", (packed, 0, None))[1] == packed


SCRIPT = """
import hashlib, sys
from tests.formats import parquets
with open(sys.argv[1], "rb") as file:
    data = file.read()
for compression in ("GZIP", "NONE"):
    _, made = parquets.paged(parquets.with_ids(parquets.sample(1).schema), compression, (data, 0, None))
    print(hashlib.sha256(made).hexdigest())
"""


def test_output_is_identical_in_threads_and_other_processes(tmp_path: Path) -> None:
    # Pages with sizes around the limit between the two gzip libraries.
    table = pa.concat_tables([parquets.sample(3000), parquets.sample(200)])
    data = parquets.arrow(table, max_rows_per_page=700, write_page_index=True, write_page_checksum=True)
    (tmp_path / "file.parquet").write_bytes(data)
    schema = with_ids(table.schema)

    def hashed(number: int) -> str:
        made = paged(schema, ("GZIP", "NONE")[number % 2], (data, 0, None))[1]
        return hashlib.sha256(made).hexdigest()

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(hashed, range(24)))
    assert len(set(found)) == 2
    for _ in range(2):
        said = subprocess.run(
            [sys.executable, "-c", SCRIPT, tmp_path / "file.parquet"], capture_output=True, check=True, text=True
        )
        assert said.stdout.split() == found[:2]


def test_memory_does_not_grow_with_the_file() -> None:
    text = pa.array([f"{n * 2_654_435_761 % 2**64:x}" * 8 for n in range(60_000)])
    data = parquets.arrow(pa.table({"a": text, "b": text}), use_dictionary=False, row_group_size=10_000)
    end = parquets.footer(data)
    for group in thrift.inners(end, 4):
        for column in thrift.inners(group, 1):
            # Two megabytes as a bloom filter; its content is not checked.
            thrift.inner(column, 3).update({14: (thrift.I64, 4), 15: (thrift.I32, 2_000_000)})
    file = pa.BufferReader(parquets.with_footer(data, end))
    tracemalloc.start()
    try:
        _, chunks = parquet.plain_pages(
            with_ids(pa.schema([("a", pa.string()), ("b", pa.string())])), [(file, 0, None)]
        )
        sizes = [len(chunk) for chunk in chunks]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(sizes) > 35_000_000
    assert most < 12_000_000
    assert min(sizes) > 0
