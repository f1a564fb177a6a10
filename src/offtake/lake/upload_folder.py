"""Files sent for batches, waiting on disk until their batch has come in or never will.

A batch has a folder of its own; a file's name on disk is derived from the name it was sent under, which is free text.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4


@dataclass(frozen=True)
class Uploads:
    """The folder of all batches; every server that shares the database shares it."""

    root: Path

    def path(self, batch_id: str, name: str) -> Path:
        """Where the whole file is, or what has come of one that is sent in parts."""
        return self.root / batch_id / hashlib.sha256(name.encode()).hexdigest()

    def incoming(self, batch_id: str, name: str) -> Path:
        """Where a file is while it comes in; every sending has a place of its own."""
        path = self.path(batch_id, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f"{path.name}.{uuid4()}.part")

    def start(self, batch_id: str, name: str) -> None:
        """An empty file, to be written in parts; whoever still writes into the one before writes into nothing."""
        empty = self.incoming(batch_id, name)
        empty.touch()
        publish(empty, self.path(batch_id, name))

    def remove(self, batch_id: str) -> None:
        """Nothing of the batch stays."""
        shutil.rmtree(self.root / batch_id, ignore_errors=True)

    def batch_ids(self) -> Iterator[str]:
        """The batches that something was sent for."""
        if self.root.is_dir():
            yield from sorted(path.name for path in self.root.iterdir() if path.is_dir())


def publish(incoming: Path, path: Path) -> None:
    """A file that has come in whole takes the place of the one before, at once and for good."""
    incoming.replace(path)
    sync_folder(path.parent)


def sync_file(file: IO[bytes]) -> None:
    """What was written stays, whatever happens to the machine."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """The folder's entries stay, whatever happens to the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def same_file(file: IO[bytes], path: Path) -> bool:
    """Whether the open file is still the one at that path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
