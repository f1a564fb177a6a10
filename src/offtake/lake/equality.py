"""Rows deleted by their values: equality deletes. Runs in worker processes: PyIceberg is imported only when needed.

The keys of the delete files that apply to a data file are held as Arrow arrays. Before the data file's rows are read,
its key columns are, in large batches, because Arrow builds the hash table of the keys for each batch.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

import pyarrow as pa
import pyarrow.compute

from offtake.lake.delete_files import EqualityDeletes
from offtake.lake.parquet_files import translating_errors
from offtake.lake.parts import FileSlice, TableSchema
from offtake.lake.projection import ColumnNames, Missing, ProjectionError, field_id_of, projection
from offtake.lake.row_files import RowFile, open_rows
from offtake.lake.storage.access import FileAccess
from offtake.lake.table_columns import missing_values, pruned_column

_ROWS: Final = 524_288
_MOST_ROWS: Final = 2_097_152
"""Rows whose keys are read at once, at least and at most; more for many keys, whose hash table is built each time."""
_CACHED_BYTES: Final = 64 * 1024 * 1024


def deleted_by_value(
    file: RowFile,
    piece: FileSlice,
    groups: Sequence[int] | None,
    names: ColumnNames,
    schema: TableSchema,
    access: FileAccess | None,
) -> list[pa.Array]:
    """The positions, from the slice's first row on, of the rows that the slice's equality deletes delete.

    Raises `ProjectionError` for key columns that are unknown, and errors of reading.
    """
    deletes = [one for one in piece.delete_files if isinstance(one, EqualityDeletes)]
    found = []
    for field_ids, group in groupby(sorted(deletes, key=_field_ids), key=_field_ids):
        keys = _Keys(_key_columns(list(group), field_ids, schema, access))
        columns = _Columns(field_ids, schema, names, missing_values(piece.partition, schema))
        first = 0
        most_rows = max(_ROWS, min(keys.count, _MOST_ROWS))
        for batch in file.batches(most_rows, groups, columns.top_level(file.schema)):
            matching = keys.find(columns.of(batch))
            found.append(pa.compute.add(pa.compute.indices_nonzero(matching).cast(pa.int64()), first))
            first += batch.num_rows
    return found


def _field_ids(deletes: EqualityDeletes) -> tuple[int, ...]:
    return deletes.field_ids


class _Columns:
    """The values of key columns in batches of one file, by field id, in the table's types."""

    def __init__(self, field_ids: Sequence[int], schema: TableSchema, names: ColumnNames, missing: Missing) -> None:
        self._targets = [pruned_column(field_id, schema) for field_id in field_ids]
        self._names, self._missing = names, missing

    def top_level(self, file: pa.Schema) -> list[str]:
        """The names of the file's top-level columns that contain the key columns."""
        wanted = {field_id_of(target.field(0)) for target in self._targets}
        by_name = not any(field_id_of(field) is not None for field in file)
        return [
            field.name for field in file if (self._names.id_of(field.name) if by_name else field_id_of(field)) in wanted
        ]

    def of(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """The values of each key column."""
        found = []
        for target in self._targets:
            column = projection(batch.schema, target, self._names, self._missing)(batch).column(0)
            while pa.types.is_struct(column.type):
                column = pa.compute.struct_field(column, [0])
            found.append(_comparable(column))
        return found


def _comparable(array: pa.Array) -> pa.Array:
    """The array in a type whose equality is that of Iceberg's keys: NaN equals NaN, and 0.0 differs from -0.0."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_floating(array.type):
        array = pa.compute.if_else(pa.compute.is_nan(array), pa.scalar(float("nan"), array.type), array)
        return array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())  # noqa: PLR2004 - bits of a float
    return array


def _key_columns(
    deletes: Iterable[EqualityDeletes], field_ids: Sequence[int], schema: TableSchema, access: FileAccess | None
) -> list[pa.Array]:
    """The columns of the files' keys."""
    tables = [_cached(one, schema, access) for one in deletes]
    return [pa.concat_arrays([table[index] for table in tables]) for index in range(len(field_ids))]


_cache: OrderedDict[tuple[EqualityDeletes, str, FileAccess | None], list[pa.Array]] = OrderedDict()
"""The columns of keys of recently read files: all slices of a part, and mostly those of the next one, need them."""


def _cached(deletes: EqualityDeletes, schema: TableSchema, access: FileAccess | None) -> list[pa.Array]:
    key = (deletes, schema.iceberg, access)
    if key in _cache:
        _cache.move_to_end(key)
        return _cache[key]
    with translating_errors([deletes.path]):
        found = _read_keys(deletes, schema, access)
    _cache[key] = found
    while len(_cache) > 1 and sum(array.nbytes for arrays in _cache.values() for array in arrays) > _CACHED_BYTES:
        _cache.popitem(last=False)
    return found


def _read_keys(deletes: EqualityDeletes, schema: TableSchema, access: FileAccess | None) -> list[pa.Array]:
    names = ColumnNames.of(schema.table_schema)
    with open_rows(deletes.path, deletes.format, access) as file:
        columns = _Columns(deletes.field_ids, schema, names, _not_in_delete_file)
        try:
            batches = [columns.of(batch) for batch in file.batches(_ROWS, None, columns.top_level(file.schema))]
        except ProjectionError as error:
            raise ProjectionError(f"of the equality deletes in {deletes.path}, {error}", error.remedy) from None
    if not batches:
        targets = [pruned_column(field_id, schema) for field_id in deletes.field_ids]
        batches = [columns.of(pa.RecordBatch.from_pylist([], schema=pa.schema([t.field(0) for t in targets])))]
    return [pa.concat_arrays([batch[index] for batch in batches]) for index in range(len(deletes.field_ids))]


def _not_in_delete_file(field_id: int, _type: pa.DataType) -> pa.Scalar | None:
    raise ProjectionError(f"the key column with field id {field_id} is missing", _REMEDY)


_REMEDY: Final = "Compact the table, so that its data files no longer contain the deleted rows."


class _Keys:
    """A set of keys of one or more columns.

    Values are replaced by their indexes among the distinct values of the keys; so are pairs of indexes, column by
    column.
    """

    def __init__(self, columns: Sequence[pa.Array]) -> None:
        self.count = len(columns[0])
        self._values = [pa.compute.unique(column) for column in columns]
        self._pairs: list[pa.Array] = []
        indexes = list(self._indexes(columns))
        codes = indexes[0]
        for position, following in enumerate(indexes[1:], start=1):
            combined = self._combined(codes, following, position)
            self._pairs.append(pa.compute.unique(combined))
            codes = pa.compute.index_in(combined, value_set=self._pairs[-1]).cast(pa.int64())

    def find(self, columns: Sequence[pa.Array]) -> pa.Array:
        """For each row, whether its key is in the set."""
        indexes = self._indexes(columns)
        codes = next(indexes)
        for position, following in enumerate(indexes, start=1):
            combined = self._combined(codes, following, position)
            codes = pa.compute.index_in(combined, value_set=self._pairs[position - 1]).cast(pa.int64())
        return codes.is_valid()

    def _indexes(self, columns: Sequence[pa.Array]) -> Iterator[pa.Array]:
        """Of each column, the indexes of its values; null for values that are not in the keys."""
        for values, column in zip(self._values, columns, strict=True):
            yield pa.compute.index_in(column, value_set=values).cast(pa.int64())

    def _combined(self, codes: pa.Array, following: pa.Array, position: int) -> pa.Array:
        return pa.compute.add(pa.compute.multiply(codes, len(self._values[position])), following)
