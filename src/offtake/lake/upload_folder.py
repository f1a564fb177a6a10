"""Uploads in a folder of this machine, or of a file system that the servers share."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal
from uuid import uuid4

from offtake.lake.uploads import Part, UploadLostError, stored_name


@dataclass(frozen=True)
class FolderUploads:
    """Implements `Uploads`; a file is one file, into which its parts are written."""

    root: Path
    keeps_objects: Literal[False] = False

    def path(self, batch_id: str, name: str) -> Path:
        """The path of the complete file, or of the received part of a file that is sent in parts."""
        return self.root / batch_id / stored_name(name)

    def receive(self, batch_id: str, name: str) -> "_Incoming":
        """A whole file: next to the file that it replaces."""
        incoming = self._temporary(batch_id, name)
        return _Incoming(incoming.open("xb"), self.path(batch_id, name), incoming)

    def receive_part(self, batch_id: str, name: str, first: int) -> "_Incoming":
        """A part: into the file."""
        path = self.path(batch_id, name)
        try:
            file = path.open("r+b")
        except FileNotFoundError:
            raise UploadLostError("The file was removed during its upload. Start the upload again.") from None
        file.seek(first)
        return _Incoming(file, path)

    def start(self, batch_id: str, name: str) -> None:
        """Replace the file with an empty one.

        An open handle on the replaced file keeps writing to an unlinked inode; its bytes are discarded.
        """
        empty = self._temporary(batch_id, name)
        empty.touch()
        _publish(empty, self.path(batch_id, name))

    def content(self, batch_id: str, name: str, parts: Sequence[Part]) -> Path:
        """The file's path."""
        del parts
        return self.path(batch_id, name)

    def remove(self, batch_id: str) -> None:
        """Delete the batch's folder with all files."""
        shutil.rmtree(self.root / batch_id, ignore_errors=True)

    def batch_ids(self) -> Iterator[str]:
        """The ids of the batches with a folder, sorted."""
        if self.root.is_dir():
            yield from sorted(path.name for path in self.root.iterdir() if path.is_dir())

    def _temporary(self, batch_id: str, name: str) -> Path:
        """A path that is unique for each upload. Creates the batch's folder."""
        path = self.path(batch_id, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f"{path.name}.{uuid4()}.part")


class _Incoming:
    """A file that is being written. `temporary`: its name until it is published; a part has its final one."""

    object_id = None

    def __init__(self, file: IO[bytes], path: Path, temporary: Path | None = None) -> None:
        self._file, self._path, self._temporary = file, path, temporary

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)

    def finish(self) -> None:
        sync_file(self._file)

    def publish(self) -> None:
        if self._temporary is not None:
            _publish(self._temporary, self._path)
        elif not _same_file(self._file, self._path):
            raise UploadLostError("The upload of the file was restarted during this part. Send the part again.")

    def close(self) -> None:
        self._file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)


def _publish(incoming: Path, path: Path) -> None:
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


def _same_file(file: IO[bytes], path: Path) -> bool:
    """Whether the path still refers to the open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
