"""Previews: the first rows of a file."""

from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from offtake.lake.parsing import json_reader
from offtake.lake.parsing.csv_text import open_csv
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.json_blocks import blocks_of
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.parsing.parquet_files import ParquetSource
from offtake.lake.parsing.parse import translating_errors

_MOST_BYTES: Final = 8 * 1024 * 1024


def preview(file: InputFile, options: ParseOptions, rows: int) -> pa.Table:
    """The first rows of the file, at most `rows` and 8 MiB. Reads one block at most; CSV columns are text.

    Raises `ImportRefusedError`, also when the first row is larger than 8 MiB.
    """
    if file.is_empty:
        return pa.table({})
    with translating_errors(file):
        first = next(_batches(file, options), None)
    if first is None:
        return pa.table({})
    table = pa.Table.from_batches([_plain(first.slice(0, rows))])
    while table.nbytes > _MOST_BYTES and len(table):
        table = table.slice(0, len(table) // 2)
    if len(first) and not len(table):
        raise ImportRefusedError(
            f"{file.name}, row 1: the row is larger than {_MOST_BYTES} bytes, so it cannot be previewed."
        )
    return table


def _plain(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with decoded dictionaries, because a dictionary hides the size of the values.

    Other columns stay unchanged: Arrow's cast of a list of nulls to its own type returns too few values.
    """
    columns = [one.dictionary_decode() if pa.types.is_dictionary(one.type) else one for one in rows.columns]
    return pa.RecordBatch.from_arrays(columns, names=rows.schema.names)


def _batches(file: InputFile, options: ParseOptions) -> Iterator[pa.RecordBatch]:
    if file.kind == "parquet":
        yield from (rows.batch for rows in ParquetSource(file, options.nanoseconds).batches())
    elif file.kind == "csv":
        yield from open_csv(file, options.csv).batches()
    else:
        yield from (json_reader.read_block(file, block, pa.schema([])) for block in blocks_of(file))
