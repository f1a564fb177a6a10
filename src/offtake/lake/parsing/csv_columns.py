"""Which types the columns of CSV files have: text, until every value proves to be something else."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from offtake.lake.parsing.columns import Changes, promotions
from offtake.lake.parsing.csv_text import CsvFile
from offtake.lake.parsing.errors import SchemaMismatchError
from offtake.lake.parsing.text_types import TextColumn, is_written_plainly
from offtake.lake.parsing.text_values import read_text


@dataclass
class _KnownColumn:
    """A column that the dataset has: the types, widening, that have held every value so far, and what text it is."""

    types: list[pa.DataType]
    text: TextColumn = field(default_factory=TextColumn)

    def observe(self, values: pa.Array, name: str, *, truncate: bool) -> None:
        if values.null_count < len(values):
            self.types = [kind for kind in self.types if _holds(values, kind, name, truncate=truncate)]
        self.text.observe(values)


@dataclass
class CsvProfile:
    """What CSV files hold, by column. `known` are the dataset's columns, `truncate` is as of `read_text`."""

    known: pa.Schema
    changes: Changes
    truncate: bool
    rows: int = 0
    _names: dict[str, None] = field(default_factory=dict)
    _known: dict[str, _KnownColumn] = field(default_factory=dict)
    _new: dict[str, TextColumn] = field(default_factory=dict)

    def observe(self, file: CsvFile) -> None:
        """Add a file. Raises `ImportRefusedError` naming line and column."""
        self._names |= dict.fromkeys(file.columns)
        for batch in file.batches():
            self.rows += batch.num_rows
            for name, values in zip(file.columns, batch.columns, strict=True):
                self._observe(name, values)

    def schema(self) -> pa.Schema:
        """The columns, those of the dataset under the types they have from now on."""
        return pa.schema([pa.field(name, self._type(name)) for name in self._names])

    def proven(self, schema: pa.Schema) -> dict[str, pa.DataType]:
        """Of the schema's columns those whose every text is known to be of the column's type."""
        types = {name: column.type() for name, column in self._new.items()}
        return {one.name: one.type for one in schema if one.type == types.get(one.name, pa.null())}

    def _observe(self, name: str, values: pa.Array) -> None:
        index = self.known.get_field_index(name)
        kind = pa.null() if index < 0 else self.known.field(index).type
        if pa.types.is_null(kind):
            self._new.setdefault(name, TextColumn()).observe(values)
        elif not pa.types.is_string(kind):
            types = [kind, *(promotions(kind) if self.changes.promote else ())]
            self._known.setdefault(name, _KnownColumn(types)).observe(values, name, truncate=self.truncate)

    def _type(self, name: str) -> pa.DataType:
        if name in self._new:
            return self._new[name].type()
        index = self.known.get_field_index(name)
        if index < 0:
            return pa.null()
        known: pa.DataType = self.known.field(index).type
        column = self._known.get(name)
        if column is None or known in column.types:
            return known
        return column.types[0] if column.types else self._with_stored(name, column, known)

    def _with_stored(self, name: str, column: _KnownColumn, known: pa.DataType) -> pa.DataType:
        """The type of a column whose values do not fit it, where what is stored may be rewritten; else `known`."""
        stored = self.changes.stored((name,)) if is_written_plainly(known) else None
        if stored is None:
            self.changes.denied.append((name,))
            return known
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
