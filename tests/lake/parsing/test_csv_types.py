"""The inferred type of a text column: an export writes every value with the imported characters."""

import json
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offtake.formats.ndjson import lines
from offtake.lake.parsing.text_types import TextColumn
from offtake.lake.parsing.text_values import read_text

INSTANT, INSTANT_TZ = pa.timestamp("us"), pa.timestamp("us", "UTC")
TEXT = pa.string()


def type_of(*batches: Sequence[str | None]) -> pa.DataType:
    column = TextColumn()
    for batch in batches:
        column.observe(pa.array(batch, TEXT))
    return column.type()


def exported(values: pa.Array) -> list[str]:
    """The text of the values in an export."""
    found = lines(pa.record_batch([values], names=["x"])).decode().splitlines()
    return [json.loads(line, parse_float=str, parse_int=str, parse_constant=str).get("x") for line in found]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None], pa.null()),
        (["true", "false", None], pa.bool_()),
        (["True"], TEXT),
        (["true", "1"], TEXT),
        (["0", "-1", "9223372036854775807", "-9223372036854775808"], pa.int64()),
        (["007"], TEXT),
        (["1", "01"], TEXT),
        (["-0"], TEXT),
        (["+1"], TEXT),
        (["0x1f"], TEXT),
        ([" 1"], TEXT),
        (["1", ""], TEXT),
        (["\u0661"], TEXT),
        (["9223372036854775808"], pa.decimal128(38, 0)),
        (["1", "12345678901234567891"], pa.decimal128(38, 0)),
        (["9" * 38], pa.decimal128(38, 0)),
        (["9" * 39], TEXT),
        (["12345678901234567.89", "0.10", "1.00"], pa.decimal128(38, 2)),
        (["1234567890123456.78", "-0.10"], pa.decimal128(18, 2)),
        (["0." + "0" * 37 + "1"], pa.decimal128(38, 38)),
        (["0.0000001"], pa.decimal128(18, 7)),
        (["0.00", "-0.00"], TEXT),
        (["00.10"], TEXT),
        (["1.5", "1"], TEXT),
        (["1.5", "1.25", "100.0"], pa.float64()),
        (["1.5", "1.20"], TEXT),
        ([".5"], TEXT),
        (["5."], TEXT),
        (["1.0e20"], TEXT),
        (["1e20"], TEXT),
        (["1.0e15", "0.00001", "1.0e-6", "-0.0", "5.0e-324"], pa.float64()),
        (["0.1", "0.30000000000000004"], pa.float64()),
        (["0.1", "0.30000000000000003"], TEXT),
        (["1.0e400"], TEXT),
        (["nan"], TEXT),
        (["inf"], TEXT),
        (["0001-01-01", "9999-12-31"], pa.date32()),
        (["0000-01-01"], TEXT),
        (["2026-02-30"], TEXT),
        (["2026-2-3"], TEXT),
        (["20260203"], pa.int64()),
        (["2026-03-01T06:00:00", "2026-03-01T06:00:00.123", "2026-03-01T06:00:00.123456"], INSTANT),
        (["2026-03-01T06:00:00Z", "1969-12-31T23:59:59.999999Z"], INSTANT_TZ),
        (["2026-03-01T06:00:00Z", "2026-03-01T06:00:00"], TEXT),
        (["2026-03-01T06:00:00.123000"], TEXT),
        (["2026-03-01T06:00:00.000"], TEXT),
        (["2026-03-01T06:00:00.1"], TEXT),
        (["2026-03-01T06:00:00.123456789"], TEXT),
        (["2026-03-01 06:00:00"], TEXT),
        (["2026-03-01T06:00"], TEXT),
        (["2026-03-01T06:00:00+00:00"], TEXT),
        (["2026-03-01T24:00:00"], TEXT),
        (["2026-03-01T23:59:60Z"], TEXT),
        (["0000-03-01T06:00:00"], TEXT),
        (["2026-03-01", "2026-03-01T06:00:00"], TEXT),
        (["06:00:00"], TEXT),
        (["NA"], TEXT),
        ([""], TEXT),
    ],
)
def test_the_inferred_type_is_the_narrowest_that_exports_the_same_text(
    values: list[str | None], expected: pa.DataType
) -> None:
    assert type_of(values) == expected
    assert type_of(*([value] for value in values)) == expected
    assert type_of(*([value] for value in reversed(values))) == expected
    many = [value for value in values for _ in range(20)]
    assert type_of(many) == expected


_NUMBER = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(0, 99).map(lambda number: f"{number:03}"),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=2).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.floats(allow_nan=False).map(repr),
    st.floats(allow_nan=False).map(lambda number: exported(pa.array([number]))[0] or ""),
    st.from_regex(r"\A-?[0-9]{1,20}(\.[0-9]{1,20})?(e-?[0-9]{1,3})?\Z"),
)
_TIME = st.one_of(
    st.dates().map(str),
    st.datetimes().map(lambda one: one.isoformat()),
    st.datetimes().map(lambda one: one.isoformat(timespec="milliseconds") + "Z"),
    st.datetimes().map(lambda one: one.isoformat() + "Z"),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 2)).map(lambda one: f"{one.date()}T24:{one:%M:%S}"),
)
_VALUES = st.one_of(
    *(
        st.lists(kind, min_size=1, max_size=6)
        for kind in (_NUMBER, _TIME, st.sampled_from(("true", "false", "TRUE", "")))
    ),
    st.integers(0, 20).flatmap(
        lambda places: st.lists(
            st.decimals(-(10**9), 10**9, places=places, allow_nan=False).map(lambda one: f"{one:f}"),
            min_size=1,
            max_size=6,
        )
    ),
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False).map(lambda one: exported(pa.array([one]))[0]), min_size=1
    ),
    st.lists(st.one_of(_NUMBER, _TIME, st.text(max_size=3)), min_size=1, max_size=6),
)


@given(_VALUES)
def test_an_inferred_type_exports_the_same_text(values: list[str]) -> None:
    kind = type_of(values)

    read = read_text(pa.array(values, TEXT), kind, "x")

    assert read.type == kind
    assert exported(read if not pa.types.is_boolean(kind) else read.cast(TEXT)) == values


@given(st.lists(st.floats(-1e17, 1e17, allow_nan=False), min_size=1))
def test_exported_doubles_are_inferred_as_doubles(numbers: list[float]) -> None:
    assert type_of(exported(pa.array(numbers, pa.float64()))) != TEXT


@given(_VALUES, _VALUES)
def test_merging_columns_equals_observing_both(first: list[str], second: list[str]) -> None:
    one, other = TextColumn(), TextColumn()
    one.observe(pa.array(first, TEXT))
    other.observe(pa.array(second, TEXT))
    one.merge(other)

    assert one.type() == type_of(first, second) == type_of(first + second)


def test_merging_with_a_column_without_values_changes_nothing() -> None:
    one, other = TextColumn(), TextColumn()
    other.observe(pa.array(["1.50"], TEXT))
    one.merge(other)
    one.merge(TextColumn())

    assert one.type() == pa.decimal128(18, 2)


@pytest.mark.parametrize(
    ("stored", "text", "expected"),
    [
        (pa.array([1, None], pa.int64()), "12345678901234567891", pa.decimal128(38, 0)),
        (pa.array([1], pa.int64()), "007", TEXT),
        (pa.array([1], pa.int64()), "1.5", TEXT),
        (pa.array([1.0], pa.float64()), "1.5", pa.decimal128(18, 1)),
        (pa.array([1.0, 0.25, float("nan")], pa.float64()), "1.5", pa.float64()),
        (pa.array([Decimal("1.50")]).cast(pa.decimal128(18, 2)), "2.25", pa.decimal128(18, 2)),
        (pa.array([Decimal("1.50")]).cast(pa.decimal128(18, 2)), "2.5", TEXT),
        (pa.array([True]), "false", pa.bool_()),
        (pa.array([True]), "1", TEXT),
        (pa.array([date(2026, 3, 1)]), "2026-03-02", pa.date32()),
        (pa.array([datetime(2026, 3, 1, 6, 0, 0, 120_000)], INSTANT), "2026-03-01T06:00:00", INSTANT),
        (pa.array([datetime(2026, 3, 1)], pa.timestamp("us", "Europe/Zurich")), "2026-03-01T06:00:00Z", INSTANT_TZ),
        (pa.array([datetime(2026, 3, 1)], INSTANT_TZ), "2026-03-01", TEXT),
        (pa.array(["007"]), "1", TEXT),
        (pa.array([None], pa.int64()), "true", pa.bool_()),
        (pa.nulls(2), "1", pa.int64()),
        (pa.array([[1]]), "1", TEXT),
        (pa.array([b"1"]), "1", TEXT),
    ],
)
def test_stored_values_are_observed_as_their_exported_text(stored: pa.Array, text: str, expected: pa.DataType) -> None:
    column = TextColumn()
    column.observe_stored(stored)
    column.observe(pa.array([text], TEXT))

    assert column.type() == expected
