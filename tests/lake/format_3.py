"""Tables of format version 3: PyIceberg reads their metadata, but writes manifests of version 2 only."""

# ruff: noqa: SLF001 - what PyIceberg lacks is added inside of it

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from pyiceberg import manifest as manifests
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestListWriterV2,
    ManifestWriterV2,
    clear_manifest_cache,
)
from pyiceberg.table import Table
from pyiceberg.table import update as updates
from pyiceberg.table.metadata import TableMetadataV2, TableMetadataV3
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import UpgradeFormatVersionUpdate
from pyiceberg.table.update import snapshot as producers
from pyroaring import BitMap64

from offtake.lake.locations import local_path

FIRST_ROW_ID, _REFERENCED, _OFFSET, _SIZE = 16, 17, 18, 19
_MANIFEST_ROW_ID = 15


class ManifestWriterV3(ManifestWriterV2):
    data_sequence: int | None = None

    @property
    def version(self) -> Any:
        return 3

    def prepare_entry(self, entry: ManifestEntry) -> ManifestEntry:
        entry.data_file._data += [None] * (_SIZE + 1 - len(entry.data_file._data))
        is_data = entry.status == ManifestEntryStatus.ADDED and self.content() == ManifestContent.DATA
        if is_data and self.data_sequence is not None:
            entry.sequence_number = self.data_sequence
        return super().prepare_entry(entry)


class _ManifestListWriterV3(ManifestListWriterV2):
    """Assigns first row ids; `next_row_id` is the next one that is free."""

    def __init__(self, *arguments: Any, next_row_id: int, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._format_version = 3
        self._meta["format-version"] = "3"
        self.next_row_id = next_row_id

    def prepare_manifest(self, manifest_file: ManifestFile) -> ManifestFile:
        made = super().prepare_manifest(manifest_file)
        made._data = [*made._data, *[None] * (_MANIFEST_ROW_ID + 1 - len(made._data))]
        if made.content == ManifestContent.DATA and made[_MANIFEST_ROW_ID] is None:
            made[_MANIFEST_ROW_ID] = self.next_row_id
            self.next_row_id += (made.added_rows_count or 0) + (made.existing_rows_count or 0)
        return made


@contextmanager
def writing_format_3(data_sequence: int | None = None) -> Iterator[None]:  # noqa: C901 - one function for each that is replaced
    """Context manager: PyIceberg writes manifests of version 3, and keeps row ids, for tables of version 3.

    `data_sequence`: the sequence number of the rows of added data files, instead of the commit's.
    """
    commit, fetch = producers._SnapshotProducer._commit, ManifestFile.fetch_manifest_entry
    old_manifest, old_list = manifests.write_manifest, manifests.write_manifest_list
    writers: list[_ManifestListWriterV3] = []
    next_row_ids: list[int | None] = []

    def _commit(producer: Any) -> Any:
        next_row_ids[:] = [getattr(producer._transaction.table_metadata, "next_row_id", None)]
        return commit(producer)

    def fetch_manifest_entry(self: ManifestFile, io: Any, discard_deleted: bool = True) -> list[ManifestEntry]:
        entries = fetch(self, io, False)
        following = self[_MANIFEST_ROW_ID] if len(self) > _MANIFEST_ROW_ID else None
        for entry in entries:
            if following is not None and entry.data_file[FIRST_ROW_ID] is None:
                entry.data_file[FIRST_ROW_ID] = following
                following += entry.data_file.record_count
        return [one for one in entries if not discard_deleted or one.status != ManifestEntryStatus.DELETED]

    def write_manifest(format_version: Any, *arguments: Any, **named: Any) -> Any:
        if format_version < 3:
            return old_manifest(format_version, *arguments, **named)
        return ManifestWriterV3(*arguments, **named)

    def write_manifest_list(format_version: Any, avro_compression: Any, **named: Any) -> Any:
        writers.clear()
        if format_version < 3:
            return old_list(format_version, avro_compression=avro_compression, **named)
        writers.append(_ManifestListWriterV3(**named, compression=avro_compression, next_row_id=next_row_ids[0] or 0))
        return writers[0]

    def snapshot(**named: Any) -> Snapshot:
        if writers:
            first = next_row_ids[0] or 0
            named |= {"first_row_id": first, "added_rows": writers[0].next_row_id - first}
        return Snapshot(**named)

    clear_manifest_cache()
    with (
        patch.object(manifests, "DEFAULT_READ_VERSION", 3),
        patch.object(ManifestWriterV3, "data_sequence", data_sequence),
        patch.object(updates, "SUPPORTED_TABLE_FORMAT_VERSION", 3),
        patch.object(TableMetadataV3, "model_dump_json", TableMetadataV2.model_dump_json),
        patch.object(producers._SnapshotProducer, "_commit", _commit),
        patch.object(ManifestFile, "fetch_manifest_entry", fetch_manifest_entry),
        patch.object(producers, "write_manifest", write_manifest),
        patch.object(producers, "write_manifest_list", write_manifest_list),
        patch.object(producers, "Snapshot", snapshot),
    ):
        yield
    clear_manifest_cache()


def upgrade(table: Table) -> None:
    """Make the table one of version 3."""
    with writing_format_3(), table.transaction() as transaction:
        transaction._apply((UpgradeFormatVersionUpdate(**{"format-version": 3}),))
    path = local_path(table.metadata_location)
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "next-row-id": 0}), encoding="utf-8")


def vector_blob(positions: Sequence[int]) -> bytes:
    """The blob `deletion-vector-v1` of the positions."""
    body = bytes.fromhex("d1d33964") + BitMap64(positions).serialize()
    return len(body).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def vector_files(table: Table, deleted: Mapping[str, Sequence[int]], about: Mapping[str, DataFile]) -> list[DataFile]:
    """Write deletion vectors of several data files into one Puffin file. Returns their entries in the manifest."""
    path = local_path(table.location()) / "data" / f"{uuid4().hex}.puffin"
    content, made = b"PFA1", []
    for data_file, positions in deleted.items():
        blob = vector_blob(positions)
        made.append(vector_file(f"file://{path}", data_file, len(content), len(blob), len(positions), about[data_file]))
        content += blob
    path.write_bytes(content + _footer(made))
    for one in made:
        one._data[5] = path.stat().st_size
    return made


def _footer(vectors: Sequence[DataFile]) -> bytes:
    blobs = [
        {
            "type": "deletion-vector-v1",
            "fields": [2147483546],
            "snapshot-id": -1,
            "sequence-number": -1,
            "offset": one[_OFFSET],
            "length": one[_SIZE],
            "properties": {"referenced-data-file": one[_REFERENCED], "cardinality": str(one.record_count)},
        }
        for one in vectors
    ]
    payload = json.dumps({"blobs": blobs, "properties": {}}).encode()
    return b"PFA1" + payload + len(payload).to_bytes(4, "little") + bytes(4) + b"PFA1"


def vector_file(path: str, data_file: str | None, offset: int, size: int, rows: int, about: DataFile) -> DataFile:
    """The manifest's description of a deletion vector."""
    known: dict[str, Any] = {
        "content": DataFileContent.POSITION_DELETES,
        "file_path": path,
        "file_format": FileFormat.PUFFIN,
        "partition": about.partition,
        "record_count": rows,
        "file_size_in_bytes": offset + size,
        "referenced_data_file": data_file,
        "content_offset": offset,
        "content_size_in_bytes": size,
    }
    made = DataFile.from_args(3, **known)
    made.spec_id = about.spec_id
    return made
