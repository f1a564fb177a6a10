"""What other engines do to tables and PyIceberg cannot: position and equality deletes, compaction."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
)
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update.snapshot import _FastAppendFiles, _OverwriteFiles
from pyiceberg.typedef import Record

from offtake.lake.catalog import local_path


class _DeleteWriter(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


class _RowDelta(_FastAppendFiles):
    """A commit that adds delete files."""

    delete_files: tuple[DataFile, ...] = ()

    def _manifests(self) -> list[ManifestFile]:
        metadata = self._transaction.table_metadata
        output = self.new_manifest_output()
        with _DeleteWriter(metadata.spec(), metadata.schema(), output, self._snapshot_id, "null") as writer:
            for file in self.delete_files:
                entry = ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED, snapshot_id=self._snapshot_id, data_file=file
                )
                writer.add(entry)
        return [writer.to_manifest_file(), *self._existing_manifests()]


class _Compaction(_OverwriteFiles):
    def _summary(self, snapshot_properties: dict[str, str] = {}) -> Summary:  # noqa: B006 - PyIceberg's signature
        made = super()._summary(snapshot_properties)
        return Summary(operation=Operation.REPLACE, **made.additional_properties)


def delete_positions(table: Table, path: str, positions: list[int]) -> None:
    """Delete rows of a data file by their positions, as merge-on-read engines do."""
    columns = {"file_path": pa.array([path] * len(positions)), "pos": pa.array(positions, pa.int64())}
    _commit_deletes(table, pa.table(columns), DataFileContent.POSITION_DELETES, None)


def delete_equal(table: Table, n: int) -> None:
    """Delete rows by the value of their column `n`, as streaming writers do."""
    field_id = table.schema().find_field("n").field_id
    _commit_deletes(table, pa.table({"n": [n]}), DataFileContent.EQUALITY_DELETES, [field_id])


def compact(table: Table) -> None:
    """Rewrite all data files into one with the same rows."""
    rows = table.scan().to_arrow()
    path = _new_file(table, rows)
    old = [task.file for task in table.scan().plan_files()]
    transaction = table.transaction()
    with _Compaction(operation=Operation.OVERWRITE, transaction=transaction, io=table.io) as producer:
        for file in old:
            producer.delete_data_file(file)
        producer.append_data_file(_data_file(table, path, rows.num_rows, DataFileContent.DATA, None))
    transaction.commit_transaction()


def _commit_deletes(table: Table, rows: pa.Table, content: DataFileContent, equality_ids: list[int] | None) -> None:
    path = _new_file(table, rows)
    transaction = table.transaction()
    with _RowDelta(operation=Operation.OVERWRITE, transaction=transaction, io=table.io) as producer:
        assert isinstance(producer, _RowDelta)
        producer.delete_files = (_data_file(table, path, rows.num_rows, content, equality_ids),)
    transaction.commit_transaction()


def _new_file(table: Table, rows: pa.Table) -> Path:
    path = local_path(table.location()) / "data" / f"{uuid4().hex}.parquet"
    pq.write_table(rows, path)
    return path


def _data_file(
    table: Table, path: Path, rows: int, content: DataFileContent, equality_ids: list[int] | None
) -> DataFile:
    known: dict[str, Any] = {
        "content": content,
        "file_path": path.as_uri(),
        "file_format": FileFormat.PARQUET,
        "partition": Record(),
        "record_count": rows,
        "file_size_in_bytes": path.stat().st_size,
        "equality_ids": equality_ids,
        "spec_id": table.spec().spec_id,
    }
    made = DataFile.from_args(**known)
    made.spec_id = table.spec().spec_id
    return made
