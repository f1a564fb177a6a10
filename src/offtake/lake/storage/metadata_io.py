"""Reading metadata files that were requested in advance, several at the same time."""

import io
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Final, NoReturn

from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile

from offtake.lake.storage.iceberg_io import AccessIO, ReadOnlyError
from offtake.lake.storage.range_requests import Fetched, StoredObject

_LARGEST: Final = 64 * 1024 * 1024


class AheadIO(FileIO):
    """Reads files by another file I/O; those that were requested are fetched in the meantime, if that is a store's."""

    def __init__(self, base: FileIO) -> None:
        super().__init__({})
        self.base = base
        self._requested: dict[str, tuple[StoredObject, Future[Fetched]]] = {}

    def request(self, locations: Iterable[str]) -> None:
        """Request files that will be read next. Raises the errors of opening them."""
        if not isinstance(self.base, AccessIO) or self.base.access.kind == "folder":
            return
        for location in locations:
            if location not in self._requested:
                file = StoredObject(self.base.access, location)
                self._requested[location] = (file, file.request_whole(_LARGEST))

    def new_input(self, location: str) -> InputFile:
        """The file, to be read once."""
        requested = self._requested.pop(location, None)
        return self.base.new_input(location) if requested is None else _Requested(location, *requested)

    def new_output(self, location: str) -> NoReturn:
        """Raises `ReadOnlyError`."""
        raise ReadOnlyError(f"{location} would be written")

    def delete(self, location: str | InputFile | OutputFile) -> NoReturn:
        """Raises `ReadOnlyError`."""
        raise ReadOnlyError(f"{location} would be deleted")

    def close(self) -> None:
        """Cancel the requests of files that were not read."""
        for _, request in self._requested.values():
            request.cancel()
        self._requested.clear()


class _Requested(InputFile):
    def __init__(self, location: str, file: StoredObject, request: "Future[Fetched]") -> None:
        super().__init__(location)
        self._file, self._request = file, request

    def __len__(self) -> int:
        return self._file.wait(self._request).version.size

    def exists(self) -> bool:
        return True

    def open(self, seekable: bool = True) -> InputStream:  # noqa: ARG002 - PyIceberg's signature
        found = self._file.wait(self._request)
        if found.version.size != len(found.data):
            # Too large to be held in advance.
            found = self._file.wait(self._file.request(0, found.version.size))
        return io.BytesIO(bytes(found.data))
