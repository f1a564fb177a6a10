"""Parquet files of several writers, their recompression, and three readers."""

import base64
import datetime as dt
import functools
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from offtake.formats.declaration import DEFAULT_OPTIONS, WriteOptions
from offtake.formats.parquet_pages import thrift
from offtake.formats.registry import format_for

CODECS: Final = ("none", "snappy", "gzip", "brotli", "zstd", "lz4_raw")
TARGETS: Final = {"GZIP": "GZIP", "NONE": "UNCOMPRESSED"}
"""A flow's compression, and the resulting codec of column chunks."""


def sample(rows: int) -> pa.Table:
    """Rows with every type of the type map; `n` is the row number."""
    return pa.Table.from_pylist([_row(n) for n in range(rows)], _SCHEMA)


_SCHEMA: Final = pa.schema(
    [
        pa.field("n", pa.int64(), nullable=False),
        ("small", pa.int32()),
        ("real", pa.float64()),
        ("single", pa.float32()),
        ("truth", pa.bool_()),
        ("text", pa.string()),
        ("bytes", pa.binary()),
        ("four", pa.binary(4)),
        ("price", pa.decimal128(9, 2)),
        ("amount", pa.decimal128(18, 4)),
        ("large", pa.decimal128(30, 5)),
        ("day", pa.date32()),
        ("hour", pa.time64("us")),
        ("at", pa.timestamp("us", "UTC")),
        ("local", pa.timestamp("us")),
        ("id", pa.uuid()),
        ("none", pa.string()),
        ("place", pa.struct([("city", pa.string()), ("spot", pa.struct([("x", pa.float64())]))])),
        ("tags", pa.list_(pa.field("element", pa.string()))),
        ("steps", pa.list_(pa.field("element", pa.struct([("at", pa.int64()), ("by", pa.list_(pa.string()))])))),
        ("counts", pa.map_(pa.string(), pa.int64())),
    ]
)


def _row(n: int) -> dict[str, Any]:
    at = dt.datetime(2026, 3, 1, 6, 0, 0, n * 1001 % 1_000_000) + dt.timedelta(hours=n)
    found = {
        "small": n % 7 - 3,
        "real": (0.5, -0.0, float("nan"), float("-inf"), n / 3)[n % 5],
        "single": (-0.0, float("nan"), 1.5)[n % 3],
        "truth": n % 3 == 0,
        "text": (f"town {n % 11}", "", "Zürich 🏔", f"only {n}")[n % 4],
        "bytes": (b"", b"\xff\0", bytes([n % 256]) * (n % 9))[n % 3],
        "four": n.to_bytes(4, "big"),
        "price": Decimal(n - 100).scaleb(-2),
        "amount": Decimal(n * 10_000_019).scaleb(-4),
        "large": Decimal(-n * 10**20 - n).scaleb(-5),
        "day": dt.date(2026, 3, 1) + dt.timedelta(days=n - 100),
        "hour": at.time(),
        "at": at.replace(tzinfo=dt.UTC),
        "local": at,
        "id": UUID(int=n << 64 | n % 3).bytes,
        "place": (
            {"city": None, "spot": None},
            {"city": "", "spot": {"x": -0.0}},
            {"city": "Bern", "spot": {"x": None}},
        )[n % 3],
        "tags": ([], ["a", None, ""], [f"t{n % 5}"] * (n % 4))[n % 3],
        "steps": ([], [None], [{"at": n, "by": []}, {"at": None, "by": ["a", None]}], [{"at": 1, "by": None}])[n % 4],
        "counts": ([], [("x", n)], [("x", None), ("", 2)])[n % 3],
    }
    # Every column has nulls, each in other rows.
    nulls = {name: None for place, name in enumerate(found) if n % (place + 4) == 1}
    return {"n": n, "none": None, **found, **nulls}


def with_ids(schema: pa.Schema, first: int = 1) -> pa.Schema:
    """The schema with Iceberg's field ids, at every depth."""
    numbers = itertools.count(first)

    def named(field: pa.Field, name: str | None = None) -> pa.Field:
        number = str(next(numbers)).encode()
        return pa.field(name or field.name, typed(field.type), field.nullable, {b"PARQUET:field_id": number})

    def typed(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_struct(kind):
            return pa.struct([named(field) for field in kind])
        if pa.types.is_list(kind):
            return pa.list_(named(kind.value_field, "element"))
        if pa.types.is_map(kind):
            return pa.map_(named(kind.key_field, "key"), named(kind.item_field, "value"))
        return kind

    return pa.schema([named(field) for field in schema])


# Writers


def arrow(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def duck(table: pa.Table, path: Path, *options: str) -> bytes:
    connection = _duckdb().cursor()
    connection.register("rows", table)
    connection.execute(f"copy (from rows) to '{path}' (format parquet, {', '.join(options)})")
    return path.read_bytes()


def polars(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(table).write_parquet(out, **options)
    return out.getvalue()


def of_two_levels(data: bytes) -> bytes:
    """The file with its last column, a list of required elements, as a two-level list of the oldest writers."""
    end = footer(data)
    elements = thrift.inners(end, 2)
    assert [thrift.value(one, 4) for one in elements[-2:]] == [b"list", b"element"]
    del elements[-2]
    elements[-1] |= {3: (thrift.I32, 2), 4: (thrift.BINARY, b"array")}
    return with_footer(data, end)


def encrypted(table: pa.Table, path: Path, columns: Sequence[str], *, footer_too: bool) -> bytes:
    config = pe.EncryptionConfiguration(
        footer_key="footer", column_keys={"column": [*columns]}, plaintext_footer=not footer_too
    )
    factory = pe.CryptoFactory(lambda _: _Keys())
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    pq.write_table(table, path, encryption_properties=properties)
    return path.read_bytes()


class _Keys(pe.KmsClient):  # type: ignore[misc]  # pyarrow ships no type information
    def wrap_key(self, key_bytes: bytes, _master: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, _master: str) -> bytes:
        return base64.b64decode(wrapped_key)


# Recompression

Slice = tuple[bytes, int, int | None]


def paged(
    schema: pa.Schema, compression: str, *slices: Slice, options: WriteOptions = DEFAULT_OPTIONS
) -> tuple[int, bytes]:
    """The reported number of rows, and the recompressed file, for these row groups."""
    target = format_for("PARQUET", compression, options)
    assert target.from_pages is not None
    stored = [(pa.BufferReader(data), first, last) for data, first, last in slices]
    rows, chunks = target.from_pages(schema, stored, target.level)
    return rows, b"".join(chunks)


# Readers


def arrow_rows(data: bytes) -> str:
    """The rows as Python's text, in which NaN equals itself and zeros have signs."""
    file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
    return rows_of(file.read())


def rows_of(table: pa.Table) -> str:
    return "\n".join(map(repr, table.to_pylist()))


def duck_rows(data: bytes, path: Path) -> str:
    return "\n".join(map(repr, duck_query(data, path, "select * from {}")))


def duck_query(data: bytes, path: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows of a DuckDB query with `{}` for the file's name."""
    path.write_bytes(data)
    return _duckdb().cursor().execute(query.format(f"'{path}'")).fetchall()


@functools.cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    # One connection, because opening one is slow; its cache of file contents would outlive the files.
    return duckdb.connect(config={"enable_external_file_cache": False, "threads": 1})


def polars_rows(data: bytes) -> str:
    return "\n".join(map(repr, pl.read_parquet(io.BytesIO(data)).rows()))


Readers = Mapping[str, Callable[[bytes], str]]


def readers(folder: Path) -> Readers:
    return {
        "pyarrow": arrow_rows,
        "duckdb": lambda data: duck_rows(data, folder / "read.parquet"),
        "polars": polars_rows,
    }


# Metadata


def metadata(data: bytes) -> pq.FileMetaData:
    return pq.read_metadata(io.BytesIO(data))


def chunks(data: bytes) -> list[pq.ColumnChunkMetaData]:
    found = metadata(data)
    return [
        found.row_group(group).column(column)
        for group in range(found.num_row_groups)
        for column in range(found.num_columns)
    ]


def kept(data: bytes) -> list[Any]:
    """The metadata that recompression must not change."""
    return [
        (
            chunk.path_in_schema,
            chunk.physical_type,
            chunk.num_values,
            chunk.encodings,
            repr(chunk.statistics and chunk.statistics.to_dict()),
            chunk.has_dictionary_page,
            chunk.has_column_index,
            chunk.has_offset_index,
        )
        for chunk in chunks(data)
    ]


def field_ids(data: bytes) -> list[Any]:
    """The field ids in the file's Parquet schema, depth first; None for fields without an id."""
    elements = thrift.inners(footer(data), 2)
    return [thrift.value(element, 9) for element in elements]


def footer(data: bytes) -> thrift.Struct:
    length = int.from_bytes(data[-8:-4], "little")
    return thrift.decode(data[-8 - length : -8])[0]


def with_footer(data: bytes, changed: thrift.Struct) -> bytes:
    """The file with other metadata."""
    length = int.from_bytes(data[-8:-4], "little")
    end = thrift.encode(changed)
    return data[: -8 - length] + end + len(end).to_bytes(4, "little") + b"PAR1"


def check_pages(data: bytes, *, gaps: bool = False) -> int:
    """Assert that pages fill each chunk and that offset indexes point to the data pages.

    Returns the number of pages with checksums. `gaps`: other data is allowed between chunks, as in Polars' files.
    """
    sums = 0
    for group in thrift.inners(footer(data), 4):
        begins = thrift.number(group, 5)
        for column in thrift.inners(group, 1):
            meta = thrift.inner(column, 3)
            at = thrift.number(meta, 9)
            at = min(at, thrift.number(meta, 11, 0) or at)
            assert at == begins or (gaps and at > begins > thrift.number(group, 5))
            begins = at + thrift.number(meta, 7)
            found, plain = list[tuple[int, int]](), 0
            while at < begins:
                header, body = thrift.decode(data, at)
                after = body + thrift.number(header, 3)
                plain += body - at + thrift.number(header, 2)
                if thrift.number(header, 1) == 2:
                    assert thrift.number(meta, 11) == at
                else:
                    found.append((at, after - at))
                sums += 4 in header
                at = after
            assert (at, plain) == (begins, thrift.number(meta, 6))
            assert thrift.number(meta, 9) == found[0][0]
            if 4 in column:
                index, _ = thrift.decode(data, thrift.number(column, 4))
                places = [(thrift.number(one, 1), thrift.number(one, 2)) for one in thrift.inners(index, 1)]
                assert places == found
        assert gaps or begins - thrift.number(group, 5) == thrift.number(group, 6)
    return sums


def cut_evenly(rows: int, pieces: int) -> Sequence[tuple[int, int]]:
    """The starts and lengths of `rows` split into pieces."""
    places = [rows * piece // pieces for piece in range(pieces + 1)]
    return [(start, stop - start) for start, stop in itertools.pairwise(places)]
