"""NDJSON and JSON documents: each number keeps its decimal value, or the file is refused with the line."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offtake.formats.ndjson import lines
from offtake.lake.parsing import json_blocks
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.parsing.parse import Parsed, parse

EDGES = [
    "0",
    "-0",
    "1",
    "1.0",
    "-1.50",
    "0.1",
    "1e5",
    "1E+2",
    "1e-7",
    "9007199254740992",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "12345678901234567890",
    "12345678901234567.89",
    "0.30000000000000004",
    "5e-324",
    "1.7976931348623157e308",
    "6.02e23",
    "8.171991e19",
    "7e51",
    "1e300",
    "99999999999999999999999999999999999999",
    "0.00000000000000000000000000000000000001",
    "1e-39",
    "4.9659027411057183e-259",
]
DIGITS = st.text("0123456789", min_size=1, max_size=42)
NUMBERS = st.one_of(
    st.sampled_from(EDGES),
    st.integers(-(10**39), 10**39).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e6, 1e6).map(lambda value: f"{value:.2f}"),
    st.tuples(st.integers(0, 10**20), DIGITS).map(lambda parts: f"{parts[0]}.{parts[1]}"),
    st.tuples(st.integers(-(10**17), 10**17), st.integers(-330, 300)).map(lambda parts: f"{parts[0]}e{parts[1]}"),
)
ROWS = st.lists(
    st.fixed_dictionaries({}, optional={"a": NUMBERS, "b": st.lists(NUMBERS, max_size=2), "c": NUMBERS}),
    min_size=1,
    max_size=4,
)


def text_of(rows: list[dict[str, Any]]) -> str:
    """The rows as NDJSON, each number as written; `c` within an object."""
    made = []
    for row in rows:
        fields = [f'"a":{row["a"]}'] if "a" in row else []
        fields += [f'"b":[{",".join(row["b"])}]'] if "b" in row else []
        fields += [f'"c":{{"d":{row["c"]}}}'] if "c" in row else []
        made.append("{" + ",".join(fields) + "}")
    return "\n".join(made)


def read(folder: Path, text: str | bytes, name: str = "rows.json", known: pa.Schema | None = None) -> Parsed:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    made = parse([InputFile(path, "ndjson", name)], known, ParseOptions())
    assert made is not None
    return made


def delivered(made: Parsed) -> list[Any]:
    out = b"".join(map(lines, made.rows()))
    return [json.loads(line, parse_float=Decimal, parse_int=Decimal) for line in out.splitlines()]


@given(rows=ROWS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_numbers_keep_their_decimal_value_or_are_refused(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    text = text_of(rows)
    refused = None
    try:
        got = delivered(read(tmp_path, text))
    except ImportRefusedError as error:
        refused = error
    if refused is None:
        assert got == [json.loads(line, parse_float=Decimal, parse_int=Decimal) for line in text.splitlines()]
    else:
        assert any(reason in str(refused) for reason in ("38 digits", "more digits than", "do not fit together"))
        assert refused.row


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ("1 2", "int64"),
        ("1.0 2.0", "double"),
        ("1 2.5", "double"),
        ("9223372036854775807 9223372036854775808", "decimal128(38, 0)"),
        ("9007199254740993 1.5", "decimal128(18, 1)"),
        ("12345678901234567.89 0.1", "decimal128(38, 2)"),
        ("18446744073709551615 1", "decimal128(38, 0)"),
        ("1e300 0.5", "double"),
        ("100000000000000000000 1", "decimal128(38, 0)"),
        ("1e20 1.5", "double"),
    ],
)
def test_numbers_get_the_expected_type(tmp_path: Path, values: str, kind: str) -> None:
    made = read(tmp_path, "".join(f'{{"v":{one}}}\n' for one in values.split()))
    assert str(made.schema.field("v").type) == kind


REFUSED: list[tuple[str | bytes, str]] = [
    ('{"a":1}\n{"a":NaN}', "line 2: NaN is not valid JSON"),
    ('{"a":1}\n{"a":-Infinity}', "line 2: -Infinity is not valid JSON"),
    ('null\n{"a":1}', "line 1: found null instead of an object"),
    ('{"a":1}\n null\n{"a":2}', "line 2: found null instead of an object"),
    ('{"a":1}\n\n[1]\n', "line 3: found an array"),
    ('{"a":1,"a":2}', "line 1: key a occurs twice"),
    ('{"a":1}\n{"a":"1"}', "line 2: column a has both numbers and text"),
    ('{"a":0.5}\n{"a":"1"}', "line 2: a number is in quotes"),
    ('{"a":[1]}\n{"a":{"b":1}}', "line 2: column a has both arrays and objects"),
    ('{"a":1}\n{"a":' + "[" * 70 + "]" * 70 + "}", "line 2: column a is nested deeper than 64 levels"),
    ('{"a":' * 20_000 + "1" + "}" * 20_000, "line 1: .*nested deeper than 64 levels"),
    ('{"a":"\\ud800"}', "line 1: column a has half of a surrogate pair"),
    ('{"a":1}\n{"a\\u0000b":1}', "NUL character in its name"),
    ('{"":1}', "a column has no name"),
    ('{"a":1}\n{"a":' + "9" * 39 + "}", "line 2: column a has"),
    ('{"a":' + "1" * 5000 + "}", "line 1: a number has 5000 digits"),
    ('{"a":1} null\n{"a":2}', "line 1: found null instead"),
    ('{"a":1e9999999999999999999}', "line 1: a number has an exponent out of range"),
    ('{"\\udc00":1}', "line 1: .*surrogate pair"),
    ('{"_empty":1}', "column _empty has a reserved name"),
    ('{"m":[{"element":1}],"m.element":2}', "exists twice"),
    ('{"a":1e400}', "line 1: column a has a number with more digits"),
    (
        '{"a":12345678901234567890123456789.5}\n{"a":0.12345678901234567890}',
        "line 2: column a has numbers that together need more",
    ),
    (b'{"a":1}\n{"a":"\xff"}', "line 2: invalid UTF-8"),
    ('{"a":1}\n{"a":2', "line 2: not valid JSON"),
    ('{"a":{"b":1},"a.b":2}', r"column a\.b exists twice"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_errors_name_the_line(tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(ImportRefusedError, match=reason):
        delivered(read(tmp_path, text))


def test_a_changed_kind_in_a_later_block_is_reported_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_blocks, "_BLOCK", 64)
    text = [f'{{"n":{n},"s":"x","l":[{n}],"m":null}}' for n in range(60)]
    text[40:42] = ['{"n":0.5,"s":"x","l":[1.25],"m":{"late":[true]}}', '{"n":9007199254740993,"s":"y","l":[],"m":null}']
    made = read(tmp_path, "\n".join(text))
    assert str(made.schema.field("n").type) == "decimal128(18, 1)"
    assert [row["n"] for row in delivered(made)][39:43] == [39, Decimal("0.5"), 9007199254740993, 42]
    text[50] = '{"n":1,"s":5}'
    with pytest.raises(ImportRefusedError, match=r"rows\.json, line 51: column s has both text and numbers") as refused:
        read(tmp_path, "\n".join(text))
    assert refused.value.row == 51


def test_quoted_numbers_in_a_later_block_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_blocks, "_BLOCK", 64)
    for first in ("0.5", "12345678901234567.89"):
        text = [f'{{"n":{first}}}'] * 30 + ['{"n":"1.5"}'] + [f'{{"n":{first}}}'] * 30
        with pytest.raises(ImportRefusedError, match="line 31: ") as refused:
            delivered(read(tmp_path, "\n".join(text)))
        assert refused.value.row == 31


def test_text_and_unusual_names_are_kept(tmp_path: Path) -> None:
    rows = [
        {"a.b": 1, "c d": "2026-03-01T06:00:00Z", "ü": ["\u2028", "\x00", "😀"], "_id": "007", "true": True},
        {"a.b": 2, "c d": "2026-03-01T06:00:00", "ü": [], "_id": "NaN", "true": None},
    ]
    got = delivered(read(tmp_path, "\n".join(json.dumps(row) for row in rows)))
    assert got == [{name: value for name, value in row.items() if value is not None} for row in rows]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (pa.int32(), ["5", "1.0", "1e2"], ["2147483648", "0.5"]),
        (pa.int64(), ["9223372036854775807", "1.0"], ["9223372036854775808", "0.5"]),
        (pa.float64(), ["1", "0.1", "1e300", "9007199254740992"], ["9007199254740993", "0.12345678901234567890"]),
        (pa.float32(), ["0.1", "16777216", "1.5"], ["16777217", "123456789.123", "0.123456789"]),
        (pa.decimal128(9, 2), ["1.5", "1", "1e3", '"1.50"', "9999999.99"], ["1.555", "10000000", '"1.555"', '"x"']),
        (pa.date32(), ['"2026-03-01"'], ['"2026-13-01"', "1"]),
        (pa.bool_(), ["true"], ["1", '"true"']),
        (pa.string(), ['"1"'], ["1"]),
    ],
    ids=str,
)
def test_values_match_the_columns_type_exactly_or_are_refused(
    tmp_path: Path, kind: pa.DataType, good: list[str], bad: list[str]
) -> None:
    known = pa.schema([("v", kind)])
    for one in good:
        made = read(tmp_path, f'{{"v":{one}}}', known=known)
        assert made.schema == known
        if not one.startswith('"'):
            assert delivered(made) == [json.loads(f'{{"v":{one}}}', parse_float=Decimal, parse_int=Decimal)]
    for one in bad:
        with pytest.raises(ImportRefusedError, match=r"line 2: .*column v") as refused:
            delivered(read(tmp_path, f'{{"v":null}}\n{{"v":{one}}}', known=known))
        assert refused.value.row == 2


def test_objects_can_span_several_lines_with_any_file_name(tmp_path: Path) -> None:
    rows = [{"a": 9223372036854775808, "b": {"c": [1, 2]}}, {"a": 1, "b": None}]
    text = "\n".join(json.dumps(row, indent=2) for row in rows)
    assert delivered(read(tmp_path, text)) == [rows[0], {"a": 1}]
    with pytest.raises(ImportRefusedError, match=r"rows\.json, object 2: column a has both numbers and text"):
        read(tmp_path, f'{text[: text.rindex("1")]}"1"{text[text.rindex("1") + 1 :]}')


def test_a_carriage_return_within_an_object_is_whitespace(tmp_path: Path) -> None:
    text = '{"a":\r9223372036854775808}\r\n{"a":\r1}\r\n'
    assert delivered(read(tmp_path, text)) == [{"a": 9223372036854775808}, {"a": 1}]


def test_errors_name_the_line_when_lines_have_several_objects(tmp_path: Path) -> None:
    known = pa.schema([("v", pa.date32())])
    text = '{"v":"2026-03-01"}{"v":"2026-03-02"}\n\n{"v":"2026-03-03"} {"v":"2026-13-01"}\n'
    with pytest.raises(ImportRefusedError, match=r"line 3: .*column v"):
        delivered(read(tmp_path, text, known=known))
