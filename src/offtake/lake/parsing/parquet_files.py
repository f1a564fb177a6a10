"""Parquet files: their columns in Iceberg's types, and their rows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.lake.parsing.columns import iceberg_schema
from offtake.lake.parsing.conform import has_nanoseconds
from offtake.lake.parsing.errors import ImportRefusedError, SchemaMismatchError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.kinds import MAX_FIELDS, Path, map_leaves, name_of
from offtake.lake.parsing.numbers import NumberStats, arrays_at, number_stats
from offtake.lake.parsing.options import Nanoseconds
from offtake.lake.parsing.rows import Rows

_ROWS: Final = 8192
_UNSUPPORTED: Final = ("INTERVAL", "GEOMETRY", "GEOGRAPHY")
_VARIANT: Final = re.compile(r"group (?:field_id=-?\d+ )?(\S+) \(Variant")


@dataclass
class ParquetSource:
    """One Parquet file as a source of rows."""

    file: InputFile
    nanoseconds: Nanoseconds
    notes: list[str] = field(default_factory=list)
    _numbers: dict[Path, NumberStats | None] = field(default_factory=dict)

    @cached_property
    def rows(self) -> int:
        """The number of rows."""
        with self._open() as file:
            return int(file.metadata.num_rows)

    def schema(self) -> pa.Schema:
        """The file's columns. Raises `ImportRefusedError` naming a column of an unsupported type."""
        with self._open() as file:
            self._refuse_unsupported_types(file)
            if file.metadata.num_columns > MAX_FIELDS:
                raise ImportRefusedError(f"{self.file.name} has more than {MAX_FIELDS} columns.")
            stored = file.schema_arrow
        try:
            schema = iceberg_schema(stored)
        except SchemaMismatchError as error:
            raise ImportRefusedError(f"{self.file.name}: {error}.") from None
        fields = [self._adjust_times(one, target) for one, target in zip(stored, schema, strict=True)]
        return pa.schema([self._adjust_unsigned(one, target) for one, target in zip(stored, fields, strict=True)])

    def numbers(self, path: Path) -> NumberStats | None:
        """The statistics of a column's numbers; None if it has none, or has NaN or infinities."""
        if path not in self._numbers:
            stats: NumberStats | None = None
            try:
                for values in self._column(path):
                    stats = number_stats(values, stats, floats=True)
            except ValueError:
                stats = None
            self._numbers[path] = stats
        return self._numbers[path]

    def batches(self) -> Iterator[Rows]:
        """The rows in batches of at most 8192, with valid UTF-8. Raises `ImportRefusedError` naming row and column."""
        done = 0
        with self._open() as file:
            for batch in file.iter_batches(_ROWS):
                self._check_text(batch, done)
                yield Rows.after(batch, done)
                done += batch.num_rows

    def _open(self) -> pq.ParquetFile:
        return self.file.open_parquet()

    def _column(self, path: Path) -> Iterator[pa.Array]:
        """The values at a path, batch by batch."""
        with self._open() as file:
            for batch in file.iter_batches(_ROWS, columns=[path[0]]):
                yield from arrays_at(batch.column(path[0]), path)

    def _adjust_times(self, source: pa.Field, target: pa.Field) -> pa.Field:
        """`target` with text for times finer than microseconds, unless the option is to truncate or refuse them."""
        finer: set[Path] = set()

        def collect(kind: pa.DataType, path: Path) -> pa.DataType:
            is_nanosecond = (pa.types.is_timestamp(kind) or pa.types.is_time(kind)) and kind.unit == "ns"
            if is_nanosecond and any(has_nanoseconds(values) for values in self._column(path)):
                finer.add(path)
            return kind

        map_leaves(source.type, collect, (source.name,))
        if not finer or self.nanoseconds == "truncate":
            self._note(finer, "has times finer than microseconds; they are truncated")
            return target
        if self.nanoseconds == "refuse":
            name = name_of(min(finer))
            raise ImportRefusedError(
                f"{self.file.name}: column {name} has times finer than microseconds, which a table cannot hold. "
                "Set nanoseconds to text to keep them as text, or to truncate to truncate them."
            )
        self._note(finer, "has times finer than microseconds and is imported as text")
        return target.with_type(
            map_leaves(target.type, lambda kind, path: pa.string() if path in finer else kind, (target.name,))
        )

    def _adjust_unsigned(self, source: pa.Field, target: pa.Field) -> pa.Field:
        """`target` with decimals for unsigned 64-bit integers that do not fit a signed one."""
        large: set[Path] = set()

        def collect(kind: pa.DataType, path: Path) -> pa.DataType:
            if pa.types.is_uint64(kind):
                stats = self.numbers(path)
                if stats is not None and not stats.is_long:
                    large.add(path)
            return kind

        map_leaves(source.type, collect, (source.name,))
        if not large:
            return target
        decimal = pa.decimal128(38, 0)
        return target.with_type(
            map_leaves(target.type, lambda kind, path: decimal if path in large else kind, (target.name,))
        )

    def _note(self, paths: set[Path], what: str) -> None:
        self.notes += [f"{self.file.name}: column {name_of(path)} {what}." for path in sorted(paths)]

    def _refuse_unsupported_types(self, file: pq.ParquetFile) -> None:
        variant = _VARIANT.search(str(file.schema))
        found = [(variant[1], "VARIANT")] if variant else []
        for index in range(len(file.schema)):
            column = file.schema.column(index)
            kinds = (column.logical_type.type, column.converted_type)
            found += [(column.path, kind) for kind in _UNSUPPORTED if kind in kinds]
        if found:
            name, kind = found[0]
            raise ImportRefusedError(
                f"{self.file.name}: column {name} has the type {kind}, which is not supported. "
                "Write it as text or numbers."
            )

    def _check_text(self, batch: pa.RecordBatch, done: int) -> None:
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid:
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                for row in range(len(column)):
                    if not _is_valid(column.slice(row, 1)):
                        raise ImportRefusedError(
                            f"{self.file.name}, row {done + row + 1}: column {name} has text that is not UTF-8, or a "
                            "value that is invalid for its type.",
                            row=done + row + 1,
                        ) from None
            raise


def _is_valid(array: pa.Array) -> bool:
    try:
        pa.concat_arrays([array]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
