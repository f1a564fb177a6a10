from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.cli.sample_data import SAMPLE_SCHEMA, customer_events

START_MS = 1_772_344_800_000  # 2026-03-01T06:00:00Z


def table(rows: int, seed: int = 1, first_row: int = 0) -> pa.Table:
    batches = list(customer_events(rows, seed=seed, start_ms=START_MS, first_row=first_row))
    for batch in batches:
        batch.validate(full=True)
    return pa.Table.from_batches(batches, SAMPLE_SCHEMA)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table(20_000).to_pylist()
    return found


@pytest.mark.parametrize("count", [0, 1, 16_383, 16_384, 16_385, 50_000])
def test_as_many_rows_come_as_are_asked_for(count: int) -> None:
    batches = list(customer_events(count, seed=1, start_ms=START_MS))
    assert sum(batch.num_rows for batch in batches) == count
    assert all(batch.num_rows == 16_384 for batch in batches[:-1])
    assert all(batch.schema.equals(SAMPLE_SCHEMA) for batch in batches)


def test_the_same_seed_gives_the_same_rows_and_another_gives_others() -> None:
    assert table(5000, seed=7).equals(table(5000, seed=7))
    assert not table(5000, seed=7).drop("_id").equals(table(5000, seed=8).drop("_id"))


def test_a_second_call_continues_the_first() -> None:
    whole = table(40_000)
    assert (
        pa.concat_tables([table(10_001), table(29_999, first_row=10_001)])
        .combine_chunks()
        .equals(whole.combine_chunks())
    )


def test_ids_are_unique_over_seeds_and_rows() -> None:
    tables = [table(30_000, seed=seed, first_row=first) for seed in (1, 2, 10_001) for first in (0, 30_000)]
    events = pa.concat_tables(tables)
    orders = events["order"].drop_null().combine_chunks().field("id")
    assert len(events["_id"].unique()) == 180_000
    assert len(orders.unique()) == len(orders) > 0


def test_events_come_in_the_order_of_their_time(rows: list[dict[str, Any]]) -> None:
    times = [row["timestamp"] for row in rows]
    assert times[0] >= datetime.fromtimestamp(START_MS / 1000, UTC)
    assert all(earlier < later for earlier, later in pairwise(times))
    assert all(row["receivedOn"] == row["timestamp"].date() for row in rows)


def test_an_order_belongs_to_a_purchase_and_adds_up(rows: list[dict[str, Any]]) -> None:
    orders = [row["order"] for row in rows if row["order"] is not None]
    assert 0.04 < len(orders) / len(rows) < 0.13
    assert len({order["id"] for order in orders}) == len(orders)
    for row in rows:
        assert (row["order"] is not None) == (row["eventType"] == "purchase")
    for order in orders:
        assert order["total"] == sum(item["price"] * item["quantity"] for item in order["items"])


@pytest.mark.parametrize(
    "path",
    ["customer.email", "customer.loyalty", "order", "attributes", "device", "consent"],
)
def test_what_may_be_missing_is_missing_here_and_there(rows: list[dict[str, Any]], path: str) -> None:
    values: list[Any] = rows
    for name in path.split("."):
        values = [value[name] for value in values]
    assert 0 < sum(value is None for value in values) < len(values)


def test_nulls_and_emptiness_occur_inside_lists_and_maps_too(rows: list[dict[str, Any]]) -> None:
    scores = [row["scores"] for row in rows]
    attributes = [row["attributes"] for row in rows if row["attributes"] is not None]
    items = [item for row in rows if row["order"] for item in row["order"]["items"]]
    assert [] in scores
    assert any(None in some for some in scores)
    assert [] in attributes
    assert any(value is None for some in attributes for _, value in some)
    assert any(item["name"] is None for item in items)
    assert any(item["name"] == "Café press" for item in items)


def test_columns_vary_independently_of_each_other(rows: list[dict[str, Any]]) -> None:
    pairs = {(row["customer"]["id"], str(row["scores"])) for row in rows}
    assert len(pairs) > len(rows) / 2


def test_rows_survive_a_parquet_file(tmp_path: Any) -> None:
    made = table(3000)
    pq.write_table(made, tmp_path / "events.parquet")
    assert pq.read_table(tmp_path / "events.parquet").equals(made)
