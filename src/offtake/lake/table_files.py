"""The files that a table's metadata refers to: those that a backup of the warehouse must include."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata

from offtake.lake import manifest_files
from offtake.lake.file_io import LocationsIO
from offtake.lake.locations import local_path


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


def exists(uri: str) -> bool:
    """Whether the local file exists."""
    return local_path(uri).is_file()


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
