"""Customer events as a shop would collect them: nested, with maps, decimals and nulls. The same seed, the same rows."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

SAMPLE_SCHEMA: Final = pa.schema(
    [
        ("_id", pa.string()),
        ("eventType", pa.string()),
        ("timestamp", pa.timestamp("us", "UTC")),
        ("receivedOn", pa.date32()),
        (
            "customer",
            pa.struct(
                [
                    ("id", pa.string()),
                    ("email", pa.string()),
                    ("loyalty", pa.struct([("tier", pa.string()), ("points", pa.int64())])),
                ]
            ),
        ),
        (
            "order",
            pa.struct(
                [
                    ("id", pa.string()),
                    ("total", pa.decimal128(18, 2)),
                    ("currency", pa.string()),
                    (
                        "items",
                        pa.list_(
                            pa.struct(
                                [
                                    ("sku", pa.string()),
                                    ("name", pa.string()),
                                    ("quantity", pa.int32()),
                                    ("price", pa.decimal128(12, 2)),
                                ]
                            )
                        ),
                    ),
                ]
            ),
        ),
        ("attributes", pa.map_(pa.string(), pa.string())),
        ("device", pa.struct([("type", pa.string()), ("osVersion", pa.string())])),
        ("consent", pa.bool_()),
        ("scores", pa.list_(pa.float64())),
    ]
)

_ROWS: Final = 8192
_POOL: Final = 2048
_STEP_MS: Final = 37
_KINDS: Final = ("pageView", "productView", "addToCart", "checkout", "purchase", "search")
_TIERS: Final = ("bronze", "silver", "gold", None)
_PRODUCTS: Final = ("Kettle", "Desk lamp", "Hiking boots", "Café press", "Notebook", "Headphones", "Rain jacket")
_DEVICES: Final = ("mobile", "desktop", "tablet")
_CHANNELS: Final = ("mail", "search", "social", "direct")


def customer_events(rows: int, *, seed: int, start_ms: int) -> Iterator[pa.RecordBatch]:
    """`rows` events from `start_ms` (epoch milliseconds) on, in batches of 8192; ids differ between seeds."""
    rng = random.Random(seed)  # noqa: S311 - sample data, not secrets
    pools = _pools(rng)
    for first in range(0, rows, _ROWS):
        numbers = range(first, min(first + _ROWS, rows))
        yield _batch(numbers, seed, start_ms, pools, rng)


def _batch(numbers: range, seed: int, start_ms: int, pools: dict[str, pa.Array], rng: random.Random) -> pa.RecordBatch:
    start = datetime.fromtimestamp(start_ms / 1000, UTC)
    columns: dict[str, Any] = {
        "_id": pa.array([f"evt-{seed:04d}-{number:012d}" for number in numbers]),
        "timestamp": pa.array(
            [(start_ms + number * _STEP_MS) * 1000 + number % 1000 for number in numbers], pa.int64()
        ).cast(pa.timestamp("us", "UTC")),
        "receivedOn": pa.array([(start + timedelta(milliseconds=n * _STEP_MS)).date() for n in numbers], pa.date32()),
    }
    for name, pool in pools.items():
        columns[name] = pool.take(pa.array(rng.choices(range(_POOL), k=len(numbers)), pa.int32()))
    return pa.RecordBatch.from_arrays([columns[name] for name in SAMPLE_SCHEMA.names], schema=SAMPLE_SCHEMA)


def _pools(rng: random.Random) -> dict[str, pa.Array]:
    """For each column of interest a pool of values that rows are drawn from."""
    makers: dict[str, Callable[[], object]] = {
        "eventType": lambda: rng.choice(_KINDS),
        "customer": lambda: _customer(rng),
        "order": lambda: _order(rng) if rng.random() < 0.3 else None,  # noqa: PLR2004 - most events are no orders
        "attributes": lambda: _attributes(rng),
        "device": lambda: {"type": rng.choice(_DEVICES), "osVersion": f"{rng.randint(9, 18)}.{rng.randint(0, 6)}"},
        "consent": lambda: rng.choice((True, False, None)),
        "scores": lambda: [rng.choice((rng.random(), None)) for _ in range(rng.randint(0, 4))],
    }
    types = {field.name: field.type for field in SAMPLE_SCHEMA}
    return {name: pa.array([make() for _ in range(_POOL)], types[name]) for name, make in makers.items()}


def _customer(rng: random.Random) -> dict[str, Any]:
    number = rng.randint(1, 50_000)
    tier = rng.choice(_TIERS)
    return {
        "id": f"cust-{number:08d}",
        "email": None if number % 5 == 0 else f"customer{number}@example.org",
        "loyalty": None if tier is None else {"tier": tier, "points": rng.randint(0, 10**6)},
    }


def _order(rng: random.Random) -> dict[str, Any]:
    items = [_item(rng) for _ in range(rng.randint(1, 4))]
    total = sum((item["price"] * item["quantity"] for item in items), Decimal(0))
    return {"id": f"ord-{rng.getrandbits(40):010x}", "total": total, "currency": "EUR", "items": items}


def _item(rng: random.Random) -> dict[str, Any]:
    return {
        "sku": f"SKU-{rng.randint(1, 9999):04d}",
        "name": rng.choice(_PRODUCTS),
        "quantity": rng.randint(1, 3),
        "price": Decimal(rng.randint(199, 19_999)).scaleb(-2),
    }


def _attributes(rng: random.Random) -> list[tuple[str, str]]:
    found = [("channel", rng.choice(_CHANNELS)), ("campaign", f"c{rng.randint(1, 40)}")]
    seen = date(2026, 1, 1) + timedelta(days=rng.randint(0, 300))
    return [*found, ("firstSeen", seen.isoformat())] if rng.random() < 0.5 else found  # noqa: PLR2004 - half of them
