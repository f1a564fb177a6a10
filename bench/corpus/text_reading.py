"""CSV read by Python's `csv`, and JSON by Python's `json`, numbers as they are written."""

import codecs
import csv
import gzip
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from bench.corpus.parquet_reading import UnreadableError
from bench.corpus.values import Cell, NumberText

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITER: Final = re.compile(r'the delimiter is (?:"(.)"|(tab))')
_NAME: Final = re.compile(r"(?:the first column|column (\d+)) has no name and is named (\S+)\.$")
_SPACE: Final = " \t\r\n"


def csv_rows(file: Path, notes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The file's rows in the dialect, and with the names, that the import's notes state.

    None is the empty field without quotes. Raises `UnreadableError`.
    """
    csv.field_size_limit(sys.maxsize)
    delimiter = _delimiter(file, notes)
    with _opened(file) as raw:
        lines = _Lines(io.TextIOWrapper(raw, _charset(file), newline=""))
        try:
            yield from _records(lines, csv.reader(lines, delimiter=delimiter, strict=True), delimiter, notes)
        except (csv.Error, UnicodeError) as error:
            raise UnreadableError(f"Python's csv module: {error}") from None


def json_rows(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file: one after the other, or in an array. The file's text is held in memory.

    Raises `UnreadableError`.
    """
    with _opened(file) as raw:
        text = raw.read().decode("utf-8-sig")
    at, is_array = 0, text.lstrip(_SPACE).startswith("[")
    while at < len(text):
        # Between objects, brackets and commas are those of the array around them.
        if text[at] in _SPACE or (is_array and text[at] in "[],"):
            at += 1
            continue
        try:
            found, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise UnreadableError(f"Python's json module: {error}") from None
        yield found


def ndjson_lines(files: Iterable[Path]) -> Iterator[Any]:
    """The values of gzipped lines, which is what is delivered."""
    for file in files:
        with gzip.open(file) as raw:
            for line in raw:
                yield _DECODER.decode(line.decode())


class _Lines:
    """Lines of text, which remembers those that were read since it was asked last."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._read: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._read.append(line)
        return line

    def take(self) -> str:
        text = "".join(self._read)
        self._read.clear()
        return text


def _records(
    lines: _Lines, reader: Iterator[list[str]], delimiter: str, notes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    columns: list[str] | None = None
    pending = [next((record for record in reader if record), [])]
    lines.take()
    for record in reader:
        text = lines.take()
        if columns is None and record:
            columns = _columns(pending[0], len(record), notes)
        if not record and len(pending[0]) > 1:
            continue
        columns = columns or _columns(pending[0], 1, notes)
        if len(record) != len(columns) and record:
            raise UnreadableError(f"Python's csv module: {len(record)} fields instead of {len(columns)}")
        cells = [Cell(one) for one in record] if "" not in record else _cells(record, text, delimiter)
        yield dict(zip(columns, cells or [None], strict=True))


def _cells(record: list[str], text: str, delimiter: str) -> list[Cell | None]:
    """The values, empty ones as null unless they have quotes, which the csv module does not say."""
    one = re.escape(delimiter)
    fields = re.findall(f'("(?:[^"]|"")*"|[^{one}\r\n]*)(?:{one}|\r\n|\n|\r|$)', text)
    return [Cell(value) if value or raw else None for value, raw in zip(record, fields, strict=False)]


def _columns(header: list[str], width: int, notes: Sequence[str]) -> list[str]:
    """The header's names, with those that the import made up."""
    names = [""] * (width == len(header) + 1) + header
    for note in notes:
        if (found := _NAME.search(note)) is not None:
            names[int(found[1] or 1) - 1] = found[2]
    return names


def _delimiter(file: Path, notes: Sequence[str]) -> str:
    for note in notes:
        if (found := _DELIMITER.search(note)) is not None:
            return found[1] or "\t"
    return "\t" if file.name.lower().removesuffix(".gz").endswith(".tsv") else ","


def _opened(file: Path) -> Any:  # noqa: ANN401 - a binary stream of two kinds
    return gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb")


def _charset(file: Path) -> str:
    with _opened(file) as raw:
        start = raw.read(4)
    return next((charset for mark, charset in _MARKS if start.startswith(mark)), "utf-8")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key is there twice in an object")
    return made


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=NumberText, parse_float=NumberText, parse_constant=_refuse
)
