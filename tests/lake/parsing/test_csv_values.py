"""Parsing text for columns with a given type: exactly the same value, or refused."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offtake.lake.parsing.errors import SchemaMismatchError
from offtake.lake.parsing.text_values import read_text

TEXT = pa.string()
INSTANT, INSTANT_TZ, TIME = pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.time64("us")


def read(text: str | None, kind: pa.DataType, *, truncate: bool = False) -> Any:
    return read_text(pa.array([text], TEXT), kind, "a.b", truncate=truncate)[0].as_py()


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("True", pa.bool_(), True),
        ("FALSE", pa.bool_(), False),
        ("-5", pa.int32(), -5),
        ("9223372036854775807", pa.int64(), 2**63 - 1),
        ("10", pa.float64(), 10.0),
        ("1.50", pa.float64(), 1.5),
        ("1e5", pa.float64(), 1e5),
        ("1E+5", pa.float64(), 1e5),
        (".5", pa.float64(), 0.5),
        ("0.1", pa.float64(), 0.1),
        ("0.1", pa.float32(), pytest.approx(0.1)),
        ("1" + "0" * 300, pa.float64(), 1e300),
        ("0." + "0" * 60 + "1", pa.float64(), 1e-61),
        ("1.5", pa.decimal128(18, 2), Decimal("1.50")),
        ("1.5" + "0" * 50, pa.decimal128(18, 2), Decimal("1.50")),
        ("15e-1", pa.decimal128(18, 2), Decimal("1.50")),
        ("9" * 38, pa.decimal128(38, 0), Decimal("9" * 38)),
        ("2026-03-01", pa.date32(), date(2026, 3, 1)),
        ("06:00:00.5", TIME, time(6, 0, 0, 500_000)),
        ("06:00:00.123456000", TIME, time(6, 0, 0, 123_456)),
        ("23:59:59", TIME, time(23, 59, 59)),
        ("2026-03-01 06:00:00", INSTANT, datetime(2026, 3, 1, 6)),
        ("2026-03-01T06:00:00.123456", INSTANT, datetime(2026, 3, 1, 6, 0, 0, 123_456)),
        ("2026-03-01T06:00:00.120000000", INSTANT, datetime(2026, 3, 1, 6, 0, 0, 120_000)),
        ("2026-03-01T06:00", INSTANT, datetime(2026, 3, 1, 6)),
        ("2026-03-01T06:00:00Z", INSTANT_TZ, datetime(2026, 3, 1, 6, tzinfo=UTC)),
        ("2026-03-01 06:00:00.5+02:30", INSTANT_TZ, datetime(2026, 3, 1, 3, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01T06:00:00.123456000-01:00", INSTANT_TZ, datetime(2026, 3, 1, 7, 0, 0, 123_456, tzinfo=UTC)),
        ("NA", TEXT, "NA"),
        ("", TEXT, ""),
    ],
)
def test_valid_values_are_parsed(text: str, kind: pa.DataType, expected: Any) -> None:
    assert read(text, kind) == expected
    assert read(None, kind) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *((text, pa.bool_()) for text in ("1", "yes", "", " true")),
        *(
            (text, pa.int64())
            for text in ("007", "+1", "-0", "0x1f", "1.0", "1e3", " 1", "", "9223372036854775808", "\u0661")
        ),
        ("2147483648", pa.int32()),
        *((text, pa.float64()) for text in ("nan", "inf", "1e400", "007", "+1.5", "1,5", "", "0x1p3", "1_0", " 1")),
        ("9007199254740993", pa.float64()),
        ("0.1000000000000000055", pa.float64()),
        ("1e-400", pa.float64()),
        ("1e-99999999999999999999999", pa.float64()),
        ("16777217", pa.float32()),
        ("0.10000000149011612", pa.float32()),
        ("1.555", pa.decimal128(18, 2)),
        ("1" + "0" * 17, pa.decimal128(18, 2)),
        ("340282366920938463463374607431768211456", pa.decimal128(38, 0)),
        ("1e99999999999999999999999", pa.decimal128(18, 2)),
        ("1e999999", pa.decimal128(18, 2)),
        ("4", pa.decimal128(38, 38)),
        ("1.0", pa.decimal128(38, 38)),
        ("10", pa.decimal128(38, 37)),
        ("01.5", pa.decimal128(18, 2)),
        ("+1.5", pa.decimal128(18, 2)),
        *(
            (text, pa.date32())
            for text in ("2026-02-30", "20260301", "2026-3-1", "2026-03-01T00:00:00", "0000-01-01", "")
        ),
        *((text, TIME) for text in ("06:00", "24:00:00", "06:00:60", "06:00:00.1234567", "06:00:00Z", "6:00:00")),
        *(
            (text, INSTANT)
            for text in ("2026-03-01", "2026-03-01T06:00:00Z", "2026-03-01T06:00:00.1234567", "1772366400")
        ),
        *(
            (text, INSTANT_TZ)
            for text in ("2026-03-01T06:00:00", "2026-03-01T06:00:00+0200", "2026-03-01T06:00:00+99:99")
        ),
        ("2026-03-01T06:00:00.1234567Z", INSTANT_TZ),
        ("x", pa.null()),
        ("x", pa.binary()),
        ("1", pa.list_(pa.int64())),
    ],
)
def test_invalid_values_are_refused_without_quoting_them(text: str, kind: pa.DataType) -> None:
    with pytest.raises(SchemaMismatchError, match=r"^column a\.b (must have|has the type) ") as refused:
        read(text, kind)
    with pytest.raises(SchemaMismatchError) as other:
        read_text(pa.array([None, "\0"], TEXT), kind, "a.b")
    assert str(other.value) == str(refused.value)


def test_digits_beyond_microseconds_are_truncated_on_request() -> None:
    assert read("06:00:00.123456789", TIME, truncate=True) == time(6, 0, 0, 123_456)
    assert read("1969-12-31T23:59:59.999999999", INSTANT, truncate=True) == datetime(1969, 12, 31, 23, 59, 59, 999_999)
    assert read("2026-03-01 06:00:00.1234567+01:00", INSTANT_TZ, truncate=True) == datetime(
        2026, 3, 1, 5, 0, 0, 123_456, tzinfo=UTC
    )


_FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
_NUMBER = st.one_of(
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][-+]?[0-9]{1,3})?\Z"),
    st.from_regex(r"\A[-+]?[0-9]{0,3}\.?[0-9]{0,3}([eE][-+]?[0-9]{0,4})?\Z"),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    _FLOAT32.map(lambda one: str(pa.scalar(one, pa.float32()).cast(TEXT))),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.integers().map(str),
)
_NUMBERS = st.lists(_NUMBER, min_size=1, max_size=4)
_KINDS = (
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.decimal128(18, 2),
    pa.decimal128(38, 0),
    pa.decimal128(38, 38),
)


@given(_NUMBERS, st.sampled_from(_KINDS))
def test_numbers_are_parsed_exactly_or_refused(texts: list[str], kind: pa.DataType) -> None:
    try:
        found = read_text(pa.array(texts, TEXT), kind, "x")
    except SchemaMismatchError:
        return
    # A float stands for the number in its shortest decimal form.
    shown = found.cast(TEXT) if pa.types.is_floating(kind) else found
    assert [Decimal(value) for value in shown.to_pylist()] == [Decimal(text) for text in texts]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_every_double_is_parsed_from_its_shortest_text(numbers: list[float]) -> None:
    texts = [repr(number) for number in numbers]

    assert read_text(pa.array(texts, TEXT), pa.float64(), "x").to_pylist() == numbers


@given(st.datetimes(), st.integers(-23 * 60, 23 * 60), st.sampled_from(("T", " ")))
def test_timestamps_are_parsed_as_by_python(instant: datetime, minutes: int, between: str) -> None:
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    text = f"{instant.isoformat(between)}{sign}{hours:02}:{rest:02}"
    epoch = datetime(1970, 1, 1)

    found = read_text(pa.array([text], TEXT), INSTANT_TZ, "x").cast(pa.int64())[0].as_py()

    assert found == (instant - epoch) // timedelta(microseconds=1) - minutes * 60_000_000
