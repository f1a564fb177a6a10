"""Options for readers with limited Parquet support: UUIDs as text, plain pages; and when pages can be recompressed."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from offtake.formats.declaration import DEFAULT_OPTIONS, WriteOptions
from offtake.formats.parquet_pages import thrift
from offtake.formats.parquet_pages.footer import NotRecompressibleError
from offtake.formats.registry import format_for
from tests.formats import parquets, spark
from tests.formats.files import encoded
from tests.formats.goldens import ID
from tests.formats.parquets import CODECS, TARGETS, arrow_rows, chunks, field_ids, paged, sample, with_ids
from tests.formats.strategies import rows_with_uuids
from tests.matrix import examples

TEXT = WriteOptions(uuid_as_text=True)
PLAIN = WriteOptions(plain_encoding=True)
SAMPLE = sample(72)
every_compression = pytest.mark.parametrize("compression", TARGETS)


def made(table: pa.Table, options: WriteOptions, compression: str = "GZIP") -> bytes:
    target = format_for("PARQUET", compression, options)
    return b"".join(target.encode(table.schema, table.to_batches(), target.level))


def as_text(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, dict):
        return {key: as_text(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(as_text, value))
    return value


@settings(max_examples=examples(200), deadline=None)
@given(rows_with_uuids())
def test_any_uuid_becomes_text_at_every_depth_and_nothing_else_changes(batch: pa.RecordBatch) -> None:
    table = pa.Table.from_batches([batch], with_ids(batch.schema))
    data = made(table, TEXT)
    assert arrow_rows(data) == "\n".join(map(repr, as_text(table.to_pylist())))
    assert field_ids(data) == field_ids(made(table, DEFAULT_OPTIONS))
    assert b"UUID" not in repr(pq.ParquetFile(pa.BufferReader(data)).schema).encode()


@every_compression
def test_three_readers_read_uuids_as_text(compression: str, tmp_path: Path) -> None:
    raw = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([ID.bytes, None, bytes(16)], pa.binary(16)))
    places = pa.array([0, 1, 1, 3], pa.int32())
    columns = {
        "id": raw,
        "all": pa.ListArray.from_arrays(places, raw),
        "in": pa.StructArray.from_arrays([raw], ["id"]),
        "by": pa.MapArray.from_arrays(pa.array([0, 1, 1, 2], pa.int32()), raw.take([0, 2]), raw.take([1, 2])),
    }
    data = made(pa.table(columns), TEXT, compression)
    one, zero = str(ID), str(UUID(int=0))
    expected: list[dict[str, Any]] = [
        {"id": one, "all": [one], "in": {"id": one}, "by": {one: None}},
        {"id": None, "all": [], "in": {"id": None}, "by": {}},
        {"id": zero, "all": [None, zero], "in": {"id": zero}, "by": {zero: zero}},
    ]
    assert pq.read_table(pa.BufferReader(data)).to_pylist(maps_as_pydicts="strict") == expected
    duck = parquets.duck_query(data, tmp_path / "read.parquet", "select * from {}")
    assert duck == [tuple(row.values()) for row in expected]
    assert parquets.polars_rows(data) == "\n".join(repr(tuple(row.values())) for row in expected)


def test_a_required_uuid_becomes_required_text() -> None:
    fields = [pa.field("id", pa.uuid(), nullable=False)]
    inner = pa.struct([pa.field("id", pa.uuid(), nullable=False)])
    schema = pa.schema([*fields, pa.field("in", inner, nullable=False)])
    raw = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([ID.bytes], pa.binary(16)))
    table = pa.Table.from_arrays([raw, pa.StructArray.from_arrays([raw], fields=list(inner))], schema=schema)
    read = pq.read_schema(pa.BufferReader(made(table, TEXT)))
    text = pa.field("id", pa.string(), nullable=False)
    assert list(read) == [text, pa.field("in", pa.struct([text]), nullable=False)]


def test_files_with_uuids_are_decoded_only_for_uuids_as_text() -> None:
    for table, suits in ((SAMPLE, False), (SAMPLE.drop_columns(["id"]), True)):
        stored = parquets.arrow(table, compression="snappy")
        assert paged(with_ids(table.schema), "GZIP", (stored, 0, None))[0] == 72
        if suits:
            same = paged(with_ids(table.schema), "GZIP", (stored, 0, None))
            assert paged(with_ids(table.schema), "GZIP", (stored, 0, None), options=TEXT) == same
        else:
            with pytest.raises(NotRecompressibleError, match="UUIDs"):
                paged(with_ids(table.schema), "GZIP", (stored, 0, None), options=TEXT)


def check_plain(data: bytes) -> None:
    """Whether every page has version 1 and the encoding PLAIN."""
    assert {kind for chunk in chunks(data) for kind in chunk.encodings} <= {"PLAIN", "RLE"}
    assert not any(chunk.has_dictionary_page for chunk in chunks(data))
    for group in thrift.inners(parquets.footer(data), 4):
        for column in thrift.inners(group, 1):
            meta = thrift.inner(column, 3)
            at, left = thrift.number(meta, 9), thrift.number(meta, 5)
            while left:
                header, body = thrift.decode(data, at)
                page = thrift.inner(header, 5)
                assert (thrift.number(header, 1), thrift.number(page, 2)) == (0, 0)
                left -= thrift.number(page, 1)
                at = body + thrift.number(header, 3)


@every_compression
def test_plain_files_have_no_dictionaries_and_only_version_1_pages(compression: str, tmp_path: Path) -> None:
    data = made(SAMPLE, PLAIN, compression)
    check_plain(data)
    usual = encoded(SAMPLE.to_batches(), SAMPLE.schema, "PARQUET", compression)
    for name, read in parquets.readers(tmp_path).items():
        assert read(data) == read(usual), name
    assert {chunk.compression for chunk in chunks(data)} == {TARGETS[compression]}
    query = "select distinct encodings from parquet_metadata({})"
    assert {row[0] for row in parquets.duck_query(data, tmp_path / "read.parquet", query)} <= {"PLAIN", "RLE, PLAIN"}


@every_compression
@pytest.mark.parametrize("codec", CODECS)
def test_plain_files_are_recompressed(codec: str, compression: str) -> None:
    stored = parquets.arrow(SAMPLE, compression=codec, use_dictionary=False, write_page_index=True, row_group_size=72)
    schema = with_ids(SAMPLE.schema)
    rows, data = paged(schema, compression, (stored, 0, None), options=PLAIN)
    assert (rows, arrow_rows(data)) == (72, parquets.rows_of(SAMPLE))
    check_plain(data)
    assert {chunk.compression for chunk in chunks(data)} == {TARGETS[compression]}


NOT_PLAIN: dict[str, dict[str, Any]] = {
    "dictionaries": {},
    "a dictionary in one column": {"use_dictionary": ["text"]},
    "pages of version 2": {"use_dictionary": False, "data_page_version": "2.0"},
    "deltas": {"use_dictionary": False, "column_encoding": {"n": "DELTA_BINARY_PACKED"}},
    "truths in runs": {"use_dictionary": False, "column_encoding": {"truth": "RLE"}},
    "bytes of floats apart": {"use_dictionary": False, "use_byte_stream_split": ["real"]},
}


@every_compression
@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("how", NOT_PLAIN)
def test_files_that_are_not_plain_are_decoded(how: str, codec: str, compression: str) -> None:
    stored = parquets.arrow(SAMPLE, compression=codec, **NOT_PLAIN[how])
    schema = with_ids(SAMPLE.schema)
    assert paged(schema, compression, (stored, 0, None))[0] == 72
    with pytest.raises(NotRecompressibleError, match="PLAIN"):
        paged(schema, compression, (stored, 0, None), options=PLAIN)


@every_compression
def test_files_written_by_spark_are_decoded_for_plain_encoding(compression: str) -> None:
    for file in sorted(spark.FOLDER.glob("spark-v*.parquet")):
        with pytest.raises(NotRecompressibleError, match="PLAIN"):
            paged(with_ids(spark.table().schema), compression, (file.read_bytes(), 0, None), options=PLAIN)


@every_compression
def test_default_options_change_no_bytes(compression: str) -> None:
    assert made(SAMPLE, DEFAULT_OPTIONS, compression) == encoded(
        SAMPLE.to_batches(), SAMPLE.schema, "PARQUET", compression
    )
    without = SAMPLE.drop_columns(["id"])
    assert made(without, TEXT, compression) == made(without, DEFAULT_OPTIONS, compression)


def test_options_of_parquet_do_not_change_json() -> None:
    assert format_for("JSON", "GZIP", TEXT) is format_for("JSON", "GZIP")
