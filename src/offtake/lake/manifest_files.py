"""Reading manifest lists and manifests with the fields of format version 3.

PyIceberg 0.12 reads them with the fields of version 2: without first row ids, and without the places of deletion
vectors.
"""

from typing import Final

from pyiceberg.avro.file import AvroFile
from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    MANIFEST_ENTRY_SCHEMAS,
    MANIFEST_LIST_FILE_SCHEMAS,
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    PartitionFieldSummary,
)
from pyiceberg.schema import Schema
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import StructType

_LIST: Final = MANIFEST_LIST_FILE_SCHEMAS[3]
_ENTRY: Final = MANIFEST_ENTRY_SCHEMAS[3]


def _index(schema: Schema, field_id: int, struct: int | None = None) -> int:
    """The index of a field in PyIceberg's records; `struct`: the id of the field that contains it."""
    kind = schema.as_struct() if struct is None else schema.find_type(struct)
    if not isinstance(kind, StructType):
        raise TypeError(f"field {struct} of manifests is a struct")
    return next(index for index, field in enumerate(kind.fields) if field.field_id == field_id)


_MANIFEST_FIRST_ROW_ID: Final = _index(_LIST, 520)
_FIRST_ROW_ID: Final = _index(_ENTRY, 142, 2)
_REFERENCED_FILE: Final = _index(_ENTRY, 143, 2)
_CONTENT_OFFSET: Final = _index(_ENTRY, 144, 2)
_CONTENT_SIZE: Final = _index(_ENTRY, 145, 2)


def read_list(snapshot: Snapshot, io: FileIO) -> list[ManifestFile]:
    """The snapshot's manifests."""
    with AvroFile[ManifestFile](
        io.new_input(snapshot.manifest_list),
        _LIST,
        read_types={-1: ManifestFile, 508: PartitionFieldSummary},
        read_enums={517: ManifestContent},
    ) as reader:
        return list(reader)


def read_entries(manifest: ManifestFile, io: FileIO) -> list[ManifestEntry]:
    """The manifest's entries, including those of removed files, with what they inherit from the manifest."""
    with AvroFile[ManifestEntry](
        io.new_input(manifest.manifest_path),
        _ENTRY,
        read_types={-1: ManifestEntry, 2: DataFile},
        read_enums={0: ManifestEntryStatus, 101: FileFormat, 134: DataFileContent},
    ) as reader:
        return [_inheriting(entry, manifest) for entry in reader]


def _inheriting(entry: ManifestEntry, manifest: ManifestFile) -> ManifestEntry:
    """The entry with its snapshot, sequence numbers, partition spec and first row id."""
    if entry.snapshot_id is None and manifest.added_snapshot_id is not None:
        entry.snapshot_id = manifest.added_snapshot_id
    # Version 1 has no sequence numbers: all are 0. Later versions inherit them for added files only.
    if manifest.sequence_number == 0 or entry.status == ManifestEntryStatus.ADDED:
        if entry.sequence_number is None:
            entry.sequence_number = manifest.sequence_number
        if entry.file_sequence_number is None:
            entry.file_sequence_number = manifest.sequence_number
    entry.data_file.spec_id = manifest.partition_spec_id
    return entry


def referenced_file(file: DataFile) -> str | None:
    """The only data file whose rows the delete file deletes, if the manifest names it."""
    found: str | None = file[_REFERENCED_FILE]
    return found


def content_range(file: DataFile) -> tuple[int, int] | None:
    """Offset and size in bytes of a deletion vector in its file."""
    offset, size = file[_CONTENT_OFFSET], file[_CONTENT_SIZE]
    return None if offset is None or size is None else (offset, size)
