"""Hostile text, written by other CSV writers, is read back unchanged."""

import csv
import io
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from offtake.lake.parsing.csv_text import open_csv
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import CsvOptions

Row = list[str | None]

_WORDS = (
    "",
    "NA",
    "nan",
    "NULL",
    "007",
    "1e5",
    "+5",
    "-0",
    "true",
    "2026-03-01",
    '5" screen',
    "\ufeff",
    "é",
    " ",
    "\\",
)
_CHARACTERS = st.text(st.one_of(st.sampled_from(",;|\t\"\r\n\0 \\'a"), st.characters(codec="utf-8")), max_size=8)
_TEXT = st.one_of(st.sampled_from(_WORDS), _CHARACTERS)
_VALUE = st.one_of(st.none(), _TEXT)
_TABLE = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(_VALUE, min_size=width, max_size=width), min_size=1, max_size=8)
)
_SIZE = st.sampled_from((1, 2, 3, 5, 8, 21, 1 << 20))


def read(data: bytes, options: CsvOptions, size: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(data)
        file = open_csv(InputFile(path, "csv", "a.csv"), options, block_size=size)
        batches = [batch for _ in range(2) for batch in file.batches()]
        found = [
            list(row) for batch in batches for row in zip(*(one.to_pylist() for one in batch.columns), strict=True)
        ]
        assert found[: len(found) // 2] == found[len(found) // 2 :]
        return found[: len(found) // 2]


def written(row: Row, delimiter: str, data: st.DataObject) -> str:
    """A record by a test writer that randomly quotes more than necessary."""
    return delimiter.join([quoted(value, delimiter, data) for value in row])


def quoted(value: str | None, delimiter: str, data: st.DataObject) -> str:
    if value is None:
        return ""
    must = not value or value.startswith('"') or any(one in value for one in (delimiter, "\r", "\n"))
    if must or data.draw(st.booleans()):
        return '"' + value.replace('"', '""') + '"'
    return value


@given(_TABLE, st.sampled_from((",", ";", "\t", "|")), st.sampled_from(("\n", "\r\n", "\r")), _SIZE, st.data())
def test_written_csv_is_read_back_unchanged(
    rows: list[Row], delimiter: str, end: str, size: int, data: st.DataObject
) -> None:
    header = delimiter.join(f"c{index}" for index in range(len(rows[0])))
    # In a file with a single column, a last empty record needs its line end.
    is_closed = rows[-1] == [None] or data.draw(st.booleans())
    text = end.join([header, *(written(row, delimiter, data) for row in rows)]) + (end if is_closed else "")
    charset = data.draw(st.sampled_from((None, "utf-8", "utf-16", "utf-8-sig", "utf-32-be")))

    assert read(text.encode(charset or "utf-8"), CsvOptions(delimiter=delimiter, charset=charset), size) == rows


@given(_TABLE, st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)), _SIZE)
def test_csv_written_by_python_is_read_back_unchanged(rows: list[Row], quoting: int, size: int) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow([f"c{index}" for index in range(len(rows[0]))])
    writer.writerows(rows)

    found = read(text.getvalue().encode(), CsvOptions(delimiter=","), size)

    assert [[value or "" for value in row] for row in found] == [[value or "" for value in row] for row in rows]


@given(st.text(st.sampled_from('a,"\n\r'), max_size=24), _SIZE, st.booleans())
def test_any_text_is_parsed_as_by_a_strict_reader_or_refused(body: str, size: int, is_single: bool) -> None:
    width = 1 if is_single else 2
    try:
        found: list[Row] | None = read(
            (("a\nx\n" if is_single else "a,b\nx,y\n") + body).encode(), CsvOptions(delimiter=","), size
        )
    except ImportRefusedError:
        found = None

    # The fixed first row prevents that longer rows are detected as rows with row names.
    assert (None if found is None else [[value or "" for value in row] for row in found[1:]]) == strict(body, width)


def strict(body: str, width: int) -> list[list[str]] | None:
    """The rows by Python's strict reader; None if it refuses them or the number of fields is wrong."""
    try:
        found = list(csv.reader(io.StringIO(body, newline=""), strict=True))
    except csv.Error:
        return None
    rows = [row or [""] for row in found if row or width == 1]
    return rows if all(len(row) == width for row in rows) else None
