"""Gzip by the library that is the fastest at a level, and that repeats to the byte, in whatever process and thread.

Of 100 MB of nested events as NDJSON (one core; Polars' own gzip makes 13.5 MB of the same rows):

| level | by | MB | MB/s |
|---|---|---|---|
| 1 | ISA-L 1 | 16.5 | 890 |
| 2 | libdeflate 1 | 15.5 | 370 |
| 3 | libdeflate 3 | 14.9 | 290 |
| 4 | libdeflate 4 | 14.1 | 230 |
| 5 | libdeflate 5 | 13.2 | 210 |
| 6 | libdeflate 6 | 12.3 | 160 |
"""

import zlib
from typing import Final

import deflate
from isal import isal_zlib

_WINDOW: Final = 31
"""zlib's window bits for a gzip header."""
_LEAST: Final = 8192
_SMALL_LEVEL: Final = 6
_QUICK: Final = 1
_LIBDEFLATE: Final = {2: 1}


def checksum(data: bytes | memoryview, before: int = 0) -> int:
    """The CRC-32 of the data, behind data with that CRC: gzip's, and that of Parquet's pages."""
    return int(isal_zlib.crc32(data, before))


def packed(data: bytes | bytearray | memoryview, level: int) -> bytes:
    """The data as one gzip member, at a level from 1 to 9; its header bears no time."""
    if level != _QUICK:
        return bytes(deflate.gzip_compress(data, _LIBDEFLATE.get(level, level)))
    if len(data) < _LEAST:
        # ISA-L's output for so few bytes depends on what lay in memory before: told that they are all there is, it
        # clears its table of matches in part only (`isal_deflate` in igzip.c). About one in ten thousand differed.
        return zlib.compress(data, _SMALL_LEVEL, _WINDOW)
    return bytes(isal_zlib.compress(data, _QUICK, _WINDOW))
