"""Streaming gzip: a file with one member, which every reader reads completely, or with one member per block.

Readers that decompress in one call often stop after the first member without an error: Python's `zlib.decompress`,
Perl's `IO::Uncompress::Gunzip`, libdeflate, the decoders of HTTP clients.

A single member consists of blocks that are compressed separately: raw deflate with the previous 32 KiB as dictionary,
ended by a sync flush, so that the next block starts on a byte boundary. `_CYCLES` lists the libraries; libdeflate, the
fastest for whole members, supports neither dictionary nor flush.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol, get_args

from isal import isal_zlib
from zlib_ng import zlib_ng

from offtake.formats.gzip_members import HEADER, checksum, compress_member, make_trailer

Members = Literal["single", "many"]
"""One gzip member per file, or one per block of text."""
MEMBERS: Final[tuple[Members, ...]] = get_args(Members)

BLOCK: Final = 2 * 1024 * 1024
"""Bytes of text in a block. Smaller blocks compress worse; for larger ones the system maps new memory each time.

At 4 MiB, that costs 5 % of a part's time and saves a thousandth of its size.
"""
_WINDOW_BITS: Final = 15
"""A window of 32 KiB, the largest in deflate; negative in calls means raw deflate."""
_MEMORY: Final = 9
_END: Final = b"\x03\x00"
"""An empty final deflate block."""


@dataclass(frozen=True)
class GzipOptions:
    """Gzip options of a file.

    `level`: from 1 (fastest) to 9 (smallest), None for the format's default. `members`: for JSON files only.
    """

    level: int | None = None
    members: Members = "single"


DEFAULT_GZIP: Final = GzipOptions()


class _Compressor(Protocol):
    def compress(self, data: memoryview, /) -> bytes: ...

    def flush(self, mode: int, /) -> bytes: ...


@dataclass(frozen=True)
class _Isal:
    """ISA-L: twice as fast as zlib-ng's fastest level."""

    level: int

    def make_compressor(self, before: bytes) -> _Compressor:
        compressor: _Compressor = isal_zlib.compressobj(
            self.level, zlib.DEFLATED, -_WINDOW_BITS, _MEMORY, zlib.Z_DEFAULT_STRATEGY, before
        )
        return compressor


@dataclass(frozen=True)
class _ZlibNg:
    """zlib-ng: the same bytes on every processor.

    `Z_FILTERED`, effective from level 7 on, prefers literals to matches of up to five bytes, which are frequent in
    numbers. A window of 16 KiB takes a fifth less time and makes files larger by a hundredth.
    """

    level: int
    window_bits: int = _WINDOW_BITS - 1

    def make_compressor(self, before: bytes) -> _Compressor:
        compressor: _Compressor = zlib_ng.compressobj(
            self.level, zlib.DEFLATED, -self.window_bits, _MEMORY, zlib.Z_FILTERED, before
        )
        return compressor


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
"""By level: the codecs for a member's blocks, in rotation.

The first is never ISA-L, whose output without a dictionary differs between processes (`gzip_members`). With one, it is
the same on all x86-64 processors that pyarrow supports, but different on ARM; zlib-ng's is the same everywhere.
"""


class GzipStream:
    """Compresses text block by block. Memory: one block, and the output that was not taken yet.

    Deterministic: the output does not depend on how the text is split into calls of `write`.
    """

    def __init__(self, level: int, members: Members) -> None:
        self._compress: Callable[[memoryview, bool], bytes] = (
            _Member(level).compress if members == "single" else lambda block, _last: compress_member(block, level)
        )
        self._block = memoryview(bytearray(BLOCK))
        self._used = 0
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Add text. Returns its number of bytes."""
        text, at, size = memoryview(data), 0, len(data)
        while at < size:
            if self._used == BLOCK:
                self._end_block(last=False)
            until = min(size, at + BLOCK - self._used)
            self._block[self._used : self._used + until - at] = text[at:until]
            self._used, at = self._used + until - at, until
        return size

    def finish(self) -> None:
        """End the file. Without any text it is one empty member."""
        self._end_block(last=True)

    def take(self) -> list[bytes]:
        """Return and remove the output produced since the last call."""
        chunks, self._chunks = self._chunks, []
        return chunks

    def _end_block(self, *, last: bool) -> None:
        self._chunks.append(self._compress(self._block[: self._used], last))
        self._used = 0


class _Member:
    """A gzip member, compressed block by block."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._codecs = _CYCLES[level]
        self._pieces = 0
        self._size = 0
        self._checksum = 0
        self._before = b""

    def compress(self, block: memoryview, last: bool) -> bytes:
        """The compressed block; with `last`, the end of the member."""
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
