"""Which of a snapshot's delete files apply to which data file (Iceberg's specification, "Scan Planning").

A position delete applies to files of its partition that are not newer than itself; a delete file's bounds of
`file_path`, or the one file that the manifest names, narrow them down. A deletion vector applies to one file, and
replaces all position deletes of that file. An equality delete applies to older files of its partition, or of the whole
table when its spec is unpartitioned. A data file with an unsupported delete is refused.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat, ManifestEntry
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.table import Table

from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.lake import manifest_files
from offtake.lake.delete_files import DeleteFile, DeletionVector, PositionDeletes
from offtake.lake.positions import deleted_positions
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.iceberg_io import access_of

# The reserved field id of `file_path` in delete files.
_FILE_PATH: Final = 2147483546

Partition = tuple[int, tuple[object, ...]]
"""A partition spec's id and the values of its fields."""


@dataclass(frozen=True)
class _Delete:
    """A delete file, its sequence number, the snapshot that added it, and the bounds of the data files' paths.

    `reference`: what workers get; None for an unsupported delete file.
    """

    file: IcebergFile
    reference: PositionDeletes | DeletionVector | None
    sequence: int
    added_by: int | None
    lowest: bytes | None = None
    highest: bytes | None = None

    def may_apply_to(self, path: bytes) -> bool:
        return (self.lowest is None or self.lowest <= path) and (self.highest is None or path <= self.highest)


@dataclass
class Deletes:
    """The delete files of one snapshot."""

    table: str
    access: FileAccess | None = None
    _vectors: dict[str, list[_Delete]] = field(default_factory=lambda: defaultdict(list))
    _of_file: dict[str, list[_Delete]] = field(default_factory=lambda: defaultdict(list))
    _of_partition: dict[Partition, list[_Delete]] = field(default_factory=lambda: defaultdict(list))
    _equality: dict[Partition, list[_Delete]] = field(default_factory=lambda: defaultdict(list))
    _global: list[_Delete] = field(default_factory=list)

    @staticmethod
    def of(table: Table, entries: Iterable[ManifestEntry]) -> "Deletes":
        """The deletes of a snapshot, from the live entries of its delete manifests."""
        specs = table.specs()
        deletes = Deletes(".".join(table.name()), access_of(table))
        for entry in entries:
            deletes._add(entry, specs)
        return deletes

    def delete_files_for(self, entry: ManifestEntry) -> tuple[DeleteFile, ...]:
        """The delete files that may apply to the data file, sorted by path.

        Raises `DeliveryError` when an unsupported delete applies to it.
        """
        positional = self._positional(entry)
        if unsupported := self._unsupported(entry, positional):
            raise _unsupported_error(self.table, unsupported[0].file)
        return tuple(sorted(_references(positional), key=lambda one: one.path))

    def refuse(self, entry: ManifestEntry) -> bool:
        """Whether an unsupported delete applies to the data file."""
        return bool(self._unsupported(entry, self._positional(entry)))

    def refuse_uncounted(self, added_by: Container[int], oldest: int) -> None:
        """Raise `DeliveryError` for equality deletes that those snapshots added and that apply to older files.

        `oldest` is the lowest sequence number of the snapshot's data files. The metadata does not say how many
        delivered rows an equality delete removes.
        """
        for delete in (*self._global, *(one for of_partition in self._equality.values() for one in of_partition)):
            if delete.added_by in added_by and delete.sequence > oldest:
                raise _unsupported_error(self.table, delete.file)

    def subtract(self, entry: ManifestEntry) -> bool:
        """Whether rows of the data file are deleted, or an unsupported delete may delete some. Reads delete files."""
        if self.refuse(entry):
            return True
        references = _references(self._positional(entry))
        return deleted_positions(entry.data_file.file_path, references, self.access) is not None

    def _add(self, entry: ManifestEntry, specs: dict[int, PartitionSpec]) -> None:
        file, sequence = entry.data_file, entry.sequence_number or 0
        if file.content == DataFileContent.EQUALITY_DELETES:
            delete = _Delete(file, None, sequence, entry.snapshot_id)
            if specs[file.spec_id].is_unpartitioned():
                self._global.append(delete)
            else:
                self._equality[partition_of(file)].append(delete)
            return
        only = manifest_files.referenced_file(file)
        if file.file_format == FileFormat.PUFFIN:
            vector = _vector(self.table, file, only)
            self._vectors[vector.data_file].append(_Delete(file, vector, sequence, entry.snapshot_id))
            return
        reference = PositionDeletes(file.file_path) if file.file_format == FileFormat.PARQUET else None
        if only is not None:
            self._of_file[only].append(_Delete(file, reference, sequence, entry.snapshot_id))
            return
        lowest, highest = (file.lower_bounds or {}).get(_FILE_PATH), (file.upper_bounds or {}).get(_FILE_PATH)
        delete = _Delete(file, reference, sequence, entry.snapshot_id, lowest, highest)
        # Truncated bounds are never equal: a writer increments the upper bound when it truncates it.
        if lowest is not None and lowest == highest:
            self._of_file[lowest.decode()].append(delete)
        else:
            self._of_partition[partition_of(file)].append(delete)

    def _positional(self, entry: ManifestEntry) -> list[_Delete]:
        """The file's deletion vector, or else the position deletes that may apply to it."""
        if not self._vectors and not self._of_file and not self._of_partition:
            return []
        file, sequence = entry.data_file, entry.sequence_number or 0
        vectors = [one for one in self._vectors.get(file.file_path, ()) if _covers(one, entry)]
        if len(vectors) > 1:
            raise DeliveryError(
                EXPORT_FAILED,
                f"Table {self.table} has {len(vectors)} deletion vectors for {file.file_path}; one is allowed.",
                "Write the data file's rows again, for example by compacting the table.",
            )
        if vectors:
            return vectors
        found = [delete for delete in self._of_file.get(file.file_path, ()) if delete.sequence >= sequence]
        if of_partition := self._of_partition.get(partition_of(file)):
            path = file.file_path.encode()
            found += [delete for delete in of_partition if delete.sequence >= sequence and delete.may_apply_to(path)]
        return found

    def _unsupported(self, entry: ManifestEntry, positional: Sequence[_Delete]) -> list[_Delete]:
        sequence = entry.sequence_number or 0
        equality = [*self._global, *(self._equality.get(partition_of(entry.data_file), ()) if self._equality else ())]
        return [
            *(delete for delete in equality if delete.sequence > sequence),
            *(delete for delete in positional if delete.reference is None),
        ]


def partition_of(file: IcebergFile) -> Partition:
    """The partition of the file."""
    return file.spec_id, tuple(file.partition[index] for index in range(len(file.partition)))


def _covers(vector: _Delete, entry: ManifestEntry) -> bool:
    older = vector.sequence >= (entry.sequence_number or 0)
    return older and partition_of(vector.file) == partition_of(entry.data_file)


def _references(deletes: Iterable[_Delete]) -> list[PositionDeletes | DeletionVector]:
    return [delete.reference for delete in deletes if delete.reference is not None]


def _vector(table: str, file: IcebergFile, data_file: str | None) -> DeletionVector:
    """The reference to a deletion vector. Raises `DeliveryError` when its manifest entry is incomplete."""
    place = manifest_files.content_range(file)
    if data_file is None or place is None:
        raise DeliveryError(
            EXPORT_FAILED,
            f"A manifest of table {table} does not say where in {file.file_path} a deletion vector is, or of which "
            "data file.",
            "Write the deletes again with an engine that follows version 3 of Iceberg's format.",
        )
    return DeletionVector(file.file_path, data_file, place[0], place[1], file.record_count)


def _unsupported_error(table: str, file: IcebergFile) -> DeliveryError:
    if file.content == DataFileContent.EQUALITY_DELETES:
        kind = "equality deletes"
    else:
        kind = f"position deletes in {file.file_format.value} files"
    return DeliveryError(
        EXPORT_FAILED,
        f"Table {table} has {kind}, which exports do not support.",
        "Compact the table, so that its data files no longer contain the deleted rows.",
    )
