import datetime as dt
from typing import Any

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.formats.files import encoded, lines, parsed, table
from tests.formats.strategies import cut_rows, rendered_row, rows, rows_with_uuids
from tests.matrix import examples

_ODD = pa.RecordBatch.from_arrays([pa.array([[("", None), ("", 1)], None], pa.map_(pa.string(), pa.int32()))], ["\x7f"])
_INNER = pa.RecordBatch.from_pylist([{"x": {"y": {"z": True}}}, {"x": None}, {"x": {"y": None}}])
thoroughly = settings(max_examples=examples(150), deadline=None)


@thoroughly
@given(cut_rows())
@example([_ODD, _ODD.slice(1)])
@example([_INNER.slice(1), _INNER.slice(3)])
def test_any_rows_become_valid_json_by_the_type_map(batches: list[pa.RecordBatch]) -> None:
    expected = [rendered_row(row, batch.schema) for batch in batches for row in batch.to_pylist()]
    assert [parsed(line) for line in lines(*batches)] == expected


@thoroughly
@given(rows_with_uuids())
def test_uuids_become_text_at_every_depth(batch: pa.RecordBatch) -> None:
    assert [parsed(line) for line in lines(batch)] == [rendered_row(row, batch.schema) for row in batch.to_pylist()]


@thoroughly
@given(cut_rows(), st.sampled_from(["NONE", "GZIP"]))
def test_any_rows_are_read_back_from_parquet(batches: list[pa.RecordBatch], compression: str) -> None:
    back = table(encoded(batches, batches[0].schema, "PARQUET", compression))
    expected = [row for batch in batches for row in batch.to_pylist()]
    assert repr(_in_utc(back.to_pylist())) == repr(_in_utc(expected))
    assert back.schema.names == batches[0].schema.names


@settings(max_examples=examples(25), deadline=None)
@given(rows(), st.sampled_from([("JSON", "GZIP"), ("PARQUET", "GZIP"), ("PARQUET", "NONE")]))
def test_the_same_rows_give_the_same_bytes(batch: pa.RecordBatch, kind: tuple[str, str]) -> None:
    assert encoded([batch], batch.schema, *kind) == encoded([batch], batch.schema, *kind)


@settings(max_examples=examples(25), deadline=None)
@given(cut_rows())
def test_ndjson_does_not_depend_on_batch_sizes(batches: list[pa.RecordBatch]) -> None:
    whole = pa.Table.from_batches(batches).combine_chunks().to_batches()
    schema = batches[0].schema
    assert encoded(batches, schema, "JSON") == encoded(whole, schema, "JSON")


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_floats_are_read_back_unchanged(values: list[float]) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array(values, pa.float32())], ["x"])
    back = pa.array([float(parsed(line)["x"]) for line in lines(batch)], pa.float32())
    assert back.to_pylist() == values


def _in_utc(value: Any) -> Any:
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC)
    if isinstance(value, dict):
        return {key: _in_utc(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_in_utc(inner) for inner in value]
    return value
