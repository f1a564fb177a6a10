"""Duplicate detection of imports, by a hash of file contents and options; one batch at a time has a hash."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from offtake.catalog.file_options import content_hash
from offtake.errors import CancelledError, DeliveryError
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import Content
from offtake.lake.parsing.options import ParseOptions
from offtake.store import batches as store
from offtake.store.batches import BatchLease
from offtake.store.database import Database
from offtake.store.tables import Batch

_BLOCK: Final = 1024 * 1024


class ContentHash:
    """The hash of files and options, computed in a background thread while the files are parsed."""

    def __init__(self, files: Sequence[Content], options: ParseOptions) -> None:
        self._files, self._options = files, options
        self._stop = threading.Event()
        self._hash: str | None = None
        self._error: OSError | DeliveryError | None = None
        self._thread = threading.Thread(target=self._compute, name="content-hash", daemon=True)

    def start(self) -> None:
        """Start the background thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading, and wait until the thread has ended; the hash may be incomplete."""
        self._stop.set()
        self._thread.join()

    @property
    def is_known(self) -> bool:
        """Whether `result` returns at once."""
        return not self._thread.is_alive()

    def result(self) -> str:
        """Raises `OSError` or `DeliveryError` for an unreadable file, `CancelledError` after `stop`."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._hash is None:
            raise CancelledError("The hash computation was stopped.")
        return self._hash

    def _compute(self) -> None:
        try:
            hashes = [self._hash_of(path) for path in self._files]
        except (OSError, DeliveryError) as error:
            self._error = error
            return
        if not self._stop.is_set():
            self._hash = content_hash(hashes, self._options)

    def _hash_of(self, path: Content) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while not self._stop.is_set() and (block := file.read(_BLOCK)):
                digest.update(block)
        return digest.hexdigest()


@contextmanager
def hashing(files: Sequence[Content], options: ParseOptions) -> Iterator[ContentHash]:
    """Hash the files in the background; stops at the end of the block."""
    content = ContentHash(files, options)
    content.start()
    try:
        yield content
    finally:
        content.stop()


def check_new(database: Database, dataset_id: str, content: str, batch_id: str = "") -> None:
    """Raise `ImportRefusedError` naming the batch when another batch of the dataset has the same content."""
    with database.reading() as session:
        duplicate = store.with_content(session, dataset_id, content, exclude=(batch_id,))
    if duplicate is not None:
        raise ImportRefusedError(f"{describe(duplicate)} Allow it again if its rows are to be in the dataset twice.")


def claim(database: Database, lease: BatchLease, content: str, *, again: bool) -> None:
    """Store the content hash of the batch, before it commits.

    Under the dataset's lock, so that of two concurrent batches the second finds the first. Raises `ImportRefusedError`
    naming the batch with the same content; with `again`, the batch gets a note instead.
    """
    with database.writing() as session:
        dataset, batch = store.lock(session, lease)
        duplicate = store.with_content(session, dataset.id, content, exclude=(batch.id, *batch.replaces))
        if duplicate is not None and not again:
            raise ImportRefusedError(
                f"{describe(duplicate)} Allow it again if its rows are to be in the dataset twice."
            )
        batch.content_hash = content
        batch.notes = [] if duplicate is None else [describe(duplicate)]


def describe(known: Batch) -> str:
    """The message that names the batch with the same content."""
    at = datetime.fromtimestamp((known.completed_at or known.created_at) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if known.status == store.SUCCESS:
        return f"The same files with the same options were imported as batch {known.id} at {at}."
    return f"The same files with the same options are being imported or reverted as batch {known.id}, started at {at}."
