"""Files uploaded for batches, kept on disk until their batch is imported or has failed.

Each batch has its own folder. A file's name on disk is the SHA-256 of its name in the request, which is free text.
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
    """The folder of all batches' uploads; shared by all servers that share the database."""

    root: Path

    def path(self, batch_id: str, name: str) -> Path:
        """The path of the complete file, or of the received part of a file that is sent in parts."""
        return self.root / batch_id / hashlib.sha256(name.encode()).hexdigest()

    def incoming(self, batch_id: str, name: str) -> Path:
        """The temporary path of a file during its upload; unique for each upload. Creates the batch's folder."""
        path = self.path(batch_id, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f"{path.name}.{uuid4()}.part")

    def start(self, batch_id: str, name: str) -> None:
        """Replace the file with an empty one, to be written in parts.

        An open handle on the replaced file keeps writing to an unlinked inode; its bytes are discarded.
        """
        empty = self.incoming(batch_id, name)
        empty.touch()
        publish(empty, self.path(batch_id, name))

    def remove(self, batch_id: str) -> None:
        """Delete the batch's folder with all files."""
        shutil.rmtree(self.root / batch_id, ignore_errors=True)

    def batch_ids(self) -> Iterator[str]:
        """The ids of the batches with a folder, sorted."""
        if self.root.is_dir():
            yield from sorted(path.name for path in self.root.iterdir() if path.is_dir())


def publish(incoming: Path, path: Path) -> None:
    """Move a completely uploaded file to `path`, atomically and durably, replacing any existing file."""
    incoming.replace(path)
    sync_folder(path.parent)


def sync_file(file: IO[bytes]) -> None:
    """Flush and fsync the file, so that its content survives a power failure."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Fsync the folder, so that its entries survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def same_file(file: IO[bytes], path: Path) -> bool:
    """Whether the path still refers to the open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
