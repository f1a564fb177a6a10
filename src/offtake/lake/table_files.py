"""The files that a table's metadata refers to: those that a backup of the warehouse must include."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.serializers import Compressor, FromByteStream, FromInputFile
from pyiceberg.table.metadata import TableMetadata

from offtake.lake import manifest_files
from offtake.lake.file_io import LocationsIO
from offtake.lake.warehouse import Warehouse


@dataclass(frozen=True)
class TableFile:
    """A file of a table. Not `needed`: older metadata or statistics, without which the table still works."""

    uri: str
    needed: bool = True


def files_of(metadata_uri: str) -> Iterator[TableFile]:
    """The metadata and all files that its snapshots refer to, each once, a file before those that it refers to.

    Raises `FileNotFoundError` when metadata, a manifest list or a manifest is missing.
    """
    io = LocationsIO()
    metadata = FromInputFile.table_metadata(io.new_input(metadata_uri))
    yield TableFile(metadata_uri)
    seen: set[str] = set()
    for snapshot in metadata.snapshots:
        yield TableFile(snapshot.manifest_list)
        for manifest in manifest_files.read_list(snapshot, io):
            if manifest.manifest_path in seen:
                continue
            seen.add(manifest.manifest_path)
            yield TableFile(manifest.manifest_path)
            for entry in manifest_files.read_entries(manifest, io):
                path = entry.data_file.file_path
                if entry.status != ManifestEntryStatus.DELETED and path not in seen:
                    seen.add(path)
                    yield TableFile(path)
    yield from _side_files(metadata)


def missing_file(warehouse: Warehouse, metadata_uri: str, copy: Path | None = None) -> str | None:
    """The first file that the table's current state refers to and that does not exist; None when all exist.

    `copy`: of the metadata, for when that file does not exist.
    """
    if warehouse.exists(metadata_uri):
        metadata = FromInputFile.table_metadata(warehouse.io.new_input(metadata_uri))
    elif copy is not None and warehouse.is_inside(metadata_uri):
        compressed = Compressor.get_compressor(metadata_uri)
        with copy.open("rb") as file:
            metadata = FromByteStream.table_metadata(file, compression=compressed)
    else:
        return metadata_uri
    snapshot = metadata.snapshot_by_id(metadata.current_snapshot_id) if metadata.current_snapshot_id else None
    if snapshot is None:
        return None
    # One listing takes less time than a request for each file.
    present = {one.location for one in warehouse.files_in(metadata.location)}

    def is_missing(uri: str) -> bool:
        return uri not in present and not warehouse.exists(uri)

    if is_missing(snapshot.manifest_list):
        return snapshot.manifest_list
    for manifest in snapshot.manifests(warehouse.io):
        if is_missing(manifest.manifest_path):
            return manifest.manifest_path
        for entry in manifest.fetch_manifest_entry(warehouse.io, discard_deleted=True):
            if is_missing(entry.data_file.file_path):
                return entry.data_file.file_path
    return None


def _side_files(metadata: TableMetadata) -> Iterator[TableFile]:
    for entry in metadata.metadata_log:
        yield TableFile(entry.metadata_file, needed=False)
    for one in (*metadata.statistics, *metadata.partition_statistics):
        yield TableFile(one.statistics_path, needed=False)


def metadata_locations(copy: Path) -> list[str]:
    """The URI of each table's metadata, of a catalog whose tables were copied into an SQLite file."""
    with closing(sqlite3.connect(copy)) as connection:
        rows = connection.execute("SELECT metadata_location FROM iceberg_tables ORDER BY metadata_location")
        return [uri for (uri,) in rows if uri is not None]


def set_locations(copy: Path, new_location: Callable[[str], str]) -> None:
    """Set the new locations of each table's current and previous metadata in the copied SQLite catalog."""
    query = "SELECT rowid, metadata_location, previous_metadata_location FROM iceberg_tables"
    change = "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? WHERE rowid = ?"
    with closing(sqlite3.connect(copy)) as connection, connection:
        for row, *locations in connection.execute(query).fetchall():
            connection.execute(change, (*(one and new_location(one) for one in locations), row))
