"""Reproducible sample data: customer events of a shop, with nested types, maps, decimals and nulls."""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

_LOYALTY: Final = pa.struct([("tier", pa.string()), ("points", pa.int64())])
_CUSTOMER: Final = pa.struct([("id", pa.string()), ("email", pa.string()), ("loyalty", _LOYALTY)])
_ITEM: Final = pa.struct(
    [("sku", pa.string()), ("name", pa.string()), ("quantity", pa.int32()), ("price", pa.decimal128(12, 2))]
)
_ORDER: Final = pa.struct(
    [("id", pa.string()), ("total", pa.decimal128(18, 2)), ("currency", pa.string()), ("items", pa.list_(_ITEM))]
)
SAMPLE_SCHEMA: Final = pa.schema(
    [
        ("_id", pa.string()),
        ("eventType", pa.string()),
        ("timestamp", pa.timestamp("us", "UTC")),
        ("receivedOn", pa.date32()),
        ("customer", _CUSTOMER),
        ("order", _ORDER),
        ("attributes", pa.map_(pa.string(), pa.string())),
        ("device", pa.struct([("type", pa.string()), ("osVersion", pa.string())])),
        ("consent", pa.bool_()),
        ("scores", pa.list_(pa.float64())),
    ]
)
"""The columns of the sample; `order` is null except for purchases."""

_BATCH_ROWS: Final = 16_384
_POOL_BITS: Final = 11
_STEP_US: Final = 37_000
_JITTER_BITS: Final = 14
_EVENT_TYPES: Final = {"pageView": 40, "productView": 25, "search": 12, "addToCart": 10, "checkout": 5, "purchase": 8}
_TIERS: Final = ("bronze", "silver", "gold", None)
_PRODUCTS: Final = ("Kettle", "Desk lamp", "Hiking boots", "Café press", "Notebook", "Headphones", "Rain jacket", None)
_DEVICES: Final = ("mobile", "desktop", "tablet")
_CHANNELS: Final = ("mail", "search", "social", "direct")
_MASK: Final = 2**64 - 1


def customer_events(rows: int, *, seed: int, start_ms: int, first_row: int = 0) -> Iterator[pa.RecordBatch]:
    """Generate `rows` events in batches of 16384, ordered by time, from `start_ms` (epoch milliseconds) on.

    An event depends only on `seed`, `start_ms` and its number: a call with `first_row` continues an earlier one. Ids
    are unique over all seeds and numbers.
    """
    rng = random.Random(seed)  # noqa: S311 - sample data, not secrets
    pools = _pools(rng)
    salts = {name: rng.getrandbits(64) for name in (*pools, "timestamp")}
    end = first_row + rows
    for first in range(first_row, end, _BATCH_ROWS):
        numbers = pa.arange(first, min(first + _BATCH_ROWS, end))
        yield _batch(numbers, seed, start_ms, pools, salts)


def _batch(
    numbers: pa.Int64Array, seed: int, start_ms: int, pools: dict[str, pa.Array], salts: dict[str, int]
) -> pa.RecordBatch:
    columns = {name: pool.take(_bits(numbers, salts[name], _POOL_BITS)) for name, pool in pools.items()}
    digits = pc.utf8_lpad(numbers.cast(pa.string()), 12, "0")
    jitter = _bits(numbers, salts["timestamp"], _JITTER_BITS).cast(pa.int64())
    micros = pc.add(pc.add(pc.multiply(numbers, _STEP_US), jitter), start_ms * 1000)
    columns["_id"] = pc.binary_join_element_wise(f"evt-{seed:04d}", digits, "-")
    columns["timestamp"] = micros.cast(pa.timestamp("us", "UTC"))
    columns["receivedOn"] = columns["timestamp"].cast(pa.date32())
    kinds = columns.pop("happening")
    columns["eventType"] = kinds.field("eventType")
    columns["order"] = _with_ids(kinds.field("order"), pc.binary_join_element_wise(f"ord-{seed:04d}", digits, "-"))
    return pa.RecordBatch.from_arrays([columns[name] for name in SAMPLE_SCHEMA.names], schema=SAMPLE_SCHEMA)


def _bits(numbers: pa.Int64Array, salt: int, bits: int) -> pa.UInt64Array:
    """Deterministic pseudo-random bits for each number: the mixer of splitmix64 (Steele, Lea and Flood, 2014).

    Without the mixer's last shift, which only improves the low bits: the high bits are returned.
    """
    mixed = pc.multiply(pc.add(numbers.cast(pa.uint64()), _u64(salt)), _u64(0x9E3779B97F4A7C15))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = pc.multiply(pc.bit_wise_xor(mixed, pc.shift_right(mixed, _u64(shift))), _u64(factor))
    return pc.shift_right(mixed, _u64(64 - bits))


def _u64(value: int) -> pa.UInt64Scalar:
    return pa.scalar(value & _MASK, pa.uint64())


def _with_ids(orders: pa.StructArray, ids: pa.StringArray) -> pa.StructArray:
    """The orders with unique ids: rows from the pool repeat."""
    children = [ids, *(orders.field(field.name) for field in list(_ORDER)[1:])]
    return pa.StructArray.from_arrays(children, fields=list(_ORDER), mask=orders.is_null())


def _pools(rng: random.Random) -> dict[str, pa.Array]:
    """For each random column, a pool of values from which rows are drawn."""
    types = {field.name: field.type for field in SAMPLE_SCHEMA}
    types["happening"] = pa.struct([("eventType", pa.string()), ("order", _ORDER)])
    makers = {
        "happening": _happening,
        "customer": _customer,
        "attributes": _attributes,
        "device": _device,
        "consent": _consent,
        "scores": _scores,
    }
    return {name: pa.array([make(rng) for _ in range(2**_POOL_BITS)], types[name]) for name, make in makers.items()}


def _happening(rng: random.Random) -> dict[str, Any]:
    (kind,) = rng.choices(list(_EVENT_TYPES), list(_EVENT_TYPES.values()))
    return {"eventType": kind, "order": _order(rng) if kind == "purchase" else None}


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
    return {"total": total, "currency": rng.choice(("EUR", "CHF", "USD")), "items": items}


def _item(rng: random.Random) -> dict[str, Any]:
    return {
        "sku": f"SKU-{rng.randint(1, 9999):04d}",
        "name": rng.choice(_PRODUCTS),
        "quantity": rng.randint(1, 3),
        "price": Decimal(rng.randint(199, 19_999)).scaleb(-2),
    }


def _attributes(rng: random.Random) -> list[tuple[str, str | None]] | None:
    seen = date(2026, 1, 1) + timedelta(days=rng.randint(0, 300))
    every: list[tuple[str, str | None]] = [
        ("channel", rng.choice(_CHANNELS)),
        ("campaign", rng.choice((None, f"c{rng.randint(1, 40)}"))),
        ("firstSeen", seen.isoformat()),
    ]
    return rng.choice((None, every[:0], every[:2], every[:2], every, every))


def _device(rng: random.Random) -> dict[str, Any] | None:
    known = {"type": rng.choice(_DEVICES), "osVersion": f"{rng.randint(9, 18)}.{rng.randint(0, 6)}"}
    return rng.choice((None, known, known, known, known))


def _consent(rng: random.Random) -> bool | None:
    return rng.choice((True, False, None))


def _scores(rng: random.Random) -> list[float | None]:
    return [rng.choice((rng.random(), rng.random(), rng.random(), None)) for _ in range(rng.randint(0, 4))]
