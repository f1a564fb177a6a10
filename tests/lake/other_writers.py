"""Table changes by other engines that PyIceberg does not support: position and equality deletes, compaction."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan, _dataframe_to_data_files
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriter,
    ManifestWriterV2,
)
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update.snapshot import _FastAppendFiles, _OverwriteFiles
from pyiceberg.typedef import Record

from offtake.lake.delete_files import DeletionVector
from offtake.lake.deletion_vectors import read_positions
from offtake.lake.locations import local_path
from tests.lake.format_3 import ManifestWriterV3, vector_files, writing_format_3

FILE_PATH = 2147483546
DELETE_FORMAT = FileFormat.PARQUET  # the format of delete files in manifests; tests change it
Bounds = Literal["none", "exact", "range"]


class _DeletesContent:
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}  # type: ignore[misc]


class _DeleteWriter(_DeletesContent, ManifestWriterV2):
    pass


class _DeleteWriterV3(_DeletesContent, ManifestWriterV3):
    pass


class _RowDelta(_FastAppendFiles):
    """A commit that adds delete files, and optionally data files; it removes the vectors that it replaces."""

    delete_files: tuple[DataFile, ...] = ()

    def _manifests(self) -> list[ManifestFile]:
        written = []
        for spec_id in {file.spec_id for file in self.delete_files}:
            with self._writer(spec_id) as writer:
                for file in self.delete_files:
                    if file.spec_id == spec_id:
                        entry = ManifestEntry.from_args(
                            status=ManifestEntryStatus.ADDED, snapshot_id=self._snapshot_id, data_file=file
                        )
                        writer.add(entry)
            written.append(writer.to_manifest_file())
        return [*written, *super()._manifests()]

    def _writer(self, spec_id: int) -> ManifestWriter:
        metadata = self._transaction.table_metadata
        kind = _DeleteWriter if metadata.format_version < 3 else _DeleteWriterV3
        return kind(self.spec(spec_id), metadata.schema(), self.new_manifest_output(), self._snapshot_id, "null")

    def _existing_manifests(self) -> list[ManifestFile]:
        replaced = {file[17] for file in self.delete_files if len(file) > 17}
        found = []
        for manifest in super()._existing_manifests():
            live = [] if manifest.content == ManifestContent.DATA else manifest.fetch_manifest_entry(self._io)
            if not any(_is_vector_of(entry, replaced) for entry in live):
                found.append(manifest)
                continue
            with self._writer(manifest.partition_spec_id) as writer:
                for entry in live:
                    (writer.delete if _is_vector_of(entry, replaced) else writer.existing)(entry)
            found.append(writer.to_manifest_file())
        return found


def _is_vector_of(entry: ManifestEntry, data_files: Collection[str]) -> bool:
    file = entry.data_file
    return file.file_format == FileFormat.PUFFIN and len(file) > 17 and file[17] in data_files


class _Compaction(_OverwriteFiles):
    """A compaction commit; removes delete files that apply only to the rewritten files."""

    without_deletes: Collection[str] = ()

    def _summary(self, snapshot_properties: dict[str, str] = {}) -> Summary:  # noqa: B006 - PyIceberg's signature
        made = super()._summary(snapshot_properties)
        return Summary(operation=Operation.REPLACE, **made.additional_properties)

    def _existing_manifests(self) -> list[ManifestFile]:
        return [one for one in super()._existing_manifests() if not self._is_spent(one)]

    def _is_spent(self, manifest: ManifestFile) -> bool:
        if manifest.content != ManifestContent.DELETES:
            return False
        return all(_referenced(entry) <= set(self.without_deletes) for entry in manifest.fetch_manifest_entry(self._io))


def _referenced(entry: ManifestEntry) -> set[str]:
    """The data files that a delete file refers to."""
    file = entry.data_file
    if file.file_format == FileFormat.PUFFIN:
        return {file[17]}
    return set(pq.read_table(local_path(file.file_path)).column(0).to_pylist())


def data_files(table: Table) -> dict[str, DataFile]:
    """The table's current data files by path."""
    snapshot = table.current_snapshot()
    entries = (
        entry
        for manifest in (snapshot.manifests(table.io) if snapshot else ())
        if manifest.content == ManifestContent.DATA
        for entry in manifest.fetch_manifest_entry(table.io)
    )
    return {entry.data_file.file_path: entry.data_file for entry in entries}


def entries(table: Table) -> dict[tuple[str, int], DataFile]:
    """The table's current data files by path and adding snapshot; a path can occur several times."""
    snapshot = table.current_snapshot()
    return {
        (entry.data_file.file_path, entry.snapshot_id or 0): entry.data_file
        for manifest in (snapshot.manifests(table.io) if snapshot else ())
        if manifest.content == ManifestContent.DATA
        for entry in manifest.fetch_manifest_entry(table.io)
    }


def append_again(table: Table, *files: DataFile) -> None:
    """Append data files, even if the table has them already."""
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as producer:
        for file in files:
            producer.append_data_file(file)


def delete_positions(table: Table, path: str, positions: list[int], bounds: Bounds = "none") -> None:
    """Delete rows of a data file by position, as merge-on-read engines do."""
    row_delta(table, {path: positions}, bounds)


def row_delta(
    table: Table,
    deleted: Mapping[str, Sequence[int]],
    bounds: Bounds = "none",
    *,
    rows: pa.Table | None = None,
    operation: Operation = Operation.OVERWRITE,
) -> None:
    """Delete positions of several data files in one commit, with a delete file per partition, and add rows."""
    files = data_files(table)
    by_partition: dict[tuple[int, str], list[str]] = defaultdict(list)
    for path in deleted:
        by_partition[files[path].spec_id, str(files[path].partition)].append(path)
    made = []
    for paths in by_partition.values():
        pairs = sorted((path, position) for path in paths for position in deleted[path])
        columns = {"file_path": [path for path, _ in pairs], "pos": pa.array([at for _, at in pairs], pa.int64())}
        delete = _delete_file(table, pa.table(columns), files[paths[0]], DataFileContent.POSITION_DELETES)
        if bounds != "none":
            lowest, highest = min(paths), max(paths)
            if bounds == "range":
                lowest, highest = lowest[:-1], highest + "~"
            delete[10], delete[11] = {FILE_PATH: lowest.encode()}, {FILE_PATH: highest.encode()}
        made.append(delete)
    _commit_deletes(table, made, rows, operation)


def delete_equal(table: Table, n: int, *, rows: pa.Table | None = None) -> None:
    """Add an equality delete for a value of column `n`, as streaming writers do, and optionally rows."""
    field_id = table.schema().find_field("n").field_id
    delete = _delete_file(table, pa.table({"n": [n]}), None, DataFileContent.EQUALITY_DELETES, [field_id])
    _commit_deletes(table, [delete], rows)


def delete_by_vectors(
    table: Table, deleted: Mapping[str, Sequence[int]], *, rows: pa.Table | None = None
) -> list[DataFile]:
    """Delete rows by deletion vectors, which also have the positions of the vectors that they replace."""
    with writing_format_3():
        known = vectors(table)
        merged = {path: {*positions, *known.get(path, ())} for path, positions in deleted.items()}
        made = vector_files(table, {path: sorted(one) for path, one in merged.items()}, data_files(table))
        _commit_deletes(table, made, rows)
    return made


def vectors(table: Table) -> dict[str, list[int]]:
    """The deleted positions by data file, of the table's deletion vectors."""
    snapshot = table.current_snapshot()
    entries = (
        entry.data_file
        for manifest in (snapshot.manifests(table.io) if snapshot else ())
        if manifest.content == ManifestContent.DELETES
        for entry in manifest.fetch_manifest_entry(table.io)
        if entry.data_file.file_format == FileFormat.PUFFIN
    )
    return {
        one[17]: read_positions(
            DeletionVector(one.file_path, one[17], one[18], one[19], one.record_count), None
        ).to_pylist()
        for one in entries
    }


def delete_vector(table: Table, path: str) -> None:
    """Add a deletion vector with arbitrary content to a table of version 2."""
    puffin = local_path(table.location()) / "data" / f"{uuid4().hex}.puffin"
    puffin.write_bytes(b"PFA1")
    made = _described(table, puffin, 1, data_files(table)[path], DataFileContent.POSITION_DELETES, FileFormat.PUFFIN)
    _commit_deletes(table, [made])


def add_vector(table: Table, *described: DataFile) -> None:
    """Add deletion vectors as described, without looking at others."""
    with writing_format_3():
        _commit_deletes(table, described)


def compact(
    table: Table,
    paths: Collection[str] | None = None,
    outputs: int = 1,
    *,
    drop_deletes: bool = False,
    rows: pa.Table | None = None,
) -> None:
    """Rewrite data files (default: all) into `into` files with the same rows in each partition.

    `rows`: these rows, for tables that PyIceberg cannot read.
    """
    files = [file for path, file in data_files(table).items() if paths is None or path in paths]
    if rows is None:
        tasks = [task for task in table.scan().plan_files() if task.file in files]
        # One by one: PyIceberg applies the deletes of all tasks of a path to each of them.
        scan = ArrowScan(table.metadata, table.io, table.schema(), AlwaysTrue())
        rows = pa.concat_tables([scan.to_table([task]) for task in tasks])
    size = -(-rows.num_rows // outputs) or 1
    transaction = table.transaction()
    with _Compaction(operation=Operation.OVERWRITE, transaction=transaction, io=table.io) as producer:
        assert isinstance(producer, _Compaction)
        if drop_deletes:
            producer.without_deletes = [file.file_path for file in files]
        for file in files:
            producer.delete_data_file(file)
        for first in range(0, rows.num_rows, size):
            for made in _dataframe_to_data_files(table.metadata, rows.slice(first, size), table.io):
                producer.append_data_file(made)
    transaction.commit_transaction()


def _commit_deletes(
    table: Table,
    delete_files: Sequence[DataFile],
    rows: pa.Table | None = None,
    operation: Operation = Operation.OVERWRITE,
) -> None:
    transaction = table.transaction()
    with _RowDelta(operation=operation, transaction=transaction, io=table.io) as producer:
        assert isinstance(producer, _RowDelta)
        producer.delete_files = tuple(delete_files)
        if rows is not None:
            for file in _dataframe_to_data_files(table.metadata, rows, table.io):
                producer.append_data_file(file)
    transaction.commit_transaction()


def _delete_file(
    table: Table, rows: pa.Table, about: DataFile | None, content: DataFileContent, ids: list[int] | None = None
) -> DataFile:
    path = local_path(table.location()) / "data" / f"{uuid4().hex}.parquet"
    pq.write_table(rows, path)
    return _described(table, path, rows.num_rows, about, content, DELETE_FORMAT, ids)


def _described(
    table: Table,
    path: Path,
    rows: int,
    about: DataFile | None,
    content: DataFileContent,
    file_format: FileFormat,
    ids: list[int] | None = None,
) -> DataFile:
    known: dict[str, Any] = {
        "content": content,
        "file_path": f"file://{path}",
        "file_format": file_format,
        "partition": about.partition if about else Record(),
        "record_count": rows,
        "file_size_in_bytes": path.stat().st_size,
        "equality_ids": ids,
    }
    made = DataFile.from_args(**known)
    made.spec_id = about.spec_id if about else table.spec().spec_id
    return made
