"""Compaction: small data files of a table become larger ones, and its manifests fewer, as one `replace` snapshot.

Increments hold the same rows as without it, without reading old files: only files of the same age group are merged.
Boundaries of the groups are the snapshots that flows have delivered and that runs have planned, so a range that starts
or ends at one of them contains all rows of an output or none.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final
from uuid import uuid4

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import DataFile, ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update.snapshot import _SnapshotProducer

from offtake.failpoints import failpoint
from offtake.lake import parts, reading, rewriting, scan, snapshot_history
from offtake.lake.catalog import Lake
from offtake.lake.file_metadata import FileMetadata
from offtake.lake.manifests import Manifests
from offtake.lake.parsing.conform import cast_to_schema
from offtake.lake.table_names import TableName
from offtake.lake.writing import DataFiles

ROWS_UNTIL: Final = "offtake.rows-until"
"""Property of a compaction's snapshot: the snapshot that added the newest of its rows."""

_SMALL_BYTES: Final = 64 * 1024 * 1024
_LEAST_FILES: Final = 10
_MOST_FILES: Final = 5_000
"""Inputs of one compaction: their entries are in memory, and the commit fails if one of them is removed meanwhile."""
_MOST_BYTES: Final = 4 * 1024**3
_MOST_MANIFESTS: Final = 100
_MANIFEST_ENTRIES: Final = 5_000
_TRIES: Final = 5
_TOTALS: Final = ("total-records", "total-delete-files", "total-position-deletes", "total-equality-deletes")


@dataclass(frozen=True)
class Compacted:
    """What one compaction did. `files`: the number of merged files; `into`: of those written; `manifests`: merged."""

    files: int = 0
    into: int = 0
    manifests: int = 0


def compact(lake: Lake, name: TableName, boundaries: Collection[int], before_ms: int) -> Compacted:
    """Merge small files that were added before `before_ms` (epoch milliseconds), of one age group, and manifests.

    `boundaries`: snapshots between which files are not merged. Does nothing when there is too little to merge, and for
    tables with delete files or partitions, which other writers made. Raises `DeliveryError` for unreadable files.
    """
    table = lake.find(name)
    snapshot = table.current_snapshot() if table is not None else None
    if table is None or snapshot is None or not _is_plain(table, snapshot):
        return Compacted()
    group = _largest_group(table, snapshot, boundaries, before_ms)
    manifests = len(Manifests(table).of(snapshot))
    if not group and manifests <= _MOST_MANIFESTS:
        return Compacted()
    files = _write(lake, name, table, snapshot, group)
    try:
        committed = _commit(lake, name, group, files)
    except CommitFailedException:
        committed = False  # imports commit all the time; the next round tries again
    # After any other error the files stay: the commit may have succeeded. Without it, nothing refers to them.
    if not committed:
        _remove(files)
        return Compacted()
    return Compacted(len(group), len(files.uris) if files else 0, manifests)


@dataclass(frozen=True)
class _Input:
    """A file to merge. `rows_from`: the snapshot that added the newest of its rows."""

    entry: ManifestEntry
    rows_from: int


def _remove(files: DataFiles | None) -> None:
    if files is not None:
        files.remove()


def _is_plain(table: Table, snapshot: Snapshot) -> bool:
    is_data = all(one.content == ManifestContent.DATA for one in Manifests(table).of(snapshot))
    return is_data and all(not spec.fields for spec in table.specs().values())


def _largest_group(table: Table, snapshot: Snapshot, boundaries: Collection[int], before_ms: int) -> list[_Input]:
    """The small files of the age group that has most of them, oldest first; empty when they are too few."""
    history = {one.snapshot_id: (index, one) for index, one in enumerate(snapshot_history.lineage(table, snapshot))}
    edges = sorted(history[one][0] for one in boundaries if one in history)
    groups: dict[int, list[_Input]] = defaultdict(list)
    for entry in Manifests(table).live(snapshot):
        file = entry.data_file
        if file.file_size_in_bytes >= _SMALL_BYTES:
            continue
        added_by = history.get(entry.snapshot_id or 0)
        if added_by is not None and added_by[1].timestamp_ms >= before_ms:
            continue
        rows_from = _rows_from(entry, None if added_by is None else added_by[1])
        # A snapshot that has expired is older than every boundary.
        age = history[rows_from][0] if rows_from in history else -1
        groups[bisect_left(edges, age)].append(_Input(entry, rows_from))
    group = max(groups.values(), key=len, default=[])
    if len({one.entry.data_file.file_path for one in group}) != len(group):
        return []  # another writer added a path twice
    group.sort(key=lambda one: (one.entry.sequence_number or 0, one.entry.data_file.file_path))
    chosen, size = list[_Input](), 0
    for one in islice(group, _MOST_FILES):
        size += one.entry.data_file.file_size_in_bytes
        if size > _MOST_BYTES:
            break
        chosen.append(one)
    return chosen if len(chosen) >= _LEAST_FILES else []


def _rows_from(entry: ManifestEntry, added_by: Snapshot | None) -> int:
    known = added_by.summary.additional_properties if added_by is not None and added_by.summary is not None else {}
    return int(known.get(ROWS_UNTIL) or entry.snapshot_id or 0)


def _write(lake: Lake, name: TableName, table: Table, snapshot: Snapshot, group: list[_Input]) -> DataFiles | None:
    if not group:
        return None
    # This module of PyIceberg takes long to import; a server must start without it.
    from pyiceberg.io.pyarrow import schema_to_pyarrow  # noqa: PLC0415 - see above

    schema = scan.open_table(lake, name).schema(snapshot.snapshot_id)
    target = parts.narrow_types(schema_to_pyarrow(table.schema(), include_field_ids=True))
    file_metadata = FileMetadata.of(table, snapshot)
    files = DataFiles(lake.warehouse, f"{table.location()}/data", f"{uuid4().hex}-c", target)
    pieces = [rewriting.whole_file(one.entry, file_metadata) for one in group]
    try:
        rows = (
            cast_to_schema(batch, target)
            for piece in pieces
            for batch in reading.read([piece], schema, lake.warehouse.access)
        )
        files.write(rows)
    except BaseException:
        files.remove()
        raise
    failpoint("compaction_written")
    return files


def _commit(lake: Lake, name: TableName, group: list[_Input], files: DataFiles | None) -> bool:
    """Commit on the newest state, as long as all inputs are still there; returns whether it was committed."""
    expected = {one.entry.data_file.file_path: one.entry.snapshot_id for one in group}
    for last in range(_TRIES, 0, -1):
        table = lake.find(name)
        snapshot = table.current_snapshot() if table is not None else None
        if table is None or snapshot is None or not _is_plain(table, snapshot):
            return False
        live = list(Manifests(table).live(snapshot))
        found = {one.data_file.file_path: one.snapshot_id for one in live}
        if any(found.get(path) != added_by for path, added_by in expected.items()):
            return False
        transaction = table.transaction()
        newest = _newest(table, snapshot, group) if group else None
        producer = _Compact(Operation.REPLACE, transaction, table.io)
        producer.plan = _CompactionPlan(live, expected, _data_files(transaction, files), newest)
        try:
            producer.commit()
            transaction.commit_transaction()
        except CommitFailedException:
            if last == 1:
                raise
            continue
        failpoint("compaction_committed")
        return True
    raise AssertionError


def _newest(table: Table, snapshot: Snapshot, group: list[_Input]) -> int:
    order = {one.snapshot_id: index for index, one in enumerate(snapshot_history.lineage(table, snapshot))}
    return max((one.rows_from for one in group), key=lambda one: order.get(one, -1))


def _data_files(transaction: Transaction, files: DataFiles | None) -> list[DataFile]:
    from pyiceberg.io.pyarrow import parquet_file_to_data_file  # noqa: PLC0415 - as in `_write`

    io, metadata = transaction._table.io, transaction.table_metadata  # noqa: SLF001 - as PyIceberg does
    return [parquet_file_to_data_file(io, metadata, uri) for uri in files.uris] if files is not None else []


@dataclass(frozen=True)
class _CompactionPlan:
    """`live`: all entries; `removed`: paths of the inputs; `written`: the outputs; `newest`: see `ROWS_UNTIL`."""

    live: list[ManifestEntry]
    removed: Mapping[str, int | None] = field(default_factory=dict)
    written: list[DataFile] = field(default_factory=list)
    newest: int | None = None


class _Compact(_SnapshotProducer["_Compact"]):
    """Replaces the inputs with the outputs, and writes the other entries to few manifests, unchanged.

    PyIceberg has no public API for it.
    """

    plan: _CompactionPlan

    def _validate_concurrency(self) -> None:
        """No-op: the commit fails anyway when the table has changed since the manifests were read."""

    def _manifests(self) -> list[ManifestFile]:
        self._added_data_files = self.plan.written
        return super()._manifests()

    def _deleted_entries(self) -> list[ManifestEntry]:
        return [
            _entry(one, ManifestEntryStatus.DELETED, self.snapshot_id)
            for one in self.plan.live
            if one.data_file.file_path in self.plan.removed
        ]

    def _existing_manifests(self) -> list[ManifestFile]:
        by_spec: dict[int, list[ManifestEntry]] = defaultdict(list)
        for one in self.plan.live:
            if one.data_file.file_path not in self.plan.removed:
                by_spec[one.data_file.spec_id].append(one)
        manifests = []
        for spec_id, entries in by_spec.items():
            for page in _pages(entries):
                with self.new_manifest_writer(self.spec(spec_id)) as writer:
                    for one in page:
                        writer.add_entry(_entry(one, ManifestEntryStatus.EXISTING, one.snapshot_id))
                manifests.append(writer.to_manifest_file())
        return manifests

    def _summary(self, snapshot_properties: dict[str, str] | None = None) -> Summary:
        # PyIceberg's own summary does not support `replace`.
        previous = self._transaction.table_metadata.snapshot_by_id(self._parent_snapshot_id or 0)
        known = previous.summary.additional_properties if previous and previous.summary else {}
        totals = {name: known[name] for name in _TOTALS if name in known}
        kept = [one.data_file for one in self.plan.live if one.data_file.file_path not in self.plan.removed]
        size = sum(one.file_size_in_bytes for one in (*kept, *self.plan.written))
        counts = {
            "total-data-files": str(len(kept) + len(self.plan.written)),
            "total-files-size": str(size),
            "added-data-files": str(len(self.plan.written)),
            "deleted-data-files": str(len(self.plan.removed)),
        }
        until = {} if self.plan.newest is None else {ROWS_UNTIL: str(self.plan.newest)}
        return Summary(operation=Operation.REPLACE, **totals, **counts, **until, **(snapshot_properties or {}))


def _entry(entry: ManifestEntry, status: ManifestEntryStatus, snapshot_id: int | None) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=status,
        snapshot_id=snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )


def _pages(entries: list[ManifestEntry]) -> Iterator[list[ManifestEntry]]:
    for first in range(0, len(entries), _MANIFEST_ENTRIES):
        yield entries[first : first + _MANIFEST_ENTRIES]
