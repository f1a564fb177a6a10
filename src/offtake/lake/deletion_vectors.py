"""Deletion vectors: bitmaps of deleted positions in Puffin files.

Runs in worker processes: PyIceberg is not imported.
"""

import zlib
from typing import Final

import pyarrow as pa

from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.lake.delete_files import DeletionVector
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.files import open_input

_MAGIC: Final = bytes.fromhex("d1d33964")
_LENGTH_BYTES: Final = 4
_CHECKSUM_BYTES: Final = 4
_LARGEST: Final = 1024**3
"""Limit for a vector, in bytes; one of two billion scattered positions takes 256 MiB."""


def read_positions(vector: DeletionVector, access: FileAccess | None) -> pa.Array:
    """The deleted positions, ascending. Raises `DeliveryError` for a vector that is damaged, and errors of reading."""
    from pyroaring import BitMap64  # noqa: PLC0415 - only workers that read a vector need it

    content = _content(vector, access)
    try:
        bitmap = BitMap64.deserialize(content)
    except (ValueError, IndexError) as error:
        raise _damaged(vector, str(error)) from None
    # The library ignores bytes after the bitmap.
    if len(bitmap.serialize()) != len(content):
        raise _damaged(vector, "it has bytes after its bitmap")
    if len(bitmap) != vector.rows:
        raise _damaged(vector, f"it has {len(bitmap)} positions, and the manifest counts {vector.rows}")
    found = pa.Array.from_buffers(pa.uint64(), len(bitmap), [None, pa.py_buffer(bitmap.to_array())])
    if len(bitmap) and bitmap.max() >= 2**63:
        raise _damaged(vector, "it has a position beyond 63 bits")
    return found.view(pa.int64())


def _content(vector: DeletionVector, access: FileAccess | None) -> bytes:
    """The serialised bitmap: the blob without its length, magic bytes and checksum, which are checked."""
    frame = _LENGTH_BYTES + len(_MAGIC) + _CHECKSUM_BYTES
    if vector.offset < 0 or not frame <= vector.size <= _LARGEST:
        raise _damaged(vector, f"its size in the manifest is {vector.size} bytes")
    with open_input(vector.path, access) as file:
        file.seek(vector.offset)
        blob = file.read(vector.size)
    if len(blob) != vector.size:
        raise _damaged(vector, "the file ends before it does")
    body, checksum = blob[_LENGTH_BYTES:-_CHECKSUM_BYTES], blob[-_CHECKSUM_BYTES:]
    if int.from_bytes(blob[:_LENGTH_BYTES], "big") != len(body):
        raise _damaged(vector, "its length differs from the one in the manifest")
    if not body.startswith(_MAGIC):
        raise _damaged(vector, "it does not start with the magic bytes of deletion-vector-v1")
    if int.from_bytes(checksum, "big") != zlib.crc32(body):
        raise _damaged(vector, "its CRC-32 checksum does not match")
    return bytes(body[len(_MAGIC) :])


def _damaged(vector: DeletionVector, why: str) -> DeliveryError:
    return DeliveryError(
        EXPORT_FAILED,
        f"The deletion vector of {vector.data_file} at offset {vector.offset} of {vector.path} is invalid: {why}.",
        "Restore the file from a backup, or write the data file's rows again.",
    )
