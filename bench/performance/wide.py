"""Rows of 25 flat columns, as tables of measurements and transactions have them: the same number, the same rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.performance.places import DATA

_GROUP_ROWS: Final = 65_536
_FORM: Final = 1
"""Of the rows: another one has the file made again."""
_STEP_US: Final = 250_000
_COLUMNS: Final = 24
_START_US: Final = 1_767_225_600_000_000
_WORDS: Final = ("new", "paid", "in transit", "delivered", "returned", "cancelled", "on hold", None)


def wide_file(rows: int) -> Path:
    """A zstd Parquet file of that many rows, made if it is not there yet."""
    file = DATA / f"wide-{rows}-{_FORM}.parquet"
    if not file.exists():
        print(f"making {file.name} …", flush=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        made = file.with_suffix(".tmp")
        with pq.ParquetWriter(made, _batch(0, 1).schema, compression="zstd") as writer:
            for first in range(0, rows, _GROUP_ROWS):
                writer.write_batch(_batch(first, min(_GROUP_ROWS, rows - first)))
        made.rename(file)
    return file


def _batch(first: int, rows: int) -> pa.RecordBatch:
    """Columns of five kinds in turn; a seed for each column and batch."""
    kinds: tuple[tuple[str, Callable[[pa.Array, int], pa.Array]], ...] = (
        ("count", lambda chance, column: _whole(chance, 10 ** (2 * (column // 5) + 1))),
        ("amount", lambda chance, _: pc.round(pc.multiply(chance, 5000), 2)),
        ("measure", lambda chance, _: pc.round(chance, 9)),
        ("state", lambda chance, _: pa.array(_WORDS).take(_whole(chance, len(_WORDS)))),
        ("at", lambda chance, _: _times(first, chance)),
    )
    columns = {"id": pc.binary_join_element_wise("row", _digits(first, rows), "-")}
    for column in range(_COLUMNS):
        name, make = kinds[column % len(kinds)]
        columns[f"{name}_{column}"] = make(pc.random(rows, initializer=first * 64 + column), column)
    return pa.RecordBatch.from_pydict(columns)


def _digits(first: int, rows: int) -> pa.Array:
    return pc.utf8_lpad(pa.arange(first, first + rows).cast(pa.string()), 10, "0")


def _whole(chance: pa.Array, below: int) -> pa.Array:
    return pc.floor(pc.multiply(chance, below)).cast(pa.int64())


def _times(first: int, chance: pa.Array) -> pa.Array:
    """Times that grow by a quarter of a second, each moved by chance within it."""
    numbers = pa.arange(first, first + len(chance))
    micros = pc.add(pc.multiply(numbers, _STEP_US), _whole(chance, _STEP_US))
    return pc.add(micros, _START_US).cast(pa.timestamp("us", "UTC"))
