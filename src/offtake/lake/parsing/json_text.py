"""NDJSON and JSON documents: inferring the types of their columns, and reading their rows."""

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
    MAX_FIELDS,
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
KindCheck = Callable[[pa.Schema], object]
"""Raises `KindConflictError` for kinds of values that the dataset's columns do not accept."""


@dataclass
class JsonProfile:
    """Statistics of JSON files' columns. `kinds`: one field per column; `numbers`: number statistics by path.

    `floats`: the dataset's float columns, for which the statistics must say whether the numbers fit a float.
    """

    check_kinds: KindCheck
    floats: frozenset[Path] = frozenset()
    kinds: pa.Schema = field(default_factory=lambda: pa.schema([]))
    numbers: dict[Path, NumberStats] = field(default_factory=dict)
    rows: int = 0

    def observe(self, file: InputFile) -> None:
        """Read a file into the statistics. Raises `ImportRefusedError` naming line and column."""
        kinds = self.kinds

        def read(block: Block) -> pa.RecordBatch:
            nonlocal kinds
            if block.first == 1:
                json_reader.check_width(file, block)
            batch = json_reader.read_block(file, block, json_reader.exact_hints(kinds))
            if any(map(_may_be_whole, _numbers_in(batch).values())):
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
            # Merging the block again line by line finds the faulty line.
            profile = JsonProfile(self.check_kinds, self.floats, self.kinds, dict(self.numbers))
            index = json_reader.find_row(file, block, profile.merge)
            raise json_reader.refusal(file, block, index, str(error)) from None

    def merge(self, batch: pa.RecordBatch) -> None:
        """Merge rows into the statistics. Raises `KindConflictError` naming the column."""
        kinds = pa.schema(merge_fields(self.kinds, batch.schema))
        if count_fields(pa.struct(list(kinds))) > MAX_FIELDS:
            raise KindConflictError(json_reader.TOO_WIDE)
        self.check_kinds(kinds)
        for path, values in _numbers_in(batch).items():
            stats = number_stats(values, self.numbers.get(path), floats=path in self.floats)
            if stats is not None:
                if stats.type() is None:
                    raise KindConflictError(
                        f"column {name_of(path)} has numbers that together need more than 38 digits"
                    )
                self.numbers[path] = stats
        self.kinds = kinds


def rows_of(file: InputFile, schema: pa.Schema, profile: JsonProfile) -> Iterator[Rows]:
    """The rows of an observed file, in types that can be cast to `schema` without changing a value.

    Raises `ImportRefusedError` naming line and column.
    """
    hints = _hints_for(schema, profile.numbers)
    strict = _number_columns(hints, profile.numbers)

    def read(block: Block) -> tuple[pa.RecordBatch, bool]:
        batch = json_reader.read_block(file, block, hints)
        try:
            # While the file was observed, the reader accepted quoted numbers in number columns.
            merge_fields(profile.kinds, batch.schema)
            return batch, not len(strict) or json_reader.has_no_quoted_numbers(block, strict)
        except KindConflictError:
            return batch, False

    for block, (batch, is_strict) in map_ahead(read, blocks_of(file)):
        if not is_strict:
            checker = JsonProfile(lambda _: None, kinds=profile.kinds)
            index = json_reader.find_row(file, block, checker.merge)
            raise json_reader.refusal(file, block, index, "a number is in quotes; remove them")
        yield Rows(batch, partial(_position, block))


def _numbers_in(batch: pa.RecordBatch) -> dict[Path, pa.Array]:
    found: dict[Path, pa.Array] = {}

    def visit(path: Path, values: pa.Array) -> None:
        if is_number(values.type):
            found[path] = values

    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        leaf_arrays(column, (name,), visit)
    return found


def _may_be_whole(values: pa.Array) -> bool:
    """Whether the decimals may be whole numbers beyond 64 bits, which the reader parses to decimals, too."""
    if values.type != EXACT:
        return False
    ends = pc.min_max(values).as_py()
    if ends["min"] is None or max(-ends["min"], ends["max"]) < _BEYOND_LONG:
        return False
    stats = number_stats(values)
    return stats is not None and stats.scale == 0


def _position(block: Block, row: int) -> tuple[str, int]:
    """The position of a row of the block: "line" or "object", and its number from 1."""
    return block.unit, block.first + (row if block.unit == "object" else json_exact.line_of(block.text, row))


def _hints_for(schema: pa.Schema, numbers: dict[Path, NumberStats]) -> pa.Schema:
    """The reader's schema for rows that are cast to `schema`. Maps are left out: the reader infers their fields."""

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

    hints = (one.with_type(map_leaves(one.type, hint, (one.name,))) for one in schema)
    return pa.schema([one for one in map(_without_nulls, hints) if one is not None])


def _without_nulls(field: pa.Field) -> pa.Field | None:
    """The field without null types and maps; None if nothing is left."""
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


def _number_columns(hints: pa.Schema, numbers: dict[Path, NumberStats]) -> pa.Schema:
    """The decimal columns in `hints` that have numbers, as doubles: so the reader refuses quoted numbers in them."""

    def strict(kind: pa.DataType, path: Path) -> pa.DataType:
        return pa.float64() if pa.types.is_decimal(kind) and path in numbers else pa.null()

    columns = (one.with_type(map_leaves(one.type, strict, (one.name,))) for one in hints)
    return pa.schema([one for one in map(_without_nulls, columns) if one is not None and not _has_no_leaves(one.type)])


def _has_no_leaves(kind: pa.DataType) -> bool:
    """Whether the type has no primitive values at any depth."""
    return bool(pa.types.is_nested(kind)) and all(_has_no_leaves(field.type) for field in fields_of(kind))
