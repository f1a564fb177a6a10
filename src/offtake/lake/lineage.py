"""Which files hold the rows that a range of snapshots added, across any compactions in the range.

A live file's manifest entry names the snapshot that added it, so the last snapshot shows what appends and overwrites
added. Compactions (`replace`) need their history. If a compaction rewrote only files added in the range, all rows it
wrote were added in the range, and its output is read. If it also rewrote older files (a mixed compaction), its output
has rows of both; then its input files from the range are read, as they were before it. That is exact as long as its
output is still in the table, and no row of it is deleted by position. Equality deletes of the output delete the same
rows of the input files. Otherwise the metadata does not tell which of the remaining rows were added in the range.

A table can contain a path several times: then it contains the path's rows several times, and each entry counts.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import ManifestEntry, ManifestEntryStatus
from pyiceberg.table.snapshots import Operation, Snapshot

from offtake.lake.delete_files import DeleteFile, EqualityDeletes
from offtake.lake.deletes import Deletes, partition_of
from offtake.lake.manifests import Manifests

Key = tuple[str, int]
"""A data file: its path and the snapshot that added it. Entries with the same key are interchangeable."""


@dataclass(frozen=True)
class RowOrigin:
    """A data file to read: its manifest entry, and the deletes that apply to it. `updated`: see `scan.DataFile`."""

    entry: ManifestEntry
    deletes: tuple[DeleteFile, ...]
    updated: tuple[int, int] | None = None


def operation(snapshot: Snapshot) -> Operation:
    """The snapshot's operation; without a summary (allowed in format version 1) an append."""
    return snapshot.summary.operation if snapshot.summary else Operation.APPEND


def added_in(manifests: Manifests, snapshots: list[Snapshot]) -> list[RowOrigin] | None:
    """The files with the rows that the snapshots added and that the last snapshot still has, oldest first.

    `snapshots` are consecutive snapshots of one branch, oldest first. Returns None when the metadata does not tell
    these rows from older ones. Raises `DeliveryError` for deletes that cannot be read.
    """
    if not snapshots:
        return []
    walk = _LineageWalker(manifests, snapshots)
    for before, snapshot in pairwise(snapshots):
        if operation(snapshot) == Operation.REPLACE:
            walk.compact(before, snapshot)
    return walk.pending_rows()


@dataclass
class _MixedCompaction:
    """The output of compactions that mixed rows added in the range with older ones.

    `sources`: the input files with the rows of the range, and the deletes that apply to them. `files`: the output
    files that are still in the table. `complete`: no output file has been removed, nor a row by position. `by_value`:
    the equality deletes that have been applied to the sources since the compaction.
    """

    sources: list[RowOrigin]
    files: dict[Key, ManifestEntry]
    complete: bool = True
    by_value: frozenset[EqualityDeletes] = frozenset()

    def apply(self, deletes: Deletes, changed: Iterable[ManifestEntry]) -> None:
        """Apply the deletes of a snapshot to the sources; `changed`: the output files whose deletes count from then on.

        An equality delete of the output deletes rows by their values, so it deletes the same rows of the sources. That
        holds only if it applies to all of the output: which file a row of the sources is in is unknown.
        """
        if any(map(deletes.has_deleted_positions, changed)):
            self.complete = False
        of_files = [deletes.equality_in_scope(entry) for entry in self.files.values()]
        found = frozenset[EqualityDeletes]().union(*of_files)
        if any(not found - self.by_value <= one for one in of_files):
            self.complete = False
        added = sorted(found - self.by_value, key=lambda one: one.path)
        self.sources = [
            replace(one, deletes=(*one.deletes, *(delete for delete in added if delete not in one.deletes)))
            for one in self.sources
        ]
        self.by_value |= found


@dataclass
class _CompactionInputs:
    """What one compaction rewrote, in one partition.

    `added`: input files with only rows of the range. `mixed_entries`: input files that `mixed` compactions wrote.
    `older`: there are input files from before the range.
    """

    added: list[ManifestEntry] = field(default_factory=list)
    mixed: list[_MixedCompaction] = field(default_factory=list)
    mixed_entries: list[ManifestEntry] = field(default_factory=list)
    older: bool = False
    outputs: list[ManifestEntry] = field(default_factory=list)


class _LineageWalker:
    def __init__(self, manifests: Manifests, snapshots: list[Snapshot]) -> None:
        self._manifests = manifests
        self._order = {snapshot.snapshot_id: index for index, snapshot in enumerate(snapshots)}
        self._compactions = {one.snapshot_id for one in snapshots if operation(one) == Operation.REPLACE}
        self._last = snapshots[-1]
        self._manifests.deletes(self._last)  # first: it decides what is read of entries
        self._pure: set[Key] = set()
        self._mixed: dict[Key, _MixedCompaction] = {}

    def compact(self, before: Snapshot, snapshot: Snapshot) -> None:
        """Follow the rows through the compaction `snapshot`; `before` is its parent."""
        changes = list(self._manifests.changes(snapshot))
        if not changes:
            return
        removed = self._removed(self._live(before), snapshot)
        for inputs in self._rewritten_rows(changes, removed):
            if not inputs.older and not inputs.mixed:
                self._pure.update(map(_key, inputs.outputs))
            elif inputs.added or inputs.mixed:
                self._add_mixed(inputs, self._manifests.deletes(before))

    def pending_rows(self) -> list[RowOrigin] | None:
        # First: it determines whether the entries have bounds.
        deletes = self._manifests.deletes(self._last)
        live = self._live(self._last)
        entries = (entry for of_key in live.values() for entry in of_key)
        found = [RowOrigin(entry, deletes.delete_files_for(entry)) for entry in entries if self._is_added(entry)]
        for compaction in {id(one): one for one in self._mixed.values()}.values():
            compaction.apply(deletes, compaction.files.values())
            if not compaction.complete:
                return None
            found += compaction.sources
        return sorted(found, key=lambda one: (self._order[_added_snapshot(one.entry)], one.entry.data_file.file_path))

    def _live(self, snapshot: Snapshot) -> dict[Key, list[ManifestEntry]]:
        """The snapshot's files that were added in the range. Marks mixed compactions that lost files as incomplete."""
        live = self._in_range(snapshot)
        for key, compaction in list(self._mixed.items()):
            if key not in live:
                del self._mixed[key], compaction.files[key]
                compaction.complete = False
        return live

    def _in_range(self, snapshot: Snapshot) -> dict[Key, list[ManifestEntry]]:
        found: dict[Key, list[ManifestEntry]] = defaultdict(list)
        for entry in self._manifests.live(snapshot, set(self._order)):
            found[_key(entry)].append(entry)
        return found

    def _removed(self, live: Mapping[Key, list[ManifestEntry]], snapshot: Snapshot) -> dict[str, list[ManifestEntry]]:
        """By path: the entries of `live` that the next snapshot, `snapshot`, removed."""
        remaining = self._in_range(snapshot)
        found: dict[str, list[ManifestEntry]] = defaultdict(list)
        for key, entries in live.items():
            path, _ = key
            found[path] += entries[len(remaining.get(key, ())) :]
        return found

    def _is_added(self, entry: ManifestEntry) -> bool:
        """Whether all rows of the file were added in the range."""
        return _added_snapshot(entry) not in self._compactions or _key(entry) in self._pure

    def _rewritten_rows(
        self, changes: list[ManifestEntry], removed: Mapping[str, list[ManifestEntry]]
    ) -> list[_CompactionInputs]:
        """Inputs and outputs of a compaction. By partition, unless the partition spec changed or partitions overlap."""
        if len({entry.data_file.spec_id for entry in changes}) == 1:
            found = self._by_partition(changes, removed, partition_of)
            mixed = [number for inputs in found for number in {id(one) for one in inputs.mixed}]
            if len(mixed) == len(set(mixed)):
                return found
        return self._by_partition(changes, removed, lambda _: None)

    def _by_partition(
        self,
        changes: list[ManifestEntry],
        removed: Mapping[str, list[ManifestEntry]],
        group: Callable[[IcebergFile], Hashable],
    ) -> list[_CompactionInputs]:
        found: dict[Hashable, _CompactionInputs] = defaultdict(_CompactionInputs)
        in_range = {path: iter(entries) for path, entries in removed.items()}
        for change in changes:
            inputs = found[group(change.data_file)]
            if change.status == ManifestEntryStatus.ADDED:
                inputs.outputs.append(change)
                continue
            # Entries of one path are interchangeable: only the number of removed entries from the range matters.
            entry = next(in_range.get(change.data_file.file_path, iter(())), None)
            if entry is None or not (_key(entry) in self._mixed or self._is_added(entry)):
                inputs.older = True
            elif _key(entry) in self._mixed:
                inputs.mixed.append(self._mixed[_key(entry)])
                inputs.mixed_entries.append(entry)
            else:
                inputs.added.append(entry)
        return list(found.values())

    def _add_mixed(self, inputs: _CompactionInputs, deletes: Deletes) -> None:
        compaction = _MixedCompaction(
            sources=[RowOrigin(entry, deletes.delete_files_for(entry)) for entry in inputs.added],
            files={_key(entry): entry for entry in inputs.outputs},
        )
        rewritten = set(map(_key, inputs.mixed_entries))
        for earlier in {id(one): one for one in inputs.mixed}.values():
            earlier.apply(deletes, (entry for entry in inputs.mixed_entries if _key(entry) in earlier.files))
            compaction.sources += earlier.sources
            compaction.by_value |= earlier.by_value
            compaction.files |= {key: entry for key, entry in earlier.files.items() if key not in rewritten}
            compaction.complete = compaction.complete and earlier.complete
        for key in rewritten:
            del self._mixed[key]
        self._mixed.update(dict.fromkeys(compaction.files, compaction))


def _key(entry: ManifestEntry) -> Key:
    return entry.data_file.file_path, _added_snapshot(entry)


def _added_snapshot(entry: ManifestEntry) -> int:
    """The snapshot that added the file."""
    assert entry.snapshot_id is not None  # noqa: S101 - the specification requires it of every live entry
    return entry.snapshot_id
