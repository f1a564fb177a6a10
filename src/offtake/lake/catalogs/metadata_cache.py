"""The metadata of tables, parsed once for each metadata file: a table with 3,000 snapshots takes 50 ms and 11 MB."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from offtake.lake.bounded_cache import BoundedCache
from offtake.lake.manifest_cache import has_own_name
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.table_metadata import read_metadata

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


@dataclass(frozen=True)
class _Parsed:
    """Parsed metadata. `state`: of a server's answer; the newest one of each table is kept."""

    metadata: TableMetadata
    state: tuple[object, ...] = ()


_cache: Final[BoundedCache[_Parsed]] = BoundedCache(MOST_BYTES, MOST_BYTES // 2)


def forget() -> None:
    """Empty the cache of this process."""
    _cache.clear()


def read(location: str, access: FileAccess) -> TableMetadata:
    """The metadata in the file. Raises the errors of reading and parsing it."""
    key = (access, location)
    known = _cache.get(key) if has_own_name(location) else None
    if known is not None:
        return known.metadata
    found = read_metadata(location, access)
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
    state = (location, *(str(document.get(name)) for name in _STATE), *counts)
    key = (catalog, str(document.get("table-uuid")))
    before = _cache.get(key)
    if before is not None and before.state == state:
        return before.metadata
    found = _ADAPTER.validate_python(_with_known_snapshots(document, before.metadata if before else None))
    _put(key, found, state)
    return found


def _with_known_snapshots(document: Mapping[str, Any], before: TableMetadata | None) -> Mapping[str, Any]:
    """The document with the snapshots that an earlier state had, which never change, as they were parsed then."""
    snapshots = document.get("snapshots")
    if before is None or not isinstance(snapshots, list):
        return document
    known = {one.snapshot_id: one for one in before.snapshots}
    return {**document, "snapshots": [_known_snapshot(one, known) for one in snapshots]}


def _known_snapshot(document: Any, known: Mapping[int, Snapshot]) -> Any:  # noqa: ANN401 - what a server answered
    number = document.get("snapshot-id") if isinstance(document, dict) else None
    found = known.get(number) if isinstance(number, int) else None
    if found is None or found.manifest_list != document.get("manifest-list"):
        return document
    is_same = found.parent_snapshot_id == document.get("parent-snapshot-id")
    return found if is_same and found.timestamp_ms == document.get("timestamp-ms") else document


def _put(key: tuple[object, ...], found: TableMetadata, state: tuple[object, ...] = ()) -> None:
    _cache.put(key, _Parsed(found, state), _OTHER_BYTES + _SNAPSHOT_BYTES * len(found.snapshots))
