"""NDJSON and JSON documents: what kinds of values their columns hold, and their rows."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from offtake.lake.parsing import json_exact, json_reader
from offtake.lake.parsing.ahead import map_ahead
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.json_blocks import Block, blocks_of
from offtake.lake.parsing.kinds import (
    MOST_FIELDS,
    KindConflictError,
    Path,
    count_fields,
    fields_of,
    is_number,
    map_leaves,
    merge_fields,
    name_of,
)
from offtake.lake.parsing.numbers import EXACT, NumberStats, leaf_arrays, number_stats
from offtake.lake.parsing.rows import Rows

_BEYOND_LONG: Final = 2**63
Judge = Callable[[pa.Schema], object]
"""Raises `KindConflictError` for kinds of values that the dataset's columns do not take."""


@dataclass
class JsonProfile:
    """What files of JSON hold: `kinds` has a field a column, `numbers` what is known of its numbers, by path.

    `floats`: the columns that are floats in the dataset, of which it must be known whether numbers fit.
    """

    judge: Judge
    floats: frozenset[Path] = frozenset()
    kinds: pa.Schema = field(default_factory=lambda: pa.schema([]))
    numbers: dict[Path, NumberStats] = field(default_factory=dict)
    rows: int = 0

    def observe(self, file: InputFile) -> None:
        """Add a file. Raises `ImportRefusedError` naming line and column."""
        kinds = self.kinds

        def read(block: Block) -> pa.RecordBatch:
            nonlocal kinds
            if block.first == 1:
                json_reader.check_width(file, block)
            batch = json_reader.read_block(file, block, json_reader.exact_hints(kinds))
            if any(map(_is_unclear, _numbers_in(batch).values())):
                batch = json_reader.read_exactly(file, block)
            with contextlib.suppress(KindConflictError):  # `_add` raises it, naming the line
                kinds = pa.schema(merge_fields(kinds, batch.schema))
            return batch

        for block, batch in map_ahead(read, blocks_of(file)):
            self._add(file, block, batch)

    def _add(self, file: InputFile, block: Block, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        try:
            self.merge(batch)
        except KindConflictError as error:
            # Found again line by line: each is merged as the block was.
            again = JsonProfile(self.judge, self.floats, self.kinds, dict(self.numbers))
            index = json_reader.find_row(file, block, again.merge)
            raise json_reader.refusal(file, block, index, str(error)) from None

    def merge(self, batch: pa.RecordBatch) -> None:
        """Add rows. Raises `KindConflictError` naming the column."""
        kinds = pa.schema(merge_fields(self.kinds, batch.schema))
        if count_fields(pa.struct(list(kinds))) > MOST_FIELDS:
            raise KindConflictError(json_reader.TOO_WIDE)
        self.judge(kinds)
        for path, values in _numbers_in(batch).items():
            stats = number_stats(values, self.numbers.get(path), floats=path in self.floats)
            if stats is not None:
                if stats.type() is None:
                    raise KindConflictError(f"column {name_of(path)} holds numbers of more than 38 digits together")
                self.numbers[path] = stats
        self.kinds = kinds


def rows_of(file: InputFile, schema: pa.Schema, profile: JsonProfile) -> Iterator[Rows]:
    """The rows of a file that was observed, read so that making them fit `schema` changes no value.

    Raises `ImportRefusedError` naming line and column.
    """
    hints = _hints_for(schema, profile.numbers)
    strict = _written_as_numbers(hints, profile.numbers)

    def read(block: Block) -> tuple[pa.RecordBatch, bool]:
        batch = json_reader.read_block(file, block, hints)
        try:
            # Where numbers were expected, the reader took text for numbers when the file was observed.
            merge_fields(profile.kinds, batch.schema)
            return batch, not len(strict) or json_reader.check_no_text(block, strict)
        except KindConflictError:
            return batch, False

    for block, (batch, is_strict) in map_ahead(read, blocks_of(file)):
        if not is_strict:
            again = JsonProfile(lambda _: None, kinds=profile.kinds)
            index = json_reader.find_row(file, block, again.merge)
            raise json_reader.refusal(file, block, index, "a number is written as text, in quotes")
        yield Rows(batch, partial(_place, block))


def _numbers_in(batch: pa.RecordBatch) -> dict[Path, pa.Array]:
    found: dict[Path, pa.Array] = {}

    def visit(path: Path, values: pa.Array) -> None:
        if is_number(values.type):
            found[path] = values

    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        leaf_arrays(column, (name,), visit)
    return found


def _is_unclear(values: pa.Array) -> bool:
    """Whether only the text tells that the numbers are whole: decimals are read for those beyond 64 bits too."""
    if values.type != EXACT:
        return False
    ends = pc.min_max(values).as_py()
    if ends["min"] is None or max(-ends["min"], ends["max"]) < _BEYOND_LONG:
        return False
    stats = number_stats(values)
    return stats is not None and stats.scale == 0


def _place(block: Block, row: int) -> tuple[str, int]:
    """The line or object that a row of the block is of."""
    return block.unit, block.first + (row if block.unit == "object" else json_exact.line_of(block.text, row))


def _hints_for(schema: pa.Schema, numbers: dict[Path, NumberStats]) -> pa.Schema:
    """What the reader is told for rows under `schema`. It tells the fields of maps itself."""

    def hint(kind: pa.DataType, path: Path) -> pa.DataType:
        stats = numbers.get(path)
        if pa.types.is_integer(kind):
            return EXACT if stats is not None and stats.fractional else pa.int64()
        if pa.types.is_decimal(kind):
            return EXACT if stats is not None else pa.string()
        if pa.types.is_floating(kind):
            return pa.float64() if pa.types.is_float64(kind) and (stats is None or stats.doubles) else EXACT
        is_text = pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_timestamp(kind)
        is_text = is_text or pa.types.is_fixed_size_binary(kind) or isinstance(kind, pa.UuidType)
        return pa.string() if is_text else kind

    made = (one.with_type(map_leaves(one.type, hint, (one.name,))) for one in schema)
    return pa.schema([one for one in map(_without_nulls, made) if one is not None])


def _without_nulls(field: pa.Field) -> pa.Field | None:
    """The field as far as it is told of: not of maps, nor of what has held nulls only."""
    kind = field.type
    if pa.types.is_null(kind) or pa.types.is_map(kind):
        return None
    if pa.types.is_struct(kind):
        inner = [one for one in map(_without_nulls, fields_of(kind)) if one is not None]
        return None if any(pa.types.is_map(one.type) for one in fields_of(kind)) else field.with_type(pa.struct(inner))
    if pa.types.is_list(kind):
        element = _without_nulls(kind.value_field)
        return None if element is None else field.with_type(pa.list_(element))
    return field


def _written_as_numbers(hints: pa.Schema, numbers: dict[Path, NumberStats]) -> pa.Schema:
    """Of the columns that are read as decimals those that hold numbers, as such: as decimals text is taken for one."""

    def strict(kind: pa.DataType, path: Path) -> pa.DataType:
        return pa.float64() if pa.types.is_decimal(kind) and path in numbers else pa.null()

    made = (one.with_type(map_leaves(one.type, strict, (one.name,))) for one in hints)
    return pa.schema([one for one in map(_without_nulls, made) if one is not None and not _is_bare(one.type)])


def _is_bare(kind: pa.DataType) -> bool:
    """Whether the type has no single values."""
    return bool(pa.types.is_nested(kind)) and all(_is_bare(field.type) for field in fields_of(kind))
