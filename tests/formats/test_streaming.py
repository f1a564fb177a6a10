"""Files are encoded while they are consumed: bounded memory, no leftover threads, no swallowed errors."""

import gzip
import json
import subprocess
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq
import pytest

from offtake.cli.sample_data import SAMPLE_SCHEMA, customer_events
from offtake.formats import batching
from offtake.formats.declaration import WriteOptions
from offtake.formats.gzip_stream import MEMBERS, Members
from offtake.formats.registry import format_for
from tests.formats.files import batch_of, counted, encoded, table

KINDS = [("JSON", "GZIP"), ("PARQUET", "GZIP"), ("PARQUET", "NONE")]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=" ".join)


def numbers(rows: int) -> pa.RecordBatch:
    """Rows with hardly compressible text."""
    return batch_of(pa.array([str(n * 2_654_435_761 % 2**32) * 8 for n in range(rows)]))


@every_kind
def test_chunks_are_yielded_before_most_rows_are_consumed(kind: tuple[str, str]) -> None:
    batch, taken = numbers(8192), list[int]()
    stream = format_for(*kind).encode(batch.schema, counted([batch] * 400, taken), 1)
    held = sum(len(next(stream)) for _ in range(3))
    assert held > 100_000
    assert len(taken) < 100
    rest = sum(len(chunk) for chunk in stream)
    assert len(taken) == 400
    assert rest > held


@every_kind
def test_an_abandoned_stream_leaves_nothing_running(kind: tuple[str, str]) -> None:
    batch, taken = numbers(8192), list[int]()
    before = threading.active_count()
    stream = format_for(*kind).encode(batch.schema, counted([batch] * 400, taken), 1)
    next(stream)
    assert isinstance(stream, Iterator)
    stream.close()  # type: ignore[attr-defined]  # every encoder is a generator
    assert threading.active_count() == before
    assert len(taken) < 400


@every_kind
def test_errors_of_the_rows_are_raised(kind: tuple[str, str]) -> None:
    batch = numbers(10)

    def failing() -> Iterator[pa.RecordBatch]:
        yield batch
        raise LookupError("the file is gone")

    before = threading.active_count()
    with pytest.raises(LookupError, match="the file is gone"):
        encoded(failing(), batch.schema, *kind)
    assert threading.active_count() == before


@every_kind
def test_no_rows_give_a_valid_empty_file(kind: tuple[str, str]) -> None:
    schema = batch_of(pa.array(["x"])).schema
    for batches in ([], [batch_of(pa.array([], pa.string()))]):
        data = encoded(batches, schema, *kind)
        if kind[0] == "JSON":
            assert gzip.decompress(data) == b""
        else:
            assert table(data).schema.names == ["x"]
            assert table(data).num_rows == 0


def test_rows_without_columns_are_empty_objects() -> None:
    batch = pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([])))
    assert gzip.decompress(encoded([batch], batch.schema, "JSON")) == b"{}\n" * 3


def test_row_groups_are_bounded_in_rows_and_bytes() -> None:
    narrow = batch_of(pa.array(range(200_000), pa.int64()))
    wide = batch_of(pa.array(["x" * 100_000] * 1000))
    for batch, most_rows in ((narrow, 80_000), (wide, 300)):
        data = encoded([batch], batch.schema, "PARQUET")
        found = pq.ParquetFile(pa.BufferReader(data)).metadata
        groups = [found.row_group(index).num_rows for index in range(found.num_row_groups)]
        assert sum(groups) == batch.num_rows
        assert max(groups) <= most_rows


def test_slices_have_every_row_once_and_are_small() -> None:
    batch = batch_of(pa.array(["x" * 1000] * 20_000))
    pieces = list(batching.split_batches(batch))
    assert sum(piece.num_rows for piece in pieces) == 20_000
    assert max(piece.nbytes for piece in pieces) <= batching.MOST_BYTES * 1.1
    assert pa.Table.from_batches(pieces).equals(pa.Table.from_batches([batch]))
    assert list(batching.split_batches(batch.slice(0, 0))) == []


def test_field_ids_and_nullability_are_kept_in_parquet() -> None:
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False, metadata={b"PARQUET:field_id": b"7"})])
    batch = pa.RecordBatch.from_arrays([pa.array([1])], schema=schema)
    (field,) = table(encoded([batch], schema, "PARQUET")).schema
    assert field.metadata[b"PARQUET:field_id"] == b"7"
    assert not field.nullable


@pytest.mark.parametrize("members", MEMBERS)
def test_json_readers_read_all_rows_of_one_and_many_members(members: Members, tmp_path: Path) -> None:
    rows = 60_000
    batch = numbers(rows)
    names = pa.array([f"Zürich {n}" for n in range(rows)])
    batch = pa.RecordBatch.from_arrays([pa.array(range(rows)), names, batch.column(0)], names=["n", "name", "text"])
    file = tmp_path / "part.json.gz"
    target = format_for("JSON", "GZIP", WriteOptions(members=members))
    file.write_bytes(b"".join(target.encode(batch.schema, [batch], target.level)))
    first = zlib.decompressobj(31)
    first.decompress(file.read_bytes())
    assert (first.unused_data == b"") is (members == "single")
    whole = sum(range(rows))
    text = subprocess.run(["gunzip", "-c", file], capture_output=True, check=True).stdout
    assert text == gzip.decompress(file.read_bytes())
    assert sum(json.loads(line)["n"] for line in text.splitlines()) == whole
    assert pyarrow.json.read_json(pa.CompressedInputStream(str(file), "gzip"))["n"].to_pylist() == list(range(rows))
    assert pl.read_ndjson(file)["n"].sum() == whole
    (found,) = duckdb.read_json(str(file)).aggregate("count(*), sum(n), max(name)").fetchall()
    assert found == (rows, whole, f"Zürich {max(map(str, range(rows)))}")


@pytest.mark.parametrize("level", range(1, 10))
def test_higher_levels_give_the_same_rows_and_smaller_json(level: int) -> None:
    batches = list(customer_events(16_384, seed=1, start_ms=0))
    for kind in KINDS[:2]:
        least, found = (b"".join(format_for(*kind).encode(SAMPLE_SCHEMA, batches, one)) for one in (1, level))
        if kind[0] == "JSON":
            assert len(found) <= len(least)
            assert gzip.decompress(found) == gzip.decompress(least)
        else:
            assert table(found).equals(table(least))
