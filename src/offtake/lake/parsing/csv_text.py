"""CSV files as batches of text columns, with every value as written; a malformed file is refused with the line."""

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.csv as pacsv

from offtake.lake.parsing.csv_blocks import blocks
from offtake.lake.parsing.csv_dialect import MalformedError
from offtake.lake.parsing.csv_layout import Layout, malformed_error, read_layout
from offtake.lake.parsing.csv_stream import LineCounter, Utf8Stream, refuse_bytes
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import CsvOptions

BLOCK: Final = 2 * 1024 * 1024
"""Bytes of text parsed at a time, sized for the CPU cache; blocks of 8 MiB take a third longer."""
_PIECE: Final = 1024 * 1024


def open_csv(file: InputFile, options: CsvOptions, *, block_size: int = BLOCK) -> "CsvFile":
    """A CSV file; its columns are detected from its first records. Raises `ImportRefusedError`."""
    version = _version(file)
    with Utf8Stream(file, options.charset) as stream:
        layout = read_layout(file, stream, options)
    return CsvFile(file, options, layout, block_size, version)


@dataclass
class CsvFile:
    """A CSV file's columns and rows.

    Caches the lengths of its blocks, so that a second read need not search for record ends again.
    """

    file: InputFile
    options: CsvOptions
    layout: Layout | None
    block_size: int
    version: tuple[int, int]
    _lengths: list[int] | None = field(default=None, init=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """The unique names of the columns; empty for a file without text."""
        return self.layout.columns if self.layout else ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user about what was detected."""
        return self.layout.notes if self.layout else ()

    def batches(self, types: Mapping[str, pa.DataType] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows, one or more batches per block; an empty unquoted field, or `options.null`, is null.

        Columns are text, except those in `types`: a type there must have been verified by `TextColumn` for all rows,
        because Arrow could change other text. Raises `ImportRefusedError` with the line.
        """
        if self.layout is None:
            return
        convert = self._convert_options(types or {})
        names = list(self.columns)
        for offset, block in self._blocks(self.layout):
            try:
                table = _parse(block, self.layout, convert)
            except pa.ArrowInvalid as error:
                raise self._block_error(self.layout, offset, block, error) from None
            for batch in table.combine_chunks().to_batches():
                yield pa.RecordBatch.from_arrays(batch.columns, names=names)

    def line_of(self, row: int) -> int:
        """The line number, from 1, where a row starts; `row` counts from 0. Reads the file up to that row."""
        if self.layout is None:
            raise IndexError(row)
        for offset, block in self._blocks(self.layout):
            starts = self.layout.dialect.starts(block, with_blank=len(self.columns) == 1)
            if row < len(starts):
                return self._line_at(offset + starts[row])
            row -= len(starts)
        raise IndexError(row)

    def _blocks(self, layout: Layout) -> Iterator[tuple[int, bytes]]:
        """Blocks of complete records, each with its offset in the file's text."""
        if _version(self.file) != self.version:
            raise ImportRefusedError(f"{self.file.name} changed while it was read. Import it again.")
        offset, lengths = layout.start, list[int]()
        with Utf8Stream(self.file, self.options.charset) as stream:
            stream.skip(layout.start)
            if self._lengths is None:
                pieces = blocks(stream, layout.dialect, self.block_size)
            else:
                pieces = (stream.read(length) for length in self._lengths)
            try:
                for block in pieces:
                    yield offset, block
                    offset += len(block)
                    lengths.append(len(block))
            except MalformedError as error:
                raise malformed_error(self.file.name, error, self._line_at(layout.start + error.offset)) from None
        self._lengths = lengths

    def _convert_options(self, types: Mapping[str, pa.DataType]) -> pacsv.ConvertOptions:
        return pacsv.ConvertOptions(
            column_types={str(index): types.get(name, pa.string()) for index, name in enumerate(self.columns)},
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=["", *([self.options.null] if self.options.null else [])],
        )

    def _block_error(self, layout: Layout, offset: int, block: bytes, error: pa.ArrowInvalid) -> ImportRefusedError:
        """The error for a block that Arrow refused: its first record with a wrong number of fields or invalid bytes."""
        try:
            return self._find_fault(layout, offset, block, error)
        except MalformedError as found:
            return malformed_error(self.file.name, found, self._line_at(offset + found.offset))

    def _find_fault(self, layout: Layout, offset: int, block: bytes, error: pa.ArrowInvalid) -> ImportRefusedError:
        name, expected = self.file.name, len(layout.columns)
        for record in layout.dialect.records(block, is_end=True, with_blank=False):
            if len(record.fields) != expected:
                line = self._line_at(offset + record.fields[0].offset)
                return ImportRefusedError(_count_message(name, line, len(record.fields), expected), row=line)
            for value, column in zip(record.fields, layout.columns, strict=True):
                try:
                    value.raw.decode()
                except UnicodeDecodeError as bad:
                    line = self._line_at(offset + value.offset + bad.start)
                    return refuse_bytes(self.file, line, "utf-8", column)
        line = self._line_at(offset)
        reason = " ".join(str(error).split())[:300]
        return ImportRefusedError(f"{name} cannot be read after line {line}: {reason}", row=line)

    def _line_at(self, offset: int) -> int:
        lines = LineCounter()
        with Utf8Stream(self.file, self.options.charset) as stream:
            while offset > 0 and (text := stream.read(min(offset, _PIECE))):
                lines.add(text)
                offset -= len(text)
        return lines.line


def _parse(block: bytes, layout: Layout, convert: pacsv.ConvertOptions) -> pa.Table:
    """Parse a block as one block of Arrow's reader, which would otherwise split records at a CR LF in a value."""
    dialect = layout.dialect
    if block.startswith(codecs.BOM_UTF8):
        # Arrow would drop these bytes as a byte order mark, but the file's own mark was removed already.
        block = codecs.BOM_UTF8 + block
    if not dialect.ends_line(block):
        # Without a line end, Arrow treats an empty last field as quoted if the field before it is quoted.
        block += b"\n"
    return pacsv.read_csv(
        pa.BufferReader(block),
        pacsv.ReadOptions(
            use_threads=False,
            block_size=len(block) + 1,
            column_names=[str(index) for index in range(len(layout.columns))],
        ),
        pacsv.ParseOptions(
            delimiter=dialect.delimiter.decode(),
            quote_char=dialect.quote.decode() if dialect.quote else False,
            escape_char=dialect.escape.decode() if dialect.escape else False,
            newlines_in_values=True,
            ignore_empty_lines=len(layout.columns) > 1,
        ),
        convert,
    )


def _count_message(name: str, line: int, found: int, expected: int) -> str:
    return (
        f"{name}, line {line}: {found} {'field' if found == 1 else 'fields'} instead of {expected}. "
        "Correct the line, or set another delimiter or quote character."
    )


def _version(file: InputFile) -> tuple[int, int]:
    state = file.path.stat()
    return state.st_size, state.st_mtime_ns
