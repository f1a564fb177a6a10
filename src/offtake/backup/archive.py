"""The archive of a backup: a tar file whose last member has the SHA-256 of all others, in `sha256sum` format.

Members are streamed, so memory does not grow with the archive.
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
"""The most bytes of a file or folder name on common file systems."""


class ArchiveError(OfftakeError):
    """Not an Offtake backup, or corrupted."""


class ArchiveWriter:
    """Writes an archive. Without `finish` it is incomplete, and `verify` refuses it."""

    def __init__(self, file: IO[bytes], sums: IO[bytes]) -> None:
        """`file`: receives the archive; `sums`: an empty file, opened for reading and writing."""
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - `finish` closes it
        self._sums = sums
        self.bytes = 0

    def add(self, name: str, source: IO[bytes], size: int) -> None:
        """Add a member of `size` bytes from `source`; raises `OSError` when there are fewer."""
        passing = _Hashing(source)
        self._add(name, passing, size)
        self._sums.write(_line(passing.sha256.hexdigest(), name))
        self.bytes += size

    def add_text(self, name: str, text: str) -> None:
        """Add a small text member."""
        content = text.encode()
        self.add(name, io.BytesIO(content), len(content))

    def finish(self) -> None:
        """Add the member with the checksums, and complete the archive."""
        size = self._sums.tell()
        self._sums.seek(0)
        self._add(SUMS, self._sums, size)
        self._tar.close()

    def _add(self, name: str, source: Any, size: int) -> None:  # noqa: ANN401 - any object with `read`
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
    """The names of earlier files and of their parent folders, as hashes to save memory."""

    def __init__(self) -> None:
        self._files: set[int] = set()
        self._folders: set[int] = set()

    def admit(self, name: str) -> bool:
        """Record the file's name; False when it is a duplicate, or conflicts with a folder or file of that name."""
        folders = {hash(str(folder)) for folder in PurePosixPath(name).parents}
        if hash(name) in self._files or hash(name) in self._folders or folders & self._files:
            return False
        self._files.add(hash(name))
        self._folders |= folders
        return True


class _Bounded(io.BufferedReader):
    """A file that limits the reads of `tarfile`, which otherwise reads a header of any length at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _CHUNK:
            raise tarfile.ReadError("a header is too long")
        return super().read(size)


def verify(archive: Path, keep: Mapping[str, Path]) -> None:
    """Verify the whole archive, and extract the members in `keep` to the given paths.

    Raises `ArchiveError` when anything is missing, damaged or unexpected.
    """
    sums, found, names = hashlib.sha256(), None, _Names()
    with _translating_errors(archive):
        for name, file in members(archive):
            if not names.admit(name):
                raise ArchiveError(f"{archive} is not an Offtake backup: {name!r} occurs twice, or is also a folder.")
            if found is not None:
                raise ArchiveError(f"{archive} is damaged: it has data after its end.")
            if name == SUMS:
                found = _hash(file, None)
                continue
            with _open_copy(keep.get(name)) as copy:
                sums.update(_line(_hash(file, copy), name))
    if found is None:
        raise ArchiveError(f"{archive} is incomplete: its end is missing. Use another backup.")
    if found != sums.hexdigest():
        raise ArchiveError(f"{archive} is damaged: its checksum does not match. Use another backup.")


def members(archive: Path, select: Callable[[str], bool] = lambda _: True) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the selected members in order; each can be read until the next one is requested.

    Raises `ArchiveError` for any member, selected or not, that is not a regular file with a safe name.
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
                raise ArchiveError(f"{archive} is not an Offtake backup: {member.name!r} {problem}.")
            if select(member.name):
                file = tar.extractfile(member)
                assert file is not None  # noqa: S101 - it is a regular file
                yield member.name, file


@contextmanager
def _translating_errors(archive: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, ValueError, RecursionError):
        # RecursionError: the library recurses for each extended header.
        raise ArchiveError(f"{archive} is not an Offtake backup, or is damaged.") from None


def _forget(tar: tarfile.TarFile) -> None:
    # The library keeps a list of all members.
    tar.members.clear()  # type: ignore[attr-defined] # public in the library, absent in its stubs


def _hash(file: IO[bytes], copy: IO[bytes] | None) -> str:
    found = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        found.update(chunk)
        if copy is not None:
            copy.write(chunk)
    return found.hexdigest()


@contextmanager
def _open_copy(path: Path | None) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    with path.open("wb") as file:
        yield file


def _line(digest: str, name: str) -> bytes:
    return f"{digest}  {name}\n".encode()


def _problem(member: tarfile.TarInfo) -> str | None:
    """Why a member cannot be part of a backup; None when it can."""
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
        return "is not a regular file"
    path = PurePosixPath(member.name)
    # A name in a non-canonical form can become another path after its prefix is removed, such as `uploads//etc`.
    if path.is_absolute() or ".." in path.parts or path.as_posix() != member.name or "\0" in member.name:
        return "has a name that leaves the folder"
    if any(len(part.encode(errors="surrogateescape")) > _LONGEST_NAME for part in path.parts):
        return "has a name that is too long"
    return None
