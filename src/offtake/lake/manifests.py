"""The manifests of a table's snapshots: its data files and delete files, with the snapshots that added them."""

from collections.abc import Iterator

from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from offtake.lake import manifest_files
from offtake.lake.deletes import Deletes


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
            self._lists[snapshot.snapshot_id] = manifest_files.read_list(snapshot, self.table.io)
        return self._lists[snapshot.snapshot_id]

    def entries(self, manifest: ManifestFile) -> list[ManifestEntry]:
        """The manifest's entries, including those of removed files."""
        if manifest.manifest_path not in self._entries:
            self._entries[manifest.manifest_path] = manifest_files.read_entries(manifest, self.table.io)
        return self._entries[manifest.manifest_path]

    def live(self, snapshot: Snapshot, added_by: set[int] | None = None) -> Iterator[ManifestEntry]:
        """The snapshot's data files; with `added_by`, only those that these snapshots added."""
        for manifest in self.of(snapshot):
            if manifest.content != ManifestContent.DATA:
                continue
            if added_by is not None and manifest.added_snapshot_id not in added_by:
                continue  # a manifest has no files that were added after it was written
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
            self._deletes[snapshot.snapshot_id] = Deletes.of(self.table, found)
        return self._deletes[snapshot.snapshot_id]

    def oldest(self, snapshot: Snapshot) -> int:
        """The lowest sequence number of the snapshot's data files, or a lower one."""
        data = [manifest for manifest in self.of(snapshot) if manifest.content == ManifestContent.DATA]
        return min((manifest.min_sequence_number for manifest in data), default=0)
