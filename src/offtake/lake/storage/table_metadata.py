"""Reading the metadata of others' tables: the file is of bounded size, also when it is compressed."""

import zlib
from typing import Final

from pydantic import ValidationError
from pyiceberg.table.metadata import TableMetadata, TableMetadataUtil

from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.lake.storage import files
from offtake.lake.storage.access import FileAccess

LARGEST: Final = 256 * 1024 * 1024
"""Bytes of JSON: some 300,000 snapshots."""
_VIEW: Final = b'"view-uuid"'
_GZIP: Final = b"\x1f\x8b"


def read_metadata(location: str, access: FileAccess) -> TableMetadata:
    """The table's metadata. Raises `DeliveryError` when the file is too large or damaged, and as `open_input` does."""
    content = files.read_whole(location, access)
    if content.startswith(_GZIP):
        # Writers have used two names for compressed metadata: v1.gz.metadata.json and v1.metadata.json.gz.
        content = _decompress(content, location)
    if len(content) > LARGEST:
        raise _too_large(location)
    try:
        return TableMetadataUtil.parse_raw(content.decode())
    except (KeyError, ValidationError):
        if _VIEW in content:
            raise DeliveryError(
                EXPORT_FAILED, f"{location[:300]} describes a view, not a table.", "Register the tables of the view."
            ) from None
        raise


def _decompress(content: bytes, location: str) -> bytes:
    decompressor = zlib.decompressobj(wbits=31)
    try:
        found = decompressor.decompress(content, LARGEST + 1)
    except zlib.error:
        raise DeliveryError(
            EXPORT_FAILED, f"The metadata file {location[:300]} is not valid gzip.", "Restore the file from a backup."
        ) from None
    if decompressor.unconsumed_tail or len(found) > LARGEST:
        raise _too_large(location)
    return found


def _too_large(location: str) -> DeliveryError:
    return DeliveryError(
        EXPORT_FAILED,
        f"The metadata file {location[:300]} is larger than {LARGEST // 1024**2} MiB.",
        "Expire old snapshots of the table.",
    )
