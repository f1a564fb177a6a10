"""Descriptions of tables for users: columns, size, history, first rows."""

from dataclasses import asdict, dataclass
from typing import Final

import pyarrow as pa

from offtake.documents import Json
from offtake.lake import reading, scan, slicing
from offtake.lake.catalog import Lake
from offtake.lake.column_choice import ColumnChoice
from offtake.lake.table_names import TableName


@dataclass(frozen=True)
class Field:
    """A column: its name, its Iceberg type, and whether it is required."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True)
class SnapshotSummary:
    """A snapshot of the table; `timestamp_ms` is epoch milliseconds."""

    snapshot_id: int
    operation: str
    timestamp_ms: int


@dataclass(frozen=True)
class Description:
    """A table: its columns, its current size, its history."""

    fields: tuple[Field, ...]
    rows: int
    files: int
    bytes: int
    snapshots: tuple[SnapshotSummary, ...]

    def to_json(self) -> Json:
        """For `--json`."""
        return asdict(self)


@dataclass(frozen=True)
class Size:
    """A table's current size, from its snapshot's summary."""

    rows: int
    bytes: int
    files: int


def size(lake: Lake, table: TableName) -> Size:
    """The table's size; zeros when it does not exist. Reads only the table metadata."""
    loaded = lake.find(table)
    current = loaded.current_snapshot() if loaded else None
    if current is None or current.summary is None:
        return Size(0, 0, 0)
    rows, deleted, stored, files = (int(current.summary.get(name) or 0) for name in _TOTALS)
    return Size(rows - deleted, stored, files)


_TOTALS: Final = ("total-records", "total-position-deletes", "total-files-size", "total-data-files")


def describe(lake: Lake, table: TableName) -> Description:
    """The table's current state; empty when it does not exist."""
    found = scan.find_table(lake, table)
    if found is None:
        return Description((), 0, 0, 0, ())
    current = found.current_snapshot
    files = found.full(current).files if current is not None else ()
    return Description(
        fields=tuple(Field(one.name, str(one.field_type), one.required) for one in found.table.schema().fields),
        rows=sum(file.rows for file in files),
        files=len(files),
        bytes=sum(file.bytes for file in files),
        snapshots=tuple(
            SnapshotSummary(one.snapshot_id, one.summary.operation.value if one.summary else "append", one.timestamp_ms)
            for one in found.table.metadata.snapshots
        ),
    )


def preview(
    lake: Lake, table: TableName, limit: int, ref: str | None = None, choice: ColumnChoice | None = None
) -> pa.Table:
    """The first rows of the table, at most `limit`; empty when it does not exist. Reads only the batches it needs.

    `ref`: of this branch or tag, by default of main. `choice`: these columns only.
    """
    found = scan.find_table(lake, table)
    snapshot = None if found is None else found.snapshot_of(ref)
    if found is None or snapshot is None:
        return pa.table({})
    schema = found.schema(snapshot, None if choice is None else found.select(snapshot, choice))
    files = found.full(snapshot).files
    pieces = [piece for part in slicing.slices(files, 2**62, 2**62, found.access) for piece in part]
    batches: list[pa.RecordBatch] = []
    for batch in reading.read(pieces, schema, found.access, invalid_text="replace"):
        batches.append(batch.slice(0, limit - sum(one.num_rows for one in batches)))
        if sum(one.num_rows for one in batches) >= limit:
            break
    return pa.Table.from_batches(batches, schema.arrow_schema)
