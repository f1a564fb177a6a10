"""The first rows of a file."""

from collections.abc import Iterator

import pyarrow as pa

from offtake.lake.parsing import json_reader
from offtake.lake.parsing.csv_text import open_csv
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.json_blocks import blocks_of
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.parsing.parquet_files import ParquetSource
from offtake.lake.parsing.parse import translating_errors


def preview(file: InputFile, options: ParseOptions, rows: int) -> pa.Table:
    """The file's first rows, at most so many; reads no more than a block. CSV is text. Raises `ImportRefusedError`."""
    if file.is_empty:
        return pa.table({})
    with translating_errors(file):
        first = next(_batches(file, options), None)
    return pa.table({}) if first is None else pa.Table.from_batches([first.slice(0, rows)])


def _batches(file: InputFile, options: ParseOptions) -> Iterator[pa.RecordBatch]:
    if file.kind == "parquet":
        yield from (rows.batch for rows in ParquetSource(file, options.nanoseconds).batches())
    elif file.kind == "csv":
        yield from open_csv(file, options.csv).batches()
    else:
        yield from (json_reader.read_block(file, block, pa.schema([])) for block in blocks_of(file))
