"""The sink of a local folder: writes a temporary file, syncs it to disk, then renames it into place."""

import contextlib
import errno
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Final

from offtake.destinations.base import BeforeCompletion, Pending, StoredObject
from offtake.destinations.drivers.temporary_names import (
    is_temporary,
    leftovers_of,
    overtaken_error,
    temporary_name,
    withdrawn_name,
)
from offtake.errors import ACCESS_DENIED, DESTINATION_UNAVAILABLE, PLACE_NOT_FOUND, DeliveryError

_CHUNK: Final = 1024 * 1024
_TRIES: Final = 20
_AHEAD: Final = 16 * 1024 * 1024
"""Unsynced bytes after which writeback to disk is started."""


class LocalFolderSink:
    """A folder. Files appear atomically, and survive a power failure once `put` has returned."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        before_completion: BeforeCompletion | None = None,
        writer: int = 0,
    ) -> int:
        """Write `.NAME.<digits>.tmp`, sync, rename over NAME, sync the folder."""
        target = self._path(key)
        with self._translating_errors(key):
            file, temporary, created = _create(target, writer)
        announced = False
        try:
            with file:
                with self._translating_errors(key):
                    # Sync new folders only now: they contain a file, so no process removes them as empty.
                    for folder in created:
                        with contextlib.suppress(PermissionError):  # write access does not imply read access
                            _sync_folder(folder.parent)
                written = self._write(key, file.fileno(), chunks)
            if before_completion is not None:
                with self._translating_errors(key):
                    # The temporary name must survive a power failure: its absence means that the file was completed.
                    _sync_folder(target.parent)
                announced = True
                before_completion(Pending(written, temporary.name))
            with self._translating_errors(key):
                self._complete(key, temporary, target)
        except BaseException:
            if not announced:
                temporary.unlink(missing_ok=True)
            raise
        return written

    def settle(self, key: str, pending: Pending) -> bool:
        """Rename the temporary file into place, if it exists and is complete."""
        target = self._path(key)
        with self._translating_errors(key):
            self._check_root()
            temporary = target.with_name(pending.token or "")
            try:
                if temporary.stat().st_size != pending.bytes:
                    return False
                temporary.replace(target)
            except FileNotFoundError:
                return True
            _sync_folder(target.parent)
        return True

    def recall(self, key: str, pending: Pending | None = None, *, again: bool = False) -> bool:  # noqa: ARG002 - the renamed file records it
        """Rename the temporary file, or else the file, to a hidden name."""
        target = self._path(key)
        aside = target.with_name(withdrawn_name(target.name))
        with self._translating_errors(key):
            self._check_root()
            # Temporary file first: once it is gone, no other writer can complete it.
            for name in (pending.token if pending else None, target.name):
                with contextlib.suppress(FileNotFoundError):
                    if name is not None:
                        target.with_name(name).replace(aside)
                        _sync_folder(target.parent)
                        return True
            return aside.exists()

    def size(self, key: str) -> int | None:
        """The file's size."""
        with self._translating_errors(key):
            path = self._path(key)
            return path.stat().st_size if path.is_file() else None

    def is_gone(self, key: str) -> bool:
        """Whether the file is gone; raises when the root folder is missing."""
        with self._translating_errors(key):
            self._check_root()
        return self.size(key) is None

    def read(self, key: str) -> Iterator[bytes]:
        """The file in chunks of 1 MiB."""
        with self._translating_errors(key), self._path(key).open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All complete files below the folder."""
        with self._translating_errors(prefix):
            for path in sorted(self._path(prefix).rglob("*")):
                if path.is_file() and not is_temporary(path.name):
                    found = path.stat()
                    key = path.relative_to(self._root.resolve()).as_posix()
                    yield StoredObject(key, found.st_size, found.st_mtime_ns // 1_000_000)

    def children(self, folder: str) -> tuple[tuple[str, bool], ...]:
        """The entries of the folder (name, is a folder), folders first, then by name."""
        with self._translating_errors(folder):
            path = self._path(folder)
            if not path.exists() and not folder:
                return ()
            found = [(one.name, one.is_dir()) for one in path.iterdir() if not is_temporary(one.name)]
        return tuple(sorted(found, key=lambda one: (not one[1], one[0])))

    def delete(self, key: str) -> None:
        """Remove the file and parent folders that are then empty."""
        path = self._path(key)
        with self._translating_errors(key):
            path.unlink(missing_ok=True)
            path.with_name(withdrawn_name(path.name)).unlink(missing_ok=True)
            self._remove_empty(path.parent)

    def clear(self, keys: Collection[str], upto: int | None = None) -> int:
        """Remove the temporary files of these keys; each folder is listed once."""
        names: dict[Path, set[str]] = defaultdict(set)
        for key in keys:
            path = self._path(key)
            names[path.parent].add(path.name)
        removed = 0
        for folder, of in names.items():
            with self._translating_errors(folder.relative_to(self._root.resolve()).as_posix()):
                removed += _clear(folder, of, upto)
        return removed

    def uri(self, key: str) -> str:
        """The file's path."""
        return str(self._root / key)

    def close(self) -> None:
        """No-op: nothing is open."""

    def _write(self, key: str, handle: int, chunks: Iterable[bytes]) -> int:
        written = 0
        with _start_writeback(handle) as ahead:
            for chunk in chunks:
                view = memoryview(chunk)
                with self._translating_errors(key):
                    while view:
                        view = view[os.write(handle, view) :]
                    written += len(chunk)
                    ahead.reach(written)
            with self._translating_errors(key):
                ahead.end()
                os.fsync(handle)
        return written

    def _complete(self, key: str, temporary: Path, target: Path) -> None:
        try:
            temporary.replace(target)
        except FileNotFoundError:
            raise overtaken_error(self.uri(key)) from None
        _sync_folder(target.parent)

    def _check_root(self) -> None:
        """Raise `OSError` when the root folder is missing: on an unmounted disk, a missing file was not collected."""
        if not self._root.is_dir():
            raise OSError(errno.EIO, "the folder is missing")

    def _remove_empty(self, folder: Path) -> None:
        root = self._root.resolve()
        while root in folder.parents:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def _path(self, key: str) -> Path:
        """The key's path, with symbolic links resolved; raises `DeliveryError` when it is outside the folder."""
        root = self._root.resolve()
        path = (root / key).resolve()
        if path != root and root not in path.parents:
            raise DeliveryError(
                ACCESS_DENIED, f"{key} is outside {self._root}.", "Remove the symbolic link, or change the path."
            )
        return path

    @contextmanager
    def _translating_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _translate(error, self.uri(key)) from None


class _WritebackAhead:
    """Syncs written bytes in the background, so that little is left to sync at the end."""

    def __init__(self, handle: int, thread: ThreadPoolExecutor) -> None:
        self._handle = handle
        self._thread = thread
        self._sync: Future[None] | None = None
        self._begun = 0

    def reach(self, written: int) -> None:
        """Report the bytes written so far. Raises `OSError` when an earlier sync failed."""
        if written - self._begun >= _AHEAD and (self._sync is None or self._sync.done()):
            self.end()
            self._sync = self._thread.submit(os.fdatasync, self._handle)
            self._begun = written

    def end(self) -> None:
        """Wait for the current sync. Raises `OSError`: the system reports a failure once, not again at the end."""
        if self._sync is not None:
            self._sync.result()


@contextmanager
def _start_writeback(handle: int) -> Iterator[_WritebackAhead]:
    # The thread starts at the first sync, and ends before the file is closed.
    with ThreadPoolExecutor(1, "sync-ahead") as thread:
        yield _WritebackAhead(handle, thread)


def _create(target: Path, writer: int) -> tuple[FileIO, Path, list[Path]]:
    """Create a temporary file next to the target: the open file, its path, and the created folders, outermost first.

    Retries, because another process may remove a new folder while it is empty.
    """
    for _ in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):
            return _open_file(target, writer)
    return _open_file(target, writer)


def _open_file(target: Path, writer: int) -> tuple[FileIO, Path, list[Path]]:
    folder = target.parent
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(temporary_name(target.name, writer))
    return temporary.open("xb", buffering=0), temporary, missing[::-1]


def _clear(folder: Path, names: Collection[str], upto: int | None) -> int:
    try:
        found = os.listdir(folder)  # noqa: PTH208 - names, not paths, are needed
    except (FileNotFoundError, NotADirectoryError):
        return 0
    removed = 0
    for name in leftovers_of(names, found, upto):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
            removed += 1
    return removed


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _translate(error: OSError, path: str) -> DeliveryError:
    cause = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DeliveryError(ACCESS_DENIED, f"{path} cannot be written: {cause}.", "Grant the server's user access.")
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
        return DeliveryError(PLACE_NOT_FOUND, f"{path} cannot be used: {cause}.", "Correct the path.")
    return DeliveryError(
        DESTINATION_UNAVAILABLE,
        f"{path} cannot be written: {cause}.",
        "Free disk space or repair the disk; the export is retried.",
    )
