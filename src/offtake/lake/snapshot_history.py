"""A table's history: its snapshots, oldest first."""

from dataclasses import dataclass, replace

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot

from offtake.lake import scan
from offtake.lake.catalog import Lake
from offtake.lake.table_names import TableName
from offtake.lake.table_refs import UnknownRefError, ref_snapshot


@dataclass(frozen=True)
class SnapshotStep:
    """One snapshot. `rows`: the number of rows it added; 0 for compactions and deletes.

    `follows_expired`: it is the oldest that is left, and `rows` are all rows that the table had then.
    """

    snapshot_id: int
    timestamp_ms: int
    rows: int
    follows_expired: bool = False


def ancestry(
    lake: Lake, table: TableName, upto: int | None = None, ref: str | None = None
) -> list[SnapshotStep] | None:
    """`upto` (default: the snapshot of the branch or tag `ref`) and its ancestors, oldest first, without expired ones.

    None when the table does not exist, or has no snapshot `upto`, or no such branch or tag.
    """
    loaded = lake.find(table)
    if loaded is None:
        return None
    try:
        last = ref_snapshot(loaded, ref) if upto is None else loaded.snapshot_by_id(upto)
    except UnknownRefError:
        return None
    if last is None:
        return [] if upto is None else None
    found = lineage(loaded, last)
    steps = [_step(snapshot) for snapshot in found]
    # Of the first snapshot of a table of format version 2, the sequence number is 1.
    if (found[0].sequence_number or 0) > 1:
        steps[0] = replace(steps[0], rows=_total_rows(found[0]), follows_expired=True)
    return steps


def lineage(table: Table, last: Snapshot) -> list[Snapshot]:
    """The snapshot `last` and its ancestors, oldest first, without expired ones."""
    # A dictionary: a linear search for each parent would take quadratic time.
    by_id = {snapshot.snapshot_id: snapshot for snapshot in table.snapshots()}
    by_id.pop(last.snapshot_id, None)
    found: list[Snapshot] = []
    snapshot: Snapshot | None = last
    while snapshot is not None:
        found.append(snapshot)
        parent = snapshot.parent_snapshot_id
        # Each snapshot once: damaged metadata can have a cycle.
        snapshot = None if parent is None else by_id.pop(parent, None)
    return found[::-1]


def _total_rows(snapshot: Snapshot) -> int:
    known = snapshot.summary.additional_properties if snapshot.summary is not None else {}
    return int(known.get("total-records") or 0)


def _step(snapshot: Snapshot) -> SnapshotStep:
    summary = snapshot.summary
    adds = summary is not None and summary.operation in (Operation.APPEND, Operation.OVERWRITE)
    rows = int(summary["added-records"] or 0) if summary is not None and adds else 0
    return SnapshotStep(snapshot.snapshot_id, snapshot.timestamp_ms, rows)


def files_of(lake: Lake, table: TableName, snapshot_id: int) -> list[tuple[str, int, int]]:
    """Location, rows and bytes of the files that the snapshot added, by name; of an expired one those still in use."""
    loaded = lake.find(table)
    if loaded is None:
        return []
    snapshot, current = loaded.snapshot_by_id(snapshot_id), loaded.current_snapshot()
    if snapshot is not None:
        files = scan.added_files(loaded, snapshot)
    else:
        files = scan.files_added_by(loaded, current, snapshot_id) if current else []
    found = ((file.file_path, file.record_count, file.file_size_in_bytes) for file in files)
    return sorted(found, key=lambda one: one[0].rpartition("/")[2])
