"""Parquet read by DuckDB; by Polars what DuckDB cannot read, and by pyarrow what neither can."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq

from bench.corpus import arrow_values
from bench.corpus.values import Instant, Uuid

_ROWS: Final = 4096


@dataclass(frozen=True)
class _Columns:
    """The columns' names, changes of values by column, and the names of all fields if a reader has changed some."""

    names: list[str]
    changes: dict[str, Callable[[Any], object]] = field(default_factory=dict)
    every: frozenset[str] = frozenset()

    def original(self, name: str) -> str:
        """The name that a field has in the file."""
        before = name.rpartition("_")[0]
        return before if name not in self.every and before in self.every else name


class UnreadableError(Exception):
    """No reader reads a file."""


def parquet_rows(file: Path) -> Iterator[dict[str, Any]]:
    """The file's rows, columns by name. Raises `UnreadableError` with what each reader said of it."""
    said = []
    for reader in (_by_duckdb, _by_polars, _by_pyarrow):
        batches = reader(file)
        try:
            first = next(batches, None)
        except Exception as error:  # noqa: BLE001 - readers of others raise what they like
            said.append(f"{reader.__name__[4:]}: {str(error).splitlines()[0]}")
            continue
        if first is not None:
            yield from first
        for batch in batches:
            yield from batch
        return
    raise UnreadableError("; ".join(said))


def _by_duckdb(file: Path) -> Iterator[list[dict[str, Any]]]:
    connection: Any = duckdb.connect()
    try:
        connection.sql("SET TimeZone = 'UTC'; SET enable_progress_bar = false; SET threads = 1")
        columns = _columns(connection, file)
        reader = connection.read_parquet(_quoted(file)).to_arrow_reader(_ROWS)
        for batch in reader:
            yield _rows(batch, columns)
    finally:
        connection.close()


def _columns(connection: Any, file: Path) -> _Columns:  # noqa: ANN401 - DuckDB's stubs are partial
    """The columns as the file has them, where DuckDB hands them out otherwise.

    Of names that differ in case only, DuckDB numbers all but the first: `A` becomes `A_1`. It makes text of UUIDs, does
    not know the booleans of one byte that Arrow's metadata have, and takes the old TIMESTAMP_MICROS, which is in UTC by
    Parquet's specification, for a timestamp without a zone. UUIDs within other columns compare as text.
    """
    query = "SELECT name, coalesce(num_children, 0), logical_type, converted_type FROM parquet_schema(?)"
    found = connection.execute(query, [_quoted(file)]).fetchall()
    names: list[str] = []
    changes: dict[str, Callable[[Any], object]] = {}
    at = 1
    while at < len(found):
        name, _, logical, converted = found[at]
        names.append(name)
        if logical is None and str(converted).startswith("TIMESTAMP"):
            changes[name] = _zoned
        elif str(logical).startswith("UUID"):
            changes[name] = Uuid
        at = _after(found, at)
    changes |= {one.name: bool for one in pq.read_schema(file) if isinstance(one.type, pa.Bool8Type)}
    return _Columns(names, changes, frozenset(row[0] for row in found))


def _zoned(instant: Instant) -> Instant:
    return Instant(instant.ns, is_zoned=True)


def _after(found: list[tuple[Any, ...]], at: int) -> int:
    """The index after a field and all within it."""
    left = 1
    while left:
        left += found[at][1] - 1
        at += 1
    return at


def _quoted(file: Path) -> str:
    """The path with what DuckDB takes for patterns taken literally."""
    return "".join(f"[{one}]" if one in "*?[" else one for one in str(file))


def _by_polars(file: Path) -> Iterator[list[dict[str, Any]]]:
    table = polars.read_parquet(file, glob=False).to_arrow()
    for batch in table.to_batches(_ROWS):
        yield _rows(batch, _Columns(table.schema.names))


def _by_pyarrow(file: Path) -> Iterator[list[dict[str, Any]]]:
    with pq.ParquetFile(file) as opened:
        for batch in opened.iter_batches(_ROWS):
            yield _rows(batch, _Columns(batch.schema.names))


def _rows(batch: pa.RecordBatch, columns: _Columns) -> list[dict[str, Any]]:
    made = []
    for name, column in zip(columns.names, batch.columns, strict=True):
        found = arrow_values.values(column, columns.original)
        if (change := columns.changes.get(name)) is not None:
            found = [None if value is None else change(value) for value in found]
        made.append(found)
    rows = zip(*made, strict=True) if made else iter([()] * batch.num_rows)
    return [dict(zip(columns.names, row, strict=True)) for row in rows]
