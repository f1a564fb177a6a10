"""A file that is several objects in a store, read as one; it is used like a path."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from offtake.lake.storage import objects
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.files import StoreFile

_BUFFER: Final = 8 * 1024 * 1024
_OPEN: Final = 4


@dataclass(frozen=True)
class _Segment:
    """Bytes of the file from `first` up to, and without, `end`: those of an object from byte `offset` on."""

    first: int
    end: int
    object_id: str
    offset: int


@dataclass(frozen=True)
class Stat:
    """As of `os.stat_result`. Objects never change, so the time is 0."""

    st_size: int
    st_mtime_ns: int = 0


@dataclass(frozen=True)
class ObjectParts:
    """The file. Opening and reading raise `DeliveryError`, and `FileNotFoundError` when an object is missing."""

    access: FileAccess
    folder: str
    segments: tuple[_Segment, ...]

    @classmethod
    def of(cls, access: FileAccess, folder: str, parts: Sequence[tuple[str, int, int]]) -> "ObjectParts":
        """The file with these objects, as (id, first byte, last byte); where they overlap, the later one counts."""
        return cls(access, folder, tuple(_without_overlaps(parts)))

    def __str__(self) -> str:
        return self.folder

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """The content, read in pieces of 8 MiB."""
        del mode
        return io.BufferedReader(PartsFile(self), _BUFFER)

    def stat(self) -> Stat:
        """The size."""
        return Stat(self.segments[-1].end if self.segments else 0)

    def exists(self) -> bool:
        """Whether all objects exist."""
        found = {one.name for one in objects.files_in(self.access, self.folder)}
        return found >= {one.object_id for one in self.segments}


class PartsFile(io.RawIOBase):
    """The open file, for random access."""

    def __init__(self, parts: ObjectParts) -> None:
        self._parts = parts
        self._starts = [one.first for one in parts.segments]
        self._size = parts.stat().st_size
        self._at = 0
        self._opened: dict[str, StoreFile] = {}

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position of the next read."""
        return self._at

    def size(self) -> int:
        """The size of the file in bytes; pyarrow asks for it."""
        return self._size

    def seek(self, offset: int, origin: int = io.SEEK_SET) -> int:
        """Set the position of the next read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[origin]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Fill the buffer with bytes of one segment; returns their number."""
        view = memoryview(buffer).cast("B")
        if self._at >= self._size or not view:
            return 0
        segment = self._parts.segments[bisect_right(self._starts, self._at) - 1]
        length = min(len(view), segment.end - self._at)
        file = self._file(segment.object_id)
        file.seek(segment.offset + self._at - segment.first)
        content = file.read(length)
        view[: len(content)] = content
        self._at += len(content)
        return len(content)

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes, of any number of segments: pyarrow expects all of them."""
        left = max(0, self._size - self._at)
        length = left if size is None or size < 0 else min(size, left)
        content = bytearray(length)
        view, done = memoryview(content), 0
        while done < length and (count := self.readinto(view[done:])):
            done += count
        return bytes(content[:done])

    def readall(self) -> bytes:
        """The rest of the file; the base class would read it in pieces of 8 KiB, each a request."""
        return self.read()

    def close(self) -> None:
        """Close the objects."""
        for file in self._opened.values():
            file.close()
        self._opened.clear()
        super().close()

    def _file(self, object_id: str) -> StoreFile:
        if object_id not in self._opened:
            while len(self._opened) >= _OPEN:
                self._opened.pop(next(iter(self._opened))).close()
            self._opened[object_id] = StoreFile(self._parts.access, f"{self._parts.folder}/{object_id}")
        return self._opened[object_id]


def _without_overlaps(parts: Sequence[tuple[str, int, int]]) -> list[_Segment]:
    """The segments in order; from the newest part on, each fills what is still free."""
    in_order = sorted(parts, key=lambda part: part[1])
    if all(before[2] < after[1] for before, after in pairwise(in_order)):
        return [_Segment(first, last + 1, object_id, 0) for object_id, first, last in in_order]
    taken: list[_Segment] = []
    for object_id, first, last in reversed(parts):
        at, new = first, list[_Segment]()
        start = max(0, bisect_right([one.first for one in taken], first) - 1)
        for one in taken[start:]:
            if one.first > last:
                break
            if one.first > at:
                new.append(_Segment(at, one.first, object_id, at - first))
            at = max(at, one.end)
        if at <= last:
            new.append(_Segment(at, last + 1, object_id, at - first))
        taken = sorted([*taken, *new], key=lambda one: one.first)
    return taken
