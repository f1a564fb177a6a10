"""Files that are hostile and legal come through unchanged, and a delivery that differs is found."""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.corpus import as_parquet, findings
from bench.corpus.__main__ import files_in, main, verdicts_on
from bench.corpus.findings import Difference, Findings
from bench.corpus.judging import Verdict, judge, judge_refusal
from bench.corpus.pipeline import Delivery, Imported, Pipeline, Refused, pipeline
from bench.corpus.values import Day, Instant, NumberText, Real, is_shortest, text_of

TEXTS = {
    "words.csv": 'code,word\n007,NA\n,null\n-0,""\n1e5,"true"\n+1,"a ""b"", c\nd"\n',
    "digits.csv": "id,money,long,flag\n1,0.10,12345678901234567890,true\n2,12345678901234567.89,-1,false\n",
    "times.csv": "day;at;ns\n2026-03-01;2026-03-01T06:00:00Z;2026-03-01T06:00:00.123456789\n"
    "0001-01-01;1969-12-31T23:59:59.001Z;1\n",
    "floats.csv": "x\n0.1\n\n1e-7\n5e-324\n",
    "index.csv": ",a\n0,x\n1,y\n",
    "tabs.tsv": "a\tb\n1,5\t\n,\t2\n",
    "mark.csv": "\ufeffcity,umlaut\r\nBern,ä\r\nZürich,\U0001f600\r\n",
    "numbers.ndjson": '{"big": 123456789012345678901234567890, "d": 0.10, "n": 1}\n'
    '{"big": 1, "d": 12345678.123456789012345, "n": 2.5}\n',
    "nested.ndjson": '{"o": {"a": null, "b": {}}, "l": [1, null, 3], "s": "é\\u0000\\ud83d\\ude00"}\n{"o": null}\n{}\n',
    "empty.ndjson": "{}\n{}\n",
    "zeros.ndjson": '{"n": -0, "d": -0.0}\n{"n": 1, "d": 12345678901234567890.5}\n',
    "array.json": '[{"a": [{"b": "1"}, null, {}]},\n {"a": []}]',
}
REFUSED = {"not.ndjson": '{"a": NaN}\n', "open.csv": 'a,b\n1,"2\n', "same.csv": "a,a\n1,2\n"}


def every_type() -> pa.Table:
    """A row of values, and a row of nulls."""
    uuid = UUID("0B8C5520-9999-4CFF-BDF5-1F32C8C47CB9").bytes
    late = datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
    columns: dict[str, tuple[object, pa.DataType]] = {
        "bool": (True, pa.bool_()),
        "byte": (-128, pa.int8()),
        "unsigned": (2**64 - 1, pa.uint64()),
        "long": (-(2**63), pa.int64()),
        "half": (1.5, pa.float16()),
        "single": (0.1, pa.float32()),
        "double": (5e-324, pa.float64()),
        "nan": (float("nan"), pa.float64()),
        "zero": (-0.0, pa.float64()),
        "decimal": (Decimal("1.10"), pa.decimal128(38, 2)),
        "day": (5_000_000, pa.date32()),
        "time": (1, pa.time64("us")),
        "fine_time": (86_399_999_999_999, pa.time64("ns")),
        "seconds": (late, pa.timestamp("ms", "Europe/Zurich")),
        "instant": (late, pa.timestamp("us", "UTC")),
        "fine": (1, pa.timestamp("ns", "UTC")),
        "text": ("Zürich\0\U0001f600", pa.string()),
        "uuid": (uuid, pa.uuid()),
        "bytes": (b"\x00\xff", pa.binary()),
        "fixed": (b"abc", pa.binary(3)),
        "dictionary": ("x", pa.dictionary(pa.int8(), pa.string())),
        "struct": ({"a": None, "A": {"b": [1, None]}}, pa.struct({"a": pa.int32(), "A": pa.struct({"b": LIST})})),
        "map": ([(1, 1.5), (2, None)], pa.map_(pa.int64(), pa.float32())),
        "lists": ([[], None, [1]], pa.list_(LIST)),
    }
    return pa.table({name: pa.array([value, None], kind) for name, (value, kind) in columns.items()})


LIST = pa.list_(pa.int64())


def old_timestamps() -> pa.Table:
    return pa.table({"x": pa.array([-11_676_096_000_000_000, 253_402_300_799_000_000, None], pa.timestamp("us"))})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("corpus")
    for name, text in (TEXTS | REFUSED).items():
        (made / name).write_text(text, newline="")
    (made / "below").mkdir()
    (made / "below" / "packed.csv.gz").write_bytes(gzip.compress(b"a,b\n1,x\n2,\n"))
    (made / "ignored.txt").write_text("a\n1\n")
    pq.write_table(every_type(), made / "types.parquet")
    pq.write_table(old_timestamps(), made / "int96.parquet", use_deprecated_int96_timestamps=True)
    return made


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with pipeline(tmp_path_factory.mktemp("deployed") / "data") as opened:
        yield opened


def test_hostile_files_are_equal_or_documented_or_refused(folder: Path, through: Pipeline) -> None:
    verdicts = {one.file.name: one for one in verdicts_on(files_in(folder), through)}
    assert {name: (one.sentence, one.differences) for name, one in verdicts.items() if one.outcome == "wrong"} == {}
    assert {name for name, one in verdicts.items() if one.outcome == "refused"} == REFUSED.keys()
    assert verdicts.keys() == {*TEXTS, *REFUSED, "packed.csv.gz", "types.parquet", "int96.parquet"}
    assert verdicts["digits.csv"].outcome == "equal"
    assert (verdicts["types.parquet"].reasons or {}).keys() == {
        findings.NULLS,
        findings.NO_NUMBERS,
        findings.BASE64,
        findings.UUIDS,
        findings.TIMES,
        findings.KEYS,
        findings.NULL_ENTRIES,
        findings.NANOSECONDS,
        findings.UNSIGNED,
    }


@dataclass(frozen=True)
class Delivered:
    """A file that came in, and what went out of it."""

    imported: Imported
    delivery: Delivery

    def judge_with(self, *, ndjson: bytes | None = None, parquet: pa.Table | None = None) -> Verdict:
        """The verdict if that had been delivered instead."""
        files = dict(self.delivery.files)
        if ndjson is not None:
            files["JSON"] = (files["JSON"][0].with_name("changed.json.gz"),)
            files["JSON"][0].write_bytes(gzip.compress(ndjson))
        if parquet is not None:
            files["PARQUET"] = (files["PARQUET"][0].with_name("changed.parquet"),)
            pq.write_table(parquet, files["PARQUET"][0])
        return judge(self.imported, replace(self.delivery, files=files))

    @property
    def lines(self) -> bytes:
        return b"".join(gzip.decompress(file.read_bytes()) for file in self.delivery.files["JSON"])

    @property
    def table(self) -> pa.Table:
        return pa.concat_tables(pq.read_table(file) for file in self.delivery.files["PARQUET"])


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory, through: Pipeline) -> Delivered:
    file = tmp_path_factory.mktemp("sent") / "cities.csv"
    file.write_text('id,city,money\n1,Bern,0.10\n2,,12345678901234567.89\n3,"",1.00\n')
    imported = through.bring_in(file)
    assert isinstance(imported, Imported)
    return Delivered(imported, through.take_out([imported.dataset_id])[imported.dataset_id])


def test_what_was_delivered_is_right_until_it_is_changed(sent: Delivered) -> None:
    assert sent.judge_with(ndjson=sent.lines, parquet=sent.table).outcome == "documented"


@pytest.mark.parametrize(
    ("old", "new", "row", "column"),
    [
        (b"12345678901234567.89", b"12345678901234567.88", 2, "money"),
        (b"0.10", b"0.1", 1, "money"),
        (b'"id":2,', b'"id":2,"city":"",', 2, "city"),
        (b'"id":2,', b'"id":2,"city":null,', 2, "city"),
        (b'"city":"",', b"", 3, "city"),
        (b'"id":3', b'"id":"3x"', 3, "id"),
        (b'"id":1,', b'"id":1,"more":1,', 1, "more"),
    ],
)
def test_a_changed_line_is_wrong_by_its_row_and_column(
    sent: Delivered, old: bytes, new: bytes, row: int, column: str
) -> None:
    assert old in sent.lines
    verdict = sent.judge_with(ndjson=sent.lines.replace(old, new))
    assert verdict.outcome == "wrong"
    assert [(one.delivery, one.row, one.column) for one in verdict.differences] == [("NDJSON", row, column)]


def set_value(name: str, row: int, value: object) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = table.column(name).to_pylist()
        values[row - 1] = value
        index = table.schema.get_field_index(name)
        return table.set_column(index, name, pa.array(values, table.schema.field(name).type))

    return change


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [(2, "money", Decimal("12345678901234567.88")), (2, "city", ""), (3, "city", None), (1, "id", 0)],
)
def test_a_changed_parquet_value_is_wrong_by_its_row_and_column(
    sent: Delivered, row: int, column: str, value: object
) -> None:
    verdict = sent.judge_with(parquet=set_value(column, row, value)(sent.table))
    assert verdict.outcome == "wrong"
    assert [(one.delivery, one.row, one.column) for one in verdict.differences] == [("Parquet", row, column)]


def test_a_dropped_row_is_wrong_in_either_format(sent: Delivered) -> None:
    lines = sent.lines.splitlines(keepends=True)
    for verdict in (sent.judge_with(ndjson=b"".join(lines[:2])), sent.judge_with(parquet=sent.table.slice(0, 2))):
        assert verdict.outcome == "wrong"
        assert [(one.row, one.column, one.delivered) for one in verdict.differences] == [
            (3, "(the whole row)", "nothing")
        ]


def test_a_repeated_row_is_wrong(sent: Delivered) -> None:
    verdict = sent.judge_with(ndjson=sent.lines + sent.lines.splitlines(keepends=True)[0])
    assert [(one.row, one.original) for one in verdict.differences] == [(4, "nothing")]


def test_a_date_without_text_in_json_is_refused_there_and_compared_in_parquet(
    through: Pipeline, tmp_path: Path
) -> None:
    file = tmp_path / "far.parquet"
    pq.write_table(pa.table({"day": pa.array([2**30], pa.date32())}), file)
    (verdict,) = verdicts_on([file], through)
    assert (verdict.outcome, verdict.count) == ("refused", 0)
    assert "Column day" in verdict.sentence


@pytest.mark.parametrize(
    ("original", "delivered", "count"),
    [("-0.0", Real(0.0, 64), 1), ("-0.0", Real(-0.0, 64), 0), ("-0", 0, 0), ("0", Decimal("0.1"), 1), ("0", False, 1)],
)
def test_only_types_without_a_negative_zero_lose_its_sign(original: str, delivered: object, count: int) -> None:
    found = Findings("Parquet", is_json=True)
    as_parquet.compare({"x": NumberText(original)}, {"x": delivered}, "", found)
    assert found.count == count


def test_a_run_that_fails_is_wrong(sent: Delivered) -> None:
    verdict = judge(sent.imported, Delivery(errors={"JSON": "The disk is full."}))
    assert verdict.outcome == "wrong"
    assert "The disk is full." in verdict.sentence


def test_a_refusal_that_leaves_something_is_wrong() -> None:
    refused = Refused(Path("a.csv"), "It has no rows.", is_crash=False, left="")
    assert judge_refusal(refused).outcome == "refused"
    assert judge_refusal(replace(refused, left="datasets: +1")).outcome == "wrong"
    assert judge_refusal(replace(refused, is_crash=True)).outcome == "wrong"


def test_what_a_refusal_left_behind_is_seen(through: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "same.csv"
    file.write_text("a,a\n1,2\n")
    refused = through.bring_in(file)
    assert isinstance(refused, Refused)
    assert refused.left == ""
    monkeypatch.setattr("offtake.catalog.file_import._Import._forget", lambda *_: False)
    refused = through.bring_in(file)
    assert isinstance(refused, Refused)
    assert "datasets: +1" in refused.left


def test_the_command_prints_counts_and_fails_for_a_wrong_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.csv").write_text("a\n1\n")
    (folder / "b.csv").write_text("a,a\n1,2\n")

    def judge_wrong(imported: Imported, _delivery: Delivery) -> Verdict:
        difference = Difference("NDJSON", 1, "a", "'1'", "'2'")
        return Verdict(imported.file, "CSV", "wrong", 1, count=1, differences=(difference,))

    monkeypatch.setattr("bench.corpus.__main__.judge", judge_wrong)
    assert main([str(folder), "--json", str(tmp_path / "found.json")]) == 1
    said = capsys.readouterr().out
    assert "NDJSON, row 1, column a: '1' became '2'" in said
    assert "two columns are named a" in said
    found: list[dict[str, Any]] = json.loads((tmp_path / "found.json").read_text())
    assert [one["outcome"] for one in found] == ["refused", "wrong"]


@given(st.datetimes(timezones=st.just(UTC)))
def test_instants_are_written_as_python_writes_them(moment: datetime) -> None:
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution)
    text = text_of(Instant(micros * 1000, is_zoned=False), nine=True)
    assert text == moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "000"


def test_years_that_python_lacks_have_a_sign() -> None:
    assert text_of(Day(2_932_897)) == "+10000-01-01"
    assert text_of(Day(-719_529)) == "-0001-12-31"


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_shortest_text_of_a_float_is_its_own(value: float) -> None:
    number = Real(value, 32)
    assert is_shortest(text_of(number), number)
