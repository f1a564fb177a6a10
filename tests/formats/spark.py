"""The expected rows of Spark's files in `data/`; `data/README.md` describes how the files were created."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

ROWS: Final = 100
FOLDER: Final = Path(__file__).parent / "data"

SCHEMA: Final = pa.schema(
    [
        ("n", pa.int64()),
        ("small", pa.int32()),
        ("real", pa.float64()),
        ("text", pa.string()),
        ("price", pa.decimal128(9, 2)),
        ("amount", pa.decimal128(18, 4)),
        ("large", pa.decimal128(30, 5)),
        ("day", pa.date32()),
        ("at", pa.timestamp("us", "UTC")),
        ("local", pa.timestamp("us")),
        ("tags", pa.list_(pa.string())),
        ("place", pa.struct([("city", pa.string()), ("zip", pa.int32())])),
        ("counts", pa.map_(pa.string(), pa.int64())),
        ("none", pa.string()),
    ]
)


def table() -> pa.Table:
    return pa.Table.from_pylist([_row(n) for n in range(ROWS)], SCHEMA)


def _row(n: int) -> dict[str, Any]:
    at = dt.datetime(2026, 3, 1, 6, 0, 0, n * 10_011) + dt.timedelta(hours=n)
    return {
        "n": n,
        "small": None if n % 5 == 0 else n % 7 - 3,
        "real": (0.5, -0.0, float("nan"), float("inf"), None)[n % 5],
        "text": (f"town {n % 11}", "", "Zürich", None)[n % 4],
        "price": None if n % 6 == 0 else Decimal(n - 50).scaleb(-2),
        "amount": Decimal(n * 10_000_019).scaleb(-4),
        "large": Decimal(n * 10**20 + n).scaleb(-5),
        "day": dt.date(2026, 3, 1) + dt.timedelta(days=n - 50),
        "at": at.replace(tzinfo=dt.UTC),
        "local": at,
        "tags": (None, [], ["a", None], ["b", "c", f"d{n % 3}"])[n % 4],
        "place": None if n % 7 == 0 else {"city": "Bern", "zip": None if n % 2 else 3000 + n % 5},
        "counts": (None, [], [("x", n)], [("x", None), ("y", 2)])[n % 4],
        "none": None,
    }
