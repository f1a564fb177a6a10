"""Increments by row lineage (format version 3): each row has the sequence number of the commit that last updated it.

Rewritten files keep the numbers of unchanged rows, so an increment holds exactly the rows updated in its range, across
copy-on-write and compaction. Only files that were added in the range can have such rows: a file has no number that is
higher than that of its own snapshot.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pyiceberg.manifest import FileFormat, ManifestEntry
from pyiceberg.table.snapshots import Operation, Snapshot

from offtake.lake import lineage, manifest_files
from offtake.lake.lineage import RowOrigin
from offtake.lake.manifests import Manifests
from offtake.lake.parquet_files import translating_errors
from offtake.lake.row_files import open_rows, row_format
from offtake.lake.row_filter import LAST_UPDATED, has_column
from offtake.lake.storage.iceberg_io import access_of

_VERSION: Final = 3


class RowLineage:
    """The row lineage of a range of snapshots, which follows the snapshot `start`."""

    def __init__(self, manifests: Manifests, start: Snapshot, snapshots: Sequence[Snapshot]) -> None:
        self._manifests = manifests
        self._after = start.sequence_number
        self._snapshots = snapshots
        self._sequences = {one.snapshot_id: one.sequence_number or 0 for one in snapshots}
        self._appends = {one.snapshot_id for one in snapshots if lineage.operation(one) == Operation.APPEND}
        self._compactions = {one.snapshot_id for one in snapshots if lineage.operation(one) == Operation.REPLACE}

    def updated_in(self) -> list[RowOrigin] | None:
        """The files with the rows that the range updated, oldest first; None when the lineage does not tell them.

        That is so if a snapshot of the range is older than the table's version 3, and if the writer of a compaction
        left out the sequence numbers of the rows. Reads the footers of files that compactions wrote.
        """
        if not self._snapshots or not self._has_lineage():
            return None
        last = self._snapshots[-1]
        deletes = self._manifests.deletes(last)
        found = list(self._manifests.live(last, set(self._sequences)))
        if not all(map(self._tells_updates, found)):
            return None
        origins = [self.limited(RowOrigin(entry, deletes.delete_files_for(entry))) for entry in found]
        return sorted(origins, key=lambda one: (one.entry.file_sequence_number or 0, one.entry.data_file.file_path))

    def limited(self, origin: RowOrigin) -> RowOrigin:
        """The file, limited to the rows that the range updated, where its lineage tells them."""
        entry = origin.entry
        if not self._has_lineage() or manifest_files.first_row_id(entry.data_file) is None or self._after is None:
            return origin
        if entry.snapshot_id in self._appends:
            # Its rows are new, even if the file has older sequence numbers: it can be a copy of another table's.
            return origin
        if entry.snapshot_id in self._compactions:
            sequence = entry.sequence_number or 0
        else:
            sequence = self._sequences.get(entry.snapshot_id or 0, entry.sequence_number or 0)
        return replace(origin, updated=(sequence, self._after))

    def _has_lineage(self) -> bool:
        is_known = self._after is not None and self._manifests.table.metadata.format_version >= _VERSION
        return is_known and all(snapshot.first_row_id is not None for snapshot in self._snapshots)

    def _tells_updates(self, entry: ManifestEntry) -> bool:
        file = entry.data_file
        if entry.snapshot_id not in self._compactions:
            return True
        if manifest_files.first_row_id(file) is None or file.file_format == FileFormat.PUFFIN:
            return False
        access = access_of(self._manifests.table)
        with (
            translating_errors([file.file_path]),
            open_rows(file.file_path, row_format(file.file_format.value), access) as rows,
        ):
            return has_column(rows, LAST_UPDATED)
