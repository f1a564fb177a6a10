"""Golden values for every rule of the type map: values, their NDJSON, and how two other tools read it."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa

NAN, INFINITY = float("nan"), float("inf")
MORNING = dt.datetime(2026, 3, 1, 6, 0, 0, 123456)
ID = UUID("0b8c5520-9999-4cff-bdf5-1f32c8c47cb9")
SIMPLE_MAP = pa.map_(pa.string(), pa.int32())


@dataclass(frozen=True)
class Golden:
    """A golden. `back`: what readers of the NDJSON return, if it differs from the array's values."""

    rule: str
    array: pa.Array
    lines: Sequence[str]
    duckdb: str
    polars: Any
    duckdb_read: str = "x"
    polars_read: pl.Expr | None = None
    back: Sequence[Any] | None = None
    polars_back: Sequence[Any] | None = None
    in_parquet: bool = True

    @property
    def values(self) -> Sequence[Any]:
        """The values that a reader of the NDJSON must return."""
        return self.array.to_pylist() if self.back is None else self.back


def x(*values: str | None) -> list[str]:
    return ["{}" if value is None else f'{{"x":{value}}}' for value in values]


def _nested(*pairs: tuple[str, pa.DataType]) -> pa.DataType:
    return pa.struct(list(pairs))


_PLACE = _nested(("city", pa.string()), ("raw", pa.binary()))
_DAYS = [dt.date(2026, 3, 1), None, dt.date(1, 1, 1), dt.date(9999, 12, 31)]
_BYTES = [b"\x00\xff", None, b"", b"a", b"abc", b"\xfb\xef\xbe\xff"]
_BASE64 = x('"AP8="', None, '""', '"YQ=="', '"YWJj"', '"++++/w=="')
_TIME = [dt.time(6, 0, 0, 4), None, dt.time(6), dt.time(23, 59, 59, 999999)]
_LISTS = [[1, None, 3], None, [], [None]]
_TEXT = ["Zürich", None, "", 'a "quote", a \\ and a\nline', "\u2028\x00 😀"]

GOLDENS = (
    Golden("boolean", pa.array([True, None, False]), x("true", None, "false"), "BOOLEAN", pl.Boolean),
    Golden(
        "int, long",
        pa.array([2**63 - 1, None, -(2**63)]),
        x("9223372036854775807", None, "-9223372036854775808"),
        "BIGINT",
        pl.Int64,
    ),
    Golden("int, long", pa.array([-(2**31), 127], pa.int32()), x("-2147483648", "127"), "INT", pl.Int64),
    Golden(
        "float, double",
        pa.array([0.1, None, NAN, INFINITY, -INFINITY, 5e-324, 1.7976931348623157e308]),
        x("0.1", None, None, None, None, "5.0e-324", "1.7976931348623157e308"),
        "DOUBLE",
        pl.Float64,
        back=[0.1, None, None, None, None, 5e-324, 1.7976931348623157e308],
    ),
    Golden("float, double", pa.array([0.5, NAN], pa.float32()), x("0.5", None), "FLOAT", pl.Float32, back=[0.5, None]),
    Golden(
        "decimal(P, S)",
        pa.array([Decimal("1.10"), None, Decimal("-99999.05"), Decimal("0.00")], pa.decimal128(9, 2)),
        x("1.10", None, "-99999.05", "0.00"),
        "DECIMAL(9,2)",
        pl.Float64,
        polars_back=[1.1, None, -99999.05, 0.0],
    ),
    Golden(
        "decimal(P, S)",
        pa.array([Decimal("123456789012345678901234567890123456.78")], pa.decimal128(38, 2)),
        x("123456789012345678901234567890123456.78"),
        "DECIMAL(38,2)",
        pl.Float64,  # Polars reads numbers as doubles
        polars_back=[1.2345678901234568e35],
    ),
    Golden(
        "date",
        pa.array(_DAYS),
        x('"2026-03-01"', None, '"0001-01-01"', '"9999-12-31"'),
        "DATE",
        pl.Date,
    ),
    Golden(
        "time",
        pa.array(_TIME, pa.time64("us")),
        x('"06:00:00.000004"', None, '"06:00:00"', '"23:59:59.999999"'),
        "TIME",
        pl.String,
        polars_read=pl.col("x").str.to_time("%H:%M:%S%.f"),
    ),
    Golden(
        "timestamp, timestamp_ns",
        pa.array([MORNING, None, MORNING.replace(microsecond=0)], pa.timestamp("us")),
        x('"2026-03-01T06:00:00.123456"', None, '"2026-03-01T06:00:00"'),
        "TIMESTAMP",
        pl.Datetime("us"),
    ),
    Golden(
        "timestamptz, timestamptz_ns",
        pa.array([MORNING, None, MORNING.replace(microsecond=0)], pa.timestamp("us", "UTC")),
        x('"2026-03-01T06:00:00.123456Z"', None, '"2026-03-01T06:00:00Z"'),
        "TIMESTAMPTZ",
        pl.Datetime("us", "UTC"),
    ),
    Golden(
        "string",
        pa.array(_TEXT),
        x('"Zürich"', None, '""', r'"a \"quote\", a \\ and a\nline"', '"\u2028\\u0000 😀"'),
        "VARCHAR",
        pl.String,
    ),
    Golden(
        "uuid",
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([ID.bytes, None, bytes(16)], pa.binary(16))),
        x(f'"{ID}"', None, '"00000000-0000-0000-0000-000000000000"'),
        "UUID",
        pl.String,
        polars_back=[str(ID), None, str(UUID(int=0))],
    ),
    Golden(
        "list",
        pa.ListArray.from_arrays(
            pa.array([0, 2], pa.int32()),
            pa.ExtensionArray.from_storage(pa.uuid(), pa.array([None, ID.bytes], pa.binary(16))),
        ),
        x(f'[null,"{ID}"]'),
        "UUID[]",
        pl.List(pl.String),
        polars_back=[[None, str(ID)]],
        in_parquet=False,  # Polars reads a UUID as its bytes
    ),
    Golden(
        "binary, fixed(L)",
        pa.array(_BYTES),
        _BASE64,
        "VARCHAR",
        pl.String,
        duckdb_read="from_base64(x)",
        polars_read=pl.col("x").str.decode("base64"),
    ),
    Golden(
        "binary, fixed(L)",
        pa.array([b"\x00\xff", None], pa.binary(2)),
        x('"AP8="', None),
        "VARCHAR",
        pl.String,
        duckdb_read="from_base64(x)",
        polars_read=pl.col("x").str.decode("base64"),
    ),
    Golden(
        "struct",
        pa.array([{"city": "Bern", "raw": b"\x01"}, None, {"city": None, "raw": None}, {"city": "Genève"}], _PLACE),
        x('{"city":"Bern","raw":"AQ=="}', None, "{}", '{"city":"Genève"}'),
        "STRUCT(city VARCHAR, raw VARCHAR)",
        pl.Struct({"city": pl.String, "raw": pl.String}),
        back=[{"city": "Bern", "raw": "AQ=="}, None, {"city": None, "raw": None}, {"city": "Genève", "raw": None}],
    ),
    Golden(
        "list",
        pa.array(_LISTS, pa.list_(pa.int32())),
        x("[1,null,3]", None, "[]", "[null]"),
        "INT[]",
        pl.List(pl.Int32),
    ),
    Golden(
        "map",
        pa.array([{"a": 1, "b": 2}, None, {}, {"a": None}], SIMPLE_MAP),
        x('{"a":1,"b":2}', None, "{}", "{}"),
        "MAP(VARCHAR, INT)",
        pl.Struct({"a": pl.Int32, "b": pl.Int32}),
        back=[{"a": 1, "b": 2}, None, {}, {}],
        polars_back=[{"a": 1, "b": 2}, None, {"a": None, "b": None}, {"a": None, "b": None}],
    ),
    Golden(
        "map",
        pa.array([{1: 0.5, -2: NAN}], pa.map_(pa.int64(), pa.float64())),
        x('{"1":0.5}'),
        "MAP(BIGINT, DOUBLE)",
        pl.Struct({"1": pl.Float64}),
        back=[{1: 0.5}],
        polars_back=[{"1": 0.5}],
    ),
)
