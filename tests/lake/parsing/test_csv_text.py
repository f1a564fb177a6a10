"""Examples of CSV files: the rows of each, or the error message."""

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from offtake.lake.parsing.csv_text import CsvFile, open_csv
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import CsvOptions
from offtake.lake.parsing.text_types import TextColumn

PLAIN = CsvOptions()


def opened(
    folder: Path, text: str | bytes, options: CsvOptions = PLAIN, *, name: str = "a.csv", size: int = 64
) -> CsvFile:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return open_csv(InputFile(path, "csv", name), options, block_size=size)


def rows(file: CsvFile) -> list[tuple[Any, ...]]:
    return [
        row for batch in file.batches() for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    ]


ROWS: dict[str, tuple[str | bytes, list[tuple[Any, ...]]]] = {
    "words for null are words": ("a,b\nNA,NULL\nnan,N/A\nnull,\n", [("NA", "NULL"), ("nan", "N/A"), ("null", None)]),
    "the empty field is null, the quoted one is text": ('a,b\n,""\n', [(None, "")]),
    "blank lines of several columns are skipped": ("\n\na,b\n\n1,2\n\n", [("1", "2")]),
    "blank lines of one column are rows": ("\n\na\nx\n\ny\n\n", [("x",), (None,), ("y",), (None,)]),
    "an empty field at the end, after a quoted one": ('a,b\n"",', [("", None)]),
    "a last line without its end is a row": ("a,b\n1,2", [("1", "2")]),
    "CR ends lines": ("a,b\r1,2\r3,4\r", [("1", "2"), ("3", "4")]),
    "CR LF ends lines": ("a\r\n1\r\n\r\n2\r\n", [("1",), (None,), ("2",)]),
    "CR before CR LF is a line": ("a\r\r\nx\r\r\n\r\n", [(None,), ("x",), (None,), (None,)]),
    "line ends within quotes stay": ('a,b\n"x\r\ny","\n\n"\n"\r",z\n', [("x\r\ny", "\n\n"), ("\r", "z")]),
    "NUL is a character": ('a,b\nx\0y,"\0"\n', [("x\0y", "\0")]),
    "a quote within an unquoted value is text": ('a,b\n5" screen,x"y"z\n', [('5" screen', 'x"y"z')]),
    "doubled quotes are one": ('a,b\n"say ""hi""",""""\n', [('say "hi"', '"')]),
    "white space stays": ("a,b\n 1 ,\t\n", [(" 1 ", "\t")]),
    "a byte order mark of UTF-8 is not part of the text": (b"\xef\xbb\xbfa,b\n1,2\n", [("1", "2")]),
    "a mark of order in a value is text": ("a,b\n\ufeff1,2\n", [("\ufeff1", "2")]),
    "UTF-16 by its mark": ("a,b\nZürich,2\n".encode("utf-16"), [("Zürich", "2")]),
    "UTF-16, the other order": (b"\xfe\xff" + "a,b\nZürich,2\n".encode("utf-16-be"), [("Zürich", "2")]),
    "a value longer than a block": (f"a,b\n{'x' * 1000},1\n2,3\n", [("x" * 1000, "1"), ("2", "3")]),
    "a quoted value of lines longer than a block": (
        'a,b\n1,"' + "x\n" * 500 + '"\n2,3\n',
        [("1", "x\n" * 500), ("2", "3")],
    ),
    "a header without rows": ("a,b\n", []),
    "a header without its end": ("a,b", []),
    "nothing": ("", []),
    "blank lines only": ("\n\r\n\n", []),
}  # fmt: skip


@pytest.mark.parametrize("case", ROWS)
def test_values_are_read_as_written(tmp_path: Path, case: str) -> None:
    text, expected = ROWS[case]

    assert rows(opened(tmp_path, text)) == expected
    for size in (1, 2, 3, 7):
        assert rows(opened(tmp_path, text, size=size)) == expected


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        (CsvOptions(null="NULL"), 'a,b\nNULL,"NULL"\nNULLS,\n', [(None, "NULL"), ("NULLS", None)]),
        (CsvOptions(header=False), "1,2\n3,4\n", [("1", "2"), ("3", "4")]),
        (CsvOptions(header=False), "\n1\n\n", [(None,), ("1",), (None,)]),
        (CsvOptions(quote=None), 'a,b\n"x,y"\n', [('"x', 'y"')]),
        (CsvOptions(quote="'"), "a,b\n'x,''y',\"z\n", [("x,'y", '"z')]),
        (CsvOptions(escape="\\"), 'a,b\n"x\\"y",p\\,q\n\\\\,\\"z\n', [('x"y', "p,q"), ("\\", '"z')]),
        (CsvOptions(escape="\\"), 'a,b\n"",x\\\n', [("", "x\n")]),
        (CsvOptions(escape='"'), 'a,b\n"x""y",2\n', [('x"y', "2")]),
        (CsvOptions(delimiter="."), "a.b\n1.2\n", [("1", "2")]),
        (CsvOptions(charset="ISO-8859-1"), "a,b\nZürich,Genève\n".encode("latin-1"), [("Zürich", "Genève")]),
        (CsvOptions(charset="windows-1252"), b"a,b\n\x80,2\n", [("€", "2")]),
        (CsvOptions(charset="shift_jis"), "a,b\n表,ソ\n".encode("shift_jis"), [("表", "ソ")]),
    ],
)  # fmt: skip
def test_options_set_the_dialect(
    tmp_path: Path, options: CsvOptions, text: str | bytes, expected: list[tuple[Any, ...]]
) -> None:
    assert rows(opened(tmp_path, text, options)) == expected


@pytest.mark.parametrize(
    ("text", "columns", "note"),
    [
        ("a,b\n1,2\n", ("a", "b"), None),
        ("id;name;price\n1;a;1,5\n2;b;2,5\n", ("id", "name", "price"), 'the delimiter is ";" (detected'),
        ("id|name\n1|a\n", ("id", "name"), 'the delimiter is "|" (detected'),
        ("id\tname\n1\ta,b\n", ("id", "name"), "the delimiter is tab (detected"),
        ('"a";"b"\n"x;y,z";"1"\n', ("a", "b"), 'the delimiter is ";" (detected'),
        ("a,b;c\n1,2;3\n", ("a", "b;c"), 'the delimiter is ","; ";" fits too'),
        ("comment\nSmith; John\nMiller\n", ("comment",), None),
        (",a\n0,1\n", ("index", "a"), "the first column has no name and is named index."),
        ('"","a"\n"1",1\n', ("index", "a"), "the first column has no name and is named index."),
        (
            '"a","b"\n"1",1,2\n"2",3,4\n',
            ("index", "a", "b"),
            "the header has one name fewer than the rows",
        ),
        (",index,,column_3\n0,1,2,3\n", ("index_2", "index", "column_3_2", "column_3"), "column 3 has no name"),
        ('a\n""\n', ("a",), None),
    ],
)
def test_columns_are_named_by_the_header(tmp_path: Path, text: str, columns: tuple[str, ...], note: str | None) -> None:
    file = opened(tmp_path, text)

    assert file.columns == columns
    assert bool(file.notes) == (note is not None)
    assert note is None or any(f"a.csv: {note}" in one for one in file.notes)


@pytest.mark.parametrize(
    "text",
    [
        "id,name\n1,Smith, John\n2,Doe, Jane\n",
        'id,name\n"1",Smith, John\n"2",Doe, Jane\n',
        '"id","name"\n1,Smith, John\n2,Doe, Jane\n',
        "a,b\n1,2,5\n3,4,\n",
    ],
)
def test_lines_with_an_extra_value_are_refused_and_not_shifted_by_a_column(tmp_path: Path, text: str) -> None:
    with pytest.raises(ImportRefusedError, match="line 2: 3 fields instead of 2"):
        rows(opened(tmp_path, text))


def test_tsv_files_are_delimited_by_tabs(tmp_path: Path) -> None:
    file = opened(tmp_path, "a,b\tc\n1,2\t3\n", name="a.tsv")

    assert file.columns == ("a,b", "c")
    assert "tab" in " ".join(file.notes)
    assert opened(tmp_path, "a\tb\n1\t2\n", name="b.tsv").notes == ()


def test_files_without_a_header_have_numbered_columns(tmp_path: Path) -> None:
    assert opened(tmp_path, "1,a\n", CsvOptions(header=False)).columns == ("f0", "f1")
    assert opened(tmp_path, "").columns == ()


REFUSED: dict[str, tuple[str | bytes, CsvOptions, int | None, str]] = {
    "a quote is never closed": ('id,name\n1,"abc\n2,d', PLAIN, 2, "never closed"),
    "a quote is never closed after line ends within quotes": ('a,b\n"1\n2","3\n4', PLAIN, 3, "never closed"),
    "a quote is never closed, and others are stray": ('a,b\n5",6"\n1,"2"\n"x,3\n', PLAIN, 4, "never closed"),
    "text after a closing quote": ('a,b\n1,2\n"x"y,3\n', PLAIN, 3, "closing quote"),
    "a space after a closing quote": ('a,b\n1,2\n"x" ,3\n', PLAIN, 3, "closing quote"),
    "text after a closing quote that follows a delimiter": ('a,b\n"x,"y,3\n', PLAIN, 2, "closing quote"),
    "text after a closing quote and a doubled one": ('a,b\n"x"""y,3\n', PLAIN, 2, "closing quote"),
    "text after an empty quoted value": ('a,b\n""y,3\n', PLAIN, 2, "closing quote"),
    "text after a closing quote, hidden by stray ones": ('a,b\n"x,"y,5"\n6",7"\n', PLAIN, 2, "closing quote"),
    "another delimiter than those recognised": ('"a" "b"\n1 2\n', PLAIN, 1, "closing quote"),
    "text after a closing quote in the header": ('"a"x,b\n1,2\n', PLAIN, 1, "closing quote"),
    "an escape at the end": ("a,b\n1,2\n3,\\", CsvOptions(escape="\\"), 3, "escape"),
    "text after a closing quote, with an escape": ('a,b\n"x"\\"y,3\n', CsvOptions(escape="\\"), 2, "closing quote"),
    "too many fields": ("a,b\n\n1,2\n3,4,5\n", PLAIN, 4, "3 fields instead of 2"),
    "too few fields": ('a,b\n"1\n1",2\n3\n', PLAIN, 4, "1 field instead of 2"),
    "rows that end with a delimiter": ("a,b\n1,2,\n3,4,\n", PLAIN, 2, "delimiter"),
    "values with a delimiter and without quotes": (
        "name,age\nSmith, John,42\nMiller, Jim,38\n",
        PLAIN,
        2,
        "3 fields instead of 2",
    ),
    "rows with one more value under one name": ("name\nSmith, John\nMiller\n", PLAIN, 2, "2 fields instead of 1"),
    "two columns of one name": ("a,b,a\n1,2,3\n", PLAIN, 1, "no header"),
    "bytes that are not UTF-8": (b"id,name\n1,Z\xfcrich\n", PLAIN, 2, "column name"),
    "bytes that are not UTF-8 after a line end": (b'id,name\n1,"x\nZ\xfcrich"\n', PLAIN, 3, "encoding"),
    "a header that is not UTF-8": (b"id,n\xe4me\n1,2\n", PLAIN, 1, "encoding"),
    "bytes that are not of the encoding": (b"a,b\n1,2\n\xff,3\n", CsvOptions(charset="ascii"), 3, "ASCII"),
    "half a character at the end": ("a\nb\n".encode("utf-16") + b"x", PLAIN, 3, "UTF-16"),
    "UTF-16 without its mark": ("a,b\n1,2\n".encode("utf-16-le"), PLAIN, 1, "encoding to UTF-16"),
    "an unknown encoding": ("a\n", CsvOptions(charset="utf-99"), None, "encoding"),
    "an encoding of bytes": ("a\n", CsvOptions(charset="base64"), None, "encoding"),
    "an encoding with NUL": ("a\n", CsvOptions(charset="utf\0"), None, "encoding"),
    "a delimiter of two characters": ("a\n", CsvOptions(delimiter="||"), None, "delimiter"),
    "a delimiter outside ASCII": ("a\n", CsvOptions(delimiter="§"), None, "delimiter"),
    "a delimiter that ends lines": ("a\n", CsvOptions(delimiter="\n"), None, "delimiter"),
    "a delimiter that quotes": ("a\n", CsvOptions(delimiter='"'), None, "quote character"),
    "a null that begins with the escape": ("a\n", CsvOptions(escape="\\", null="\\N"), None, "text that means null"),
    "too many columns": ("a" + ",a" * 10_000 + "\n", PLAIN, 1, "10,000"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_malformed_text_is_refused_with_its_line(tmp_path: Path, case: str) -> None:
    text, options, line, words = REFUSED[case]
    for size in (3, 64, 1 << 20):
        with pytest.raises(ImportRefusedError) as refused:
            rows(opened(tmp_path, text, options, size=size))

        assert refused.value.row == line
        assert str(refused.value).startswith("a.csv: " if line is None else f"a.csv, line {line}")
        assert words in str(refused.value)


def test_records_of_more_than_64_mib_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match=r"^a\.csv, line 2: a record of more than 64 MiB starts here"):
        rows(opened(tmp_path, b'a,b\n1,"' + b"x\n" * (33 << 20) + b'"\n', size=8 << 20))


def test_long_values_are_read(tmp_path: Path) -> None:
    value = "y" * (5 << 20)

    assert rows(opened(tmp_path, f'a,b\n1,"{value}"\n2,{value}\n', size=1 << 16)) == [("1", value), ("2", value)]


def test_gzip_is_read_and_damage_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 10_000)

    assert len(rows(opened(tmp_path, packed, name="a.csv.gz"))) == 10_000
    with pytest.raises(ImportRefusedError, match=r"^a\.csv\.gz cannot be read: ") as refused:
        rows(opened(tmp_path, packed[:-20], name="a.csv.gz"))
    assert str(tmp_path) not in str(refused.value)


def test_rows_have_line_numbers(tmp_path: Path) -> None:
    file = opened(tmp_path, '\na,b\n1,2\n\n"3\r\n3",4\n5,6\n', size=8)

    assert [file.line_of(row) for row in range(3)] == [3, 5, 7]
    with pytest.raises(IndexError):
        file.line_of(3)
    assert [opened(tmp_path, "a\rx\r\ry").line_of(row) for row in range(3)] == [2, 3, 4]


def test_a_file_can_be_read_twice_but_not_after_a_change(tmp_path: Path) -> None:
    file = opened(tmp_path, 'a,b\n1,"2\n3"\n4,5\n' * 10, size=16)

    assert rows(file) == rows(file)
    (tmp_path / "a.csv").write_text("a,b\n007,1\n")
    with pytest.raises(ImportRefusedError, match="changed while it was read"):
        rows(file)


def test_columns_with_a_verified_type_are_read_with_it(tmp_path: Path) -> None:
    file = opened(tmp_path, 'a,b,c\n1,"1.50","007"\n,,\n"2",0.25,8\n', size=8)
    columns = {name: TextColumn() for name in file.columns}
    for batch in file.batches():
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            columns[name].observe(values)
    types = {name: column.type() for name, column in columns.items()}

    found = pa.Table.from_batches(file.batches(types))

    assert types == {"a": pa.int64(), "b": pa.decimal128(18, 2), "c": pa.string()}
    assert found.schema == pa.schema(types)
    assert found.to_pydict() == {
        "a": [1, None, 2],
        "b": [Decimal("1.50"), None, Decimal("0.25")],
        "c": ["007", None, "8"],
    }


@pytest.mark.parametrize("text", ["a;b\n1;2\n3;4;5\n", "a|b\n1|2\n3\n", "a\tb\n1\t2\n3\t4\n5\t6\t7\n"])
def test_a_row_with_another_number_of_fields_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    opened = open_csv(InputFile(tmp_path / "a.csv", "csv", "a.csv"), CsvOptions())
    with pytest.raises(ImportRefusedError, match=r"a\.csv, line [34]: .*delimiter"):
        list(opened.batches())
