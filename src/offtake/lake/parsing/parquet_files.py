"""Parquet files: their columns in types that Iceberg has, and their rows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.lake.parsing.columns import iceberg_schema
from offtake.lake.parsing.conform import has_fine_times
from offtake.lake.parsing.errors import ImportRefusedError, SchemaMismatchError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.kinds import MOST_FIELDS, Path, map_leaves, name_of
from offtake.lake.parsing.numbers import NumberStats, arrays_at, number_stats
from offtake.lake.parsing.options import Nanoseconds
from offtake.lake.parsing.rows import Rows

_ROWS: Final = 8192
_NOT_HELD: Final = ("INTERVAL", "GEOMETRY", "GEOGRAPHY")
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
        """How many rows it has."""
        with self._open() as file:
            return int(file.metadata.num_rows)

    def schema(self) -> pa.Schema:
        """The file's columns. Raises `ImportRefusedError` naming one that no table or export holds."""
        with self._open() as file:
            self._refuse_other_types(file)
            if file.metadata.num_columns > MOST_FIELDS:
                raise ImportRefusedError(f"{self.file.name} has more than {MOST_FIELDS} columns.")
            found = file.schema_arrow
        try:
            made = iceberg_schema(found)
        except SchemaMismatchError as error:
            raise ImportRefusedError(f"{self.file.name}: {error}.") from None
        fields = [self._settle_times(one, wanted) for one, wanted in zip(found, made, strict=True)]
        return pa.schema([self._settle_unsigned(one, wanted) for one, wanted in zip(found, fields, strict=True)])

    def numbers(self, path: Path) -> NumberStats | None:
        """What the numbers of a column need; None where it has none, or other values than decimal numbers."""
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
        """The rows, in batches of at most 8192, text checked. Raises `ImportRefusedError` naming row and column."""
        done = 0
        with self._open() as file:
            for batch in file.iter_batches(_ROWS):
                self._check_text(batch, done)
                yield Rows.numbered(batch, done)
                done += batch.num_rows

    def _open(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.file.path, pre_buffer=False, coerce_int96_timestamp_unit="us")

    def _column(self, path: Path) -> Iterator[pa.Array]:
        """The values at a path, a batch at a time."""
        with self._open() as file:
            for batch in file.iter_batches(_ROWS, columns=[path[0]]):
                yield from arrays_at(batch.column(path[0]), path)

    def _settle_times(self, source: pa.Field, wanted: pa.Field) -> pa.Field:
        """Columns of nanoseconds as text where microseconds do not hold them and the option says so."""
        finer: set[Path] = set()

        def look(kind: pa.DataType, path: Path) -> pa.DataType:
            is_fine = (pa.types.is_timestamp(kind) or pa.types.is_time(kind)) and kind.unit == "ns"
            if is_fine and any(has_fine_times(values) for values in self._column(path)):
                finer.add(path)
            return kind

        map_leaves(source.type, look, (source.name,))
        if not finer or self.nanoseconds == "truncate":
            self._note(finer, "has digits beyond the microsecond; they are cut off")
            return wanted
        if self.nanoseconds == "refuse":
            name = name_of(min(finer))
            raise ImportRefusedError(
                f"{self.file.name}: column {name} has digits beyond the microsecond, which a table does not hold; "
                "--nanoseconds text keeps them as text, --nanoseconds truncate cuts them off."
            )
        self._note(finer, "has digits beyond the microsecond, and comes in as text")
        return wanted.with_type(
            map_leaves(wanted.type, lambda kind, path: pa.string() if path in finer else kind, (wanted.name,))
        )

    def _settle_unsigned(self, source: pa.Field, wanted: pa.Field) -> pa.Field:
        """Whole numbers without a sign that need all of their 64 bits as decimals."""
        large: set[Path] = set()

        def look(kind: pa.DataType, path: Path) -> pa.DataType:
            if pa.types.is_uint64(kind):
                stats = self.numbers(path)
                if stats is not None and not stats.is_long:
                    large.add(path)
            return kind

        map_leaves(source.type, look, (source.name,))
        if not large:
            return wanted
        decimal = pa.decimal128(38, 0)
        return wanted.with_type(
            map_leaves(wanted.type, lambda kind, path: decimal if path in large else kind, (wanted.name,))
        )

    def _note(self, paths: set[Path], what: str) -> None:
        self.notes += [f"{self.file.name}: column {name_of(path)} {what}." for path in sorted(paths)]

    def _refuse_other_types(self, file: pq.ParquetFile) -> None:
        variant = _VARIANT.search(str(file.schema))
        found = [(variant[1], "VARIANT")] if variant else []
        for index in range(len(file.schema)):
            column = file.schema.column(index)
            kinds = (column.logical_type.type, column.converted_type)
            found += [(column.path, kind) for kind in _NOT_HELD if kind in kinds]
        if found:
            name, kind = found[0]
            raise ImportRefusedError(
                f"{self.file.name}: column {name} has the type {kind}, which no table holds here. "
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
                            f"{self.file.name}, row {done + row + 1}: column {name} holds text that is not UTF-8, or a "
                            "value that its type does not allow.",
                            row=done + row + 1,
                        ) from None
            raise


def _is_valid(array: pa.Array) -> bool:
    try:
        pa.concat_arrays([array]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
