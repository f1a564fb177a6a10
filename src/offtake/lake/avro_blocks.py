"""The container of Avro files: header, blocks, compression. Each size is checked before it is used.

https://avro.apache.org/docs/current/specification/#object-container-files
"""

import bz2
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

MOST_RECORDS: Final = 1_000_000
LARGEST_BLOCK: Final = 128 * 1024 * 1024
"""Bytes after decompression."""
_MAGIC: Final = b"Obj\x01"
_SYNC_BYTES: Final = 16
_CRC_BYTES: Final = 4
_RAW_DEFLATE: Final = -15
_LONGEST_NUMBER: Final = 10
_HEADER_BYTES: Final = 64 * 1024
_LARGEST_HEADER: Final = 32 * 1024 * 1024


class AvroError(ValueError):
    """The file is not a valid Avro file, or exceeds a limit; the text says which."""


@dataclass(frozen=True)
class AvroFile:
    """An opened Avro file: its schema (JSON), its codec, and the bytes of its blocks."""

    schema: bytes
    codec: str
    content: bytes
    first: int

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """The number of records and the decompressed bytes of each block. Raises `AvroError`."""
        decompress = _CODECS.get(self.codec)
        if decompress is None:
            raise _unknown_codec(self.codec)
        sync = self.content[self.first - _SYNC_BYTES : self.first]
        at, records = self.first, 0
        while at < len(self.content):
            count, at = _number(self.content, at)
            stored, at = _bytes(self.content, at)
            if count < 0 or self.content[at : at + _SYNC_BYTES] != sync:
                raise AvroError("a block is damaged")
            at += _SYNC_BYTES
            records += count
            if records > MOST_RECORDS:
                raise AvroError(f"it has more than {MOST_RECORDS:,} records")
            yield count, _decompress(decompress, stored)


class AvroStream:
    """An Avro file of any size, read block by block."""

    def __init__(self, file: pa.NativeFile) -> None:
        """Raises `AvroError`, and the errors of reading the file."""
        self._file = file
        self._header = self._open(_HEADER_BYTES)
        self.schema = self._header.schema
        decompress = _CODECS.get(self._header.codec)
        if decompress is None:
            raise _unknown_codec(self._header.codec)
        self._decompress = decompress

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """The number of records and the decompressed bytes of each block. Raises as the constructor does."""
        sync = self._header.content[self._header.first - _SYNC_BYTES : self._header.first]
        self._file.seek(self._header.first)
        size = self._file.size()
        while self._file.tell() < size:
            # Two numbers begin a block.
            start = self._file.read(2 * _LONGEST_NUMBER)
            count, at = _number(start, 0)
            length, at = _number(start, at)
            if count < 0 or not 0 <= length <= LARGEST_BLOCK:
                raise AvroError("a block is damaged, or larger than 128 MiB")
            self._file.seek(self._file.tell() - len(start) + at)
            stored, end = self._file.read(length), self._file.read(_SYNC_BYTES)
            if len(stored) != length or end != sync:
                raise AvroError("a block is damaged, or the file is truncated")
            yield count, _decompress(self._decompress, stored)

    def _open(self, size: int) -> AvroFile:
        self._file.seek(0)
        start = self._file.read(size)
        try:
            header = open_avro(start)
        except AvroError:
            if len(start) < size or size >= _LARGEST_HEADER:
                raise
            return self._open(8 * size)
        return header if header.first <= len(start) else self._open(2 * size)


def open_avro(content: bytes) -> AvroFile:
    """Read the header. Raises `AvroError`."""
    if not content.startswith(_MAGIC):
        raise AvroError("it is not an Avro file")
    found: dict[bytes, bytes] = {}
    at = len(_MAGIC)
    while True:
        count, at = _number(content, at)
        if count == 0:
            break
        if count < 0:  # then the size of the map's block in bytes follows
            _, at = _number(content, at)
        for _ in range(abs(count)):
            key, at = _bytes(content, at)
            found[key], at = _bytes(content, at)
    codec = found.get(b"avro.codec", b"null").decode(errors="replace")
    return AvroFile(found.get(b"avro.schema", b""), codec, content, at + _SYNC_BYTES)


def _bytes(content: bytes, at: int) -> tuple[bytes, int]:
    """Bytes with their length before them, and the position after them."""
    length, at = _number(content, at)
    if not 0 <= length <= len(content) - at:
        raise AvroError("it is truncated")
    return content[at : at + length], at + length


def _number(content: bytes, at: int) -> tuple[int, int]:
    """A number (zig-zag) and the position after it."""
    value, at = _unsigned(content, at)
    return (value >> 1) ^ -(value & 1), at


def _unsigned(content: bytes, at: int) -> tuple[int, int]:
    """A number of variable length and the position after it."""
    value = 0
    for index, byte in enumerate(content[at : at + _LONGEST_NUMBER]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follow
            return value, at + index + 1
    raise AvroError("it is truncated")


def _decompress(decompress: Callable[[bytes], bytes], stored: bytes) -> bytes:
    try:
        found = decompress(stored)
    except (zlib.error, OSError, pa.ArrowException) as error:
        raise AvroError(f"a block cannot be decompressed: {error}") from None
    if len(found) > LARGEST_BLOCK:
        raise _too_large()
    return found


def _unknown_codec(codec: str) -> AvroError:
    return AvroError(f"the codec {codec[:50]} is not supported; supported: {', '.join(_CODECS)}")


def _too_large() -> AvroError:
    return AvroError(f"a block is larger than {LARGEST_BLOCK // 1024**2} MiB")


def _deflate(stored: bytes) -> bytes:
    return zlib.decompressobj(_RAW_DEFLATE).decompress(stored, LARGEST_BLOCK + 1)


def _bzip2(stored: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(stored, LARGEST_BLOCK + 1)


def _zstandard(stored: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(stored), "zstd") as stream:
        found: bytes = stream.read(LARGEST_BLOCK + 1)
    return found


def _snappy(stored: bytes) -> bytes:
    block, checksum = stored[:-_CRC_BYTES], stored[-_CRC_BYTES:]
    size, _ = _unsigned(block, 0)  # a block of Snappy begins with it
    if size > LARGEST_BLOCK:
        raise _too_large()
    found: bytes = pa.Codec("snappy").decompress(block, size, asbytes=True)
    if zlib.crc32(found).to_bytes(_CRC_BYTES, "big") != checksum:
        raise AvroError("the checksum of a block is wrong")
    return found


_CODECS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "null": lambda stored: stored,
    "deflate": _deflate,
    "zstandard": _zstandard,
    "snappy": _snappy,
    "bzip2": _bzip2,
}
