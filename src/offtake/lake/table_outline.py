"""A table's columns as a tree, and its snapshots: what the pages show of its metadata."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import DecimalType, IcebergType, ListType, MapType, NestedField, StructType

from offtake.lake import scan
from offtake.lake.catalog import Lake
from offtake.lake.table_names import TableName

_COUNTS: Final = ("added-records", "deleted-records", "added-data-files", "deleted-data-files", "total-records")
_DELETED_POSITIONS: Final = "added-position-deletes"


@dataclass(frozen=True)
class ColumnNode:
    """A column or an inner field. `depth`: 0 for columns; `type`: of nested ones only the kind, such as `list`."""

    name: str
    type: str
    required: bool
    doc: str
    depth: int


@dataclass(frozen=True)
class SnapshotLine:
    """A snapshot: what it added to the table and removed from it, and the rows of the table after it."""

    snapshot_id: int
    timestamp_ms: int
    operation: str
    is_current: bool
    added_rows: int
    deleted_rows: int
    added_files: int
    deleted_files: int
    total_rows: int


def columns(lake: Lake, table: TableName, most: int) -> list[ColumnNode]:
    """The first columns of the table with their inner fields, depth first, at most `most`; none without a table.

    Raises `DeliveryError` when the table cannot be read, as the other functions do.
    """
    found = scan.find_table(lake, table)
    if found is None:
        return []
    return list(islice(_walk(found.table.schema().fields, 0), most))


def snapshots(lake: Lake, table: TableName, offset: int, most: int) -> list[SnapshotLine]:
    """The table's snapshots, newest first, from number `offset` on, at most `most`."""
    found = scan.find_table(lake, table)
    if found is None:
        return []
    newest_first = sorted(found.table.metadata.snapshots, key=_age, reverse=True)
    return [_line(found.table, one) for one in newest_first[offset : offset + most]]


def commit_times(lake: Lake, table: TableName, snapshot_ids: Collection[int]) -> dict[int, int]:
    """When those snapshots were committed, in epoch milliseconds, by id; without expired ones."""
    found = scan.find_table(lake, table)
    known = found.table.metadata.snapshots if found else ()
    return {one.snapshot_id: one.timestamp_ms for one in known if one.snapshot_id in snapshot_ids}


def _walk(fields: Sequence[NestedField], depth: int) -> Iterator[ColumnNode]:
    for field in fields:
        yield ColumnNode(field.name, _name(field.field_type), field.required, field.doc or "", depth)
        yield from _walk(_inner(field.field_type), depth + 1)


def _inner(kind: IcebergType) -> Sequence[NestedField]:
    if isinstance(kind, StructType):
        return kind.fields
    if isinstance(kind, ListType):
        # A list of simple values needs no row for its elements.
        return (kind.element_field,) if _is_nested(kind.element_type) else ()
    return (kind.key_field, kind.value_field) if isinstance(kind, MapType) and _is_nested(kind.value_type) else ()


def _name(kind: IcebergType) -> str:
    if isinstance(kind, StructType):
        return "struct"
    if isinstance(kind, ListType):
        return f"list<{_name(kind.element_type)}>"
    if isinstance(kind, DecimalType):
        return f"decimal({kind.precision},{kind.scale})"
    return f"map<{_name(kind.key_type)}, {_name(kind.value_type)}>" if isinstance(kind, MapType) else str(kind)


def _is_nested(kind: IcebergType) -> bool:
    return isinstance(kind, (StructType, ListType, MapType))


def _age(snapshot: Snapshot) -> tuple[int, int]:
    return snapshot.sequence_number or 0, snapshot.timestamp_ms


def _line(table: Table, snapshot: Snapshot) -> SnapshotLine:
    summary = snapshot.summary
    counts = [int((summary[name] if summary else None) or 0) for name in _COUNTS]
    added, deleted, added_files, deleted_files, total = counts
    return SnapshotLine(
        snapshot_id=snapshot.snapshot_id,
        timestamp_ms=snapshot.timestamp_ms,
        operation=summary.operation.value if summary else "append",
        is_current=snapshot.snapshot_id == table.metadata.current_snapshot_id,
        added_rows=added,
        deleted_rows=deleted + int((summary[_DELETED_POSITIONS] if summary else None) or 0),
        added_files=added_files,
        deleted_files=deleted_files,
        total_rows=total,
    )
