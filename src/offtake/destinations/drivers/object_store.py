"""The sink of all object stores, on one driver (obstore), with its errors translated."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, S3Store

from offtake.destinations.base import BeforeCompletion, Pending, StoredObject
from offtake.errors import CREDENTIALS_REFUSED, PLACE_NOT_FOUND, DeliveryError
from offtake.formats.names import MEDIA_TYPES
from offtake.network.egress import Network
from offtake.network.http import TRIED_AGAIN, retry_after_of_error
from offtake.network.object_store_errors import (
    BASE_CONNECTION,
    Act,
    RefusalError,
    RequiredPermissions,
    explain,
    is_missing_root,
    status_of,
)

if TYPE_CHECKING:
    # The driver states these types in its stubs only.
    from obstore import Attributes

PART_BYTES: Final = 8 * 1024 * 1024
MOST_PARTS: Final = 10_000
"""The most parts of an upload at Amazon and Google; Azure accepts 50,000 blocks."""
RETRY_AFTER: Final = (
    "After four quick retries, the run waits as long as the store's Retry-After header requires, or with exponential "
    "backoff; the driver does not report that header, so Offtake reads it from one more request."
)
LOST_ANSWER: Final = (
    "A file is complete when the store confirms its last request. If that response is lost, Offtake looks for the "
    "file: "
    "if it exists with its size, it is complete, else it is written again under the same name. A consumer that moved "
    "it "
    "away in that moment receives it twice."
)
_PARTS_IN_FLIGHT: Final = 4
_SIGNED_FOR: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Bucket:
    """The configuration of a bucket or container.

    `root`: its URL for users; `endpoint`: the store's name in messages; `rights`: the required permissions; `network`:
    the egress rules, which apply if `guarded` (a user or a setting chose the endpoint); `attributes`: set on every
    object; `refusal`: why a credential provider failed; `forget`: drops its cached credentials when the store reports
    them as expired; `keeper`: where the credentials are configured, for error messages.
    """

    root: str
    endpoint: str
    rights: RequiredPermissions
    network: Network
    guarded: bool
    attributes: "Attributes" = field(default_factory=dict)
    refusal: Callable[[], DeliveryError | None] = lambda: None
    forget: Callable[[], None] = lambda: None
    keeper: str = BASE_CONNECTION


@dataclass(frozen=True)
class StoreOverrides:
    """Replacements for operations of the driver; each raises the driver's errors, or `RefusalError`.

    `delete`: removes one object. `clear`: removes unfinished uploads of keys; None where the store has none, or removes
    them itself. `address`: the URL of an object, signed for `HEAD` if possible.
    """

    delete: Callable[[str], None] | None = None
    clear: Callable[[Collection[str]], int] | None = None
    address: Callable[[str], str] | None = None


class ObjectStoreSink:
    """A bucket or container. Objects appear atomically; a failed upload is aborted.

    `overrides`: operations that the driver does not support, or for which it needs more permissions.
    """

    def __init__(self, store: S3Store | AzureStore, bucket: Bucket, overrides: "StoreOverrides | None" = None) -> None:
        self._store = store
        self._bucket = bucket
        self._overrides = overrides or StoreOverrides()

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        before_completion: BeforeCompletion | None = None,
        writer: int = 0,  # noqa: ARG002 - uploads have their own ids
    ) -> int:
        """Upload in parts of 8 MiB, 4 at a time, and complete the object at the end; small objects in one request."""
        source = _Source(chunks, before_completion)
        suffix = "." + key.rsplit(".", 1)[-1]
        media_type = MEDIA_TYPES.get(suffix, "application/octet-stream")
        with self._translating_errors(key, "write", source):
            obstore.put(
                self._store,
                key,
                iter(source),
                attributes=self._bucket.attributes | {"Content-Type": media_type},
                chunk_size=PART_BYTES,
                max_concurrency=_PARTS_IN_FLIGHT,
            )
        return source.bytes

    def settle(self, key: str, pending: Pending) -> bool:
        """Whether the object exists with its size; an upload of an earlier process cannot be completed."""
        return self.size(key) == pending.bytes

    def recall(self, key: str, pending: Pending | None = None, *, again: bool = False) -> bool:
        """Abort the upload and delete the object. A collection between the two requests is not detected."""
        if pending is not None:
            self.clear([key])
        if self.size(key) is None:
            return again or pending is not None
        self.delete(key)
        return True

    def size(self, key: str) -> int | None:
        """The object's size, from a HEAD request."""
        with self._translating_errors(key, "read"):
            try:
                return obstore.head(self._store, key)["size"]
            except FileNotFoundError as error:
                if is_missing_root(error):
                    raise
                return None

    def is_gone(self, key: str) -> bool:
        """Whether the object is missing."""
        return self.size(key) is None

    def read(self, key: str) -> Iterator[bytes]:
        """The object in chunks of about 8 MiB."""
        with self._translating_errors(key, "read"):
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=PART_BYTES):
                yield bytes(chunk)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All objects in the folder."""
        with self._translating_errors(prefix, "list"):
            for page in obstore.list(self._store, prefix or None):
                for found in page:
                    modified = round(found["last_modified"].timestamp() * 1000)
                    yield StoredObject(found["path"], found["size"], modified)

    def children(self, folder: str) -> tuple[tuple[str, bool], ...]:
        """The entries of the folder (name, is a folder), folders first, then by name.

        An empty folder does not exist: raises `DeliveryError`, except for `""`.
        """
        with self._translating_errors(folder, "list"):
            found = obstore.list_with_delimiter(self._store, folder or None)
        names = [(path.rstrip("/").rsplit("/", 1)[-1], True) for path in found["common_prefixes"]]
        names += [(one["path"].rsplit("/", 1)[-1], False) for one in found["objects"]]
        if folder and not names:
            raise DeliveryError(PLACE_NOT_FOUND, f"The folder {self.uri(folder)} does not exist.", "Correct the path.")
        return tuple(sorted(names, key=lambda one: (not one[1], one[0])))

    def delete(self, key: str) -> None:
        """Delete the object."""
        with self._translating_errors(key, "delete"):
            try:
                if self._overrides.delete:
                    self._overrides.delete(key)
                else:
                    obstore.delete(self._store, key)
            except FileNotFoundError as error:
                if is_missing_root(error):
                    raise

    def clear(self, keys: Collection[str], upto: int | None = None) -> int:  # noqa: ARG002 - a successor starts a new upload
        """Abort the uncompleted uploads of these keys, if the store keeps them."""
        if not keys or self._overrides.clear is None:
            return 0
        with self._translating_errors("", "list"):
            return self._overrides.clear(keys)

    def uri(self, key: str) -> str:
        """The object's URL, such as `s3://bucket/key`."""
        return f"{self._bucket.root}/{key}"

    def close(self) -> None:
        """No-op: the driver pools its own connections."""

    @contextmanager
    def _translating_errors(self, key: str, act: Act, source: "_Source | None" = None) -> Iterator[None]:
        """Translate the driver's errors into `DeliveryError`; an error of the producer passes through."""
        try:
            yield
        except (BaseError, RefusalError, OSError) as error:
            if source is not None and source.error is not None:
                raise source.error from None
            bucket = self._bucket
            translated = explain(error, self.uri(key), bucket.endpoint, act, bucket.rights, bucket.keeper)
            if translated.kind is CREDENTIALS_REFUSED and translated.transient:
                bucket.forget()
            if translated.retry_after is None and status_of(error) in TRIED_AGAIN:
                translated.retry_after = self._pause(key)
            raise bucket.refusal() or translated from None

    def _pause(self, key: str) -> float | None:
        """The store's Retry-After, from another request: the driver reports only status and body."""
        bucket = self._bucket
        try:
            url = (self._overrides.address or self._presign)(key or "offtake")
        except (BaseError, OSError):
            return None
        return retry_after_of_error(url, bucket.network, guarded=bucket.guarded)

    def _presign(self, key: str) -> str:
        return obstore.sign(self._store, "HEAD", key, _SIGNED_FOR)


class _Source:
    """Passes the producer's chunks on, counts their bytes, and keeps an error that the driver would lose."""

    def __init__(self, chunks: Iterable[bytes], before_completion: BeforeCompletion | None = None) -> None:
        self._chunks = chunks
        self._before_completion = before_completion
        self.bytes = 0
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._chunks:
                self.bytes += len(chunk)
                yield chunk
            if self._before_completion is not None and self.bytes > PART_BYTES:
                self._before_completion(Pending(self.bytes))
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise
