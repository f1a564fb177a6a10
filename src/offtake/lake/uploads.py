"""Files uploaded for batches, kept until their batch is imported or has failed: in a folder, or in an object store.

Each batch has its own folder. A file's name there is the SHA-256 of its name in the request, which is free text.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from offtake.errors import OfftakeError
from offtake.lake.parsing.files import Content

Part = tuple[str, int, int]
"""An object with a part of a file: its id, and the first and the last byte."""


class UploadLostError(OfftakeError):
    """The file was removed, or its upload was restarted, while a part of it arrived."""


class Incoming(Protocol):
    """A file, or a part of one, while it arrives."""

    @property
    def object_id(self) -> str | None:
        """The id of its object; None for files of this machine."""
        ...

    def write(self, chunk: bytes) -> None:
        """Add bytes; may block."""
        ...

    def finish(self) -> None:
        """Make the bytes durable, after the last `write`."""
        ...

    def publish(self) -> None:
        """Keep the file, after `finish`. Call it in the transaction that records it. Raises `UploadLostError`."""
        ...

    def close(self) -> None:
        """Discard what arrived, unless it was published. Must be called at the end."""
        ...


class Uploads(Protocol):
    """The uploads of all batches; shared by all servers that share the database.

    Where they are in a folder, methods raise `OSError`; in a store, `DeliveryError`.
    """

    @property
    def keeps_objects(self) -> bool:
        """Whether each part of a file is an object of its own, which the database records."""
        ...

    def receive(self, batch_id: str, name: str) -> Incoming:
        """A whole file, which replaces one of the same name when it is published."""
        ...

    def receive_part(self, batch_id: str, name: str, first: int) -> Incoming:
        """A part of a file, from byte `first` on, after `start`. Raises `UploadLostError`."""
        ...

    def start(self, batch_id: str, name: str) -> None:
        """Replace the file with an empty one, to be sent in parts."""
        ...

    def content(self, batch_id: str, name: str, parts: Sequence[Part]) -> Content:
        """The complete file. `parts`: its objects in the order in which they were recorded: later ones win."""
        ...

    def remove(self, batch_id: str) -> None:
        """Delete the batch's files."""
        ...

    def batch_ids(self) -> Iterator[str]:
        """The ids of the batches with files, sorted."""
        ...


def stored_name(name: str) -> str:
    """The name under which a file is stored."""
    return hashlib.sha256(name.encode()).hexdigest()
