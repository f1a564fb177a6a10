"""Values that NDJSON cannot represent are counted, each once."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings

from offtake.formats.losses import Loss, LossCounter
from offtake.formats.registry import format_for
from tests.formats.files import batch_of
from tests.formats.strategies import cut_rows, losses_of
from tests.matrix import examples

NAN = float("nan")
NUMBERS = pa.map_(pa.string(), pa.float64())


def losses(*batches: pa.RecordBatch, file_type: str = "JSON") -> tuple[Loss, ...]:
    counter = LossCounter()
    target = format_for(file_type, "GZIP")
    assert b"".join(target.encode(batches[0].schema, batches, target.level, counter))
    return counter.losses()


@settings(max_examples=examples(300), deadline=None)
@given(cut_rows())
def test_losses_are_counted_once_for_any_batch_sizes(batches: list[pa.RecordBatch]) -> None:
    expected: Counter[tuple[str, str]] = Counter()
    for batch in batches:
        for row in batch.to_pylist():
            for field in batch.schema:
                for kind, count in losses_of(row[field.name], field.type).items():
                    expected[field.name, kind] += count
    found = {(one.column, one.kind): one.count for one in losses(*batches)}
    assert found == {key: count for key, count in expected.items() if count}


@pytest.mark.parametrize(
    ("row", "kind", "counts"),
    [
        ([("a", 1.0), ("b", 2.0)], NUMBERS, {}),
        ([("a", 1.0), ("a", 2.0), ("a", 3.0)], NUMBERS, {"repeatedKey": 2}),
        ([("a", None), ("b", 2.0)], NUMBERS, {"nullEntry": 1}),
        ([("a", 1.0), ("a", None)], NUMBERS, {"repeatedKey": 1, "nullEntry": 1}),
        ([("a", None), ("a", NAN), ("a", 1.0)], NUMBERS, {"repeatedKey": 2}),
        ([("a", 1.0), ("a", NAN)], NUMBERS, {"repeatedKey": 1, "notANumber": 1}),
        ([("a", [("x", None)]), ("a", [("y", None), ("y", 1.0)])], pa.map_(pa.string(), NUMBERS), {"repeatedKey": 2}),
        ([NAN, None, float("-inf"), 0.5], pa.list_(pa.float32()), {"notANumber": 2}),
        (
            {"f": NAN, "m": [("a", None)]},
            pa.struct([("f", pa.float64()), ("m", NUMBERS)]),
            {"notANumber": 1, "nullEntry": 1},
        ),
        ([(NAN, 1), (NAN, 2), (0.5, 3)], pa.map_(pa.float64(), pa.int32()), {"repeatedKey": 1}),
    ],
    ids=str,
)
def test_each_kind_of_loss_is_counted_by_its_column(row: Any, kind: pa.DataType, counts: dict[str, int]) -> None:
    rows = pa.array([row, None, row, row], kind)
    found = losses(batch_of(rows, "tags"), batch_of(rows.slice(1, 2), "tags"))
    assert {one.kind: one.count for one in found} == {name: 4 * count for name, count in counts.items()}
    assert {one.column for one in found} <= {"tags"}


def test_values_hidden_by_a_null_are_not_counted() -> None:
    hidden = pa.array([True, False])
    entries = pa.MapArray.from_arrays(pa.array([0, 2, 3], pa.int32()), ["a", "a", "b"], [NAN, None, 1.0], mask=hidden)
    struct = pa.StructArray.from_arrays([pa.array([NAN, 1.0])], ["f"], mask=hidden)
    listed = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), pa.array([NAN, 1.0]), mask=hidden)
    assert losses(pa.RecordBatch.from_arrays([entries, struct, listed], ["m", "s", "l"])) == ()


def test_parquet_loses_nothing() -> None:
    batch = batch_of(pa.array([[("a", NAN), ("a", None)]], NUMBERS))
    assert losses(batch, file_type="PARQUET") == ()


def test_losses_survive_the_store() -> None:
    counter = LossCounter()
    for kind, count in (("nullEntry", 2), ("notANumber", 0), ("nullEntry", 3)):
        counter.add("tags", kind, count)  # type: ignore[arg-type]  # parametrised by hand
    assert counter.losses() == (Loss("tags", "nullEntry", 5),)
    assert [Loss.from_json(one.to_json()) for one in counter.losses()] == [Loss("tags", "nullEntry", 5)]
