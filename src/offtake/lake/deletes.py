"""Which of a snapshot's delete files go with which data file (Iceberg's specification, "Scan Planning").

A position delete goes with files of its partition that are not younger than itself, and a delete file's bounds of
`file_path` say which of them it can be about. An equality delete goes with older files of its partition, or of the
whole table when it is of an unpartitioned spec. Position deletes in Parquet are applied; whatever else goes with a file
that is to be read is refused.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat, ManifestEntry
from pyiceberg.partitioning import PartitionSpec

from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.lake.positions import positions

# The reserved field id of `file_path` in delete files.
_FILE_PATH: Final = 2147483546

Partition = tuple[int, tuple[object, ...]]
"""A partition spec's id and the values of its fields."""


@dataclass(frozen=True)
class _Delete:
    """A delete file, its sequence number, its snapshot, and the bounds of the paths it is about, where known."""

    file: IcebergFile
    sequence: int
    origin: int | None
    lowest: bytes | None = None
    highest: bytes | None = None

    def may_name(self, path: bytes) -> bool:
        return (self.lowest is None or self.lowest <= path) and (self.highest is None or path <= self.highest)


@dataclass
class Deletes:
    """The delete files of one snapshot."""

    table: str
    _of_file: dict[str, list[_Delete]] = field(default_factory=lambda: defaultdict(list))
    _of_partition: dict[Partition, list[_Delete]] = field(default_factory=lambda: defaultdict(list))
    _equality: dict[Partition, list[_Delete]] = field(default_factory=lambda: defaultdict(list))
    _global: list[_Delete] = field(default_factory=list)

    @staticmethod
    def of(table: str, entries: Iterable[ManifestEntry], specs: dict[int, PartitionSpec]) -> "Deletes":
        """Those entries of the snapshot's delete manifests that are live."""
        made = Deletes(table)
        for entry in entries:
            made._add(entry, specs)
        return made

    def delete_files_for(self, entry: ManifestEntry) -> tuple[str, ...]:
        """The position-delete files that may be about the data file, sorted.

        Raises `DeliveryError` when a delete goes with it that is not applied.
        """
        positional = self._positional(entry)
        if refused := self._not_applied(entry, positional):
            raise _cannot_apply(self.table, refused[0].file)
        return tuple(sorted(one.file.file_path for one in positional))

    def refuse(self, entry: ManifestEntry) -> bool:
        """Whether a delete goes with the data file that is not applied."""
        return bool(self._not_applied(entry, self._positional(entry)))

    def refuse_uncounted(self, added_by: Container[int], oldest: int) -> None:
        """Raise `DeliveryError` for equality deletes that those snapshots added, when there are files they go with.

        `oldest` is the lowest sequence number of the snapshot's data files. Nobody can say how many rows such a delete
        removed of those that were delivered before.
        """
        for one in (*self._global, *(one for of_partition in self._equality.values() for one in of_partition)):
            if one.origin in added_by and one.sequence > oldest:
                raise _cannot_apply(self.table, one.file)

    def subtract(self, entry: ManifestEntry) -> bool:
        """Whether rows of the data file are, or may be, deleted; where bounds do not tell, delete files are read."""
        if self.refuse(entry):
            return True
        path = entry.data_file.file_path
        return any(positions(one.file.file_path, path) for one in self._positional(entry))

    def _add(self, entry: ManifestEntry, specs: dict[int, PartitionSpec]) -> None:
        file, sequence = entry.data_file, entry.sequence_number or 0
        if file.content == DataFileContent.EQUALITY_DELETES:
            made = _Delete(file, sequence, entry.snapshot_id)
            if specs[file.spec_id].is_unpartitioned():
                self._global.append(made)
            else:
                self._equality[partition_of(file)].append(made)
            return
        lowest, highest = (file.lower_bounds or {}).get(_FILE_PATH), (file.upper_bounds or {}).get(_FILE_PATH)
        made = _Delete(file, sequence, entry.snapshot_id, lowest, highest)
        # Bounds that were cut short are never equal: the upper one is raised when it is cut.
        if lowest is not None and lowest == highest:
            self._of_file[lowest.decode()].append(made)
        else:
            self._of_partition[partition_of(file)].append(made)

    def _positional(self, entry: ManifestEntry) -> list[_Delete]:
        """Position deletes and deletion vectors that may be about the file."""
        if not self._of_file and not self._of_partition:
            return []
        file, sequence = entry.data_file, entry.sequence_number or 0
        found = [one for one in self._of_file.get(file.file_path, ()) if one.sequence >= sequence]
        if of_partition := self._of_partition.get(partition_of(file)):
            path = file.file_path.encode()
            found += [one for one in of_partition if one.sequence >= sequence and one.may_name(path)]
        return found

    def _not_applied(self, entry: ManifestEntry, positional: Sequence[_Delete]) -> list[_Delete]:
        sequence = entry.sequence_number or 0
        equality = [*self._global, *(self._equality.get(partition_of(entry.data_file), ()) if self._equality else ())]
        return [
            *(one for one in equality if one.sequence > sequence),
            *(one for one in positional if one.file.file_format != FileFormat.PARQUET),
        ]


def partition_of(file: IcebergFile) -> Partition:
    """The partition that the file belongs to."""
    return file.spec_id, tuple(file.partition[index] for index in range(len(file.partition)))


def _cannot_apply(table: str, file: IcebergFile) -> DeliveryError:
    if file.content == DataFileContent.EQUALITY_DELETES:
        kind = "equality deletes"
    elif file.file_format == FileFormat.PUFFIN:
        kind = "deletion vectors"
    else:
        kind = f"position deletes in {file.file_format.value} files"
    return DeliveryError(
        EXPORT_FAILED,
        f"Table {table} has {kind}, which exports do not apply.",
        "Compact the table so that the deletes are written into its data files.",
    )
