"""The metadata of tables, parsed once for each metadata file: a table with 3,000 snapshots takes 50 ms and 11 MB."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter
from pyiceberg.io import InputStream
from pyiceberg.serializers import Compressor, FromByteStream
from pyiceberg.table.metadata import TableMetadata

from offtake.lake.bounded_cache import BoundedCache
from offtake.lake.manifest_cache import has_own_name
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.iceberg_io import AccessIO

MOST_BYTES: Final = 48 * 1024 * 1024
_SNAPSHOT_BYTES: Final = 4000
_OTHER_BYTES: Final = 50_000
_STATE: Final = (
    "table-uuid",
    "last-updated-ms",
    "last-sequence-number",
    "current-snapshot-id",
    "current-schema-id",
    "refs",
)
_ADAPTER: Final[TypeAdapter[TableMetadata]] = TypeAdapter(TableMetadata)

_cache: Final[BoundedCache[TableMetadata]] = BoundedCache(MOST_BYTES, MOST_BYTES // 2)


def forget() -> None:
    """Empty the cache of this process."""
    _cache.clear()


def read(location: str, access: FileAccess) -> TableMetadata:
    """The metadata in the file. Raises the errors of reading and parsing it."""
    key = ("file", access, location)
    known = _cache.get(key) if has_own_name(location) else None
    if known is not None:
        return known
    stream: InputStream = AccessIO(access).new_input(location).open()
    found = FromByteStream.table_metadata(stream, compression=Compressor.get_compressor(location))
    if has_own_name(location):
        _put(key, found)
    return found


def parse(catalog: object, location: str | None, document: Mapping[str, Any]) -> TableMetadata:
    """The metadata that a catalog's server answered. Raises pydantic's `ValidationError`.

    `catalog`: a value for each version of a catalog's configuration. Also the table's state must be the same: some
    servers write the metadata for each answer, and give one location.
    """
    if location is None or not has_own_name(location):
        return _ADAPTER.validate_python(document)
    counts = [len(value) for value in document.values() if isinstance(value, list | dict)]
    key = (
        "answer",
        catalog,
        location,
        *(str(document.get(name)) for name in _STATE),
        *counts,
        str(document.get("refs")),
    )
    known = _cache.get(key)
    if known is None:
        known = _ADAPTER.validate_python(document)
        _put(key, known)
    return known


def _put(key: tuple[object, ...], found: TableMetadata) -> None:
    _cache.put(key, found, _OTHER_BYTES + _SNAPSHOT_BYTES * len(found.snapshots))
