"""Which rows of a slice are not delivered.

Runs in worker processes: PyIceberg is imported only when needed.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute

from offtake.lake.delete_files import EqualityDeletes
from offtake.lake.equality import deleted_by_value
from offtake.lake.parts import FileSlice, TableSchema
from offtake.lake.positions import deleted_positions
from offtake.lake.projection import ColumnNames, field_id_of
from offtake.lake.row_files import RowFile
from offtake.lake.storage.access import FileAccess

LAST_UPDATED: Final = 2147483539
"""The field id of the reserved column `_last_updated_sequence_number`."""
_ROWS: Final = 524_288


def has_column(file: RowFile, field_id: int) -> bool:
    """Whether the file has the top-level column."""
    return any(field_id_of(field) == field_id for field in file.schema)


def left_out(
    file: RowFile,
    piece: FileSlice,
    groups: Sequence[int] | None,
    first: int,
    names: ColumnNames,
    schema: TableSchema,
    access: FileAccess | None,
) -> pa.Array | None:
    """The positions in the file of the rows that are not delivered, ascending, or None when there are none.

    `groups`: the slice's row groups; None for a file that is read whole. `first`: the position of the slice's first
    row. `names`: for columns of the file without ids.
    """
    positional = [one for one in piece.delete_files if not isinstance(one, EqualityDeletes)]
    deleted = deleted_positions(piece.path, positional, access)
    in_slice = [*deleted_by_value(file, piece, groups, names, schema, access), *_not_updated(file, piece, groups)]
    found = [] if deleted is None else [deleted]
    found += [pa.compute.add(one, first) for one in in_slice if len(one)]
    if len(found) < 2:  # noqa: PLR2004 - one array is sorted
        return found[0] if found else None
    merged = pa.concat_arrays(found)
    return merged.take(pa.compute.sort_indices(merged))


def _not_updated(file: RowFile, piece: FileSlice, groups: Sequence[int] | None) -> Iterator[pa.Array]:
    """The positions, from the slice's first row on, of rows that were last updated before the increment's range."""
    if piece.updated is None:
        return
    sequence, after = piece.updated
    names = [field.name for field in file.schema if field_id_of(field) == LAST_UPDATED]
    if not names:
        if sequence <= after:
            yield pa.array(range(piece.rows), pa.int64())
        return
    first = 0
    for batch in file.batches(_ROWS, groups, names):
        # Rows that are new or changed have null: the number of their file.
        numbers = pa.compute.coalesce(batch.column(names[0]).cast(pa.int64()), pa.scalar(sequence, pa.int64()))
        older = pa.compute.indices_nonzero(pa.compute.less_equal(numbers, after))
        yield pa.compute.add(older.cast(pa.int64()), first)
        first += batch.num_rows
