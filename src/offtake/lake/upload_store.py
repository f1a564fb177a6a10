"""Uploads in an object store: each part of a file is an object of its own, and files are read from their parts.

So servers need no lock between them: the database records which objects a file has. What it does not record goes with
the batch's folder.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from uuid import uuid4

from offtake.errors import CancelledError
from offtake.lake.storage import objects
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.object_parts import ObjectParts
from offtake.lake.uploads import Part, stored_name

_WAITING_CHUNKS: Final = 16
_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True)
class StoreUploads:
    """Implements `Uploads`."""

    access: FileAccess
    keeps_objects: Literal[True] = True

    def receive(self, batch_id: str, name: str) -> "_Incoming":
        """A whole file, as one object."""
        object_id = uuid4().hex
        return _Incoming(self.access, f"{self._folder(batch_id, name)}/{object_id}", object_id)

    def receive_part(self, batch_id: str, name: str, first: int) -> "_Incoming":
        """A part, as one object."""
        del first
        return self.receive(batch_id, name)

    def start(self, batch_id: str, name: str) -> None:
        """No-op: the database forgets the file's parts."""

    def content(self, batch_id: str, name: str, parts: Sequence[Part]) -> ObjectParts:
        """The file, read from its parts."""
        return ObjectParts.of(self.access, self._folder(batch_id, name), parts)

    def remove(self, batch_id: str) -> None:
        """Delete all objects of the batch."""
        objects.delete(self.access, [one.location for one in objects.files_in(self.access, self._batch(batch_id))])

    def batch_ids(self) -> Iterator[str]:
        """The ids of the batches with objects, sorted."""
        yield from sorted(objects.folders_in(self.access, str(self.access.root)))

    def _batch(self, batch_id: str) -> str:
        return f"{self.access.root}/{batch_id}"

    def _folder(self, batch_id: str, name: str) -> str:
        return f"{self._batch(batch_id)}/{stored_name(name)}"


class _Incoming:
    """An object that a thread writes while its bytes arrive; at most 16 chunks and six parts of 8 MiB wait."""

    def __init__(self, access: FileAccess, location: str, object_id: str) -> None:
        self.object_id = object_id
        self._access, self._location = access, location
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_WAITING_CHUNKS)
        self._cancelled = self._published = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._store, name="upload", daemon=True)
        self._thread.start()

    def write(self, chunk: bytes) -> None:
        self._put(bytes(chunk))

    def finish(self) -> None:
        self._put(None)
        self._thread.join()
        self._raise()

    def publish(self) -> None:
        self._published = True

    def close(self) -> None:
        if self._thread.is_alive():
            self._cancelled = True
            self._put(None)
            self._thread.join()
        elif not self._published:
            objects.delete(self._access, [self._location])

    def _put(self, chunk: bytes | None) -> None:
        while self._thread.is_alive():
            try:
                self._chunks.put(chunk, timeout=_PAUSE_SECONDS)
            except queue.Full:
                continue
            return
        self._raise()

    def _raise(self) -> None:
        if self._error is not None and not self._cancelled:
            raise self._error

    def _store(self) -> None:
        try:
            objects.put(self._access, self._location, self._received())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that receives
            self._error = error

    def _received(self) -> Iterator[bytes]:
        while (chunk := self._chunks.get()) is not None:
            yield chunk
        if self._cancelled:
            raise CancelledError("The upload was cancelled.")
