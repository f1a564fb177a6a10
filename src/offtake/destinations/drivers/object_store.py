"""The sink of every object store: one well-kept driver, and its errors in our words."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, S3Store

from offtake.destinations.base import BeforeCompletion, Pending, StoredObject
from offtake.destinations.drivers.egress_proxy import operators_proxy, proxy_url
from offtake.destinations.drivers.http import TRIED_AGAIN, retry_after_of_error
from offtake.destinations.drivers.object_store_errors import (
    BASE_CONNECTION,
    Act,
    RefusalError,
    RequiredPermissions,
    explain,
    is_missing_root,
    status_of,
)
from offtake.destinations.egress import Network
from offtake.errors import CREDENTIALS_REFUSED, PLACE_NOT_FOUND, DeliveryError

if TYPE_CHECKING:
    # The driver states these types in its stubs only.
    from obstore import Attributes
    from obstore.store import ClientConfig, RetryConfig, S3Config

PART_BYTES: Final = 8 * 1024 * 1024
MOST_PARTS: Final = 10_000
"""Of an upload at Amazon and at Google; Azure takes 50,000 blocks."""
RETRY_AFTER: Final = (
    "What outlasts four quick retries waits as long as the store's Retry-After asks, and a growing time without one; "
    "the driver does not tell that header, so it is read from the answer to one more request."
)
LOST_ANSWER: Final = (
    "A file is complete when the store confirms its last request. When that answer is lost, the file is looked for: if "
    "it is there with its size, it is complete, else it is written again under the same name. A consumer that took it "
    "away in that moment receives it twice."
)
_PARTS_IN_FLIGHT: Final = 4
_SIGNED_FOR: Final = timedelta(minutes=5)
_MEDIA_TYPES: Final = {
    ".gz": "application/gzip",
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
}

RETRIES: "Final[RetryConfig]" = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=120),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
}
"""The driver's own quick retries; what outlasts them is retried by the run, with longer waits."""

SIGNED: "Final[S3Config]" = {"skip_signature": False, "request_payer": False}
"""What the driver would otherwise take from the server's environment (`AWS_SKIP_SIGNATURE`, `AWS_REQUESTER_PAYS`)."""


@dataclass(frozen=True)
class Endpoint:
    """A URL that the driver is given. `chosen`: by a caller or a setting; else it is one of the vendor's own."""

    url: str
    chosen: bool


def client_options(network: Network, *endpoints: Endpoint) -> "ClientConfig":
    """How the driver connects to these endpoints, and to what they redirect it to.

    The driver follows redirects, and resolves names again for each connection: both go through `tunnel`. Only hosts
    that cannot come to mean another address after they were judged are reached directly, which costs nothing.

    Raises `DeliveryError` when a chosen endpoint has no address, or one that may not be reached.
    """
    options: ClientConfig = {
        "connect_timeout": timedelta(seconds=min(10, network.patience)),
        # A store that says nothing for so long is asked again; what is being said may take longer.
        "read_timeout": timedelta(seconds=network.patience),
        "timeout": timedelta(seconds=5 * network.patience),
        "allow_http": True,
    }
    if network.certificates is not None:
        options["root_certificate"] = network.certificates
    options["proxy_url"] = proxy_url(network)
    direct = [host for one in endpoints if (host := _checked_endpoint(network, one)) is not None]
    if direct:
        options["proxy_excludes"] = ",".join(direct)
    return options


def _checked_endpoint(network: Network, endpoint: Endpoint) -> str | None:
    """The endpoint's host where it may be connected to directly; raises as `client_options` does."""
    url = urlsplit(endpoint.url)
    host = url.hostname or ""
    if endpoint.chosen:
        network.resolve(host, url.port or 443)
    if operators_proxy(url.scheme, host) is not None:
        return None
    return host if not endpoint.chosen or network.is_settled(host) else None


@dataclass(frozen=True)
class Bucket:
    """What a sink knows of its bucket or container.

    `root`: its address as people write it; `endpoint`: whom it is asked of; `rights`: what its owner has to grant;
    `network`: by whose rules it is reached, where `guarded` says that a user or a setting chose the endpoint;
    `attributes`: go with every object; `refusal`: why credentials could not be had, where somebody else gives them;
    `forget`: has them asked for anew, when the store says that they have expired;
    `keeper`: what holds the credentials, for whoever has to correct them.
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
    """What takes the driver's place; each raises what the driver does, or `RefusalError`.

    `delete`: removes one object. `clear`: removes unfinished uploads of keys; None where the store has none, or
    removes them by itself. `address`: of one object, signed for `HEAD` where that can be.
    """

    delete: Callable[[str], None] | None = None
    clear: Callable[[Collection[str]], int] | None = None
    address: Callable[[str], str] | None = None


class ObjectStoreSink:
    """A bucket or container. Objects appear whole or not at all; a failed upload is aborted.

    `by_hand` does what the driver does not, or not so that every credential may.
    """

    def __init__(self, store: S3Store | AzureStore, bucket: Bucket, by_hand: "StoreOverrides | None" = None) -> None:
        self._store = store
        self._bucket = bucket
        self._by_hand = by_hand or StoreOverrides()

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        before_completion: BeforeCompletion | None = None,
        writer: int = 0,  # noqa: ARG002 - uploads have names of their own
    ) -> int:
        """Upload in parts of 8 MiB, 4 at a time, and complete the object at the end; a smaller one in one request."""
        source = _Source(chunks, before_completion)
        suffix = "." + key.rsplit(".", 1)[-1]
        media_type = _MEDIA_TYPES.get(suffix, "application/octet-stream")
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
        """Whether the object is there with its size. The driver aborts uploads: without it, nothing can be told."""
        return self.size(key) == pending.bytes

    def recall(self, key: str, pending: Pending | None = None, *, again: bool = False) -> bool:
        """Abort the upload and delete the object. What is collected between the two requests is not noticed."""
        if pending is not None:
            self.clear([key])
        if self.size(key) is None:
            return again or pending is not None
        self.delete(key)
        return True

    def size(self, key: str) -> int | None:
        """The object's size, from its head."""
        with self._translating_errors(key, "read"):
            try:
                return obstore.head(self._store, key)["size"]
            except FileNotFoundError as error:
                if is_missing_root(error):
                    raise
                return None

    def is_gone(self, key: str) -> bool:
        """Whether it has no size."""
        return self.size(key) is None

    def read(self, key: str) -> Iterator[bytes]:
        """The object in chunks of about 8 MiB."""
        with self._translating_errors(key, "read"):
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=PART_BYTES):
                yield bytes(chunk)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object in the folder."""
        with self._translating_errors(prefix, "list"):
            for page in obstore.list(self._store, prefix or None):
                for found in page:
                    modified = round(found["last_modified"].timestamp() * 1000)
                    yield StoredObject(found["path"], found["size"], modified)

    def children(self, folder: str) -> tuple[tuple[str, bool], ...]:
        """What lies directly in the folder: names, and whether each is a folder; folders first, then by name.

        A folder that holds nothing is not there: `DeliveryError`, except for `""`.
        """
        with self._translating_errors(folder, "list"):
            found = obstore.list_with_delimiter(self._store, folder or None)
        names = [(path.rstrip("/").rsplit("/", 1)[-1], True) for path in found["common_prefixes"]]
        names += [(one["path"].rsplit("/", 1)[-1], False) for one in found["objects"]]
        if folder and not names:
            raise DeliveryError(PLACE_NOT_FOUND, f"There is no folder {self.uri(folder)}.", "Correct the path.")
        return tuple(sorted(names, key=lambda one: (not one[1], one[0])))

    def delete(self, key: str) -> None:
        """Delete the object."""
        with self._translating_errors(key, "delete"):
            try:
                if self._by_hand.delete:
                    self._by_hand.delete(key)
                else:
                    obstore.delete(self._store, key)
            except FileNotFoundError as error:
                if is_missing_root(error):
                    raise

    def clear(self, keys: Collection[str], upto: int | None = None) -> int:  # noqa: ARG002 - a successor begins again
        """Abort the uploads of these keys that were never completed, where a store keeps them."""
        if not keys or self._by_hand.clear is None:
            return 0
        with self._translating_errors("", "list"):
            return self._by_hand.clear(keys)

    def uri(self, key: str) -> str:
        """`s3://bucket/key` and its like."""
        return f"{self._bucket.root}/{key}"

    def close(self) -> None:
        """Nothing to let go of: the driver pools its own connections."""

    @contextmanager
    def _translating_errors(self, key: str, act: Act, source: "_Source | None" = None) -> Iterator[None]:
        """Tell the driver's errors in our words; the producer's own error passes through."""
        try:
            yield
        except (BaseError, RefusalError, OSError) as error:
            if source is not None and source.error is not None:
                raise source.error from None
            bucket = self._bucket
            told = explain(error, self.uri(key), bucket.endpoint, act, bucket.rights, bucket.keeper)
            if told.kind is CREDENTIALS_REFUSED and told.transient:
                bucket.forget()
            if told.retry_after is None and status_of(error) in TRIED_AGAIN:
                told.retry_after = self._pause(key)
            raise bucket.refusal() or told from None

    def _pause(self, key: str) -> float | None:
        """How long the store wants to be left alone: of what it answers, the driver tells the status and body only."""
        bucket = self._bucket
        try:
            url = (self._by_hand.address or self._presign)(key or "offtake")
        except (BaseError, OSError):
            return None
        return retry_after_of_error(url, bucket.network, guarded=bucket.guarded)

    def _presign(self, key: str) -> str:
        return obstore.sign(self._store, "HEAD", key, _SIGNED_FOR)


class _Source:
    """Passes the producer's chunks on, counts them, and keeps the error that the driver would lose."""

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
