"""Reading manifest lists and manifests, with the fields of format version 3.

PyIceberg's own reading is not used: it keeps the records of manifest lists by the manifests' paths for the whole
process, so that a hostile table could say what the manifests of other tables are.
"""

from collections.abc import Iterable
from typing import Any, Final

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
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import StructType

from offtake.lake.avro_blocks import AvroError
from offtake.lake.manifest_records import Makers, read_records

_LIST: Final = MANIFEST_LIST_FILE_SCHEMAS[3]
_ENTRY: Final = MANIFEST_ENTRY_SCHEMAS[3]
_OF_LIST: Final[Makers] = {-1: ManifestFile, 508: PartitionFieldSummary, 517: ManifestContent}
_OF_ENTRIES: Final[Makers] = {
    -1: ManifestEntry,
    0: ManifestEntryStatus,
    2: DataFile,
    101: FileFormat,
    134: DataFileContent,
}

_UNREAD: Final = frozenset((108, 131, 132, 137, 140))
"""Fields that are not used: statistics of columns among them, which are most of a manifest."""
_VALUE_COUNTS: Final = 109
_BOUNDS: Final = frozenset((110, 125, 128))
"""The number of nulls, and the lowest and the highest value of each column."""


def read_list(snapshot: Snapshot, io: FileIO) -> list[ManifestFile]:
    """The snapshot's manifests. Raises `AvroError`, and the errors of opening the file."""
    return _read(snapshot.manifest_list, io, _LIST.as_struct(), _OF_LIST)


def read_entries(
    manifest: ManifestFile, io: FileIO, *, with_counts: bool = False, with_bounds: bool = False
) -> list[ManifestEntry]:
    """The manifest's entries, including those of removed files, with what they inherit. Raises as `read_list`.

    Without the statistics of columns that no plan needs: in a table with 10,000 files of 200 columns, there are ten
    million of them. `with_counts`: with the number of values of each column. `with_bounds`: with the bounds of columns
    of data files too, which equality deletes are compared with.
    """
    unread = _UNREAD if with_counts else _UNREAD | {_VALUE_COUNTS}
    if manifest.content == ManifestContent.DATA and not with_bounds:
        unread |= _BOUNDS
    found = _read(manifest.manifest_path, io, _ENTRY.as_struct(), _OF_ENTRIES, unread)
    _assign_row_ids(found, manifest)
    return [_inheriting(entry, manifest) for entry in found]


def _read(
    location: str, io: FileIO, wanted: StructType, makers: Makers, unread: frozenset[int] = frozenset()
) -> list[Any]:
    with io.new_input(location).open() as file:
        content = file.read()
    try:
        return read_records(content, wanted, makers, unread)
    except AvroError as error:
        raise AvroError(f"{location[:300]}: {error}") from None


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


def _assign_row_ids(entries: Iterable[ManifestEntry], manifest: ManifestFile) -> None:
    """Give files without a first row id the manifest's, one after the other."""
    following = inherited_row_id(manifest)
    if following is None:
        return
    for entry in entries:
        if entry.data_file[_FIRST_ROW_ID] is None:
            entry.data_file[_FIRST_ROW_ID] = following
            following += entry.data_file.record_count


def _index(kind: StructType, field_id: int) -> int:
    """The index of a field in records."""
    return next(index for index, one in enumerate(kind.fields) if one.field_id == field_id)


def _data_file() -> StructType:
    kind = _ENTRY.find_type(2)
    if not isinstance(kind, StructType):
        raise TypeError("the data file of a manifest's entry is a struct")
    return kind


_MANIFEST_FIRST_ROW_ID: Final = _index(_LIST.as_struct(), 520)
_FIRST_ROW_ID: Final = _index(_data_file(), 142)
_REFERENCED_FILE: Final = _index(_data_file(), 143)
_CONTENT_OFFSET: Final = _index(_data_file(), 144)
_CONTENT_SIZE: Final = _index(_data_file(), 145)


def inherited_row_id(manifest: ManifestFile) -> int | None:
    """The first row id that the manifest's files without one inherit; None before format version 3."""
    found: int | None = manifest[_MANIFEST_FIRST_ROW_ID]
    return found


def first_row_id(file: DataFile) -> int | None:
    """The id of the data file's first row; None when the file has no row lineage."""
    found: int | None = file[_FIRST_ROW_ID]
    return found


def referenced_file(file: DataFile) -> str | None:
    """The only data file whose rows the delete file deletes, if the manifest names it."""
    found: str | None = file[_REFERENCED_FILE]
    return found


def content_range(file: DataFile) -> tuple[int, int] | None:
    """Offset and size in bytes of a deletion vector in its file."""
    offset, size = file[_CONTENT_OFFSET], file[_CONTENT_SIZE]
    return None if offset is None or size is None else (offset, size)
