"""The sink of every object store: one well-kept driver, and its errors in our words."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore

from offtake.destinations.contract import StoredObject
from offtake.errors import DeliveryError

if TYPE_CHECKING:
    # The driver states these types in its stubs only.
    from obstore.store import RetryConfig

PART_BYTES: Final = 8 * 1024 * 1024
_PARTS_IN_FLIGHT: Final = 4
_MEDIA_TYPES: Final = {
    ".gz": "application/gzip",
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
}

RETRIES: "Final[RetryConfig]" = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=120),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
}
"""The driver's own quick retries; what outlasts them is retried by the run, with longer waits."""


class ObjectStoreSink:
    """A bucket or container. Objects appear whole or not at all; a failed upload is aborted."""

    def __init__(self, store: ObjectStore, root: str, endpoint: str) -> None:
        """`root`: the address of the bucket as people write it; `endpoint`: whom it is asked of."""
        self._store = store
        self._root = root
        self._endpoint = endpoint

    def put(self, key: str, chunks: Iterable[bytes]) -> int:
        """Upload in parts of 8 MiB, 4 at a time, and complete the object at the end."""
        source = _Source(chunks)
        suffix = "." + key.rsplit(".", 1)[-1]
        attributes = {"Content-Type": _MEDIA_TYPES.get(suffix, "application/octet-stream")}
        with self._told(key, source):
            obstore.put(
                self._store,
                key,
                iter(source),
                attributes=attributes,
                chunk_size=PART_BYTES,
                max_concurrency=_PARTS_IN_FLIGHT,
            )
        return source.bytes

    def size(self, key: str) -> int | None:
        """The object's size, from its head."""
        with self._told(key):
            try:
                return obstore.head(self._store, key)["size"]
            except FileNotFoundError as error:
                if _is_missing_root(str(error)):
                    raise
                return None

    def read(self, key: str) -> Iterator[bytes]:
        """The object in chunks of about 8 MiB."""
        with self._told(key):
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=PART_BYTES):
                yield bytes(chunk)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object in the folder."""
        with self._told(prefix):
            for page in obstore.list(self._store, prefix or None):
                for found in page:
                    modified = round(found["last_modified"].timestamp() * 1000)
                    yield StoredObject(found["path"], found["size"], modified)

    def delete(self, key: str) -> None:
        """Delete one object."""
        with self._told(key):
            try:
                obstore.delete(self._store, key)
            except FileNotFoundError as error:
                if _is_missing_root(str(error)):
                    raise

    def uri(self, key: str) -> str:
        """`s3://bucket/key` and its like."""
        return f"{self._root}/{key}"

    def close(self) -> None:
        """Nothing to let go of: the driver pools its own connections."""

    @contextmanager
    def _told(self, key: str, source: "_Source | None" = None) -> Iterator[None]:
        """Tell the driver's errors in our words; the producer's own error passes through."""
        try:
            yield
        except (BaseError, FileNotFoundError, OSError) as error:
            if source is not None and source.error is not None:
                raise source.error from None
            raise self._translate(error, key) from None

    def _translate(self, error: Exception, key: str) -> DeliveryError:
        text = str(error)
        where = self.uri(key)
        if isinstance(error, UnauthenticatedError) or re.search(
            r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken|AuthenticationFailed", text
        ):
            return DeliveryError(
                "EXPORT-2001-401",
                f"{self._endpoint} refused the credentials for {where}.",
                "Enter a valid access key and secret in the base connection.",
            )
        if isinstance(error, PermissionDeniedError):
            return DeliveryError(
                "EXPORT-2001-403",
                f"{self._endpoint} denied access to {where}.",
                "Grant the key the right to put, get, list and delete objects there.",
            )
        if isinstance(error, FileNotFoundError):
            what = "The bucket or container of" if _is_missing_root(text) else "There is no object"
            return DeliveryError(
                "EXPORT-2002-404", f"{what} {where} does not exist.", "Create it, or correct its name."
            )
        status = re.search(r"status (?:code: )?(\d{3})", text)
        said = f" (status {status[1]})" if status else ""
        return DeliveryError(
            "EXPORT-2003-504",
            f"{self._endpoint} could not be reached or did not answer as expected for {where}{said}.",
            "Check the endpoint and the network; the export is tried again.",
            transient=True,
        )


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


def _is_missing_root(text: str) -> bool:
    return "NoSuchBucket" in text or "ContainerNotFound" in text
