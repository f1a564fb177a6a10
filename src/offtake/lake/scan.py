"""Scan planning: which files an export reads, for a full export of a snapshot or for a range of snapshots.

PyIceberg's incremental scan considers append snapshots only and silently skips the rows that an overwrite adds, so an
increment is planned from the snapshots' manifests:

- rows added by `append` and `overwrite` are exported (rows that an overwrite rewrites are exported again);
- `replace` (compaction) neither adds nor removes rows to export (`lineage`);
- rows that the range added and removed again are not exported: removed files, and deleted positions;
- deletes add no rows; the rows they remove are counted.
"""

from dataclasses import dataclass
from typing import Literal

from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, ManifestContent, ManifestEntryStatus
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot

from offtake.errors import EXPORT_FAILED, SNAPSHOT_EXPIRED, DeliveryError
from offtake.lake import (
    column_lookup,
    current_state,
    file_metadata,
    lineage,
    metadata_errors,
    table_refs,
    table_schemas,
)
from offtake.lake.catalog import Lake
from offtake.lake.column_choice import ColumnChoice
from offtake.lake.column_lookup import Selection, UnfitChoiceError
from offtake.lake.delete_files import DeleteFile, RowFormat
from offtake.lake.file_metadata import FileMetadata
from offtake.lake.lineage import RowOrigin
from offtake.lake.manifests import Manifests
from offtake.lake.parts import TableSchema
from offtake.lake.row_files import row_format
from offtake.lake.row_lineage import RowLineage
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.iceberg_io import access_of
from offtake.lake.table_names import TableName


@dataclass(frozen=True)
class DataFile:
    """A data file to read.

    `delete_files`: those that apply to it. `partition`: pairs of field id and value, for columns
    that the file may lack. `schema_id`: the schema that resolves the column names of a file without field ids; None
    means the table's name mapping does. `updated`: only rows that were last updated after the second sequence number
    are read; rows without a number have the first one.
    """

    path: str
    rows: int
    bytes: int
    delete_files: tuple[DeleteFile, ...] = ()
    partition: tuple[tuple[int, str | None], ...] = ()
    schema_id: int | None = None
    format: RowFormat = "PARQUET"
    updated: tuple[int, int] | None = None


@dataclass(frozen=True)
class ScanPlan:
    """The files to export, so that a consumer has the state of `snapshot_id`.

    `deleted_rows`: rows removed in the range, from the metadata's counts of removed files and deleted positions, minus
    the rows that overwrites wrote again. `deleted_keys`: keys of the range's equality deletes that may apply to older
    rows; how many rows these removed is unknown, so `deleted_rows` does not count them.
    """

    snapshot_id: int
    kind: Literal["full", "incremental"]
    files: tuple[DataFile, ...]
    deleted_rows: int = 0
    deleted_keys: int = 0
    warning: str | None = None


@dataclass(frozen=True)
class TableScan:
    """One state of a table, loaded once: all plans of one export are made from it.

    All methods raise `DeliveryError` when the metadata cannot be read.
    """

    name: TableName
    table: Table

    @property
    def current_snapshot(self) -> int | None:
        """The id of the current snapshot of the table's main branch, or None."""
        snapshot = current_state.current_snapshot(self.table)
        return None if snapshot is None else snapshot.snapshot_id

    def snapshot_of(self, ref: str | None) -> int | None:
        """The id of the snapshot of a branch or tag; of main, and None for an empty table, when it is None.

        Raises `DeliveryError` when the table has no such branch or tag.
        """
        if ref is None or ref == table_refs.MAIN:
            return self.current_snapshot
        try:
            snapshot = table_refs.ref_snapshot(self.table, ref)
        except table_refs.UnknownRefError as error:
            raise DeliveryError(
                EXPORT_FAILED,
                f"{self.name}: {error}.",
                "Create the branch or tag again, or let the flow use a source connection with another one.",
            ) from None
        return None if snapshot is None else snapshot.snapshot_id

    @property
    def access(self) -> FileAccess | None:
        """How the table's files are opened; None for a table of the own lake."""
        return access_of(self.table)

    def schema(self, snapshot_id: int, chosen: Selection | None = None) -> TableSchema:
        """The schema that the snapshot was written with; `chosen`: the columns of it that are delivered."""
        with metadata_errors.translating_errors(self.name):
            return table_schemas.table_schema(self.table, self._schema_of(snapshot_id), chosen)

    def select(self, snapshot_id: int, choice: ColumnChoice) -> Selection:
        """The chosen columns of the snapshot.

        Raises `DeliveryError` also when one was dropped, or the table was replaced by one with other columns.
        """
        with metadata_errors.translating_errors(self.name):
            try:
                return column_lookup.select(self.table, self._schema_of(snapshot_id), choice)
            except UnfitChoiceError as error:
                raise DeliveryError(
                    EXPORT_FAILED,
                    f"{self.name}: {error}.",
                    "Create a source connection with columns that the table has, and let the flow use it.",
                ) from None

    def full(self, to_snapshot: int) -> ScanPlan:
        """Plan a full export of the snapshot, oldest files first."""
        with metadata_errors.translating_errors(self.name):
            return _full(Manifests(self.table), self._snapshot(to_snapshot), None)

    def increment(self, from_snapshot: int, to_snapshot: int) -> ScanPlan:
        """Plan an export of the rows added in `(from_snapshot, to_snapshot]` that still exist, oldest files first.

        Falls back to a full export with a warning when `from_snapshot` is not an ancestor of `to_snapshot`, or when the
        metadata does not tell which rows were added. Raises `DeliveryError` as `full` does.
        """
        with metadata_errors.translating_errors(self.name):
            manifests = Manifests(self.table)
            to = self._snapshot(to_snapshot)
            between = _snapshots_between(self.table, from_snapshot, to)
            if between is None:
                return _full(manifests, to, _UNREACHABLE)
            row_lineage = RowLineage(manifests, self._snapshot(from_snapshot), between)
            added = row_lineage.updated_in()
            if added is None:
                added = lineage.added_in(manifests, between)
                if added is None:
                    return _full(manifests, to, _NOT_SEPARABLE)
                added = [row_lineage.limited(one) for one in added]
            removed = [_removed(manifests, snapshot) for snapshot in between]
            return ScanPlan(
                to_snapshot,
                "incremental",
                _files(self.table, to, added),
                deleted_rows=sum(rows for rows, _ in removed),
                deleted_keys=sum(keys for _, keys in removed),
            )

    def _schema_of(self, snapshot_id: int) -> Schema:
        return file_metadata.schema_of(self.table, self._snapshot(snapshot_id))

    def _snapshot(self, snapshot_id: int) -> Snapshot:
        snapshot = self.table.snapshot_by_id(snapshot_id)
        if snapshot is None:
            raise DeliveryError(
                SNAPSHOT_EXPIRED,
                f"Snapshot {snapshot_id} of {'.'.join(self.table.name())} has been removed.",
                "Run the flow again; it exports from the current snapshot.",
            )
        return snapshot


def open_table(lake: Lake, name: TableName) -> TableScan:
    """The table in its current state. Raises `DeliveryError` when it does not exist or cannot be read."""
    with metadata_errors.translating_errors(name):
        return TableScan(name, lake.load(name))


def find_table(lake: Lake, name: TableName) -> TableScan | None:
    """The table in its current state, or None when it does not exist. Raises `DeliveryError` when it cannot be read."""
    with metadata_errors.translating_errors(name):
        loaded = lake.find(name)
    return None if loaded is None else TableScan(name, loaded)


_UNREACHABLE = "the last exported snapshot is no longer in the table's history; exported in full"
_NOT_SEPARABLE = (
    "rows added since the last export were compacted together with older rows, and some of these were deleted since, "
    "so new and old rows cannot be distinguished; exported in full"
)


def added_files(table: Table, snapshot: Snapshot) -> list[IcebergFile]:
    """The data files that the snapshot added."""
    return [
        entry.data_file for entry in Manifests(table).changes(snapshot) if entry.status == ManifestEntryStatus.ADDED
    ]


def files_added_by(table: Table, snapshot: Snapshot, origin: int) -> list[IcebergFile]:
    """The snapshot's data files that the snapshot `origin` added; `origin` may have expired since."""
    return [entry.data_file for entry in Manifests(table).live(snapshot) if entry.snapshot_id == origin]


def _full(manifests: Manifests, snapshot: Snapshot, warning: str | None) -> ScanPlan:
    deletes = manifests.deletes(snapshot)
    # Oldest rows first, as in an increment; manifests are listed newest first.
    found = sorted(manifests.live(snapshot), key=lambda entry: (entry.sequence_number or 0, entry.data_file.file_path))
    sources = [RowOrigin(entry, deletes.delete_files_for(entry)) for entry in found]
    return ScanPlan(snapshot.snapshot_id, "full", _files(manifests.table, snapshot, sources), warning=warning)


def _files(table: Table, snapshot: Snapshot, sources: list[RowOrigin]) -> tuple[DataFile, ...]:
    metadata = FileMetadata.of(table, snapshot)
    return tuple(_data_file(source, metadata) for source in sources)


def _data_file(source: RowOrigin, file_metadata: FileMetadata) -> DataFile:
    file = source.entry.data_file
    return DataFile(
        path=file.file_path,
        rows=file.record_count,
        bytes=file.file_size_in_bytes,
        delete_files=source.deletes,
        partition=file_metadata.partition(file),
        schema_id=file_metadata.schema_id(source.entry),
        format=row_format(file.file_format.value),
        updated=source.updated,
    )


def _snapshots_between(table: Table, from_snapshot: int, to: Snapshot) -> list[Snapshot] | None:
    """The snapshots after `from_snapshot` up to `to`, oldest first; None when it is not an ancestor of `to`."""
    found: list[Snapshot] = []
    by_id = {snapshot.snapshot_id: snapshot for snapshot in table.metadata.snapshots}
    by_id.pop(to.snapshot_id, None)
    snapshot: Snapshot | None = to
    while snapshot is not None:
        if snapshot.snapshot_id == from_snapshot:
            return found[::-1]
        found.append(snapshot)
        parent = snapshot.parent_snapshot_id
        # Each snapshot once: damaged metadata can have a cycle.
        snapshot = None if parent is None else by_id.pop(parent, None)
    return None


def _removed(manifests: Manifests, snapshot: Snapshot) -> tuple[int, int]:
    """The numbers of rows that the snapshot removed, and of keys of its equality deletes that may apply to older rows.

    Rows that an overwrite wrote again do not count.
    """
    if lineage.operation(snapshot) not in (Operation.OVERWRITE, Operation.DELETE):
        return 0, 0
    rows = keys = 0
    oldest = manifests.oldest(snapshot)
    for manifest in manifests.of(snapshot):
        if manifest.added_snapshot_id != snapshot.snapshot_id:
            continue
        if manifest.content == ManifestContent.DATA:
            rows += (manifest.deleted_rows_count or 0) - (manifest.added_rows_count or 0)
            continue
        for entry in manifests.entries(manifest):
            if entry.snapshot_id != snapshot.snapshot_id or entry.status == ManifestEntryStatus.EXISTING:
                continue
            is_added, count = entry.status == ManifestEntryStatus.ADDED, entry.data_file.record_count
            if entry.data_file.content != DataFileContent.EQUALITY_DELETES:
                # An added row of position deletes is a deleted row of the table.
                rows += count if is_added else -count
            elif is_added and (entry.sequence_number or 0) > oldest:
                keys += count
    return max(0, rows), keys
