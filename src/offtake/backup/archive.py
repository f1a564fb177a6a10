"""A backup's archive: a tar file whose last member has the SHA-256 of all others, in the form of `sha256sum`.

Members are streamed, and forgotten when they have passed: memory does not grow with the archive.
"""

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from offtake.errors import OfftakeError

SUMS: Final = "sha256sums"
_CHUNK: Final = 1024 * 1024
_LONGEST_NAME: Final = 255
"""Bytes of a file's or a folder's name on the file systems in use."""


class ArchiveError(OfftakeError):
    """The archive is none of Offtake's, or it is not as it was written."""


class ArchiveWriter:
    """Writes an archive. Without `finish` it is not whole, and is refused by whoever reads it."""

    def __init__(self, file: IO[bytes], sums: IO[bytes]) -> None:
        """`file` takes the archive, `sums` is an empty file that can be read back."""
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - `finish` closes it
        self._sums = sums
        self.bytes = 0

    def add(self, name: str, source: IO[bytes], size: int) -> None:
        """A member of `size` bytes, read from `source`; raises `OSError` when there are fewer."""
        passing = _Hashing(source)
        self._add(name, passing, size)
        self._sums.write(_line(passing.sha256.hexdigest(), name))
        self.bytes += size

    def add_text(self, name: str, text: str) -> None:
        """A small member."""
        content = text.encode()
        self.add(name, io.BytesIO(content), len(content))

    def finish(self) -> None:
        """The last member, and the end."""
        size = self._sums.tell()
        self._sums.seek(0)
        self._add(SUMS, self._sums, size)
        self._tar.close()

    def _add(self, name: str, source: Any, size: int) -> None:  # noqa: ANN401 - whatever can be read
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        self._tar.addfile(member, source)
        _forget(self._tar)


class _Hashing:
    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._source.read(size)
        self.sha256.update(chunk)
        return chunk


class _Names:
    """The names of files that have passed, and of the folders around them, as hashes: an archive has many."""

    def __init__(self) -> None:
        self._files: set[int] = set()
        self._folders: set[int] = set()

    def admit(self, name: str) -> bool:
        """Whether the file can stand beside those before it: none has its name, or is a folder where it is a file."""
        folders = {hash(str(folder)) for folder in PurePosixPath(name).parents}
        if hash(name) in self._files or hash(name) in self._folders or folders & self._files:
            return False
        self._files.add(hash(name))
        self._folders |= folders
        return True


class _Bounded(io.BufferedReader):
    """A file for `tarfile`, which reads a header of any length at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _CHUNK:
            raise tarfile.ReadError("a header is longer than any of ours")
        return super().read(size)


def verify(archive: Path, keep: Mapping[str, Path]) -> None:
    """Read all of it, and write the members that `keep` names to where it says.

    Raises `ArchiveError` when anything is missing, damaged or out of place.
    """
    sums, found, names = hashlib.sha256(), None, _Names()
    with _translating_errors(archive):
        for name, file in members(archive):
            if not names.admit(name):
                raise ArchiveError(f"{archive} is no backup of Offtake: {name!r} is in it twice, or is a folder, too.")
            if found is not None:
                raise ArchiveError(f"{archive} is damaged: it has something behind its end.")
            if name == SUMS:
                found = _hash(file, None)
                continue
            with _kept(keep.get(name)) as copy:
                sums.update(_line(_hash(file, copy), name))
    if found is None:
        raise ArchiveError(f"{archive} is not whole: its end is missing. Use another backup.")
    if found != sums.hexdigest():
        raise ArchiveError(f"{archive} is damaged: it is not as it was written. Use another backup.")


def members(archive: Path, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[tuple[str, IO[bytes]]]:
    """The wanted members in order; each can be read until the next is asked for.

    Raises `ArchiveError` for what is no plain file of a name that stays inside its folder, wanted or not.
    """
    with (
        _translating_errors(archive),
        _Bounded(archive.open("rb", buffering=0)) as source,
        tarfile.open(fileobj=source, mode="r:") as tar,
    ):
        while (member := tar.next()) is not None:
            _forget(tar)
            problem = _problem(member)
            if problem is not None:
                raise ArchiveError(f"{archive} is no backup of Offtake: {member.name!r} {problem}.")
            if wanted(member.name):
                file = tar.extractfile(member)
                assert file is not None  # noqa: S101 - it is a plain file
                yield member.name, file


@contextmanager
def _translating_errors(archive: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, ValueError, RecursionError):
        # The library goes into a header for each header that is about the next one.
        raise ArchiveError(f"{archive} is no backup of Offtake, or is damaged.") from None


def _forget(tar: tarfile.TarFile) -> None:
    # The library remembers every member it has met.
    tar.members.clear()  # type: ignore[attr-defined] # public in the library, absent in its stubs


def _hash(file: IO[bytes], copy: IO[bytes] | None) -> str:
    found = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        found.update(chunk)
        if copy is not None:
            copy.write(chunk)
    return found.hexdigest()


@contextmanager
def _kept(path: Path | None) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    with path.open("wb") as file:
        yield file


def _line(digest: str, name: str) -> bytes:
    return f"{digest}  {name}\n".encode()


def _problem(member: tarfile.TarInfo) -> str | None:
    """Why a member is none of a backup's; None when it may be one."""
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
        return "is no plain file"
    path = PurePosixPath(member.name)
    # A name in another form than its path has can mean another path once it is cut: `uploads//etc` is one.
    if path.is_absolute() or ".." in path.parts or path.as_posix() != member.name or "\0" in member.name:
        return "has a name that does not stay inside the folder"
    if any(len(part.encode(errors="surrogateescape")) > _LONGEST_NAME for part in path.parts):
        return "has a name that is too long"
    return None
