"""Writing, listing and deleting objects of this deployment's own lake and uploads; see `FileAccess.root`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

from offtake.errors import EXPORT_FAILED, SOURCE_UNAVAILABLE, DeliveryError
from offtake.lake.locations import LocationError
from offtake.lake.storage.access import FileAccess, Place, is_inside, place_in

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from offtake.network.object_store_errors import Act

PART_BYTES: Final = 8 * 1024 * 1024
"""Size of the parts of a multipart upload: 10,000 of them hold 80 GB, and a data file has about 128 MiB."""
_PARTS_IN_FLIGHT: Final = 4
_DELETED_AT_ONCE: Final = 1000
STORAGE_SETTING: Final = "OFFTAKE_STORAGE"


@dataclass(frozen=True)
class StoredFile:
    """A file of the lake. `modified_ms`: when it was written, in epoch milliseconds by the clock of its store."""

    location: str
    bytes: int
    modified_ms: int

    @property
    def name(self) -> str:
        """The last step of its location."""
        return self.location.rpartition("/")[2]


def put(access: FileAccess, location: str, chunks: Iterable[bytes]) -> int:
    """Write an object, which becomes visible at the end; returns its size in bytes.

    At most six parts of 8 MiB are in memory; a smaller object takes one request. An error of `chunks` passes through,
    and the upload is aborted. Raises `DeliveryError` for errors of the store.
    """
    import obstore  # noqa: PLC0415 - slow to import; local lakes do without

    store, place = _opened(access, location)
    source = _Source(chunks)
    with translating_errors(location, "write", source):
        chunks = iter(source)
        first: list[bytes] = []
        while source.bytes < PART_BYTES and (chunk := next(chunks, None)) is not None:
            first.append(chunk)
        if source.bytes < PART_BYTES:
            obstore.put(store, place.key, b"".join(first), use_multipart=False)
        else:
            following = chain(first, chunks)
            obstore.put(store, place.key, following, chunk_size=PART_BYTES, max_concurrency=_PARTS_IN_FLIGHT)
    return source.bytes


def put_small(access: FileAccess, location: str, content: bytes) -> None:
    """Write an object in one request. Raises `DeliveryError`."""
    import obstore  # noqa: PLC0415 - as above

    store, place = _opened(access, location)
    with translating_errors(location, "write"):
        obstore.put(store, place.key, content, use_multipart=False)


def delete(access: FileAccess, locations: Iterable[str]) -> None:
    """Delete the objects; those that do not exist are fine. Raises `DeliveryError`."""
    import obstore  # noqa: PLC0415 - as above

    page: list[str] = []
    store: ObjectStore | None = None

    def delete_page() -> None:
        if store is None or not page:
            return
        try:
            with translating_errors(f"{access.root}", "delete"):
                obstore.delete(store, page)
        except FileNotFoundError:
            # Azure and Google report a missing object as an error of the whole request.
            for key in page:
                _delete_one(store, key, access)
        page.clear()

    for location in locations:
        store, place = _opened(access, location)
        page.append(place.key)
        if len(page) == _DELETED_AT_ONCE:
            delete_page()
    delete_page()


def files_in(access: FileAccess, folder: str, after: str = "") -> Iterator[StoredFile]:
    """All objects below the folder; with `after`, only names that follow this one. Raises `DeliveryError`."""
    import obstore  # noqa: PLC0415 - as above

    folder = folder.rstrip("/")
    store, place = _opened(access, folder)
    base = folder[: -len(place.key)]
    offset = f"{place.key}/{after}" if after else None
    with translating_errors(folder, "list"):
        for page in obstore.list(store, place.key, offset=offset):
            for found in page:
                modified = round(found["last_modified"].timestamp() * 1000)
                yield StoredFile(f"{base}{found['path']}", found["size"], modified)


def folders_in(access: FileAccess, folder: str) -> list[str]:
    """The names of the folders in the folder. Raises `DeliveryError`."""
    import obstore  # noqa: PLC0415 - as above

    store, place = _opened(access, folder.rstrip("/"))
    with translating_errors(folder, "list"):
        found = obstore.list_with_delimiter(store, place.key or None)["common_prefixes"]
    return [one.rstrip("/").rpartition("/")[2] for one in found]


@contextmanager
def translating_errors(location: str, act: "Act", source: "_Source | None" = None) -> Iterator[None]:
    """Translates the driver's errors to `DeliveryError`; a missing object is a `FileNotFoundError`."""
    from obstore.exceptions import BaseError  # noqa: PLC0415 - as above

    from offtake.network.object_store_errors import RequiredPermissions, explain, is_missing_root  # noqa: PLC0415

    try:
        yield
    except (BaseError, OSError) as error:
        if source is not None and source.error is not None:
            raise source.error from None
        if isinstance(error, FileNotFoundError) and not is_missing_root(error):
            raise FileNotFoundError(f"{location[:300]} does not exist") from None
        rights = RequiredPermissions(*(f"the right to {one} objects" for one in ("write", "read", "list", "delete")))
        found = explain(error, location[:300], "The store", act, rights, STORAGE_SETTING)
        kind = SOURCE_UNAVAILABLE if found.transient else EXPORT_FAILED
        remedy = _AGAIN if found.transient else found.remedy
        raise DeliveryError(kind, found.message, remedy, transient=found.transient) from None


_AGAIN: Final = "Check the store and the network; the work is retried."


def _opened(access: FileAccess, location: str) -> "tuple[ObjectStore, Place]":
    """The store of the location. Raises `LocationError` outside of the folder that this access may write."""
    from offtake.lake.storage.stores import store_of  # noqa: PLC0415 - as above

    if access.root is None or not is_inside(access, location, access.root):
        raise LocationError(f"The location {location[:300]} is not below {access.root}: nothing is written there.")
    place = place_in(location)
    return store_of(access, place), place


def _delete_one(store: "ObjectStore", key: str, access: FileAccess) -> None:
    import obstore  # noqa: PLC0415 - as above

    try:
        with translating_errors(f"{access.root}", "delete"):
            obstore.delete(store, key)
    except FileNotFoundError:
        return


class _Source:
    """Counts the bytes of the chunks, and keeps an error that the driver would lose."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.bytes = 0
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._chunks:
                self.bytes += len(chunk)
                yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise
