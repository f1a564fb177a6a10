"""Reading ahead: the ranges that a part reads next are fetched while earlier ones are decoded and encoded.

The reader plans the ranges of each step (a row group) in its order. Small ranges that are close to each other become
one request, large ones are divided, so that requests have up to 8 MiB. The columns of a large step are read side by
side: its requests alternate between them, each with the part of its column that is read first.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from io import RawIOBase
from itertools import chain
from typing import Final

from offtake.lake.storage.range_requests import Check, Fetched

MIB: Final = 1024 * 1024
MOST_BYTES: Final = 48 * MIB
"""Bytes that are fetched but not read, and those that are being fetched: of one part."""
_MOST_REQUESTS: Final = 16
_SEGMENT: Final = 8 * MIB
_GAP: Final = MIB // 2
"""Unneeded bytes between two ranges that cost less than another request."""
_LARGE_STEP: Final = 16 * MIB
_ROUND: Final = 12 * MIB
"""Bytes of a large step that are requested before all its columns have been requested once more."""
_LEAST: Final = MIB // 2

Range = tuple[int, int]
Step = Sequence[Range]
"""Ranges that are read before those of the next step, in any order; each is read once, from its start to its end."""


@dataclass
class _Segment:
    """A planned request for the steps from `first` to `last`. `left`: its planned bytes that were not read yet."""

    start: int
    end: int
    left: int
    first: int
    last: int
    request: "Future[Fetched] | None" = None
    is_done: bool = False


class ReadAhead:
    """Fetches the planned ranges of one or more files in order, within a limit of memory.

    `check` is called while the reader waits. `opened`: files that were opened before they are used, by location. Not
    thread-safe: a part reads with one thread at a time.
    """

    def __init__(self, check: Check | None = None, most_bytes: int = MOST_BYTES) -> None:
        self.check = check
        self.opened: dict[str, RawIOBase] = {}
        self._most_bytes = most_bytes
        self._queue: Iterator[tuple[FileSegments, _Segment]] = iter(())
        self._next: tuple[FileSegments, _Segment] | None = None
        self._held = 0
        self._running: list[Future[Fetched]] = []

    def plan(self, file: "FileSegments", steps: Iterable[Step]) -> None:
        """Read these ranges of the file after those planned before."""
        found = ((file, segment) for segment in file.planned(steps))
        waiting = () if self._next is None else (self._next,)
        self._queue, self._next = chain(waiting, self._queue, found), None
        self.advance()

    def advance(self) -> None:
        """Request what fits."""
        while True:
            if self._next is None:
                self._next = next(self._queue, None)
            if self._next is None:
                return
            file, segment = self._next
            if segment.is_done or segment.request is not None or file.is_closed:
                self._next = None
                continue
            self._running = [one for one in self._running if not one.done()]
            is_full = self._held > 0 and self._held + segment.end - segment.start > self._most_bytes
            if is_full or len(self._running) >= _MOST_REQUESTS:
                return
            self._next = None
            file.request(segment)

    def close(self) -> None:
        """Close the files that were opened and not used."""
        for file in self.opened.values():
            file.close()
        self.opened.clear()

    def add(self, size: int, request: "Future[Fetched]") -> None:
        """Count the bytes of a request."""
        self._held += size
        self._running.append(request)

    def remove(self, size: int) -> None:
        """Count bytes that are not held any more."""
        self._held -= size


class FileSegments:
    """The planned ranges of one file. `request` starts a request for a range of it."""

    def __init__(self, ahead: ReadAhead, request: Callable[[int, int], "Future[Fetched]"]) -> None:
        self._ahead, self._request = ahead, request
        self._segments: list[_Segment] = []
        self._starts: list[int] = []
        self._step = 0
        self._steps = 0
        self.is_closed = False

    def planned(self, steps: Iterable[Step]) -> Iterator[_Segment]:
        """The segments of further steps, in the order in which they are requested."""
        for segment in _segments(steps, self._steps):
            if self.is_closed:
                return
            at = bisect_right(self._starts, segment.start)
            self._starts.insert(at, segment.start)
            self._segments.insert(at, segment)
            self._steps = segment.last + 1
            yield segment

    def request(self, segment: _Segment) -> None:
        """Request the segment."""
        segment.request = self._request(segment.start, segment.end)
        self._ahead.add(segment.end - segment.start, segment.request)

    def find(self, at: int) -> _Segment | None:
        """The planned segment that holds the offset, requested if it was not."""
        index = bisect_right(self._starts, at) - 1
        found = self._segments[index] if index >= 0 else None
        if found is None or at >= found.end:
            return None
        if found.request is None:
            self.request(found)
        return found

    def note_read(self, segment: _Segment, size: int) -> None:
        """Drop what will not be read again, and request what fits then.

        A step's segments are kept until the second step after it is begun: a batch of rows can belong to two row
        groups, and its columns reach the second one after each other.
        """
        segment.left -= size
        done = [segment] if segment.left <= 0 else []
        if segment.first > self._step:
            self._step = segment.first
            done += [one for one in self._segments if one.last < self._step - 1]
        if done:
            self._drop(done)
        self._ahead.advance()

    def close(self) -> None:
        """Cancel the file's requests."""
        self.is_closed = True
        self._drop(list(self._segments))

    def _drop(self, done: Iterable[_Segment]) -> None:
        for one in done:
            if one.is_done:
                continue
            one.is_done = True
            if one.request is not None:
                one.request.cancel()
                self._ahead.remove(one.end - one.start)
                one.request = None
        self._segments = [one for one in self._segments if not one.is_done]
        self._starts = [one.start for one in self._segments]


def _segments(steps: Iterable[Step], first: int) -> Iterator[_Segment]:
    """The requests for the steps, whose numbers are counted from `first` on."""
    small: list[tuple[int, Range]] = []
    for number, ranges in enumerate(steps, start=first):
        if sum(end - start for start, end in ranges) <= _LARGE_STEP:
            small += [(number, one) for one in sorted(ranges)]
            if sum(end - start for _, (start, end) in small) < 2 * _SEGMENT:
                continue
            yield from _coalesced(small)
        else:
            yield from _coalesced(small)
            yield from _alternating(ranges, number)
        small = []
    yield from _coalesced(small)


def _coalesced(ranges: Iterable[tuple[int, Range]]) -> Iterator[_Segment]:
    """The requests for ranges with the numbers of their steps."""
    last: _Segment | None = None
    for number, one in ranges:
        for start, end in _pieces(one, _SEGMENT):
            if last is not None and 0 <= start - last.end <= _GAP and end - last.start <= _SEGMENT:
                last.end, last.left, last.last = end, last.left + end - start, number
                continue
            if last is not None:
                yield last
            last = _Segment(start, end, end - start, number, number)
    if last is not None:
        yield last


def _pieces(whole: Range, size: int) -> Iterator[Range]:
    start, end = whole
    for at in range(start, end, size):
        yield at, min(at + size, end)


def _alternating(ranges: Step, number: int) -> Iterator[_Segment]:
    """The requests for a large step: small columns whole, then pieces of the large ones in the order of reading."""
    yield from _coalesced((number, one) for one in sorted(ranges) if one[1] - one[0] <= _LEAST)
    large = [one for one in ranges if one[1] - one[0] > _LEAST]
    total = sum(end - start for start, end in large)
    pieces: list[tuple[float, Range]] = []
    for start, end in large:
        size = min(_SEGMENT, max(_LEAST, (end - start) * _ROUND // total // _LEAST * _LEAST))
        pieces += [((at - start) / (end - start), (at, to)) for at, to in _pieces((start, end), size)]
    for _, (at, to) in sorted(pieces):
        yield _Segment(at, to, to - at, number, number)
