"""Which files hold the rows that a range of snapshots added, through whatever compactions there were in the range.

A live file's manifest entry names the snapshot that added it, so what appends and overwrites added is read off the last
snapshot. Compactions (`replace`) need their history. Where all files that one rewrote were added in the range, so were
all rows of what it wrote, and that is read. Where it rewrote older files too, its rows cannot be told apart, and the
files of the range are read that it rewrote, as they were then: that is exact as long as everything it wrote is still
there and whole. Otherwise nothing tells which of the rows that are left were added in the range.

A path may be in a table several times: then its rows are in the table several times, and each entry counts for itself.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot

from offtake.lake.deletes import Deletes, partition_of

Key = tuple[str, int]
"""A data file by its path and the snapshot that added it. Entries of one key are alike."""


@dataclass(frozen=True)
class RowOrigin:
    """A data file to read, by its manifest entry, and the position-delete files to read it with."""

    entry: ManifestEntry
    deletes: tuple[str, ...]


class Manifests:
    """The manifests of a table's snapshots, each read once."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._lists: dict[int, list[ManifestFile]] = {}
        self._entries: dict[str, list[ManifestEntry]] = {}
        self._deletes: dict[int, Deletes] = {}

    def of(self, snapshot: Snapshot) -> list[ManifestFile]:
        """The snapshot's manifests."""
        if snapshot.snapshot_id not in self._lists:
            self._lists[snapshot.snapshot_id] = list(snapshot.manifests(self.table.io))
        return self._lists[snapshot.snapshot_id]

    def entries(self, manifest: ManifestFile) -> list[ManifestEntry]:
        """The manifest's entries, those of removed files too."""
        if manifest.manifest_path not in self._entries:
            read = manifest.fetch_manifest_entry(self.table.io, discard_deleted=False)
            self._entries[manifest.manifest_path] = read
        return self._entries[manifest.manifest_path]

    def live(self, snapshot: Snapshot, added_by: set[int] | None = None) -> Iterator[ManifestEntry]:
        """The snapshot's data files; only those that the snapshots `added_by` added, where they are given."""
        for manifest in self.of(snapshot):
            if manifest.content != ManifestContent.DATA:
                continue
            if added_by is not None and manifest.added_snapshot_id not in added_by:
                continue  # a manifest names no files that came after it
            for entry in self.entries(manifest):
                if entry.status != ManifestEntryStatus.DELETED and (added_by is None or entry.snapshot_id in added_by):
                    yield entry

    def changes(self, snapshot: Snapshot) -> Iterator[ManifestEntry]:
        """The data files that this snapshot itself added or removed."""
        for manifest in self.of(snapshot):
            if manifest.content != ManifestContent.DATA or manifest.added_snapshot_id != snapshot.snapshot_id:
                continue
            for entry in self.entries(manifest):
                if entry.snapshot_id == snapshot.snapshot_id and entry.status != ManifestEntryStatus.EXISTING:
                    yield entry

    def deletes(self, snapshot: Snapshot) -> Deletes:
        """The snapshot's delete files."""
        if snapshot.snapshot_id not in self._deletes:
            found = (
                entry
                for manifest in self.of(snapshot)
                if manifest.content == ManifestContent.DELETES
                for entry in self.entries(manifest)
                if entry.status != ManifestEntryStatus.DELETED
            )
            self._deletes[snapshot.snapshot_id] = Deletes.of(".".join(self.table.name()), found, self.table.specs())
        return self._deletes[snapshot.snapshot_id]

    def oldest(self, snapshot: Snapshot) -> int:
        """The lowest sequence number of the snapshot's data files, or a lower one."""
        data = [manifest for manifest in self.of(snapshot) if manifest.content == ManifestContent.DATA]
        return min((manifest.min_sequence_number for manifest in data), default=0)


def operation(snapshot: Snapshot) -> Operation:
    """What the snapshot did; first versions of the format did not say, and only appended."""
    return snapshot.summary.operation if snapshot.summary else Operation.APPEND


def added_in(manifests: Manifests, snapshots: list[Snapshot]) -> list[RowOrigin] | None:
    """Where the rows are that the snapshots added and that are still in the table after the last, oldest first.

    `snapshots` is a stretch of one branch, oldest first. None when the metadata do not tell these rows from others.
    Raises `DeliveryError` for deletes that are not applied.
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
    """Files that compactions wrote of rows added in the range and of older ones.

    `sources` held the rows of the range; `files` are what is left of what was written of them; `whole` says
    that nothing of that has been lost.
    """

    sources: list[RowOrigin]
    files: dict[Key, ManifestEntry]
    whole: bool


@dataclass
class _CompactionInputs:
    """What one compaction rewrote, of one partition."""

    added: list[ManifestEntry] = field(default_factory=list)
    blends: list[_MixedCompaction] = field(default_factory=list)
    blended: list[ManifestEntry] = field(default_factory=list)
    older: bool = False
    outputs: list[ManifestEntry] = field(default_factory=list)


class _LineageWalker:
    def __init__(self, manifests: Manifests, snapshots: list[Snapshot]) -> None:
        self._manifests = manifests
        self._order = {snapshot.snapshot_id: index for index, snapshot in enumerate(snapshots)}
        self._compactions = {one.snapshot_id for one in snapshots if operation(one) == Operation.REPLACE}
        self._last = snapshots[-1]
        self._pure: set[Key] = set()
        self._blends: dict[Key, _MixedCompaction] = {}

    def compact(self, before: Snapshot, snapshot: Snapshot) -> None:
        """Follow the rows through a compaction; `before` is the snapshot it was made on."""
        changes = list(self._manifests.changes(snapshot))
        if not changes:
            return
        removed = self._removed(self._live(before), snapshot)
        for inputs in self._rewritten_rows(changes, removed):
            if not inputs.older and not inputs.blends:
                self._pure.update(map(_key, inputs.outputs))
            elif inputs.added or inputs.blends:
                self._mixed_inputs(inputs, self._manifests.deletes(before))

    def pending_rows(self) -> list[RowOrigin] | None:
        live = self._live(self._last)
        deletes = self._manifests.deletes(self._last)
        entries = (entry for of_key in live.values() for entry in of_key)
        found = [RowOrigin(entry, deletes.delete_files_for(entry)) for entry in entries if self._is_added(entry)]
        for blend in {id(one): one for one in self._blends.values()}.values():
            if not blend.whole or any(deletes.subtract(entry) for entry in blend.files.values()):
                return None
            found += blend.sources
        return sorted(found, key=lambda one: (self._order[_added_snapshot(one.entry)], one.entry.data_file.file_path))

    def _live(self, snapshot: Snapshot) -> dict[Key, list[ManifestEntry]]:
        """The range's files that the snapshot has. Files of blends that it has no more were removed."""
        live = self._in_range(snapshot)
        for key, blend in list(self._blends.items()):
            if key not in live:
                del self._blends[key], blend.files[key]
                blend.whole = False
        return live

    def _in_range(self, snapshot: Snapshot) -> dict[Key, list[ManifestEntry]]:
        found: dict[Key, list[ManifestEntry]] = defaultdict(list)
        for entry in self._manifests.live(snapshot, set(self._order)):
            found[_key(entry)].append(entry)
        return found

    def _removed(self, live: Mapping[Key, list[ManifestEntry]], snapshot: Snapshot) -> dict[str, list[ManifestEntry]]:
        """By path: the entries of `live` that the snapshot, which came next, has no more."""
        still = self._in_range(snapshot)
        found: dict[str, list[ManifestEntry]] = defaultdict(list)
        for key, entries in live.items():
            path, _ = key
            found[path] += entries[len(still.get(key, ())) :]
        return found

    def _is_added(self, entry: ManifestEntry) -> bool:
        """Whether all rows of the file were added in the range."""
        return _added_snapshot(entry) not in self._compactions or _key(entry) in self._pure

    def _rewritten_rows(
        self, changes: list[ManifestEntry], removed: Mapping[str, list[ManifestEntry]]
    ) -> list[_CompactionInputs]:
        """What was rewritten into what. Rows stay in their partition, unless they were partitioned anew."""
        if len({entry.data_file.spec_id for entry in changes}) == 1:
            found = self._by_partition(changes, removed, partition_of)
            blends = [id(one) for inputs in found for one in {id(one): one for one in inputs.blends}.values()]
            if len(blends) == len(set(blends)):
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
            # Which entry of a path it was does not matter: as many of them were of the range as are gone.
            entry = next(in_range.get(change.data_file.file_path, iter(())), None)
            if entry is None or not (_key(entry) in self._blends or self._is_added(entry)):
                inputs.older = True
            elif _key(entry) in self._blends:
                inputs.blends.append(self._blends[_key(entry)])
                inputs.blended.append(entry)
            else:
                inputs.added.append(entry)
        return list(found.values())

    def _mixed_inputs(self, inputs: _CompactionInputs, deletes: Deletes) -> None:
        readable = [entry for entry in inputs.added if not deletes.refuse(entry)]
        made = _MixedCompaction(
            sources=[RowOrigin(entry, deletes.delete_files_for(entry)) for entry in readable],
            files={_key(entry): entry for entry in inputs.outputs},
            whole=len(readable) == len(inputs.added) and not any(map(deletes.subtract, inputs.blended)),
        )
        gone = set(map(_key, inputs.blended))
        for blend in {id(one): one for one in inputs.blends}.values():
            made.sources += blend.sources
            made.files |= {key: entry for key, entry in blend.files.items() if key not in gone}
            made.whole = made.whole and blend.whole
        for key in gone:
            del self._blends[key]
        self._blends.update(dict.fromkeys(made.files, made))


def _key(entry: ManifestEntry) -> Key:
    return entry.data_file.file_path, _added_snapshot(entry)


def _added_snapshot(entry: ManifestEntry) -> int:
    """The snapshot that added the file; readers of manifests fill it in."""
    assert entry.snapshot_id is not None  # noqa: S101 - the specification requires it of every live entry
    return entry.snapshot_id
