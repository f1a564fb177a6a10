"""Detecting a CSV file's delimiter, columns and the start of its rows from its first records."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from offtake.lake.parsing.csv_dialect import (
    MAX_RECORD,
    Dialect,
    MalformedError,
    Record,
    dialect,
    dialect_of,
)
from offtake.lake.parsing.csv_stream import LineCounter, Utf8Stream, refuse_bytes
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import CsvOptions

_HEAD: Final = 1024 * 1024
_RECORDS: Final = 20
_DELIMITERS: Final = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Layout:
    """A file's dialect and columns. `start`: the offset in its text where the rows start."""

    dialect: Dialect
    columns: tuple[str, ...]
    start: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Sample:
    """The first records parsed with a dialect, without blank lines, up to a fault."""

    dialect: Dialect
    records: tuple[Record, ...]
    fault: MalformedError | None

    @property
    def counts(self) -> list[int]:
        return [len(record.fields) for record in self.records]

    @property
    def has_majority(self) -> bool:
        """Whether the header has several fields and at least half of the records have the same number."""
        counts = self.counts
        return self.fault is None and counts[0] > 1 and 2 * counts.count(counts[0]) >= len(counts)

    @property
    def is_even(self) -> bool:
        """Whether all records have the same number of fields, at least two."""
        return self.fault is None and len(set(self.counts)) == 1 and self.counts[0] > 1

    @property
    def has_row_names(self) -> bool:
        """Whether each row starts with a row name that has no field in the header, as R's `write.table` writes it.

        Rows with a trailing delimiter, or with an unquoted value such as `Smith, John`, have one field more, too; they
        would be shifted by one column. So row names and header must be quoted: a writer that quotes them also quotes
        values with commas.
        """
        if self.fault or len(self.records) < 2 or set(self.counts[1:]) != {self.counts[0] + 1}:  # noqa: PLR2004
            return False
        header, *rows = self.records
        quote = self.dialect.quote
        names = {row.fields[0].raw for row in rows}
        are_quoted = quote is not None and all(
            raw.startswith(quote) for raw in (*names, *(field.raw for field in header.fields))
        )
        return are_quoted and len(names) == len(rows) and any(row.fields[-1].raw for row in rows)


def read_layout(file: InputFile, stream: Utf8Stream, options: CsvOptions) -> Layout | None:
    """The layout of a file, from an unread stream; None for a file with only blank lines.

    Raises `ImportRefusedError`.
    """
    stated = dialect_of(options, file.name)
    delimiters = ("\t", *_DELIMITERS) if file.name.lower().removesuffix(".gz").endswith(".tsv") else _DELIMITERS
    dialects = [stated] if stated else [dialect(options, delimiter) for delimiter in dict.fromkeys(delimiters)]
    head, is_end = b"", False
    while True:
        missing = max(_HEAD, len(head))
        piece = stream.read(missing)
        is_end = len(piece) < missing
        head += piece
        # A CR at the end may be the first half of a CR LF line end.
        text = head if is_end else head.removesuffix(b"\r")
        samples = [_sample(text, one, is_end=is_end) for one in dialects]
        if is_end or len(head) > MAX_RECORD or any(len(sample.records) > 1 or sample.fault for sample in samples):
            break
    sample, notes = _choose(samples, options, file.name)
    if not sample.records:
        if sample.fault or not is_end:
            raise _refuse(file, head, sample.fault or MalformedError("length", 0))
        return None
    if not options.header:
        columns = tuple(f"f{index}" for index in range(len(sample.records[0].fields)))
        return Layout(sample.dialect, columns, 0, notes)
    columns, more = _columns(file, head, sample, stream.charset)
    return Layout(sample.dialect, columns, sample.records[0].end, notes + more)


def malformed_error(name: str, fault: MalformedError, line: int) -> ImportRefusedError:
    """The error for text that is not valid CSV at that line."""
    remedy = {
        "open quote": "the quote that opens here is never closed. Close it, or set quoting to none if quotes are text.",
        "after quote": "a quoted value that starts here has text after its closing quote. "
        "Double the quotes within values, or set another quote or escape character.",
        "escape": "the file ends after an escape character. Complete it, or set another escape character.",
        "columns": "more than 10,000 columns. Split the file, or set another delimiter.",
        "length": "a record of more than 64 MiB starts here. Close a quote that is open, or set quoting to none.",
    }[fault.fault]
    return ImportRefusedError(f"{name}, line {line}: {remedy}", row=line)


def _refuse(file: InputFile, head: bytes, fault: MalformedError) -> ImportRefusedError:
    return malformed_error(file.name, fault, _line_at(head, fault.offset))


def _line_at(head: bytes, offset: int) -> int:
    lines = LineCounter()
    lines.add(head[:offset])
    return lines.line


def _sample(head: bytes, one: Dialect, *, is_end: bool) -> _Sample:
    records: list[Record] = []
    try:
        records.extend(islice(one.records(head, is_end=is_end, with_blank=False), _RECORDS))
    except MalformedError as error:
        return _Sample(one, tuple(records), error)
    return _Sample(one, tuple(records), None)


def _choose(samples: list[_Sample], options: CsvOptions, name: str) -> tuple[_Sample, tuple[str, ...]]:
    """The sample whose delimiter fits the first records; the first sample is preferred."""
    first = samples[0]
    even = [sample for sample in samples if sample.is_even]
    named = [sample for sample in samples if options.header and sample.has_row_names]
    if options.delimiter is not None:
        return first, ()
    # Most records fit and some do not: the others are refused with their lines, not read as one column.
    uneven = [sample for sample in samples if set(first.counts) == {1} and sample.has_majority]
    fitting = even or named or uneven
    if not fitting:
        return first, ()
    chosen = first if first in fitting else max(fitting, key=lambda sample: sample.counts[-1])
    word = _word(chosen.dialect)
    others = [_word(sample.dialect) for sample in even if sample is not chosen and chosen in even]
    if others:
        return chosen, (
            f"{name}: the delimiter is {word}; {' or '.join(others)} fits too. Set the delimiter if it is wrong.",
        )
    if chosen is first:
        return chosen, ()
    return chosen, (f"{name}: the delimiter is {word} (detected). Set the delimiter if it is wrong.",)


def _word(one: Dialect) -> str:
    return "tab" if one.delimiter == b"\t" else f'"{one.delimiter.decode()}"'


def _columns(file: InputFile, head: bytes, sample: _Sample, charset: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The column names, generated if the header has none, and notes for the user about them."""
    header = sample.records[0]
    line = _line_at(head, header.fields[0].offset)
    header_names = [""] if sample.has_row_names else []
    for number, field in enumerate(header.fields, start=1):
        try:
            header_names.append(sample.dialect.value(field.raw).decode())
        except UnicodeDecodeError as error:
            line = _line_at(head, field.offset + error.start)
            raise refuse_bytes(file, line, charset, str(number)) from None
    if any("\0" in name for name in header_names):
        message = (
            "the header has NUL characters. If the file is in UTF-16, set the encoding to UTF-16; else remove them."
        )
        raise ImportRefusedError(f"{file.name}, line {line}: {message}", row=line)
    if (duplicate := _first_duplicate(name for name in header_names if name)) is not None:
        message = f"two columns are named {duplicate}. Rename one, or set no header if the first line is a row."
        raise ImportRefusedError(f"{file.name}, line {line}: {message}", row=line)
    names, notes = _complete(header_names, file.name)
    if sample.has_row_names:
        fewer = "the header has one name fewer than the rows have values, so the rows start with row names"
        notes = (f"{file.name}: {fewer}; the first column is named {names[0]}.", *notes[1:])
    return names, notes


def _first_duplicate(names: Iterable[str]) -> str | None:
    seen = set[str]()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _complete(names: list[str], file: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    used, notes = set(names), list[str]()
    for index, name in enumerate(names):
        if name:
            continue
        base = generated = f"column_{index + 1}" if index else "index"
        suffix = 1
        while generated in used:
            suffix += 1
            generated = f"{base}_{suffix}"
        used.add(generated)
        names[index] = generated
        which = f"column {index + 1}" if index else "the first column"
        notes.append(f"{file}: {which} has no name and is named {generated}.")
    return tuple(names), tuple(notes)
