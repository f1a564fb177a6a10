"""Content that came in before: recognised by a hash of bytes and options, claimed by one batch at a time."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from offtake.catalog.file_options import content_hash
from offtake.errors import CancelledError
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.options import ParseOptions
from offtake.store import batches as store
from offtake.store.batches import BatchLease
from offtake.store.database import Database
from offtake.store.tables import Batch

_BLOCK: Final = 1024 * 1024


class ContentHash:
    """The hash of files and options, computed by a thread of its own while the files are parsed."""

    def __init__(self, files: Sequence[Path], options: ParseOptions) -> None:
        self._files, self._options = files, options
        self._stop = threading.Event()
        self._hash: str | None = None
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._compute, name="content-hash", daemon=True)

    def start(self) -> None:
        """Begin to read the files."""
        self._thread.start()

    def stop(self) -> None:
        """Return once no file is read any more; without a result if there was none yet."""
        self._stop.set()
        self._thread.join()

    @property
    def is_known(self) -> bool:
        """Whether `result` returns at once."""
        return not self._thread.is_alive()

    def result(self) -> str:
        """The hash, as soon as it is known. Raises `OSError` when a file cannot be read."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._hash is None:
            raise CancelledError("The files are no longer read.")
        return self._hash

    def _compute(self) -> None:
        try:
            hashes = [self._hash_of(path) for path in self._files]
        except OSError as error:
            self._error = error
            return
        if not self._stop.is_set():
            self._hash = content_hash(hashes, self._options)

    def _hash_of(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while not self._stop.is_set() and (block := file.read(_BLOCK)):
                digest.update(block)
        return digest.hexdigest()


@contextmanager
def hashing(files: Sequence[Path], options: ParseOptions) -> Iterator[ContentHash]:
    """Hash the files until the block ends."""
    content = ContentHash(files, options)
    content.start()
    try:
        yield content
    finally:
        content.stop()


def check_new(database: Database, dataset_id: str, content: str, batch_id: str = "") -> None:
    """Raise `ImportRefusedError` naming the batch when another one of the dataset has the same content."""
    with database.reading() as session:
        known = store.with_content(session, dataset_id, content, exclude=(batch_id,))
    if known is not None:
        raise ImportRefusedError(f"{describe(known)} Use --again to import it again.")


def claim(database: Database, lease: BatchLease, content: str, *, again: bool) -> None:
    """Give the batch its content, before it commits.

    Of two batches at the same time, the second finds the first. Raises `ImportRefusedError` naming the batch that has
    the same content; with `again`, the batch gets a note that says so.
    """
    with database.writing() as session:
        dataset, batch = store.lock(session, lease)
        known = store.with_content(session, dataset.id, content, exclude=(batch.id, *batch.replaces))
        if known is not None and not again:
            raise ImportRefusedError(f"{describe(known)} Use --again to import it again.")
        batch.content_hash = content
        batch.notes = [] if known is None else [describe(known)]


def describe(known: Batch) -> str:
    """The sentence that tells which batch has the same content."""
    at = datetime.fromtimestamp((known.completed_at or known.created_at) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if known.status == store.SUCCESS:
        return f"The same files with the same options came in as batch {known.id} at {at}."
    return f"The same files with the same options are just coming in or going out as batch {known.id}, begun at {at}."
