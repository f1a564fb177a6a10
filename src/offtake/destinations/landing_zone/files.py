"""The files of a local landing zone: listed by name, opened, and removed when they expire.

A file that is being written is called `.NAME.<random>.tmp` and is never listed.
"""

import contextlib
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

_log = logging.getLogger(__name__)

_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True)
class ZoneFile:
    """A file, by its name in the zone. `etag` changes with its content; `modified_ns` in epoch nanoseconds."""

    name: str
    size: int
    modified_ns: int
    etag: str


@dataclass(frozen=True)
class ZoneFolder:
    """All files whose name starts with `name`, which ends with a slash."""

    name: str


Entry = ZoneFile | ZoneFolder


def page(root: Path, prefix: str, after: str, limit: int, *, folded: bool) -> tuple[list[Entry], str | None]:
    """Up to `limit` entries after the name `after`, sorted by name, and the name after which the next page starts.

    `folded`: one entry for each folder, like a listing with the delimiter `/`.
    """
    found = list(islice(_walk(root.resolve(), prefix, after, folded), limit + 1))
    return found[:limit], found[limit - 1].name if len(found) > limit else None


def find(root: Path, name: str) -> ZoneFile | None:
    """The file of that name; None when it does not exist, or the name leaves the zone."""
    try:
        path = _path(root, name)
        found = path.lstat() if path is not None else None
    except (OSError, ValueError):
        return None
    return _file(name, found) if found is not None and stat.S_ISREG(found.st_mode) else None


def open_file(root: Path, name: str) -> BinaryIO:
    """Open the file for reading; raises `FileNotFoundError`."""
    path = _path(root, name)
    if path is None:
        raise FileNotFoundError(name)
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def remove(root: Path, file: ZoneFile) -> bool:
    """Delete the file if it is unchanged; whether it was deleted. Raises `OSError` when it cannot be deleted."""
    path = _path(root, file.name)
    if path is None or find(root, file.name) != file:
        return False
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def chunks(file: BinaryIO, first: int, length: int) -> Iterator[bytes]:
    """Read `length` bytes from offset `first`, in chunks of at most 1 MiB; closes the file at the end."""
    with file:
        file.seek(first)
        while length > 0 and (piece := file.read(min(length, _CHUNK))):
            length -= len(piece)
            yield piece


def expire(root: Path, before_ms: int) -> Iterator[int]:
    """Remove files last written before `before_ms` (epoch milliseconds), and empty folders.

    Yields the number of removed files after each folder. A file that is being written has a recent time, so it is kept;
    leftovers of interrupted writes are removed.
    """
    for path, folders, names in os.walk(root, topdown=False):
        yield sum(_remove_old(Path(path, name), before_ms) for name in names)
        for name in folders:
            with contextlib.suppress(OSError):
                Path(path, name).rmdir()


def _remove_old(file: Path, before_ms: int) -> bool:
    try:
        if file.lstat().st_mtime_ns >= before_ms * 1_000_000:
            return False
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        _log.warning("%s has expired and cannot be removed: %s", file, os.strerror(error.errno or 0))
        return False
    return True


def _walk(root: Path, prefix: str, after: str, folded: bool, base: str = "") -> Iterator[Entry]:
    """All entries below `root`, whose name in the zone is `base`, at any depth (iterative, not recursive).

    Keeps in memory only the sorted names of the folders on the path to the current one; folder names end with a slash.
    """
    open_folders = [(root, base, iter(_names(root, base)))]
    while open_folders:
        folder, inside, names = open_folders[-1]
        name = next(names, None)
        if name is None:
            open_folders.pop()
        elif not name.endswith("/"):
            if name.startswith(prefix) and name > after:
                with contextlib.suppress(FileNotFoundError):
                    yield _file(name, (folder / name[len(inside) :]).lstat())
        elif _may_contain(name, prefix, after):
            below = folder / name[len(inside) : -1]
            if not folded or not name.startswith(prefix) or name == prefix:
                open_folders.append((below, name, iter(_names(below, name))))
            elif name > after and next(_walk(below, "", "", False, name), None) is not None:
                yield ZoneFolder(name)


def _may_contain(name: str, prefix: str, after: str) -> bool:
    """Whether the folder can contain entries to list: its entries sort directly after its own name."""
    passed = name <= after and not after.startswith(name)
    return not passed and (name.startswith(prefix) or prefix.startswith(name))


def _names(folder: Path, base: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(named for entry in entries if (named := _named(entry, base)) is not None)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _named(entry: os.DirEntry[str], base: str) -> str | None:
    """The entry's name in the zone; None for links, temporary files and names that are not valid text."""
    if _is_temporary(entry.name) or not _is_text(entry.name):
        return None
    if entry.is_dir(follow_symlinks=False):
        return f"{base}{entry.name}/"
    return f"{base}{entry.name}" if entry.is_file(follow_symlinks=False) else None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _path(root: Path, name: str) -> Path | None:
    """The file's path; None when a segment of the name is not plain, or a symbolic link is on the path."""
    steps = name.split("/")
    if any(step in ("", ".", "..") for step in steps) or "\0" in name or _is_temporary(steps[-1]):
        return None
    home = root.resolve()
    path = home.joinpath(*steps)
    return path if path.parent.resolve() == path.parent else None


def _file(name: str, found: os.stat_result) -> ZoneFile:
    etag = f'"0x{found.st_mtime_ns:X}-{found.st_ino:X}-{found.st_size:X}"'
    return ZoneFile(name, found.st_size, found.st_mtime_ns, etag)
