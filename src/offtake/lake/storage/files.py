"""Opening the files of tables for reading. Runs in worker processes: PyIceberg is not imported."""

import contextlib
import io
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, Final

import pyarrow as pa
import pyarrow.fs as pafs

from offtake.errors import EXPORT_FAILED, DeliveryError, OfftakeError
from offtake.lake import locations
from offtake.lake.locations import LocationError
from offtake.lake.storage.access import FileAccess, path_of
from offtake.lake.storage.range_requests import Fetched, StoredObject
from offtake.lake.storage.read_ahead import FileSegments, ReadAhead, Step

_TAIL: Final = 64 * 1024
"""Bytes at the end of a file that are fetched when it is opened: the footer of most Parquet files."""
_WHOLE: Final = 256 * 1024
"""Files up to this size are fetched whole when they are opened."""
_LONGEST_INDEX: Final = 1024 * 1024
_LARGEST_WHOLE: Final = 1024**3


def open_input(
    location: str, access: FileAccess | None, size: int | None = None, ahead: ReadAhead | None = None
) -> pa.NativeFile:
    """The file, open for reading. `access` None: a file of the deployment's own lake.

    `size`: the file's size in bytes if it is known; `ahead`: reads the file in advance when that is planned. The end of
    a file in an object store is requested, and an error raised when the file is used first. Raises `OSError`,
    `LocationError`, and `DeliveryError` for errors of a store.
    """
    if access is None:
        store, path = locations.file_system(location)
        return store.open_input_file(path)
    if access.kind == "folder":
        return pafs.LocalFileSystem().open_input_file(str(path_of(access, location)))
    opened = None if ahead is None else ahead.opened.pop(location, None)
    return StoreInput(opened if isinstance(opened, StoreFile) else StoreFile(access, location, size, ahead))


def open_ahead(
    files: Iterable[tuple[str, int | None]], access: FileAccess | None, ahead: ReadAhead, whole: int = _WHOLE
) -> None:
    """Let `open_input` find these files opened, in pairs of location and size; a no-op for local files.

    `whole`: files up to this size are fetched whole. An error is raised by `open_input` when the file is needed.
    """
    if access is None or access.kind == "folder":
        return
    for location, size in files:
        if location not in ahead.opened:
            with contextlib.suppress(OfftakeError):
                ahead.opened[location] = StoreFile(access, location, size, ahead, whole)


def read_whole(location: str, access: FileAccess) -> bytes:
    """The content of a metadata file. Raises as `open_input` does."""
    if access.kind == "folder":
        path = path_of(access, location)
        if path.exists() and not path.is_file():
            raise LocationError(f"{location[:300]} is not a file.")
        if path.stat().st_size > _LARGEST_WHOLE:
            raise DeliveryError(EXPORT_FAILED, f"The metadata file {location[:300]} is larger than 1 GiB.", "")
        return path.read_bytes()
    found = StoredObject(access, location)
    content = found.wait(found.request_whole(_LARGEST_WHOLE))
    if content.version.size > _LARGEST_WHOLE:
        raise DeliveryError(EXPORT_FAILED, f"The metadata file {location[:300]} is larger than 1 GiB.", "")
    return bytes(content.data)


def exists(location: str, access: FileAccess) -> bool:
    """Whether the file exists. Raises as `open_input` does."""
    if access.kind == "folder":
        return path_of(access, location).is_file()
    with StoreFile(access, location) as file:
        try:
            file.size()
        except FileNotFoundError:
            return False
    return True


def read_ahead(file: pa.NativeFile, steps: Iterable[Step]) -> None:
    """Let these ranges of the file be fetched before they are read; a no-op for local files."""
    if isinstance(file, StoreInput):
        file.stored.read_ahead(steps)


def keep_end(file: pa.NativeFile, start: int) -> None:
    """Fetch the file's end from an offset on, if that is at most 1 MiB: many small ranges of it will be read."""
    if isinstance(file, StoreInput):
        file.stored.keep_end(start)


class StoreFile(io.RawIOBase):
    """A file in an object store as a seekable file.

    The last 64 KiB are requested when it is opened, because readers of Parquet begin at the end. Ranges that are
    planned by `read_ahead` are fetched in advance; any other read is one request.
    """

    def __init__(
        self,
        access: FileAccess,
        location: str,
        size: int | None = None,
        ahead: ReadAhead | None = None,
        whole: int = _WHOLE,
    ) -> None:
        """See `open_input` and `open_ahead`."""
        self._ahead = ahead or ReadAhead()
        self._object = StoredObject(access, location, self._ahead.check)
        self._segments = FileSegments(self._ahead, self._object.request)
        self._at = 0
        tail = max(_TAIL, size) if size is not None and size <= whole else _TAIL
        self._opening: Future[Fetched] | None = self._object.request_tail(tail, size)
        self._size = 0
        self._tail = b""

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
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(origin)
        self._at = max(0, (self.size() if base is None else base) + offset)
        return self._at

    def size(self) -> int:
        """The size of the file in bytes."""
        if self._opening is not None:
            found = self._object.wait(self._opening)
            self._opening, self._size, self._tail = None, found.version.size, bytes(found.data)
        return self._size

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes from the position on."""
        left = max(0, self.size() - self._at)
        length = left if size is None or size < 0 else min(size, left)
        pieces = []
        while length:
            pieces.append(self._piece(self._at, length))
            self._at += len(pieces[-1])
            length -= len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readall(self) -> bytes:
        """The rest of the file."""
        return self.read()

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Fill the buffer from the position on; returns the number of bytes."""
        view = memoryview(buffer).cast("B")
        found = self.read(len(view))
        view[: len(found)] = found
        return len(found)

    def read_ahead(self, steps: Iterable[Step]) -> None:
        """Plan these ranges, instead of those planned before; ranges outside of the file are ignored."""
        tail = self.size() - len(self._tail)
        self._segments.close()
        self._segments = FileSegments(self._ahead, self._object.request)
        self._ahead.plan(self._segments, (_sound(step, self._size, tail) for step in steps))

    def keep_end(self, start: int) -> None:
        """See the function `keep_end`."""
        tail = self.size() - len(self._tail)
        if tail - _LONGEST_INDEX <= start < tail:
            self._tail = bytes(self._object.wait(self._object.request(start, tail)).data) + self._tail

    def close(self) -> None:
        """Cancel what was requested."""
        if not self.closed:
            self._segments.close()
            if self._opening is not None:
                self._opening.cancel()
        super().close()

    def _piece(self, at: int, length: int) -> bytes:
        """Bytes from the offset on, at most `length`, at least one."""
        in_tail = at - (self._size - len(self._tail))
        if in_tail >= 0:
            return self._tail[in_tail : in_tail + length]
        segment = self._segments.find(at)
        if segment is None or segment.request is None:
            end = min(at + length, self._size - len(self._tail))
            return bytes(self._object.wait(self._object.request(at, end)).data)
        found = memoryview(self._object.wait(segment.request).data)[at - segment.start :][:length]
        piece = bytes(found)
        self._segments.note_read(segment, len(piece))
        return piece


class StoreInput(pa.PythonFile):  # type: ignore[misc] # pyarrow has no types
    """A file in an object store, for pyarrow."""

    def __init__(self, stored: StoreFile) -> None:
        self.stored = stored

    def __new__(cls, stored: StoreFile) -> "StoreInput":
        """As the base class, which takes the mode here."""
        found: StoreInput = super().__new__(cls, stored, mode="r")
        return found


def _sound(step: Step, size: int, tail: int) -> Step:
    """The step without what is read already; empty when the file's metadata cannot be right."""
    if any(not 0 <= start <= end <= size for start, end in step) or sum(end - start for start, end in step) > size:
        return ()
    return [(start, min(end, tail)) for start, end in step if start < min(end, tail)]
