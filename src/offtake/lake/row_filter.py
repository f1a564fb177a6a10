"""Which rows of a slice are not delivered.

Runs in worker processes: PyIceberg is imported only when needed.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute

from offtake.lake.delete_files import EqualityDeletes
from offtake.lake.equality import deleted_by_value
from offtake.lake.parts import FileSlice, TableSchema
from offtake.lake.positions import deleted_positions
from offtake.lake.projection import ColumnNames
from offtake.lake.row_files import RowFile
from offtake.lake.storage.access import FileAccess


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
    in_slice = deleted_by_value(file, piece, groups, names, schema, access)
    found = [] if deleted is None else [deleted]
    found += [pa.compute.add(one, first) for one in in_slice if len(one)]
    if len(found) < 2:  # noqa: PLR2004 - one array is sorted
        return found[0] if found else None
    merged = pa.concat_arrays(found)
    return merged.take(pa.compute.sort_indices(merged))
