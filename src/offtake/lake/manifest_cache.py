"""A bounded cache of what manifest lists and manifests contain, shared by the plans of this process.

Iceberg's metadata files never change: their writers put a UUID into the name, and write each name once. Files whose
names have none, which another table could have used before, are not cached. A file's content is found again only with
the access that read it: what one catalog's credentials may read is not shown through another catalog. Entries also
inherit values from the manifest list that names their manifest, so those are a part of the key.
"""

import re
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TypeVar

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile
from pyiceberg.typedef import Record

from offtake.lake.bounded_cache import BoundedCache
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.iceberg_io import AccessIO

MOST_BYTES: Final = 32 * 1024 * 1024
_RECORD_BYTES: Final = 800
_STATISTIC_BYTES: Final = 150
_SAMPLE: Final = 8
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
Found = TypeVar("Found", bound=Record)
_Key = tuple[FileAccess | None, str, Hashable]


_cache: Final[BoundedCache[Sequence[Any]]] = BoundedCache(MOST_BYTES, MOST_BYTES // 4)


def has_own_name(location: str) -> bool:
    """Whether the name of a metadata file has a UUID, so that no other file had or will have it."""
    return _UUID.search(location.rpartition("/")[2]) is not None


def forget() -> None:
    """Empty the cache of this process."""
    _cache.clear()


def is_cached(io: FileIO, location: str, inherited: Hashable = None) -> bool:
    """Whether `cached` would not read the file."""
    return _cache.get(_key(io, location, inherited)) is not None


def cached(io: FileIO, location: str, read: Callable[[], list[Found]], inherited: Hashable = None) -> list[Found]:
    """The records of the file, which `read` reads unless they are known. They must not be changed.

    `inherited`: values outside of the file that the records depend on.
    """
    key = _key(io, location, inherited)
    known = _cache.get(key)
    if known is not None:
        return list(known)
    found = read()
    if has_own_name(location):
        _cache.put(key, tuple(found), _size(found))
    return found


def _key(io: FileIO, location: str, inherited: Hashable) -> _Key:
    return io.access if isinstance(io, AccessIO) else None, location, inherited


def _size(records: Sequence[Record]) -> int:
    """The approximate bytes of a file's records, from some of them; in entries, statistics of columns take most."""
    some = records[:: max(1, len(records) // _SAMPLE)]
    return _RECORD_BYTES + len(records) * sum(map(_record_size, some)) // max(1, len(some))


def _record_size(record: Record) -> int:
    values = [record[index] for index in range(len(record))]
    inner = sum(_record_size(value) for value in values if type(value) is DataFile)
    return _RECORD_BYTES + inner + sum(_STATISTIC_BYTES * len(value) for value in values if type(value) is dict)
