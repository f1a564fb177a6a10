"""Gzip that repeats to the byte: the same data give the same bytes, in whatever process and thread.

ISA-L does not promise that of a few bytes. Of input below 4 KiB that it is told is all there is, it clears its table of
matches in part only (`isal_deflate` in igzip.c makes `hash_mask` smaller), and about one in ten thousand such pieces
came out otherwise among threads. So zlib compresses those. The time in headers is zero with both.
"""

import zlib
from typing import Final

from isal import isal_zlib

_WINDOW: Final = 31
"""zlib's window bits for a gzip header."""
_LEAST: Final = 8192
_LEVEL: Final = 1
_SMALL_LEVEL: Final = 6


def checksum(data: bytes | memoryview, before: int = 0) -> int:
    """The CRC-32 of the data, behind data with that CRC: gzip's, and that of Parquet's pages."""
    return int(isal_zlib.crc32(data, before))


def packed(data: bytes | memoryview) -> bytes:
    """The data as one gzip member."""
    if len(data) < _LEAST:
        return zlib.compress(data, _SMALL_LEVEL, _WINDOW)
    return bytes(isal_zlib.compress(data, _LEVEL, _WINDOW))
