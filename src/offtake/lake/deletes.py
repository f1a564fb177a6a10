"""Which of a snapshot's delete files apply to which data file (Iceberg's specification, "Scan Planning").

A position delete applies to files of its partition that are not newer than itself; a delete file's bounds of
`file_path`, or the one file that the manifest names, narrow them down. A deletion vector applies to one file, and
replaces all position deletes of that file. An equality delete applies to older files of its partition, or of the whole
table when its spec is unpartitioned; bounds of its key columns narrow them down.
"""

import math
import struct
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat, ManifestEntry
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.table import Table

from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.lake import manifest_files
from offtake.lake.delete_files import DeleteFile, DeletionVector, EqualityDeletes, PositionDeletes
from offtake.lake.key_bounds import KeyBounds
from offtake.lake.positions import deleted_positions
from offtake.lake.row_files import row_format
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.iceberg_io import access_of
from offtake.lake.table_names import write_identifier

# The reserved field id of `file_path` in delete files.
_FILE_PATH: Final = 2147483546

Partition = tuple[int, tuple[object, ...]]
"""A partition spec's id and the values of its fields."""


@dataclass(frozen=True)
class _PositionDelete:
    """A delete file or vector, its sequence number, and the bounds of the data files' paths."""

    file: IcebergFile
    reference: PositionDeletes | DeletionVector
    sequence: int
    lowest: bytes | None = None
    highest: bytes | None = None

    def may_apply_to(self, path: bytes) -> bool:
        return (self.lowest is None or self.lowest <= path) and (self.highest is None or path <= self.highest)


@dataclass(frozen=True)
class _EqualityDelete:
    """A delete file with keys, and its sequence number."""

    file: IcebergFile
    reference: EqualityDeletes
    sequence: int


@dataclass
class _BySequence:
    """Equality deletes in the order of their sequence numbers."""

    deletes: list[_EqualityDelete] = field(default_factory=list)
    _is_sorted: bool = True

    def add(self, delete: _EqualityDelete) -> None:
        self.deletes.append(delete)
        self._is_sorted = False

    def after(self, sequence: int) -> list[_EqualityDelete]:
        """The deletes with a higher sequence number."""
        if not self._is_sorted:
            self.deletes.sort(key=lambda one: (one.sequence, one.reference.path))
            self._is_sorted = True
        return self.deletes[bisect_right(self.deletes, sequence, key=lambda one: one.sequence) :]


@dataclass
class Deletes:
    """The delete files of one snapshot."""

    table: str
    bounds: KeyBounds
    access: FileAccess | None = None
    _vectors: dict[str, list[_PositionDelete]] = field(default_factory=lambda: defaultdict(list))
    _of_file: dict[str, list[_PositionDelete]] = field(default_factory=lambda: defaultdict(list))
    _of_partition: dict[Partition, list[_PositionDelete]] = field(default_factory=lambda: defaultdict(list))
    _equality: dict[Partition, _BySequence] = field(default_factory=lambda: defaultdict(_BySequence))
    _global: _BySequence = field(default_factory=_BySequence)

    @staticmethod
    def of(table: Table, entries: Iterable[ManifestEntry]) -> "Deletes":
        """The deletes of a snapshot, from the live entries of its delete manifests.

        Raises `DeliveryError` for entries that are incomplete, and for formats that cannot be read.
        """
        specs = table.specs()
        deletes = Deletes(write_identifier(table.name()), KeyBounds(table), access_of(table))
        for entry in entries:
            deletes._add(entry, specs)
        return deletes

    def delete_files_for(self, entry: ManifestEntry) -> tuple[DeleteFile, ...]:
        """The delete files that may apply to the data file, in a fixed order.

        Raises `DeliveryError` when the data file has several deletion vectors.
        """
        positional: list[DeleteFile] = [one.reference for one in self._positional(entry)]
        keys = (one.reference for one in self._in_scope(entry) if self.bounds.may_match(one.file, entry.data_file))
        return (*sorted(positional, key=lambda one: one.path), *keys)

    @property
    def has_keys(self) -> bool:
        """Whether there are equality deletes."""
        return bool(self._global.deletes or self._equality)

    def equality_in_scope(self, entry: ManifestEntry) -> frozenset[EqualityDeletes]:
        """The equality deletes that apply to the data file, if it has rows with their keys."""
        return frozenset(one.reference for one in self._in_scope(entry))

    def _in_scope(self, entry: ManifestEntry) -> list[_EqualityDelete]:
        """Oldest first."""
        sequence = entry.sequence_number or 0
        found = self._global.after(sequence)
        if of_partition := self._equality.get(partition_of(entry.data_file)) if self._equality else None:
            found = sorted([*found, *of_partition.after(sequence)], key=lambda one: (one.sequence, one.reference.path))
        return found

    def has_deleted_positions(self, entry: ManifestEntry) -> bool:
        """Whether rows of the data file are deleted by position. Reads delete files."""
        references = [one.reference for one in self._positional(entry)]
        return deleted_positions(entry.data_file.file_path, references, self.access) is not None

    def _add(self, entry: ManifestEntry, specs: dict[int, PartitionSpec]) -> None:
        file, sequence = entry.data_file, entry.sequence_number or 0
        if file.content == DataFileContent.EQUALITY_DELETES:
            delete = _EqualityDelete(file, self._equality_reference(file), sequence)
            if specs[file.spec_id].is_unpartitioned():
                self._global.add(delete)
            else:
                self._equality[partition_of(file)].add(delete)
            return
        only = manifest_files.referenced_file(file)
        if file.file_format == FileFormat.PUFFIN:
            vector = self._vector(file, only)
            self._vectors[vector.data_file].append(_PositionDelete(file, vector, sequence))
            return
        reference = PositionDeletes(file.file_path, row_format(file.file_format.value))
        if only is not None:
            self._of_file[only].append(_PositionDelete(file, reference, sequence))
            return
        lowest, highest = (file.lower_bounds or {}).get(_FILE_PATH), (file.upper_bounds or {}).get(_FILE_PATH)
        delete_file = _PositionDelete(file, reference, sequence, lowest, highest)
        # Truncated bounds are never equal: a writer increments the upper bound when it truncates it.
        if lowest is not None and lowest == highest:
            self._of_file[lowest.decode()].append(delete_file)
        else:
            self._of_partition[partition_of(file)].append(delete_file)

    def _positional(self, entry: ManifestEntry) -> list[_PositionDelete]:
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

    def _equality_reference(self, file: IcebergFile) -> EqualityDeletes:
        if not file.equality_ids:
            raise DeliveryError(
                EXPORT_FAILED,
                f"A manifest of table {self.table} does not say which columns the equality deletes in "
                f"{file.file_path} compare.",
                "Write the deletes again with an engine that follows Iceberg's format.",
            )
        return EqualityDeletes(file.file_path, tuple(file.equality_ids), row_format(file.file_format.value))

    def _vector(self, file: IcebergFile, data_file: str | None) -> DeletionVector:
        place = manifest_files.content_range(file)
        if data_file is None or place is None:
            raise DeliveryError(
                EXPORT_FAILED,
                f"A manifest of table {self.table} does not say where in {file.file_path} a deletion vector is, or of "
                "which data file.",
                "Write the deletes again with an engine that follows version 3 of Iceberg's format.",
            )
        return DeletionVector(file.file_path, data_file, place[0], place[1], file.record_count)


def partition_of(file: IcebergFile) -> Partition:
    """The partition of the file. NaN is one value, and 0.0 and -0.0 are two, as in Iceberg."""
    values = (file.partition[index] for index in range(len(file.partition)))
    return file.spec_id, tuple(_comparable(one) if isinstance(one, float) else one for one in values)


def _comparable(value: float) -> bytes:
    return struct.pack(">d", math.nan if math.isnan(value) else value)


def _covers(vector: _PositionDelete, entry: ManifestEntry) -> bool:
    older = vector.sequence >= (entry.sequence_number or 0)
    return older and partition_of(vector.file) == partition_of(entry.data_file)
