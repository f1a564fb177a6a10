"""Opening the files of tables for reading. Runs in worker processes: PyIceberg is not imported."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.fs as pafs

from offtake.errors import EXPORT_FAILED, SOURCE_UNAVAILABLE, DeliveryError
from offtake.lake import locations
from offtake.lake.storage.access import FileAccess, path_of, place_of

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_TAIL: Final = 64 * 1024
"""Bytes at the end of a file that are fetched when it is opened: the footer of most Parquet files."""
_LARGEST_WHOLE: Final = 1024**3
_LEFT_MS: Final = 300_000
_MOST_LENT: Final = 256


def open_input(location: str, access: FileAccess | None) -> pa.NativeFile:
    """The file, open for reading. `access` None: a file of the deployment's own lake.

    Raises `OSError`, `LocationError`, and `DeliveryError` for errors of a store.
    """
    if access is None:
        store, path = locations.file_system(location)
        return store.open_input_file(path)
    if access.kind == "folder":
        return pafs.LocalFileSystem().open_input_file(str(path_of(access, location)))
    return pa.PythonFile(StoreFile(access, location), mode="r")


def read_whole(location: str, access: FileAccess) -> bytes:
    """The content of a metadata file. Raises as `open_input` does."""
    if access.kind == "folder":
        return path_of(access, location).read_bytes()
    with StoreFile(access, location) as file:
        if file.size() > _LARGEST_WHOLE:
            raise DeliveryError(EXPORT_FAILED, f"The metadata file {location[:300]} is larger than 1 GiB.", "")
        return file.read()


def exists(location: str, access: FileAccess) -> bool:
    """Whether the file exists. Raises as `open_input` does."""
    if access.kind == "folder":
        return path_of(access, location).is_file()
    try:
        StoreFile(access, location).close()
    except FileNotFoundError:
        return False
    return True


_lent: dict[FileAccess, FileAccess] = {}
"""The newest credentials of this process, by the access that they replace."""


def current(access: FileAccess) -> FileAccess:
    """The access with credentials that last for at least five minutes, if the catalog lends them.

    Raises `DeliveryError` when the catalog does not answer.
    """
    if access.renewal is None or access.expires_ms is None:
        return access
    newest = _lent.get(access, access)
    if (newest.expires_ms or 0) - time.time() * 1000 > _LEFT_MS:
        return newest
    if len(_lent) > _MOST_LENT:
        _lent.clear()
    _lent[access] = access.renewal()
    return _lent[access]


class StoreFile(io.RawIOBase):
    """A file in an object store as a seekable file: each read is one request for its range.

    The last 64 KiB are fetched when it is opened, because readers of Parquet begin at the end.
    """

    def __init__(self, access: FileAccess, location: str) -> None:
        """Raises as `open_input` does."""
        from offtake.lake.storage.stores import store_of  # noqa: PLC0415 - slow to import; local lakes do without

        access = current(access)
        place = place_of(access, location)
        self._location, self._key = location, place.key
        self._store: ObjectStore = store_of(access, place)
        self._at = 0
        self._size, self._tail = self._read_tail()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position of the next read."""
        return self._at

    def seek(self, offset: int, origin: int = io.SEEK_SET) -> int:
        """Set the position of the next read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[origin]
        self._at = max(0, base + offset)
        return self._at

    def size(self) -> int:
        """The size of the file in bytes."""
        return self._size

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes from the position on."""
        left = max(0, self._size - self._at)
        length = left if size is None or size < 0 else min(size, left)
        if not length:
            return b""
        in_tail = self._at - (self._size - len(self._tail))
        found = self._tail[in_tail : in_tail + length] if in_tail >= 0 else self._fetch(self._at, length)
        self._at += len(found)
        return found

    def readall(self) -> bytes:
        """The rest of the file."""
        return self.read()

    def _fetch(self, start: int, length: int) -> bytes:
        import obstore  # noqa: PLC0415 - as above

        with translating_errors(self._location):
            return bytes(obstore.get_range(self._store, self._key, start=start, length=length))

    def _read_tail(self) -> tuple[int, bytes]:
        """The size of the file, and its last bytes."""
        import obstore  # noqa: PLC0415 - as above

        with translating_errors(self._location):
            size = int(obstore.head(self._store, self._key)["size"])
        start = max(0, size - _TAIL)
        return size, self._fetch(start, size - start) if size else b""


@contextmanager
def translating_errors(location: str) -> Iterator[None]:
    """Translates the driver's errors to `DeliveryError`; a missing file is a `FileNotFoundError`."""
    from obstore.exceptions import BaseError  # noqa: PLC0415 - as above

    from offtake.network.object_store_errors import RequiredPermissions, explain, is_missing_root  # noqa: PLC0415

    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        if isinstance(error, FileNotFoundError) and not is_missing_root(error):
            raise FileNotFoundError(f"{location[:300]} does not exist") from None
        rights = RequiredPermissions(*["the right to read objects (s3:GetObject, Storage Blob Data Reader)"] * 4)
        found = explain(error, location[:300], "The store", "read", rights, "the catalog")
        kind = SOURCE_UNAVAILABLE if found.transient else EXPORT_FAILED
        raise DeliveryError(kind, found.message, found.remedy, transient=found.transient) from None
