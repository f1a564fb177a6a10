"""What an export of 3 of 100 columns costs, compared with all: processor seconds, and bytes read and written.

    python -m bench.columns [--rows 200000]

One part is read and encoded in this process, in each format, from a table of 50 numbers and 50 texts in one file.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyiceberg.schema import Schema

import offtake.__main__  # noqa: F401 - as in our processes: hides numpy and pandas from Arrow
from offtake.formats.registry import format_for
from offtake.lake import column_lookup, ingest, reading, scan, slicing
from offtake.lake.catalog import Lake
from offtake.lake.scan import TableScan
from offtake.lake.table_names import TableName

_TABLE: Final = TableName("bench.wide")
_COLUMNS: Final = 100
_CHOSEN: Final = 3
_ROUNDS: Final = 3
_READ: Final = "rchar: "


def _main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(f"sqlite:///{folder}/catalog.db", f"file://{folder}/warehouse")
        batch = _rows(rows)
        ingest.append(lake, _TABLE, [batch], batch.schema, "0" * 32)
        table = scan.open_table(lake, _TABLE)
        print(f"{rows:,} rows, {_COLUMNS} columns")
        print(f"{'format':<16}{'columns':>8}{'seconds':>9}{'MB read':>9}{'MB written':>12}")
        for kind, compression in (("PARQUET", "GZIP"), ("PARQUET", "NONE"), ("JSON", "GZIP")):
            for names in (batch.schema.names, batch.schema.names[:: _COLUMNS // _CHOSEN][:_CHOSEN]):
                seconds, read, written = min(_export(table, names, kind, compression) for _ in range(_ROUNDS))
                sizes = f"{read / 1e6:>9.1f}{written / 1e6:>12.1f}"
                print(f"{f'{kind} {compression}':<16}{len(names):>8}{seconds:>9.2f}{sizes}")


def _rows(count: int) -> pa.RecordBatch:
    numbers = pa.array(range(count), pa.int64())
    arrays = []
    for index in range(_COLUMNS):
        mixed = pa.compute.bit_wise_xor(pa.compute.multiply(numbers, 2_654_435_761 + 2 * index), index)
        arrays.append(mixed if index % 2 else mixed.cast(pa.string()))
    return pa.RecordBatch.from_arrays(arrays, [f"column_{index}" for index in range(_COLUMNS)])


def _export(table: TableScan, names: Sequence[str], kind: str, compression: str) -> tuple[float, int, int]:
    """Processor seconds, bytes read and bytes written."""
    snapshot = table.current_snapshot
    assert snapshot is not None
    present: Schema = table.table.schema()
    choice = column_lookup.choose(table.table, present, names)
    schema = table.schema(snapshot, table.select(snapshot, choice))
    (part,) = slicing.slices(table.full(snapshot).files, 2**62, 2**62, table.access)
    form = format_for(kind, compression)
    began, read = time.process_time(), _bytes_read()
    written = sum(map(len, form.encode(schema.arrow_schema, reading.read(part, schema), form.level, None)))
    return time.process_time() - began, _bytes_read() - read, written


def _bytes_read() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.removeprefix(_READ)) for line in lines if line.startswith(_READ))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    _main(parser.parse_args().rows)
