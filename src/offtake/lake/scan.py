"""Which files an export reads: all of a snapshot's, or those with the rows that a range of snapshots added.

PyIceberg's incremental scan counts append snapshots only and silently skips the rows that an overwrite adds, so an
increment is planned from the snapshots' own manifests:

- rows added by `append` and by `overwrite` go out (rows written anew by an overwrite go out again);
- `replace` (compaction) adds nothing, and takes nothing away from what is due (`lineage`);
- rows that the range removed again do not go out: files that an overwrite or delete removed, and deleted positions;
- deletes add nothing; the rows they remove are counted.
"""

from dataclasses import dataclass
from typing import Literal

from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import FileFormat, ManifestContent, ManifestEntryStatus
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot

from offtake.errors import EXPORT_FAILED, SNAPSHOT_EXPIRED, DeliveryError
from offtake.lake import lineage, metadata_errors
from offtake.lake.catalog import Lake, TableName
from offtake.lake.file_metadata import FileMetadata
from offtake.lake.lineage import Manifests, RowOrigin


@dataclass(frozen=True)
class DataFile:
    """A data file to read.

    `delete_files` hold the positions of its rows that are deleted. `partition` has values, by field id, of columns that
    the file may not have itself; `schema_id` is the schema its columns have their names in when it has no field ids,
    where the table's name mapping does not tell.
    """

    path: str
    rows: int
    bytes: int
    delete_files: tuple[str, ...] = ()
    partition: tuple[tuple[int, str | None], ...] = ()
    schema_id: int | None = None


@dataclass(frozen=True)
class ScanPlan:
    """What to export to bring a consumer to `snapshot_id`; `deleted_rows` left the table in the range.

    Rows are counted by the metadata: those of removed files and deleted positions, less what overwrites wrote anew.
    """

    snapshot_id: int
    kind: Literal["full", "incremental"]
    files: tuple[DataFile, ...]
    deleted_rows: int = 0
    warning: str | None = None


def exists(lake: Lake, table: TableName) -> bool:
    """Whether there is a table of that name; raises `DeliveryError` when the catalog does not answer."""
    with metadata_errors.explain(table):
        return lake.exists(table)


def current_snapshot(lake: Lake, table: TableName) -> int | None:
    """The current snapshot of the table's main branch; None while it has none."""
    with metadata_errors.explain(table):
        snapshot = lake.load(table).current_snapshot()
    return None if snapshot is None else snapshot.snapshot_id


def plan_full(lake: Lake, table: TableName, to_snapshot: int) -> ScanPlan:
    """Every row of the snapshot, oldest first.

    Raises `DeliveryError` for deletes that are not applied, and when the table, the snapshot or its metadata are gone.
    """
    with metadata_errors.explain(table):
        loaded = lake.load(table)
        return _full(Manifests(loaded), snapshot_of(loaded, to_snapshot), None)


def plan_increment(lake: Lake, table: TableName, from_snapshot: int, to_snapshot: int) -> ScanPlan:
    """The rows added in `(from_snapshot, to_snapshot]` that are still there, oldest first.

    In full, with a warning, when `from` is not in the history of `to`, and when the metadata do not tell which rows
    were added. Raises `DeliveryError` as `plan_full` does.
    """
    with metadata_errors.explain(table):
        loaded = lake.load(table)
        manifests = Manifests(loaded)
        to = snapshot_of(loaded, to_snapshot)
        between = _snapshots_between(loaded, from_snapshot, to)
        if between is None:
            return _full(manifests, to, _UNREACHABLE)
        added = lineage.added_in(manifests, between)
        if added is None:
            return _full(manifests, to, _BLENDED)
        in_range = {snapshot.snapshot_id for snapshot in between}
        manifests.deletes(to).refuse_uncounted(in_range, manifests.oldest(to))
        left = sum(_rows_removed(manifests, snapshot) for snapshot in between)
        return ScanPlan(to_snapshot, "incremental", _files(loaded, to, added), left)


_UNREACHABLE = "the last exported snapshot is no longer in the table's history; exported in full"
_BLENDED = (
    "rows added since the last export were compacted with older ones, and some of these were deleted since; "
    "what was added can no longer be told apart; exported in full"
)


def added_files(table: Table, snapshot: Snapshot) -> list[IcebergFile]:
    """The data files that the snapshot added."""
    return [
        entry.data_file for entry in Manifests(table).changes(snapshot) if entry.status == ManifestEntryStatus.ADDED
    ]


def files_added_by(table: Table, snapshot: Snapshot, origin: int) -> list[IcebergFile]:
    """Of the snapshot's data files, those that the snapshot `origin` added; it may have been expired since."""
    return [entry.data_file for entry in Manifests(table).live(snapshot) if entry.snapshot_id == origin]


def snapshot_of(table: Table, snapshot_id: int) -> Snapshot:
    """The table's snapshot of that id; raises `DeliveryError` when there is none (any more)."""
    snapshot = table.snapshot_by_id(snapshot_id)
    if snapshot is None:
        raise DeliveryError(
            SNAPSHOT_EXPIRED,
            f"Snapshot {snapshot_id} of {'.'.join(table.name())} has been removed.",
            "Run the flow again; it exports from the snapshot there is now.",
        )
    return snapshot


def _full(manifests: Manifests, snapshot: Snapshot, warning: str | None) -> ScanPlan:
    deletes = manifests.deletes(snapshot)
    # Oldest rows first, as an increment has them; manifests come newest first.
    found = sorted(manifests.live(snapshot), key=lambda entry: (entry.sequence_number or 0, entry.data_file.file_path))
    sources = [RowOrigin(entry, deletes.delete_files_for(entry)) for entry in found]
    return ScanPlan(snapshot.snapshot_id, "full", _files(manifests.table, snapshot, sources), warning=warning)


def _files(table: Table, snapshot: Snapshot, sources: list[RowOrigin]) -> tuple[DataFile, ...]:
    facts = FileMetadata.of(table, snapshot)
    return tuple(_data_file(source, facts) for source in sources)


def _data_file(source: RowOrigin, facts: FileMetadata) -> DataFile:
    file = source.entry.data_file
    if file.file_format != FileFormat.PARQUET:
        raise DeliveryError(
            EXPORT_FAILED,
            f"{file.file_path} is a {file.file_format.value} file; only Parquet is exported.",
            "Rewrite the table's files as Parquet.",
        )
    return DataFile(
        path=file.file_path,
        rows=file.record_count,
        bytes=file.file_size_in_bytes,
        delete_files=source.deletes,
        partition=facts.partition(file),
        schema_id=facts.schema_id(source.entry),
    )


def _snapshots_between(table: Table, from_snapshot: int, to: Snapshot) -> list[Snapshot] | None:
    """The snapshots after `from` up to `to`, oldest first; None when `from` cannot be walked back to."""
    found: list[Snapshot] = []
    by_id = {snapshot.snapshot_id: snapshot for snapshot in table.metadata.snapshots}
    snapshot: Snapshot | None = to
    while snapshot is not None:
        if snapshot.snapshot_id == from_snapshot:
            return found[::-1]
        found.append(snapshot)
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else by_id.get(parent)
    return None


def _rows_removed(manifests: Manifests, snapshot: Snapshot) -> int:
    """Rows that left the table with the snapshot; an overwrite writes most of what it removes anew."""
    operation = lineage.operation(snapshot)
    if operation not in (Operation.OVERWRITE, Operation.DELETE):
        return 0
    left = 0
    for manifest in manifests.of(snapshot):
        if manifest.added_snapshot_id != snapshot.snapshot_id:
            continue
        added, removed = manifest.added_rows_count or 0, manifest.deleted_rows_count or 0
        # The rows of delete files are the deletes.
        left += removed - added if manifest.content == ManifestContent.DATA else added - removed
    return max(0, left)
