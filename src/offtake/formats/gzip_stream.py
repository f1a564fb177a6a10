"""Text of any length as a gzip file: one member, which every reader reads whole, or a member for each block.

Readers that decompress in one call often stop at the end of the first member and report no error: Python's
`zlib.decompress`, Perl's `IO::Uncompress::Gunzip`, libdeflate, the decoders of HTTP clients.

One member is made of pieces that are compressed one at a time: raw deflate with the 32 KiB before as dictionary, ended
by a sync flush, which puts the next piece on a byte boundary. `_CYCLES` says by which library; libdeflate, which is the
fastest on whole members, has neither a dictionary nor a flush.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol, get_args

from isal import isal_zlib
from zlib_ng import zlib_ng

from offtake.formats.gzip_members import HEADER, checksum, compress_member, make_trailer

Members = Literal["single", "many"]
"""One gzip member a file, or one for each block of its text."""
MEMBERS: Final[tuple[Members, ...]] = get_args(Members)

BLOCK: Final = 2 * 1024 * 1024
"""Bytes of text in a block: smaller ones compress worse, and for larger ones the system maps new memory each time.

The latter costs 5 % of a part's time at 4 MiB, for a thousandth of its size.
"""
_WINDOW_BITS: Final = 15
"""Of 32 KiB, the largest window that deflate has; negative in calls that make raw deflate."""
_MEMORY: Final = 9
_END: Final = b"\x03\x00"
"""An empty last block."""


@dataclass(frozen=True)
class GzipOptions:
    """How a format uses gzip.

    `level`: from 1 (fastest) to 9 (smallest), None for the format's own. `members`: of JSON files.
    """

    level: int | None = None
    members: Members = "single"


USUAL: Final = GzipOptions()


class _Compressor(Protocol):
    def compress(self, data: memoryview, /) -> bytes: ...

    def flush(self, mode: int, /) -> bytes: ...


@dataclass(frozen=True)
class _Isal:
    """ISA-L: twice as fast as zlib-ng at its fastest."""

    level: int

    def make_compressor(self, before: bytes) -> _Compressor:
        made: _Compressor = isal_zlib.compressobj(
            self.level, zlib.DEFLATED, -_WINDOW_BITS, _MEMORY, zlib.Z_DEFAULT_STRATEGY, before
        )
        return made


@dataclass(frozen=True)
class _ZlibNg:
    """zlib-ng: the same bytes on every processor.

    `Z_FILTERED`, which matters from level 7 on, prefers literals to matches of up to five bytes: numbers have many.
    With a window of 16 KiB the levels take a fifth less time, for a hundredth of the size.
    """

    level: int
    window_bits: int = _WINDOW_BITS - 1

    def make_compressor(self, before: bytes) -> _Compressor:
        made: _Compressor = zlib_ng.compressobj(
            self.level, zlib.DEFLATED, -self.window_bits, _MEMORY, zlib.Z_FILTERED, before
        )
        return made


_CYCLES: Final[dict[int, tuple[_Isal | _ZlibNg, ...]]] = {
    1: (_ZlibNg(2), *(_Isal(1),) * 31),
    2: (_ZlibNg(5), _Isal(2), _Isal(2)),
    3: (_ZlibNg(5), _ZlibNg(5), _Isal(2)),
    4: (_ZlibNg(5),),
    5: (_ZlibNg(7), _ZlibNg(5)),
    6: (_ZlibNg(7),),
    7: (_ZlibNg(7, _WINDOW_BITS),),
    8: (_ZlibNg(8, _WINDOW_BITS), _ZlibNg(7, _WINDOW_BITS)),
    9: (_ZlibNg(8, _WINDOW_BITS),),
}
"""By level: the codecs of a member's pieces, which take turns.

The first is not ISA-L, whose bytes depend on the process without a dictionary (`gzipping`). With one they are the same
on all x86-64 processors that pyarrow runs on, and others on ARM; zlib-ng's are the same on all.
"""


class GzipStream:
    """Collects text, and compresses it a block at a time; holds one block and what was not yet taken.

    The same text gives the same bytes, however it is cut into calls of `write`.
    """

    def __init__(self, level: int, members: Members) -> None:
        self._compress: Callable[[memoryview, bool], bytes] = (
            _Member(level).compress if members == "single" else lambda block, _last: compress_member(block, level)
        )
        self._block = memoryview(bytearray(BLOCK))
        self._used = 0
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Add text; returns its number of bytes."""
        text, at, size = memoryview(data), 0, len(data)
        while at < size:
            if self._used == BLOCK:
                self._end_block(last=False)
            until = min(size, at + BLOCK - self._used)
            self._block[self._used : self._used + until - at] = text[at:until]
            self._used, at = self._used + until - at, until
        return size

    def finish(self) -> None:
        """End the file. No text at all is an empty member."""
        self._end_block(last=True)

    def take(self) -> list[bytes]:
        """The file's bytes that were made since the last call."""
        chunks, self._chunks = self._chunks, []
        return chunks

    def _end_block(self, *, last: bool) -> None:
        self._chunks.append(self._compress(self._block[: self._used], last))
        self._used = 0


class _Member:
    """One gzip member, block by block."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._codecs = _CYCLES[level]
        self._pieces = 0
        self._size = 0
        self._checksum = 0
        self._before = b""

    def compress(self, block: memoryview, last: bool) -> bytes:
        """The next bytes of the member, which ends with the last block."""
        if last and not self._pieces:
            return compress_member(block, self._level)
        chunks = [] if self._pieces else [HEADER]
        compressor = self._codecs[self._pieces % len(self._codecs)].make_compressor(self._before)
        chunks += [compressor.compress(block), compressor.flush(zlib.Z_SYNC_FLUSH)]
        self._pieces += 1
        self._size += len(block)
        self._checksum = checksum(block, self._checksum)
        self._before = bytes(block[-(1 << _WINDOW_BITS) :])
        if last:
            chunks += [_END, make_trailer(self._checksum, self._size)]
        return b"".join(chunks)
