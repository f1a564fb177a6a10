"""Type inference for the columns of CSV files: text, unless every value is exactly of another type."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from offtake.lake.parsing.columns import Changes, promotions
from offtake.lake.parsing.csv_text import CsvFile
from offtake.lake.parsing.errors import SchemaMismatchError
from offtake.lake.parsing.text_types import TextColumn, is_written_plainly
from offtake.lake.parsing.text_values import read_text


@dataclass
class _ExistingColumn:
    """A column that the dataset has: the types, narrowest first, that hold every value so far, and the text's type."""

    types: list[pa.DataType]
    text: TextColumn = field(default_factory=TextColumn)

    def observe(self, values: pa.Array, name: str, *, truncate: bool) -> None:
        if values.null_count < len(values):
            self.types = [kind for kind in self.types if _holds(values, kind, name, truncate=truncate)]
        self.text.observe(values)


@dataclass
class CsvProfile:
    """Statistics of CSV files' columns. `dataset`: the dataset's columns; `truncate`: see `read_text`."""

    dataset: pa.Schema
    changes: Changes
    truncate: bool
    rows: int = 0
    _names: dict[str, None] = field(default_factory=dict)
    _existing: dict[str, _ExistingColumn] = field(default_factory=dict)
    _new: dict[str, TextColumn] = field(default_factory=dict)

    def observe(self, file: CsvFile) -> None:
        """Read a file into the statistics. Raises `ImportRefusedError` naming line and column."""
        self._names |= dict.fromkeys(file.columns)
        for batch in file.batches():
            self.rows += batch.num_rows
            for name, values in zip(file.columns, batch.columns, strict=True):
                self._observe(name, values)

    def schema(self) -> pa.Schema:
        """The files' columns; those of the dataset with their types after the import."""
        return pa.schema([pa.field(name, self._type(name)) for name in self._names])

    def verified_types(self, schema: pa.Schema) -> dict[str, pa.DataType]:
        """The types of the schema's columns whose text was found to match the type exactly in every row."""
        types = {name: column.type() for name, column in self._new.items()}
        return {one.name: one.type for one in schema if one.type == types.get(one.name, pa.null())}

    def _observe(self, name: str, values: pa.Array) -> None:
        index = self.dataset.get_field_index(name)
        kind = pa.null() if index < 0 else self.dataset.field(index).type
        if pa.types.is_null(kind):
            self._new.setdefault(name, TextColumn()).observe(values)
        elif not pa.types.is_string(kind):
            types = [kind, *(promotions(kind) if self.changes.promote else ())]
            self._existing.setdefault(name, _ExistingColumn(types)).observe(values, name, truncate=self.truncate)

    def _type(self, name: str) -> pa.DataType:
        if name in self._new:
            return self._new[name].type()
        index = self.dataset.get_field_index(name)
        if index < 0:
            return pa.null()
        current: pa.DataType = self.dataset.field(index).type
        column = self._existing.get(name)
        if column is None or current in column.types:
            return current
        return column.types[0] if column.types else self._with_stored(name, column, current)

    def _with_stored(self, name: str, column: _ExistingColumn, current: pa.DataType) -> pa.DataType:
        """The type of an existing column that does not hold the values, if it may be rewritten; else its type."""
        stored = self.changes.stored((name,)) if is_written_plainly(current) else None
        if stored is None:
            self.changes.denied.append((name,))
            return current
        return _merged_type(column.text, stored)


def _merged_type(text: TextColumn, stored: Iterable[pa.Array]) -> pa.DataType:
    for values in stored:
        text.observe_stored(values)
    return text.type()


def _holds(values: pa.Array, kind: pa.DataType, name: str, *, truncate: bool) -> bool:
    try:
        read_text(values, kind, name, truncate=truncate)
    except SchemaMismatchError:
        return False
    return True
