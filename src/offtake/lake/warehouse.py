"""The folder of the own lake's files: on this machine, or in an object store."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from pyiceberg.io import FileIO

from offtake.lake import locations
from offtake.lake.locations import LocationError, local_path
from offtake.lake.storage import files, objects
from offtake.lake.storage.access import FileAccess, is_inside
from offtake.lake.storage.objects import StoredFile
from offtake.lake.warehouse_io import WarehouseIO

_CHUNK: Final = 1024 * 1024


class Warehouse(Protocol):
    """The lake's files. Locations are those of files in the warehouse; for others it raises `LocationError`.

    A warehouse in a store raises `DeliveryError` for the store's errors, a folder `OSError`.
    """

    @property
    def location(self) -> str:
        """The location of the folder, without a slash at the end."""
        ...

    @property
    def access(self) -> FileAccess | None:
        """How files are opened for reading; None for files of this machine."""
        ...

    @property
    def io(self) -> FileIO:
        """PyIceberg's file I/O."""
        ...

    def write(self, location: str, chunks: Iterable[bytes]) -> int:
        """Write a file; returns its size in bytes. After an error, nothing or a part of it is there."""
        ...

    def read(self, location: str, first: int, length: int) -> Iterator[bytes]:
        """So many bytes of the file from byte `first` on, in chunks."""
        ...

    def remove(self, places: Iterable[str]) -> None:
        """Delete the files; those that do not exist are fine."""
        ...

    def remove_folder(self, location: str) -> None:
        """Delete the folder with everything in it. Does nothing when it does not exist."""
        ...

    def remove_if_empty(self, location: str) -> None:
        """Delete the folder if it exists without files."""
        ...

    def files_in(self, location: str, after: str = "") -> Iterator[StoredFile]:
        """All files below the folder, in any order; a store leaves out names up to `after`, to list less."""
        ...

    def folders_in(self, location: str) -> list[str]:
        """The names of the folders in the folder; none when it does not exist."""
        ...

    def exists(self, location: str) -> bool:
        """Whether the file exists."""
        ...

    def is_inside(self, location: str) -> bool:
        """Whether the location is in the warehouse."""
        ...


def open_warehouse(location: str, access: FileAccess | None = None) -> Warehouse:
    """The warehouse at the location; with `access`, in a store. Raises `LocationError` for other combinations."""
    if locations.is_local(location) != (access is None):
        raise LocationError(f"The warehouse {location} and the way it is opened do not match.")
    location = location.rstrip("/")
    return _FolderWarehouse(location) if access is None else _StoreWarehouse(location, access)


@dataclass(frozen=True)
class _FolderWarehouse:
    location: str

    @property
    def access(self) -> None:
        return None

    @property
    def io(self) -> FileIO:
        from offtake.lake.file_io import LocationsIO  # noqa: PLC0415 - slow to import; a server starts without it

        return LocationsIO()

    def write(self, location: str, chunks: Iterable[bytes]) -> int:
        path = local_path(location)
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        with path.open("wb") as file:
            for chunk in chunks:
                size += file.write(chunk)
        return size

    def read(self, location: str, first: int, length: int) -> Iterator[bytes]:
        return _read(location, self.access, first, length)

    def remove(self, places: Iterable[str]) -> None:
        for location in places:
            local_path(location).unlink(missing_ok=True)

    def remove_folder(self, location: str) -> None:
        shutil.rmtree(local_path(location), ignore_errors=True)

    def remove_if_empty(self, location: str) -> None:
        with contextlib.suppress(OSError):
            local_path(location).rmdir()

    def files_in(self, location: str, after: str = "") -> Iterator[StoredFile]:  # noqa: ARG002 - listing is cheap here
        folder = local_path(location)
        for parent, _, names in os.walk(folder):
            for name in names:
                path = Path(parent, name)
                inside = path.relative_to(folder).as_posix()
                with contextlib.suppress(FileNotFoundError):
                    found = path.stat()
                    yield StoredFile(f"{location}/{inside}", found.st_size, round(found.st_mtime * 1000))

    def folders_in(self, location: str) -> list[str]:
        folder = local_path(location)
        return [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []

    def exists(self, location: str) -> bool:
        return local_path(location).is_file()

    def is_inside(self, location: str) -> bool:
        try:
            is_local = locations.is_local(location)
        except LocationError:
            return False
        return is_local and local_path(location).is_relative_to(local_path(self.location))


@dataclass(frozen=True)
class _StoreWarehouse:
    """There are no folders: files appear when they are complete, and a folder goes with its last file."""

    location: str
    access: FileAccess

    @property
    def io(self) -> FileIO:
        return WarehouseIO.of(self.access)

    def write(self, location: str, chunks: Iterable[bytes]) -> int:
        return objects.put(self.access, location, chunks)

    def read(self, location: str, first: int, length: int) -> Iterator[bytes]:
        return _read(location, self.access, first, length)

    def remove(self, places: Iterable[str]) -> None:
        objects.delete(self.access, places)

    def remove_folder(self, location: str) -> None:
        objects.delete(self.access, [file.location for file in self.files_in(location)])

    def remove_if_empty(self, location: str) -> None:
        del location

    def files_in(self, location: str, after: str = "") -> Iterator[StoredFile]:
        return objects.files_in(self.access, location, after)

    def folders_in(self, location: str) -> list[str]:
        return objects.folders_in(self.access, location)

    def exists(self, location: str) -> bool:
        return files.exists(location, self.access)

    def is_inside(self, location: str) -> bool:
        try:
            return is_inside(self.access, location, self.location)
        except LocationError:
            return False


def _read(location: str, access: FileAccess | None, first: int, length: int) -> Iterator[bytes]:
    with files.open_input(location, access) as file:
        file.seek(first)
        while length and (chunk := file.read(min(length, _CHUNK))):
            length -= len(chunk)
            yield chunk
