"""How files are to be read: the command line's words and the API's become the same options, or are refused by name."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from offtake.catalog import batches
from offtake.catalog.file_options import canonical, content_hash, parse_options
from offtake.cli import file_options, local_import
from offtake.contract.problems import Problem
from offtake.errors import OfftakeError
from offtake.lake.parsing.options import CsvOptions, ParseOptions

CSV = [Path("a.csv.gz")]


def of_command(given: dict[str, Any], files: list[Path]) -> ParseOptions:
    return local_import.parse(file_options.check(given, files))


def of_api(**given: Any) -> ParseOptions:
    return parse_options(batches.read_format({"format": "csv", **given}))


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, CsvOptions()),
        ({"delimiter": ";"}, CsvOptions(delimiter=";")),
        ({"delimiter": "\\t"}, CsvOptions(delimiter="\t")),
        ({"delimiter": "TAB"}, CsvOptions(delimiter="\t")),
        ({"delimiter": "\x01"}, CsvOptions(delimiter="\x01")),
        ({"quote": "none"}, CsvOptions(quote=None)),
        ({"quote": "none", "delimiter": '"'}, CsvOptions(quote=None, delimiter='"')),
        ({"quote": "'", "escape": "\\"}, CsvOptions(quote="'", escape="\\")),
        ({"escape": '"'}, CsvOptions()),
        ({"escape": "none"}, CsvOptions()),
        ({"nullMarker": "NULL"}, CsvOptions(null="NULL")),
        ({"header": False}, CsvOptions(header=False)),
        ({"charset": "ISO-8859-1"}, CsvOptions(charset="iso8859-1")),
        ({"charset": "latin1"}, CsvOptions(charset="iso8859-1")),
        ({"charset": "us-ascii"}, CsvOptions(charset="ascii")),
        ({"charset": "UTF-8"}, CsvOptions(charset="utf-8")),
    ],
)
def test_both_ways_in_have_the_same_options(given: dict[str, Any], options: CsvOptions) -> None:
    expected = ParseOptions(csv=options)
    assert of_api(**given) == expected
    assert of_command(given, CSV) == expected


def test_types_and_nanoseconds_are_options_of_every_file() -> None:
    types = {"zip": "string", "at": "timestamptz"}
    found = of_command({"columnTypes": types, "nanoseconds": "Truncate"}, [Path("a.parquet")])
    assert found.types == {"zip": pa.string(), "at": pa.timestamp("us", "UTC")}
    assert found.nanoseconds == "truncate"
    assert of_api(columnTypes=types, nanoseconds="truncate") == found


@pytest.mark.parametrize(
    ("given", "option", "why"),
    [
        ({"delimiter": ";;"}, "--delimiter", "one ASCII character"),
        ({"delimiter": "é"}, "--delimiter", "one ASCII character"),
        ({"delimiter": "\n"}, "--delimiter", "one ASCII character"),
        ({"delimiter": ""}, "--delimiter", "one ASCII character"),
        ({"quote": "''"}, "--quote", "one ASCII character"),
        ({"charset": "utf-9"}, "--encoding", "text encoding"),
        ({"charset": "base64"}, "--encoding", "text encoding"),
        ({"charset": "idna"}, "--encoding", "text encoding"),
        ({"charset": "a\x00b"}, "--encoding", "text encoding"),
        ({"nanoseconds": "keep"}, "--nanoseconds", "'text', 'truncate' or 'refuse'"),
        ({"columnTypes": {"a": "text"}}, "--type", "Column a: 'text' is not a type"),
        ({"delimiter": '"'}, "delimiter and quote", "must differ"),
        ({"delimiter": "|", "quote": "|"}, "delimiter and quote", "must differ"),
        ({"delimiter": "|", "escape": "|"}, "delimiter and escape", "must differ"),
    ],
)
def test_a_bad_option_is_refused_by_its_name(given: dict[str, Any], option: str, why: str) -> None:
    with pytest.raises(OfftakeError) as refused:
        of_command(given, CSV)
    assert option in str(refused.value)
    assert why in str(refused.value)
    with pytest.raises(Problem) as problem:
        of_api(**given)
    assert why in str(problem.value)


@pytest.mark.parametrize("name", ["delimiter", "quote", "escape", "nullMarker", "charset"])
def test_options_of_csv_are_refused_where_no_file_is_csv(name: str) -> None:
    value = "utf-8" if name == "charset" else "|"
    with pytest.raises(OfftakeError, match="is for CSV files only"):
        of_command({name: value}, [Path("a.parquet"), Path("b.json")])
    of_command({name: value}, [Path("a.parquet"), Path("b.tsv")])


def test_the_hash_of_content_is_of_bytes_and_options_and_of_nothing_else() -> None:
    plain = ParseOptions()
    assert content_hash(["b", "a"], plain) == content_hash(["a", "b"], ParseOptions(types={}))
    others = [
        content_hash(["a"], plain),
        content_hash(["a", "a"], plain),
        content_hash(["a"], ParseOptions(csv=CsvOptions(delimiter=","))),
        content_hash(["a"], ParseOptions(types={"x": pa.string()})),
        content_hash(["a"], ParseOptions(nanoseconds="refuse")),
    ]
    assert len(set(others)) == len(others)
    one, other = {"x": pa.string(), "y": pa.int64()}, {"y": pa.int64(), "x": pa.string()}
    assert canonical(ParseOptions(types=one)) == canonical(ParseOptions(types=other))
