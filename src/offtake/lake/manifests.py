"""The manifests of a table's snapshots: its data files and delete files, with the snapshots that added them."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Final

from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from offtake.lake import manifest_cache, manifest_files
from offtake.lake.deletes import Deletes
from offtake.lake.file_metadata import column_names_were_reused
from offtake.lake.storage.metadata_io import AheadIO

_AT_ONCE: Final = 8
"""Manifests that are fetched at the same time."""


class Manifests:
    """The manifests of a table's snapshots, each read once.

    The entries of data files have no statistics of columns, except bounds after a snapshot with equality deletes.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._io = AheadIO(table.io)
        self._lists: dict[int, list[ManifestFile]] = {}
        self._entries: dict[tuple[str, bool], list[ManifestEntry]] = {}
        self._deletes: dict[int, Deletes] = {}
        # A file without field ids is resolved by them, if column names were reused.
        self._counts = column_names_were_reused(table)
        # Equality deletes are compared with the bounds of data files, once a snapshot has some.
        self._bounds = False

    def of(self, snapshot: Snapshot) -> list[ManifestFile]:
        """The snapshot's manifests."""
        if snapshot.snapshot_id not in self._lists:
            self._lists[snapshot.snapshot_id] = manifest_cache.cached(
                self.table.io,
                snapshot.manifest_list,
                lambda: manifest_files.read_list(snapshot, self._io),
            )
        return self._lists[snapshot.snapshot_id]

    def entries(self, manifest: ManifestFile) -> list[ManifestEntry]:
        """The manifest's entries, including those of removed files."""
        key = (manifest.manifest_path, self._bounds)
        if key not in self._entries:
            self._entries[key] = manifest_cache.cached(
                self.table.io,
                manifest.manifest_path,
                lambda: manifest_files.read_entries(
                    manifest, self._io, with_counts=self._counts, with_bounds=self._bounds
                ),
                self._variant(manifest),
            )
        return self._entries[key]

    def _entries_of(self, manifests: Sequence[ManifestFile]) -> Iterator[ManifestEntry]:
        """The entries of the manifests in order. The next manifests are fetched while one is decoded."""
        for index, manifest in enumerate(manifests):
            self._io.request(one.manifest_path for one in manifests[index : index + _AT_ONCE] if self._is_read(one))
            yield from self.entries(manifest)

    def _is_read(self, manifest: ManifestFile) -> bool:
        """Whether `entries` would read the manifest."""
        path = manifest.manifest_path
        is_known = (path, self._bounds) in self._entries
        return not is_known and not manifest_cache.is_cached(self.table.io, path, self._variant(manifest))

    def _variant(self, manifest: ManifestFile) -> Hashable:
        """What the entries depend on, besides the manifest."""
        # Entries take some values from the manifest list.
        row_id = manifest_files.inherited_row_id(manifest)
        inherited = (manifest.added_snapshot_id, manifest.sequence_number, manifest.partition_spec_id, row_id)
        return self._counts, self._bounds, manifest.content, *inherited

    def live(self, snapshot: Snapshot, added_by: set[int] | None = None) -> Iterator[ManifestEntry]:
        """The snapshot's data files; with `added_by`, only those that these snapshots added."""
        manifests = [
            manifest
            for manifest in self.of(snapshot)
            # A manifest has no files that were added after it was written.
            if manifest.content == ManifestContent.DATA and (added_by is None or manifest.added_snapshot_id in added_by)
        ]
        for entry in self._entries_of(manifests):
            if entry.status != ManifestEntryStatus.DELETED and (added_by is None or entry.snapshot_id in added_by):
                yield entry

    def changes(self, snapshot: Snapshot) -> Iterator[ManifestEntry]:
        """The data files that this snapshot itself added or removed."""
        manifests = [
            manifest
            for manifest in self.of(snapshot)
            if manifest.content == ManifestContent.DATA and manifest.added_snapshot_id == snapshot.snapshot_id
        ]
        for entry in self._entries_of(manifests):
            if entry.snapshot_id == snapshot.snapshot_id and entry.status != ManifestEntryStatus.EXISTING:
                yield entry

    def deletes(self, snapshot: Snapshot) -> Deletes:
        """The snapshot's delete files. After the first equality deletes, entries are read with bounds of columns."""
        if snapshot.snapshot_id not in self._deletes:
            manifests = [one for one in self.of(snapshot) if one.content == ManifestContent.DELETES]
            found = (entry for entry in self._entries_of(manifests) if entry.status != ManifestEntryStatus.DELETED)
            self._deletes[snapshot.snapshot_id] = Deletes.of(self.table, found)
            self._bounds = self._bounds or self._deletes[snapshot.snapshot_id].has_keys
        return self._deletes[snapshot.snapshot_id]

    def oldest(self, snapshot: Snapshot) -> int:
        """The lowest sequence number of the snapshot's data files, or a lower one."""
        data = [manifest for manifest in self.of(snapshot) if manifest.content == ManifestContent.DATA]
        return min((manifest.min_sequence_number for manifest in data), default=0)
