"""Which of a snapshot's delete files apply to which data file (Iceberg's specification, "Scan Planning").

A position delete applies to files of its partition that are not newer than itself; a delete file's bounds of
`file_path` narrow them down. An equality delete applies to older files of its partition, or of the whole table when its
spec is unpartitioned. Only position deletes in Parquet are supported; a data file with any other delete is refused.
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
from offtake.lake.positions import positions
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.iceberg_io import access_of
from offtake.lake.table_names import write_identifier

# The reserved field id of `file_path` in delete files.
_FILE_PATH: Final = 2147483546

Partition = tuple[int, tuple[object, ...]]
"""A partition spec's id and the values of its fields."""


@dataclass(frozen=True)
class _Delete:
    """A delete file, its sequence number, the snapshot that added it, and the bounds of the data files' paths."""

    file: IcebergFile
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
    _of_file: dict[str, list[_Delete]] = field(default_factory=lambda: defaultdict(list))
    _of_partition: dict[Partition, list[_Delete]] = field(default_factory=lambda: defaultdict(list))
    _equality: dict[Partition, list[_Delete]] = field(default_factory=lambda: defaultdict(list))
    _global: list[_Delete] = field(default_factory=list)

    @staticmethod
    def of(table: Table, entries: Iterable[ManifestEntry]) -> "Deletes":
        """The deletes of a snapshot, from the live entries of its delete manifests."""
        specs = table.specs()
        deletes = Deletes(write_identifier(table.name()), access_of(table))
        for entry in entries:
            deletes._add(entry, specs)
        return deletes

    def delete_files_for(self, entry: ManifestEntry) -> tuple[str, ...]:
        """The paths of the position-delete files that may apply to the data file, sorted.

        Raises `DeliveryError` when an unsupported delete applies to it.
        """
        positional = self._positional(entry)
        if unsupported := self._unsupported(entry, positional):
            raise _unsupported_error(self.table, unsupported[0].file)
        return tuple(sorted(delete.file.file_path for delete in positional))

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
        path = entry.data_file.file_path
        return any(positions(delete.file.file_path, path, self.access) for delete in self._positional(entry))

    def _add(self, entry: ManifestEntry, specs: dict[int, PartitionSpec]) -> None:
        file, sequence = entry.data_file, entry.sequence_number or 0
        if file.content == DataFileContent.EQUALITY_DELETES:
            delete = _Delete(file, sequence, entry.snapshot_id)
            if specs[file.spec_id].is_unpartitioned():
                self._global.append(delete)
            else:
                self._equality[partition_of(file)].append(delete)
            return
        lowest, highest = (file.lower_bounds or {}).get(_FILE_PATH), (file.upper_bounds or {}).get(_FILE_PATH)
        delete = _Delete(file, sequence, entry.snapshot_id, lowest, highest)
        # Truncated bounds are never equal: a writer increments the upper bound when it truncates it.
        if lowest is not None and lowest == highest:
            self._of_file[lowest.decode()].append(delete)
        else:
            self._of_partition[partition_of(file)].append(delete)

    def _positional(self, entry: ManifestEntry) -> list[_Delete]:
        """Position deletes and deletion vectors that may apply to the file."""
        if not self._of_file and not self._of_partition:
            return []
        file, sequence = entry.data_file, entry.sequence_number or 0
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
            *(delete for delete in positional if delete.file.file_format != FileFormat.PARQUET),
        ]


def partition_of(file: IcebergFile) -> Partition:
    """The partition of the file."""
    return file.spec_id, tuple(file.partition[index] for index in range(len(file.partition)))


def _unsupported_error(table: str, file: IcebergFile) -> DeliveryError:
    if file.content == DataFileContent.EQUALITY_DELETES:
        kind = "equality deletes"
    elif file.file_format == FileFormat.PUFFIN:
        kind = "deletion vectors"
    else:
        kind = f"position deletes in {file.file_format.value} files"
    return DeliveryError(
        EXPORT_FAILED,
        f"Table {table} has {kind}, which exports do not support.",
        "Compact the table, so that its data files no longer contain the deleted rows.",
    )
