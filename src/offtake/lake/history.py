"""What became of a snapshot: the data files it added, also after others have come."""

from pathlib import Path

from offtake.lake import scan
from offtake.lake.catalog import Lake, TableName
from offtake.lake.locations import local_path


def files_of(lake: Lake, table: TableName, snapshot_id: int) -> list[tuple[Path, int, int]]:
    """The files that the snapshot added, in order: path, rows, bytes. Of an expired one, those still in the table."""
    loaded = lake.find(table)
    if loaded is None:
        return []
    snapshot, current = loaded.snapshot_by_id(snapshot_id), loaded.current_snapshot()
    if snapshot is not None:
        files = scan.added_files(loaded, snapshot)
    else:
        files = scan.files_from(loaded, current, snapshot_id) if current else []
    found = ((local_path(file.file_path), file.record_count, file.file_size_in_bytes) for file in files)
    return sorted(found, key=lambda one: one[0].name)
