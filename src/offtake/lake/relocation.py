"""Relocating a warehouse to another folder: rewrites each file of its tables that refers to other files by location.

References in the Iceberg specification (version 3): table metadata refers to manifest lists, older metadata and
statistics; manifest lists to manifests, with their lengths; manifests to data and delete files, with their lengths;
position deletes to data files. Data files and equality deletes refer to no files and stay unchanged.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.avro.file import AvroFile, AvroOutputFile
from pyiceberg.manifest import DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record
from pyiceberg.types import StructType

from offtake.errors import OfftakeError
from offtake.lake.file_io import LocationsIO
from offtake.lake.locations import LocationError, is_local, local_path
from offtake.lake.upload_folder import sync_file

_PROPERTIES: Final = (
    "write.data.path",
    "write.metadata.path",
    "write.object-storage.path",
    "write.folder-storage.path",
)
_ROWS: Final = 65_536
_PAGE: Final = 1000
"""Records of a manifest held in memory at once."""
_LARGEST_METADATA: Final = 512 * 1024 * 1024
"""Limit for table metadata as JSON, in bytes; it is held in memory. A thousand snapshots take about a million bytes."""

# Field ids in the Iceberg specification: manifest lists, manifest entries, data files, and a column of delete files.
_MANIFEST_PATH: Final = 500
_MANIFEST_LENGTH: Final = 501
_DATA_FILE: Final = 2
_CONTENT: Final = 134
_FILE_PATH: Final = 100
_FILE_FORMAT: Final = 101
_FILE_SIZE: Final = 104
_LOWER_BOUNDS: Final = 125
_UPPER_BOUNDS: Final = 128
_REFERENCED_FILE: Final = 143
_PATH_IN_DELETES: Final = 2147483546


@dataclass(frozen=True)
class Move:
    """A warehouse that moved from the location `old` to `new`, both folders on this machine."""

    old: str
    new: str

    @cached_property
    def _root(self) -> Path:
        return local_path(self.old)

    @property
    def new_root(self) -> Path:
        """The warehouse's new folder."""
        return local_path(self.new)

    def new_location(self, location: str) -> str:
        """The new location of the file at `location`; unchanged for a file outside the warehouse."""
        try:
            if not is_local(location):
                return location
        except LocationError:
            return location
        path = local_path(location)
        if not path.is_relative_to(self._root):
            return location
        inside = path.relative_to(self._root).as_posix()
        base = self.new.rstrip("/")
        return base if inside == "." else f"{base}/{inside}"

    def new_bound(self, bound: bytes) -> bytes | None:
        """The new value of a `file_path` bound of position deletes; None when it is too truncated to be converted."""
        try:
            location = bound.decode()
        except UnicodeDecodeError:
            return None
        moved = self.new_location(location)
        return None if moved == location or location.endswith("/") else moved.encode()


def relocate_tables(metadata_locations: Iterable[str], move: Move) -> None:
    """Rewrite the tables' files, which are already in the new folder; `metadata_locations` are their old locations.

    Not idempotent, because the new folder can be inside the old one: call it once. Raises `OfftakeError` for position
    deletes in a format that cannot be rewritten, for damaged or missing files and files outside the warehouse; raises
    `OSError`.
    """
    relocation = _Relocation(move)
    # Table metadata is rewritten last, because the rewriting of manifests needs its old locations.
    metadata = dict.fromkeys(metadata_locations)
    for location in list(metadata):
        with _translating_errors(location):
            metadata.update(dict.fromkeys(relocation.rewrite_manifests(location)))
    for location in metadata:
        with _translating_errors(location):
            relocation.rewrite_metadata(location)


def check_inside(metadata_locations: Iterable[str], warehouse: str) -> None:
    """Raise `OfftakeError` for a table whose metadata has a location outside the warehouse folder for new files."""
    relocation = _Relocation(Move(warehouse, warehouse))
    for location in metadata_locations:
        with _translating_errors(location):
            relocation.check_metadata(location)


@contextmanager
def _translating_errors(metadata: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise OfftakeError(
            f"The table with the metadata {metadata} lacks a file: {error.filename or error}. Restore the file."
        ) from None
    except (OfftakeError, OSError):
        raise
    except Exception as error:  # For damaged files, PyIceberg and Arrow raise any exception, even `SystemError`.
        raise OfftakeError(f"The table with the metadata {metadata} is damaged: {error}.") from error


@dataclass
class _Relocation:
    """`sizes`: the new size of each rewritten file, by its old location; tables can share files."""

    move: Move
    sizes: dict[str, int] = field(default_factory=dict)

    def rewrite_manifests(self, metadata: str) -> list[str]:
        """Rewrite the files that the table's snapshots refer to. Returns the locations of existing older metadata."""
        document = _read_metadata(self._inside(metadata))
        for snapshot in document.get("snapshots", ()):
            if "manifest-list" in snapshot:
                self._once(snapshot["manifest-list"], self._rewrite_manifest_list)
            for manifest in snapshot.get("manifests", ()):  # Only version 1 of the format has these.
                self._once(manifest, self._rewrite_manifest)
        older = [entry["metadata-file"] for entry in document.get("metadata-log", ())]
        return [one for one in older if self._exists(one)]

    def check_metadata(self, metadata: str) -> None:
        document = _read_metadata(self._inside(metadata))
        properties = document.get("properties", {})
        for location in (document["location"], *(properties[name] for name in _PROPERTIES if name in properties)):
            self._inside(location)

    def rewrite_metadata(self, metadata: str) -> None:
        self._once(metadata, self._rewrite_metadata)

    def _once(self, location: str, rewrite: Callable[[Path], None]) -> int:
        """Rewrite the file unless it was rewritten already. Returns its new size in bytes."""
        if location not in self.sizes:
            path = self._inside(location)
            rewrite(path)
            self.sizes[location] = path.stat().st_size
        return self.sizes[location]

    def _exists(self, location: str) -> bool:
        return self._path(location).is_file()

    def _path(self, location: str) -> Path:
        return local_path(self.move.new_location(location))

    def _inside(self, location: str) -> Path:
        """The file's path. Raises `OfftakeError` outside the warehouse: a malicious archive could name any file."""
        path = self._path(location)
        if not path.resolve().is_relative_to(self.move.new_root.resolve()):
            raise OfftakeError(
                f"A table refers to a file outside the warehouse: {location}. Move the table's files into it first."
            )
        return path

    def _rewrite_metadata(self, path: Path) -> None:
        content = json.dumps(self._moved_metadata(_read_metadata(path)), ensure_ascii=False).encode()
        _replace(path, lambda new: new.write_bytes(gzip.compress(content) if _is_gzip(path) else content))

    def _moved_metadata(self, document: dict[str, Any]) -> dict[str, Any]:
        moved = self.move.new_location
        document["location"] = moved(document["location"])
        for snapshot in document.get("snapshots", ()):
            if "manifest-list" in snapshot:
                snapshot["manifest-list"] = moved(snapshot["manifest-list"])
            if "manifests" in snapshot:
                snapshot["manifests"] = [moved(one) for one in snapshot["manifests"]]
        for entry in document.get("metadata-log", ()):
            entry["metadata-file"] = moved(entry["metadata-file"])
        for one in (*document.get("statistics", ()), *document.get("partition-statistics", ())):
            one["statistics-path"] = moved(one["statistics-path"])
        properties = document.get("properties", {})
        for name in _PROPERTIES:
            if name in properties:
                properties[name] = moved(properties[name])
        return document

    def _rewrite_manifest_list(self, path: Path) -> None:
        def relocate(record: Record, schema: Schema) -> None:
            at = _positions(schema.as_struct())
            manifest = record[at[_MANIFEST_PATH]]
            record[at[_MANIFEST_LENGTH]] = self._once(manifest, self._rewrite_manifest)
            record[at[_MANIFEST_PATH]] = self.move.new_location(manifest)

        _rewrite_avro(path, "manifest_file", relocate)

    def _rewrite_manifest(self, path: Path) -> None:
        _rewrite_avro(path, "manifest_entry", self._relocate_entry)

    def _relocate_entry(self, entry: Record, schema: Schema) -> None:
        file = entry[_positions(schema.as_struct())[_DATA_FILE]]
        kind = schema.find_type(_DATA_FILE)
        assert isinstance(kind, StructType)  # noqa: S101 - required by the specification
        at = _positions(kind)
        location = file[at[_FILE_PATH]]
        if _CONTENT in at and file[at[_CONTENT]] == DataFileContent.POSITION_DELETES:
            size = self._relocate_deletes(location, file[at[_FILE_FORMAT]])
            file[at[_FILE_SIZE]] = file[at[_FILE_SIZE]] if size is None else size
            for bounds in (_LOWER_BOUNDS, _UPPER_BOUNDS):
                if bounds in at:
                    self._relocate_bounds(file[at[bounds]])
        if _REFERENCED_FILE in at and file[at[_REFERENCED_FILE]] is not None:
            file[at[_REFERENCED_FILE]] = self.move.new_location(file[at[_REFERENCED_FILE]])
        file[at[_FILE_PATH]] = self.move.new_location(location)

    def _relocate_bounds(self, bounds: dict[int, bytes] | None) -> None:
        if bounds and _PATH_IN_DELETES in bounds:
            moved = self.move.new_bound(bounds.pop(_PATH_IN_DELETES))
            if moved is not None:
                bounds[_PATH_IN_DELETES] = moved

    def _relocate_deletes(self, deletes: str, file_format: str) -> int | None:
        """Rewrite position deletes once. Returns their size in bytes, or None when an old snapshot's file is gone."""
        if not self._exists(deletes):
            return None
        if file_format.upper() != FileFormat.PARQUET.value:
            raise OfftakeError(
                f"The deletes in {deletes} have the format {file_format}, and cannot be moved to another folder. "
                f"Set OFFTAKE_WAREHOUSE to the old folder, {self.move.old}."
            )
        return self._once(deletes, lambda path: _rewrite_deletes(path, self.move))


def _positions(struct: StructType) -> dict[int, int]:
    """The index of each field in a record, by field id."""
    return {one.field_id: position for position, one in enumerate(struct.fields)}


def _read_metadata(path: Path) -> dict[str, Any]:
    with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
        content = file.read(_LARGEST_METADATA + 1)
    if len(content) > _LARGEST_METADATA:
        raise OfftakeError(
            f"The metadata in {path} has more than {_LARGEST_METADATA} bytes. Expire snapshots of the table first."
        )
    document: dict[str, Any] = json.loads(content)
    return document


def _is_gzip(path: Path) -> bool:
    return path.name.endswith((".gz.metadata.json", ".metadata.json.gz"))


def _rewrite_avro(path: Path, name: str, change: Callable[[Record, Schema], None]) -> None:
    """Rewrite the Avro file with changed records; its schema and properties stay."""
    io = LocationsIO()

    def write(new: Path) -> None:
        with AvroFile[Record](io.new_input(str(path))) as source:
            target = io.new_output(str(new))
            with AvroOutputFile[Record](target, source.schema, name, metadata=source.header.meta) as output:
                for records in _pages(source):
                    for record in records:
                        change(record, source.schema)
                    output.write_block(records)

    _replace(path, write)


def _pages(source: AvroFile[Record]) -> Iterator[list[Record]]:
    page: list[Record] = []
    for record in source:
        page.append(record)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


def _rewrite_deletes(path: Path, move: Move) -> None:
    def write(new: Path) -> None:
        with pq.ParquetFile(path, pre_buffer=False) as source:
            group = source.metadata.row_group(0) if source.num_row_groups else None
            compression = group.column(0).compression if group else "ZSTD"
            with pq.ParquetWriter(new, source.schema_arrow, compression=compression) as target:
                for batch in source.iter_batches(_ROWS):
                    target.write_batch(_move_deletes(batch, move))

    _replace(path, write)


def _move_deletes(batch: pa.RecordBatch, move: Move) -> pa.RecordBatch:
    index = batch.schema.get_field_index("file_path")
    paths = batch.column(index).dictionary_encode()
    new_paths = [move.new_location(one) for one in paths.dictionary.to_pylist()]
    moved = pa.array(new_paths, pa.string()).take(paths.indices).cast(batch.schema.field(index).type)
    return batch.set_column(index, batch.schema.field(index), moved)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Replace the file atomically and durably: write a temporary file, fsync it, rename it."""
    new = path.with_name(f".{path.name}.relocated")
    write(new)
    with new.open("rb+") as file:
        sync_file(file)
    new.replace(path)
