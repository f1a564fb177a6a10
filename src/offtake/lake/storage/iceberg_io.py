"""PyIceberg's file I/O over the files that a catalog may read. It writes and deletes nothing."""

import io
from typing import Final, NoReturn

from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile
from pyiceberg.table import Table

from offtake.lake.storage import files
from offtake.lake.storage.access import FileAccess


class ReadOnlyError(RuntimeError):
    """A file of a registered table would be written or deleted: a fault of the program."""


class AccessIO(FileIO):
    """Reads metadata files with `access`; the properties that PyIceberg has are not used."""

    def __init__(self, access: FileAccess) -> None:
        super().__init__({})
        self.access = access

    def new_input(self, location: str) -> InputFile:
        """The file, to be read."""
        return _Input(location, self.access)

    def new_output(self, location: str) -> OutputFile:
        """Raises `ReadOnlyError`."""
        raise ReadOnlyError(f"{location} is a file of a registered table, which is read-only")

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Raises `ReadOnlyError`."""
        raise ReadOnlyError(f"{location} is a file of a registered table, which is read-only")


class _Input(InputFile):
    def __init__(self, location: str, access: FileAccess) -> None:
        super().__init__(location)
        self._access = access

    def __len__(self) -> int:
        return len(files.read_whole(self.location, self._access))

    def exists(self) -> bool:
        return files.exists(self.location, self._access)

    def open(self, seekable: bool = True) -> InputStream:  # noqa: ARG002 - PyIceberg's signature
        return io.BytesIO(files.read_whole(self.location, self._access))


class RefusingIO(FileIO):
    """What PyIceberg opens for a catalog that reads with `AccessIO`, if it ever asks for a file itself."""

    def new_input(self, location: str) -> NoReturn:
        """Raises `ReadOnlyError`."""
        raise ReadOnlyError(f"{location} would be read without its catalog's access")

    def new_output(self, location: str) -> NoReturn:
        """Raises `ReadOnlyError`."""
        raise ReadOnlyError(f"{location} would be written")

    def delete(self, location: str | InputFile | OutputFile) -> NoReturn:
        """Raises `ReadOnlyError`."""
        raise ReadOnlyError(f"{location} would be deleted")


REFUSING: Final = f"{RefusingIO.__module__}.{RefusingIO.__name__}"


def access_of(table: Table) -> FileAccess | None:
    """How the table's files are opened; None for a table of the own lake."""
    return table.io.access if isinstance(table.io, AccessIO) else None
