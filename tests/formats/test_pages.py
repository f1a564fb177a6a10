"""Recompressed files of four writers: three readers read the same rows as before."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from offtake.formats import parquet
from tests.formats import parquets, spark
from tests.formats.files import encoded
from tests.formats.parquets import CODECS, TARGETS, paged, sample, with_ids

ROWS = 72
SAMPLE = sample(ROWS)
ARROW: dict[str, dict[str, Any]] = {
    "plainly": {},
    "with all there is": {
        "write_page_index": True,
        "write_page_checksum": True,
        "bloom_filter_options": {"n": {"ndv": ROWS}, "text": {"ndv": ROWS}},
        "max_rows_per_page": 20,
    },
    "in pages of a few rows": {"max_rows_per_page": 7, "data_page_size": 64, "write_page_index": True},
    "without dictionaries": {"use_dictionary": False, "write_statistics": False, "write_page_checksum": True},
    "in pages of version 2": {"data_page_version": "2.0", "write_page_index": True, "max_rows_per_page": 20},
    "in pages of version 2 with checksums": {
        "data_page_version": "2.0",
        "write_page_checksum": True,
        "use_dictionary": False,
        "max_rows_per_page": 20,
    },
    "with decimals as numbers": {"store_decimal_as_integer": True, "use_byte_stream_split": ["real", "single"]},
    "in row groups": {"row_group_size": 30, "write_page_index": True, "version": "1.0"},
}
DUCK = {
    "version 1": ("parquet_version v1",),
    "version 2": ("parquet_version v2",),
    "no dictionaries": ("dictionary_size_limit 1", "write_bloom_filter false"),
}
POLARS: dict[str, dict[str, Any]] = {
    "plainly": {},
    "with statistics": {"statistics": "full", "data_page_size": 1024},
    "in row groups": {"row_group_size": 30, "statistics": False},
}
FOR_DUCK = SAMPLE.drop_columns(["four"])  # it has bytes of any length only
FOR_POLARS = SAMPLE.drop_columns(["four", "id", "hour"])  # nor has it UUIDs, and its times are of nanoseconds


@pytest.fixture(autouse=True, scope="module")
def _small_groups_too() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "_LEAST_GROUP", 0)
        yield


@pytest.fixture
def check(tmp_path: Path) -> Any:
    """Assert that a file recompressed with either codec has the same rows and metadata; `table`: the expected rows."""

    def checked(data: bytes, table: pa.Table) -> None:
        schema = with_ids(table.schema)
        readers = parquets.readers(tmp_path)
        before = {name: read(data) for name, read in readers.items()}
        assert before["pyarrow"] == parquets.rows_of(table)
        for compression, codec in TARGETS.items():
            rows, made = paged(schema, compression, (data, 0, None))
            assert rows == table.num_rows
            assert {name: read(made) for name, read in readers.items()} == before
            assert {chunk.compression for chunk in parquets.chunks(made)} <= {codec}
            assert parquets.kept(made) == parquets.kept(data)
            parquets.check_pages(made, gaps=made[:1000] == data[:1000])
            found = parquets.metadata(made)
            assert (found.created_by, found.num_rows) == (parquets.metadata(data).created_by, rows)
            assert parquets.field_ids(made) == parquets.field_ids(encoded([], schema, "PARQUET"))

    return checked


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("how", ARROW)
def test_files_written_by_arrow_are_recompressed(check: Any, how: str, codec: str) -> None:
    check(parquets.arrow(SAMPLE, compression=codec, **ARROW[how]), SAMPLE)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("how", DUCK)
def test_files_written_by_duckdb_are_recompressed(check: Any, tmp_path: Path, how: str, codec: str) -> None:
    compression = {"none": "uncompressed"}.get(codec, codec)
    data = parquets.duck(FOR_DUCK, tmp_path / "duck.parquet", f"compression {compression}", *DUCK[how])
    check(data, nullable(FOR_DUCK))


@pytest.mark.parametrize("codec", ["uncompressed", "snappy", "gzip", "brotli", "zstd", "lz4"])
@pytest.mark.parametrize("how", POLARS)
def test_files_written_by_polars_are_recompressed(check: Any, how: str, codec: str) -> None:
    check(parquets.polars(FOR_POLARS, compression=codec, **POLARS[how]), nullable(FOR_POLARS))


@pytest.mark.parametrize("file", sorted(spark.FOLDER.glob("spark-v*.parquet")), ids=lambda path: path.stem)
def test_files_written_by_spark_are_recompressed(check: Any, file: Path) -> None:
    check(file.read_bytes(), spark.table())


WRITERS: dict[str, Callable[[pa.Table, Path], bytes]] = {
    "pyarrow": lambda table, _: parquets.arrow(table, write_page_index=True),
    "pyarrow, version 2": lambda table, _: parquets.arrow(table, data_page_version="2.0"),
    "pyarrow, required": lambda table, _: parquets.arrow(table.cast(required(table.schema))),
    "duckdb": lambda table, folder: parquets.duck(table, folder / "duck.parquet", "parquet_version v2"),
    "polars": lambda table, _: parquets.polars(table),
}
EDGES = {
    "nulls only": pa.table({"n": pa.nulls(9, pa.int64()), "text": pa.nulls(9, pa.string())}),
    "empty texts only": pa.table({"n": pa.array([0] * 9), "text": pa.array([""] * 9)}),
    "empty lists only": pa.table({"l": pa.array([[]] * 9, pa.list_(pa.string()))}),
    "one long text": pa.table({"n": pa.array([1]), "text": pa.array(["long " * 900_000])}),
}


# What is required is never null.
CASES = [
    (edge, writer) for edge in EDGES for writer in WRITERS if (edge, writer) != ("nulls only", "pyarrow, required")
]


@pytest.mark.parametrize(("edge", "writer"), CASES)
def test_edge_case_files_are_recompressed(check: Any, tmp_path: Path, edge: str, writer: str) -> None:
    table = EDGES[edge]
    if writer == "pyarrow, required":
        table = table.cast(required(table.schema))
    check(WRITERS[writer](table, tmp_path), table)


@pytest.mark.parametrize("writer", ["duckdb", "polars"])
def test_files_without_rows_are_recompressed(check: Any, tmp_path: Path, writer: str) -> None:
    # Arrow writes a row group without pages, which is refused (test_pages_refused.py).
    table = pa.table({"n": pa.array([], pa.int64()), "text": pa.array([], pa.string())})
    check(WRITERS[writer](table, tmp_path), table)


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_nanoseconds_keep_all_digits(zone: str | None) -> None:
    instants = pa.array([-(2**63), -1, 1, 1_772_344_800_123_456_789, 2**63 - 1], pa.int64())
    table = pa.table({"at": instants.view(pa.timestamp("ns", zone))})
    for compression in TARGETS:
        _, made = paged(with_ids(table.schema), compression, (parquets.arrow(table, compression="snappy"), 0, None))
        assert pq.read_table(pa.BufferReader(made)).equals(table)


def test_a_filter_finds_its_rows_by_statistics_indexes_and_bloom_filters(tmp_path: Path) -> None:
    table = pa.table({"n": pa.array(range(0, 8000, 2)), "text": pa.array([f"town {n % 977}" for n in range(4000)])})
    duck = parquets.duck(table, tmp_path / "duck.parquet", "row_group_size 2048")
    blooms = {"n": {"ndv": 2000}, "text": {"ndv": 977}}
    arrow = parquets.arrow(
        table, row_group_size=1000, write_page_index=True, max_rows_per_page=100, bloom_filter_options=blooms
    )
    for data in (duck, arrow):
        _, made = paged(with_ids(table.schema), "GZIP", (data, 0, None))
        for low, high in ((100, 120), (4001, 4001), (7990, 9000), (-5, 3)):
            inside = (pc.field("n") >= low) & (pc.field("n") <= high)
            expected = table.filter(inside).to_pylist()
            (tmp_path / "made.parquet").write_bytes(made)
            assert ds.dataset(tmp_path / "made.parquet").to_table(filter=inside).to_pylist() == expected
            scanned = pl.scan_parquet(tmp_path / "made.parquet").filter(pl.col("n").is_between(low, high))
            assert scanned.collect().to_dicts() == expected
            found = parquets.duck_query(made, tmp_path / "duck.parquet", f"from {{}} where n between {low} and {high}")
            assert found == [tuple(row.values()) for row in expected]


BLOOM_FILTERS = "select bloom_filter_length from parquet_metadata({}) order by row_group_id, column_id"
PROBE = "select bloom_filter_excludes from parquet_bloom_probe({}, 'text', '%s')"


def test_bloom_filters_stay_unchanged(tmp_path: Path) -> None:
    table = pa.table(
        {"n": pa.array(range(4000)), "text": pa.array([f"town {n % 50 + n // 2048 * 100}" for n in range(4000)])}
    )
    duck = parquets.duck(table, tmp_path / "duck.parquet", "row_group_size 2048")
    arrow = parquets.arrow(table, row_group_size=2048, bloom_filter_options={"text": {"ndv": 50}})
    for data in (duck, arrow):
        _, made = paged(with_ids(table.schema), "NONE", (data, 0, None))
        for query in (BLOOM_FILTERS, PROBE % "town 7", PROBE % "town 107", PROBE % "town 999"):
            assert parquets.duck_query(made, tmp_path / "read.parquet", query) == parquets.duck_query(
                data, tmp_path / "read.parquet", query
            )
        assert parquets.duck_query(made, tmp_path / "read.parquet", PROBE % "town 7") == [(False,), (True,)]
        assert parquets.duck_query(made, tmp_path / "read.parquet", PROBE % "town 999") == [(True,), (True,)]


def required(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(False) for field in schema])


def nullable(table: pa.Table) -> pa.Table:
    """The table with optional columns only, as many engines write it."""
    return table.cast(pa.schema([field.with_nullable(True) for field in table.schema]))
