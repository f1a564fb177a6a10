"""Which files an export reads: all of a snapshot's, or those that a range of snapshots added.

PyIceberg's incremental scan counts append snapshots only and silently skips the rows that an overwrite adds, so an
increment is planned from the snapshots' own manifests:

- files added by `append` and by `overwrite` go out (rows written anew by an overwrite go out again);
- `replace` (compaction) adds nothing, and what it rewrites still goes out from the files it came in with;
- files that a later overwrite or delete of the range removed do not go out: their rows are gone, or written anew; no
  more do files that were compacted into those that it removed;
- deletes add nothing; the rows they remove are counted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat, ManifestContent, ManifestEntry, ManifestEntryStatus
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot

from offtake.errors import DeliveryError
from offtake.lake.catalog import Lake, TableName

_REWRITES: Final = (Operation.OVERWRITE, Operation.DELETE)


@dataclass(frozen=True)
class DataFile:
    """A data file to read; `delete_files` hold the positions of its rows that are deleted."""

    path: str
    rows: int
    bytes: int
    delete_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScanPlan:
    """What to export to bring a consumer to `snapshot_id`; `deleted_rows` left the table in the range."""

    snapshot_id: int
    kind: Literal["full", "incremental"]
    files: tuple[DataFile, ...]
    deleted_rows: int = 0
    warning: str | None = None


def current_snapshot(lake: Lake, table: TableName) -> int | None:
    """The table's current snapshot; None while it has none."""
    snapshot = lake.load(table).current_snapshot()
    return None if snapshot is None else snapshot.snapshot_id


def plan_full(lake: Lake, table: TableName, to_snapshot: int) -> ScanPlan:
    """Every row of the snapshot. Raises `DeliveryError` for deletes that cannot be applied."""
    loaded = lake.load(table)
    return _full(loaded, _snapshot(loaded, to_snapshot), None)


def plan_increment(lake: Lake, table: TableName, from_snapshot: int, to_snapshot: int) -> ScanPlan:
    """The rows added in `(from_snapshot, to_snapshot]`; in full, with a warning, when `from` is not in its history.

    Raises `DeliveryError` for deletes that cannot be applied.
    """
    loaded = lake.load(table)
    to = _snapshot(loaded, to_snapshot)
    between = _between(loaded, from_snapshot, to)
    if between is None:
        return _full(loaded, to, "the last exported snapshot is no longer in the table's history; exported in full")
    added: dict[str, IcebergFile] = {}
    compacted: dict[str, _Compaction] = {}
    deleted = 0
    for snapshot in between:
        operation = snapshot.summary.operation if snapshot.summary else Operation.APPEND
        if operation == Operation.REPLACE:
            _compact(list(_changes(loaded, snapshot)), added, compacted)
            continue
        for entry in _changes(loaded, snapshot):
            file = entry.data_file
            if entry.status == ManifestEntryStatus.ADDED:
                added[file.file_path] = file
            elif operation in _REWRITES:
                _remove(file.file_path, added, compacted)
                deleted += file.record_count
    deletes = _position_deletes(loaded, to)
    files = tuple(_data_file(file, deletes) for file in added.values())
    return ScanPlan(to_snapshot, "incremental", files, _net(deleted, between))


def added_files(table: Table, snapshot: Snapshot) -> list[IcebergFile]:
    """The data files that the snapshot added."""
    return [entry.data_file for entry in _changes(table, snapshot) if entry.status == ManifestEntryStatus.ADDED]


def files_from(table: Table, snapshot: Snapshot, origin: int) -> list[IcebergFile]:
    """Of the snapshot's data files, those that the snapshot `origin` added; it may have been expired since."""
    return [
        entry.data_file
        for manifest in snapshot.manifests(table.io)
        if manifest.content == ManifestContent.DATA
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        if entry.snapshot_id == origin
    ]


@dataclass
class _Compaction:
    """Files of the range that were written anew together, and what is left of the files that they went into."""

    inputs: set[str]
    outputs: set[str]


def _compact(entries: list[ManifestEntry], added: dict[str, IcebergFile], compacted: dict[str, _Compaction]) -> None:
    inputs, outputs = set[str](), set[str]()
    for entry in entries:
        path = entry.data_file.file_path
        if entry.status == ManifestEntryStatus.ADDED:
            outputs.add(path)
        elif path in compacted:
            inputs |= compacted[path].inputs
        elif path in added:
            inputs.add(path)
    if inputs:
        compacted.update(dict.fromkeys(outputs, _Compaction(inputs, outputs)))


def _remove(path: str, added: dict[str, IcebergFile], compacted: dict[str, _Compaction]) -> None:
    """The file has left the table. While part of what it was written with is there, its inputs cannot be told apart."""
    added.pop(path, None)
    if path not in compacted:
        return
    compaction = compacted[path]
    compaction.outputs.discard(path)
    if not compaction.outputs:
        for one in compaction.inputs:
            added.pop(one, None)


def _full(table: Table, snapshot: Snapshot, warning: str | None) -> ScanPlan:
    deletes = _position_deletes(table, snapshot)
    found = [
        entry
        for manifest in snapshot.manifests(table.io)
        if manifest.content == ManifestContent.DATA
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
    ]
    # Oldest rows first, as an increment has them; manifests come newest first.
    found.sort(key=lambda entry: (entry.sequence_number or 0, entry.data_file.file_path))
    files = tuple(_data_file(entry.data_file, deletes) for entry in found)
    return ScanPlan(snapshot.snapshot_id, "full", files, warning=warning)


def _snapshot(table: Table, snapshot_id: int) -> Snapshot:
    snapshot = table.snapshot_by_id(snapshot_id)
    if snapshot is None:
        raise DeliveryError(
            "EXPORT-1410-410",
            f"Snapshot {snapshot_id} of {'.'.join(table.name())} has been removed.",
            "Run the flow again; it exports from the snapshot there is now.",
        )
    return snapshot


def _between(table: Table, from_snapshot: int, to: Snapshot) -> list[Snapshot] | None:
    """The snapshots after `from` up to `to`, oldest first; None when `from` cannot be walked back to."""
    found: list[Snapshot] = []
    snapshot: Snapshot | None = to
    while snapshot is not None:
        if snapshot.snapshot_id == from_snapshot:
            return found[::-1]
        found.append(snapshot)
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else table.snapshot_by_id(parent)
    return None


def _changes(table: Table, snapshot: Snapshot) -> Iterator[ManifestEntry]:
    """The data files that this snapshot itself added or removed."""
    for manifest in snapshot.manifests(table.io):
        if manifest.content != ManifestContent.DATA or manifest.added_snapshot_id != snapshot.snapshot_id:
            continue
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
            if entry.snapshot_id == snapshot.snapshot_id and entry.status != ManifestEntryStatus.EXISTING:
                yield entry


def _net(removed: int, snapshots: Iterable[Snapshot]) -> int:
    """Rows that left the table: an overwrite writes most of what it removes anew."""
    rewritten = sum(
        int(snapshot.summary["added-records"] or 0)
        for snapshot in snapshots
        if snapshot.summary and snapshot.summary.operation == Operation.OVERWRITE
    )
    return max(0, removed - rewritten)


def _position_deletes(table: Table, snapshot: Snapshot) -> tuple[str, ...]:
    """The snapshot's position-delete files; raises for deletes of a kind that is not applied."""
    found = []
    for manifest in snapshot.manifests(table.io):
        if manifest.content != ManifestContent.DELETES:
            continue
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            file = entry.data_file
            if file.content != DataFileContent.POSITION_DELETES or file.file_format != FileFormat.PARQUET:
                raise _cannot_apply(table, file)
            found.append(file.file_path)
    return tuple(sorted(found))


def _cannot_apply(table: Table, file: IcebergFile) -> DeliveryError:
    kind = "equality deletes" if file.content == DataFileContent.EQUALITY_DELETES else "deletion vectors"
    return DeliveryError(
        "EXPORT-1500-500",
        f"Table {'.'.join(table.name())} has {kind}, which exports do not apply.",
        "Compact the table so that the deletes are written into its data files.",
    )


def _data_file(file: IcebergFile, deletes: tuple[str, ...]) -> DataFile:
    if file.file_format != FileFormat.PARQUET:
        raise DeliveryError(
            "EXPORT-1500-500",
            f"{file.file_path} is a {file.file_format.value} file; only Parquet is exported.",
            "Rewrite the table's files as Parquet.",
        )
    return DataFile(file.file_path, file.record_count, file.file_size_in_bytes, deletes)
