"""Rewriting a table's files with other column types, as one snapshot in the commit that changes the types.

The manifest entry of a new file keeps the snapshot id and the sequence number of the file it replaces. So a batch's
rows are still found by the batch's snapshot, and increments have the same rows as without the rewrite. The old files
stay for runs that were planned with them.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import pyarrow as pa
from pyiceberg.manifest import DataFile, ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update.snapshot import _SnapshotProducer

from offtake.lake import parts, reading, scan
from offtake.lake.catalog import Lake
from offtake.lake.file_metadata import FileMetadata
from offtake.lake.manifests import Manifests
from offtake.lake.parsing.conform import cast_to_schema
from offtake.lake.parsing.kinds import Path
from offtake.lake.parsing.numbers import arrays_at
from offtake.lake.table_names import TableName
from offtake.lake.writing import DataFiles

_TOTALS = ("total-data-files", "total-delete-files", "total-records", "total-files-size", "total-position-deletes",
           "total-equality-deletes")  # fmt: skip


class NotRewritableError(Exception):
    """The table has files that cannot be rewritten; the message says which."""


@dataclass
class Rewrite:
    """The new files. `paths`: the new files' URIs by the old file's path."""

    written: list[DataFiles] = field(default_factory=list)
    paths: dict[str, list[str]] = field(default_factory=dict)

    def remove(self) -> None:
        """Delete the new files, when the rewrite was not committed."""
        for files in self.written:
            files.remove()


def stored_values(lake: Lake, name: TableName, path: Path) -> Iterator[pa.Array]:
    """The values that the table has now in a column, or in a field nested in it."""
    table = lake.load(name)
    snapshot = table.current_snapshot()
    if snapshot is None:
        return
    schema = scan.open_table(lake, name).schema(snapshot.snapshot_id)
    file_metadata = FileMetadata.of(table, snapshot)
    for entry in _live(table, snapshot):
        for batch in reading.read([whole_file(entry, file_metadata)], schema, lake.warehouse.access):
            yield from arrays_at(batch.column(path[0]), path)


def rewrite_files(transaction: Transaction, lake: Lake, name: TableName) -> Rewrite:
    """Write the table's rows with the columns that the table has in the transaction.

    Raises `NotRewritableError`, and `SchemaMismatchError` for a value that the new type cannot hold.
    """
    # This module of PyIceberg takes long to import; a server must start without it.
    from pyiceberg.io.pyarrow import schema_to_pyarrow  # noqa: PLC0415 - see above

    table = lake.load(name)
    snapshot = table.current_snapshot()
    rewrite = Rewrite()
    if snapshot is None:
        return rewrite
    schema = scan.open_table(lake, name).schema(snapshot.snapshot_id)
    # With field ids: the columns of files without ids are resolved by the schema that their rows were added under.
    target = parts.narrow_types(schema_to_pyarrow(transaction.table_metadata.schema(), include_field_ids=True))
    file_metadata = FileMetadata.of(table, snapshot)
    try:
        for entry in _live(table, snapshot):
            files = DataFiles(lake.warehouse, f"{table.location()}/data", f"{uuid4().hex}-r", target)
            rewrite.written.append(files)
            files.write(
                cast_to_schema(batch, target)
                for batch in reading.read([whole_file(entry, file_metadata)], schema, lake.warehouse.access)
            )
            rewrite.paths[entry.data_file.file_path] = files.uris
    except BaseException:
        rewrite.remove()
        raise
    return rewrite


def commit_rewrite(transaction: Transaction, rewrite: Rewrite) -> None:
    """Add the snapshot that replaces the old files with the new ones."""
    if rewrite.paths:
        producer = _ReplaceFiles(Operation.REPLACE, transaction, transaction._table.io)  # noqa: SLF001 - as PyIceberg does
        producer.rewrite = rewrite
        producer.commit()


class _ReplaceFiles(_SnapshotProducer["_ReplaceFiles"]):
    """Replaces files and keeps the entries' snapshot ids and sequence numbers; PyIceberg has no public API for it."""

    rewrite: Rewrite

    def _validate_concurrency(self) -> None:
        """No-op: the commit fails anyway when the table has changed since the files were read."""

    def _deleted_entries(self) -> list[ManifestEntry]:
        return [
            ManifestEntry.from_args(
                status=ManifestEntryStatus.DELETED,
                snapshot_id=self.snapshot_id,
                sequence_number=entry.sequence_number,
                file_sequence_number=entry.file_sequence_number,
                data_file=entry.data_file,
            )
            for entry in self._entries()
        ]

    def _existing_manifests(self) -> list[ManifestFile]:
        by_spec: dict[int, list[ManifestEntry]] = defaultdict(list)
        for entry in self._entries():
            by_spec[entry.data_file.spec_id].append(entry)
        manifests = []
        for spec_id, entries in by_spec.items():
            with self.new_manifest_writer(self.spec(spec_id)) as writer:
                for entry in entries:
                    for path in self.rewrite.paths[entry.data_file.file_path]:
                        writer.add_entry(self._moved(entry, path))
            manifests.append(writer.to_manifest_file())
        return manifests

    def _summary(self, snapshot_properties: dict[str, str] | None = None) -> Summary:
        # PyIceberg's own summary does not support `replace`. The totals stay as they are; only the total size is
        # inexact until the next batch.
        previous = self._transaction.table_metadata.snapshot_by_id(self._parent_snapshot_id or 0)
        known = previous.summary.additional_properties if previous and previous.summary else {}
        totals = {name: known[name] for name in _TOTALS if name in known}
        return Summary(operation=Operation.REPLACE, **totals, **(snapshot_properties or {}))

    def _moved(self, entry: ManifestEntry, path: str) -> ManifestEntry:
        from pyiceberg.io.pyarrow import parquet_file_to_data_file  # noqa: PLC0415 - as in `rewrite_files`

        file: DataFile = parquet_file_to_data_file(self._io, self._transaction.table_metadata, path)
        return ManifestEntry.from_args(
            status=ManifestEntryStatus.EXISTING,
            snapshot_id=entry.snapshot_id,
            sequence_number=entry.sequence_number,
            file_sequence_number=entry.file_sequence_number,
            data_file=file,
        )

    def _entries(self) -> list[ManifestEntry]:
        snapshot = self._transaction.table_metadata.snapshot_by_id(self._parent_snapshot_id or 0)
        assert snapshot is not None  # noqa: S101 - there are files to replace
        return _live(self._transaction._table, snapshot)  # noqa: SLF001 - as PyIceberg does


def _live(table: Table, snapshot: Snapshot) -> list[ManifestEntry]:
    manifests = Manifests(table)
    if any(manifest.content != ManifestContent.DATA for manifest in manifests.of(snapshot)):
        raise NotRewritableError("it has delete files")
    return list(manifests.live(snapshot))


def whole_file(entry: ManifestEntry, file_metadata: FileMetadata) -> parts.FileSlice:
    """All rows of the file."""
    file = entry.data_file
    return parts.FileSlice(
        path=file.file_path,
        first=0,
        last=None,
        rows=file.record_count,
        bytes=file.file_size_in_bytes,
        partition=file_metadata.partition(file),
        schema_id=file_metadata.schema_id(entry),
    )
