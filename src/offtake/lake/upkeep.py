"""Upkeep of own tables: old snapshots expire, and files that no retained metadata refers to are removed.

All steps are safe at any instant: snapshots expire in one commit, which deletes no file; files are removed only when
nothing refers to them, and when they are older than any import takes.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from offtake.failpoints import failpoint
from offtake.lake import commits, snapshot_history
from offtake.lake.catalog import Lake
from offtake.lake.storage.objects import StoredFile
from offtake.lake.table_names import TableName

_METADATA: Final = (".metadata.json", ".metadata.json.gz", ".gz.metadata.json")
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class Retention:
    """Which snapshots stay: those that were current after `since_ms` (epoch milliseconds), at most `count` of them.

    `protected`: they and all later ones stay in any case. `batches`: ids of batches whose snapshots stay.
    """

    since_ms: int
    count: int
    protected: Collection[int] = ()
    batches: Collection[str] = ()


def expire_snapshots(lake: Lake, name: TableName, retention: Retention, least: int = 1) -> int:
    """Remove old snapshots from the table's metadata, if there are at least `least`. Returns their number.

    Their files stay; see `unreferenced_files`. The current snapshot, branches and tags stay.
    """

    def commit() -> Table:
        table = lake.load(name)
        expired = _expired(table, retention)
        counts.append(0)
        if len(expired) >= least:
            table.maintenance.expire_snapshots().by_ids(expired).commit()
            counts[-1] = len(expired)
        return table

    counts: list[int] = []
    if not lake.exists(name):
        return 0
    try:
        commits.retry_commit(commit)
    except CommitFailedException:
        return 0  # imports commit all the time; the next round tries again
    failpoint("snapshots_expired")
    return counts[-1]


def _expired(table: Table, retention: Retention) -> list[int]:
    current = table.current_snapshot()
    if current is None:
        return []
    history = snapshot_history.lineage(table, current)
    ids = [one.snapshot_id for one in history]
    by_count = max(0, len(history) - retention.count)
    # A state ends with the next snapshot: that one's time counts.
    by_age = next(
        (index for index in range(len(history) - 1) if history[index + 1].timestamp_ms >= retention.since_ms),
        len(history) - 1,
    )
    kept_from = min([max(by_count, by_age), *(index for index, one in enumerate(ids) if one in retention.protected)])
    heads = {ref.snapshot_id for ref in table.metadata.refs.values()}
    main = set(ids)
    expired = [one for one in history[:kept_from] if one.snapshot_id not in heads]
    expired += [
        one
        for one in table.metadata.snapshots
        if one.snapshot_id not in main
        and one.snapshot_id not in heads
        and one.snapshot_id not in retention.protected
        and one.timestamp_ms < retention.since_ms
    ]
    return [one.snapshot_id for one in expired if not _is_of_batch(one, retention.batches)]


def _is_of_batch(snapshot: Snapshot, batches: Collection[str]) -> bool:
    known = snapshot.summary.additional_properties if snapshot.summary is not None else {}
    return any(known.get(one) in batches for one in (commits.BATCH_ID, commits.REVERTED_ID))


def unreferenced_files(lake: Lake, name: TableName, now_ms: int, batches: Collection[str]) -> list[str]:
    """The files in the table's folder that no retained metadata refers to, and that were written a day before `now_ms`.

    `batches`: ids of batches that are being imported, whose files stay. Metadata files that a hundred later ones
    replaced count from an hour on. Empty when the table's metadata is not in its own folder.
    """
    table, before_ms = lake.find(name), now_ms - _DAY_MS
    folder = lake.location(name)
    if table is None or not table.metadata_location.startswith(f"{folder}/"):
        return []
    # The listing comes first: a file that is committed after it was listed is younger than `before_ms`.
    replaced_before_ms, oldest = now_ms - _HOUR_MS, _oldest_listed(table)
    listed = list(lake.warehouse.files_in(folder))
    referenced = _referenced(table)
    return [
        one.location
        for one in listed
        if one.location not in referenced
        and one.modified_ms < (replaced_before_ms if _is_replaced(one, oldest) else before_ms)
        and not any(one.name.startswith(f"{batch}-") for batch in batches)
    ]


def _is_replaced(file: StoredFile, oldest: int) -> bool:
    """Whether it is a metadata file with a lower version than those that the current one lists."""
    version = _version(file.name)
    return version is not None and version < oldest


def _version(name: str) -> int | None:
    digits, separator, _ = name.partition("-")
    return int(digits) if name.endswith(_METADATA) and separator and digits.isascii() and digits.isdecimal() else None


def _oldest_listed(table: Table) -> int:
    """The lowest version of the metadata files that the current one lists; 0 when it lists few."""
    listed = [_version(entry.metadata_file.rpartition("/")[2]) for entry in table.metadata.metadata_log]
    return min((one for one in listed if one is not None), default=0)


def _referenced(table: Table) -> set[str]:
    """The locations of all files that the table's metadata refers to."""
    metadata = table.metadata
    found = {table.metadata_location, *_side_files(metadata)}
    read: set[str] = set()
    for snapshot in metadata.snapshots:
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in read:
                continue
            read.add(manifest.manifest_path)
            found.add(manifest.manifest_path)
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=False)
            found.update(one.data_file.file_path for one in entries if one.status != ManifestEntryStatus.DELETED)
    return found


def _side_files(metadata: TableMetadata) -> Iterator[str]:
    for entry in metadata.metadata_log:
        yield entry.metadata_file
    for one in (*metadata.statistics, *metadata.partition_statistics):
        yield one.statistics_path
