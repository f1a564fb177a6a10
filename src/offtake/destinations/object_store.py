"""The sink of every object store: one well-kept driver, and its errors in our words."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from offtake.destinations.contract import StoredObject
from offtake.destinations.network import Network
from offtake.destinations.object_store_errors import BASE_CONNECTION, CREDENTIALS, Act, Rights, explain, is_missing_root
from offtake.destinations.tunnel import proxy_url
from offtake.errors import DeliveryError

if TYPE_CHECKING:
    # The driver states these types in its stubs only.
    from obstore import Attributes
    from obstore.store import ClientConfig, RetryConfig

PART_BYTES: Final = 8 * 1024 * 1024
MOST_PARTS: Final = 10_000
"""Of an upload at Amazon and at Google; Azure takes 50,000 blocks."""
NO_RETRY_AFTER: Final = "A server's Retry-After is not read; waits double instead, from a tenth of a second up."
_PARTS_IN_FLIGHT: Final = 4
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


def client_options(network: Network, endpoint: str | None) -> "ClientConfig":
    """How the driver connects. `endpoint`: the URL that a user chose, None for the vendor's own.

    Raises `DeliveryError` when the endpoint has no address, or one that may not be reached.
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
    if endpoint is not None:
        url = urlsplit(endpoint)
        network.resolve(url.hostname or "", url.port or 443)
        if network.guards:
            options["proxy_url"] = proxy_url(network)
    return options


@dataclass(frozen=True)
class Bucket:
    """What a sink knows of its bucket or container.

    `root`: its address as people write it; `endpoint`: whom it is asked of; `rights`: what its owner has to grant;
    `attributes`: go with every object; `refusal`: why credentials could not be had, where somebody else gives them;
    `forget`: has them asked for anew, when the store says that they have expired;
    `keeper`: what holds the credentials, for whoever has to correct them.
    """

    root: str
    endpoint: str
    rights: Rights
    attributes: "Attributes" = field(default_factory=dict)
    refusal: Callable[[], DeliveryError | None] = lambda: None
    forget: Callable[[], None] = lambda: None
    keeper: str = BASE_CONNECTION


class ObjectStoreSink:
    """A bucket or container. Objects appear whole or not at all; a failed upload is aborted.

    `delete` takes the driver's place where it deletes in a way that not every credential may; it raises what it does.
    """

    def __init__(self, store: ObjectStore, bucket: Bucket, delete: Callable[[str], None] | None = None) -> None:
        self._store = store
        self._bucket = bucket
        self._delete = delete or (lambda key: obstore.delete(store, key))

    def put(self, key: str, chunks: Iterable[bytes]) -> int:
        """Upload in parts of 8 MiB, 4 at a time, and complete the object at the end."""
        source = _Source(chunks)
        suffix = "." + key.rsplit(".", 1)[-1]
        media_type = _MEDIA_TYPES.get(suffix, "application/octet-stream")
        with self._told(key, "write", source):
            obstore.put(
                self._store,
                key,
                iter(source),
                attributes=self._bucket.attributes | {"Content-Type": media_type},
                chunk_size=PART_BYTES,
                max_concurrency=_PARTS_IN_FLIGHT,
            )
        return source.bytes

    def size(self, key: str) -> int | None:
        """The object's size, from its head."""
        with self._told(key, "read"):
            try:
                return obstore.head(self._store, key)["size"]
            except FileNotFoundError as error:
                if is_missing_root(error):
                    raise
                return None

    def read(self, key: str) -> Iterator[bytes]:
        """The object in chunks of about 8 MiB."""
        with self._told(key, "read"):
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=PART_BYTES):
                yield bytes(chunk)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object in the folder."""
        with self._told(prefix, "list"):
            for page in obstore.list(self._store, prefix or None):
                for found in page:
                    modified = round(found["last_modified"].timestamp() * 1000)
                    yield StoredObject(found["path"], found["size"], modified)

    def children(self, folder: str) -> tuple[tuple[str, bool], ...]:
        """What lies directly in the folder: names, and whether each is a folder; folders first, then by name.

        A folder that holds nothing is not there: `DeliveryError`, except for `""`.
        """
        with self._told(folder, "list"):
            found = obstore.list_with_delimiter(self._store, folder or None)
        names = [(path.rstrip("/").rsplit("/", 1)[-1], True) for path in found["common_prefixes"]]
        names += [(one["path"].rsplit("/", 1)[-1], False) for one in found["objects"]]
        if folder and not names:
            raise DeliveryError("EXPORT-2002-404", f"There is no folder {self.uri(folder)}.", "Correct the path.")
        return tuple(sorted(names, key=lambda one: (not one[1], one[0])))

    def delete(self, key: str) -> None:
        """Delete one object."""
        with self._told(key, "delete"):
            try:
                self._delete(key)
            except FileNotFoundError as error:
                if is_missing_root(error):
                    raise

    def uri(self, key: str) -> str:
        """`s3://bucket/key` and its like."""
        return f"{self._bucket.root}/{key}"

    def close(self) -> None:
        """Nothing to let go of: the driver pools its own connections."""

    @contextmanager
    def _told(self, key: str, act: Act, source: "_Source | None" = None) -> Iterator[None]:
        """Tell the driver's errors in our words; the producer's own error passes through."""
        try:
            yield
        except (BaseError, FileNotFoundError, OSError) as error:
            if source is not None and source.error is not None:
                raise source.error from None
            bucket = self._bucket
            told = explain(error, self.uri(key), bucket.endpoint, act, bucket.rights, bucket.keeper)
            if told.code == CREDENTIALS and told.transient:
                bucket.forget()
            raise bucket.refusal() or told from None


class _Source:
    """Passes the producer's chunks on, counts them, and keeps the error that the driver would lose."""

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
