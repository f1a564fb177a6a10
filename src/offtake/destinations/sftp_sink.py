"""The sink of an SFTP server: written beside, synced where the server can, then renamed into place."""

import asyncio
import contextlib
import stat
from collections import defaultdict, deque
from collections.abc import Awaitable, Collection, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from offtake.destinations.beside import is_temporary, left_behind, recalled_name, removed_meanwhile, temporary_name
from offtake.destinations.contract import BeforeCompletion, Pending, StoredObject
from offtake.destinations.sftp_errors import DeniedError, MissingError, SftpError, UnsupportedError, told
from offtake.destinations.sftp_library import asyncssh
from offtake.destinations.sftp_protocol import READ, WRITE, Attributes, SftpClient
from offtake.destinations.sftp_session import Session
from offtake.destinations.sftp_transfer import Download, Upload, gathered
from offtake.errors import DeliveryError

T = TypeVar("T")

_TRIES: Final = 5


class SftpSink:
    """A folder of a server. A file is visible whole or not at all.

    `root`: `/`, or `""` for the folder that the server logs in to. `kept`: the folder below it that is the target's
    own, which stays when it is empty. `stall`: seconds without any progress after which the server counts as gone.
    """

    def __init__(self, session: Session, root: str, kept: str, stall: float) -> None:
        self._session = session
        self._root = root
        self._kept = kept
        self._stall = stall

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        before_completion: BeforeCompletion | None = None,
        writer: int = 0,
    ) -> int:
        """Write `.NAME.<digits>.tmp`, sync, compare the size on the open file, rename over NAME.

        Servers without posix-rename@openssh.com cannot replace: there an old file is put aside first, and for that
        moment there is none.
        """
        client = self._session.client()
        beside = _beside(self._path(key), writer)
        upload: Upload | None = None
        announced = False
        try:
            handle = self._do(client, key, "write files", self._created(client, key, beside))
            upload = Upload(client, handle, self._stall)
            for piece in gathered(chunks):
                self._do(client, key, "write files", upload.send(piece))
            self._do(client, key, "write files", upload.finish())
            if before_completion is not None:
                announced = True
                before_completion(Pending(upload.offset, beside.rpartition("/")[2]))
            self._do(client, key, "rename files", self._renamed(client, key, beside))
        except BaseException:
            if not announced:
                self._clear_away(upload, client, beside)
            raise
        return upload.offset

    def settle(self, key: str, pending: Pending) -> bool:
        """Rename the temporary file into place, if it is still there and has all its bytes."""
        client = self._session.client()
        return self._do(client, key, "rename files", self._settled(client, key, pending))

    def recall(self, key: str, pending: Pending | None = None, *, again: bool = False) -> bool:  # noqa: ARG002 - the name tells
        """Rename the temporary file, or the file, to a name that nobody else uses."""
        client = self._session.client()
        return self._do(client, key, "rename files", self._recalled(client, key, pending))

    def size(self, key: str) -> int | None:
        """The file's size."""
        client = self._session.client()
        found = self._do(client, key, "read files", self._attributes(client, key))
        return found.size if found is not None and _is_file(found) else None

    def is_gone(self, key: str) -> bool:
        """Whether it has no size."""
        return self.size(key) is None

    def read(self, key: str) -> Iterator[bytes]:
        """The file in chunks of about 1 MiB, up to 4 MiB read ahead."""
        client = self._session.client()
        handle = self._do(client, key, "read files", self._soon(client.open(self._path(key), READ)))
        download = Download(client, handle, self._stall)
        try:
            while chunk := self._do(client, key, "read files", download.next()):
                yield chunk
        finally:
            with contextlib.suppress(DeliveryError):
                self._do(client, key, "read files", download.end())

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every finished file below the folder. Links to folders are not followed."""
        client = self._session.client()
        folders = deque([prefix.strip("/")])
        while folders:
            folder = folders.popleft()
            found = self._do(client, folder, "list folders", self._entries(client, folder))
            for name, attributes in found:
                key = f"{folder}/{name}" if folder else name
                if _is_folder(attributes):
                    folders.append(key)
                elif _is_file(attributes) and not is_temporary(name):
                    yield StoredObject(key, attributes.size or 0, (attributes.modified or 0) * 1000)

    def delete(self, key: str) -> None:
        """Remove the file, and the folders below the target's that are empty then."""
        client = self._session.client()
        self._do(client, key, "remove files", self._removed(client, key))

    def clear(self, keys: Collection[str], upto: int | None = None) -> int:
        """Remove the temporary files of these keys; each folder is listed once."""
        client = self._session.client()
        names: dict[str, set[str]] = defaultdict(set)
        for key in keys:
            folder, _, name = key.rpartition("/")
            names[folder].add(name)
        return sum(
            self._do(client, folder, "remove files", self._cleared(client, folder, of, upto))
            for folder, of in names.items()
        )

    def uri(self, key: str) -> str:
        """`sftp://server/folder/file`, with `/~` before what is below the folder that the server logs in to."""
        return f"sftp://{self._session.login.server}/{'' if self._root else '~/'}{key}"

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _path(self, key: str) -> str:
        return f"{self._root}{key}" or "."

    def _do(self, client: SftpClient, key: str, right: str, work: Coroutine[Any, Any, T]) -> T:
        with told(self.uri(key), right):
            return self._session.run(client, work)

    async def _soon(self, work: Awaitable[T]) -> T:
        async with asyncio.timeout(self._stall):
            return await work

    async def _created(self, client: SftpClient, key: str, beside: str) -> bytes:
        """The file beside, open. Whoever removes empty folders may take the folder away again in between."""
        for _ in range(_TRIES):
            with contextlib.suppress(MissingError):
                return await self._soon(client.open(beside, WRITE))
            try:
                await self._made(client, key.rpartition("/")[0])
            except DeliveryError as error:
                # The folder around it may have been removed meanwhile.
                if error.transient:
                    raise
        await self._made(client, key.rpartition("/")[0])
        return await self._soon(client.open(beside, WRITE))

    async def _made(self, client: SftpClient, folder: str) -> None:
        missing: list[str] = []
        while folder and await self._soon(client.stat(self._path(folder))) is None:
            missing.append(folder)
            folder = folder.rpartition("/")[0]
        for one in reversed(missing):
            try:
                with told(self.uri(one), "make folders"):
                    await self._soon(client.make_folder(self._path(one)))
            except DeliveryError:
                # Another writer may have made it meanwhile; each server has its own word for that.
                if await self._soon(client.stat(self._path(one))) is None:
                    raise

    async def _attributes(self, client: SftpClient, key: str) -> Attributes | None:
        """What the server tells of a file, by the folder's list where it denies to tell of a single file."""
        try:
            return await self._soon(client.stat(self._path(key)))
        except (DeniedError, UnsupportedError):
            folder, _, name = key.rpartition("/")
            return (await self._within(client, folder)).get(name)

    async def _settled(self, client: SftpClient, key: str, pending: Pending) -> bool:
        beside = _neighbour(key, pending.token or "")
        found = await self._attributes(client, beside)
        if found is None:
            return True
        if found.size not in (None, pending.bytes):
            return False
        try:
            await self._renamed(client, key, self._path(beside))
        except DeliveryError:
            if await self._attributes(client, beside) is not None:
                raise
        return True

    async def _recalled(self, client: SftpClient, key: str, pending: Pending | None) -> bool:
        aside = _recalled(key)
        # In this order: once the temporary file is gone, no other writer can complete it.
        for one in ([_neighbour(key, pending.token)] if pending and pending.token else []) + [key]:
            try:
                await self._soon(client.rename(self._path(one), self._path(aside)))
            except SftpError:
                # For a file that is missing, each server has its own word.
                if await self._attributes(client, one) is not None:
                    raise
            else:
                return True
        return await self._attributes(client, aside) is not None

    async def _renamed(self, client: SftpClient, key: str, beside: str) -> None:
        path = self._path(key)
        swap = False
        try:
            if client.replaces:
                # A server may offer it and then not let this user have it.
                with contextlib.suppress(DeniedError, UnsupportedError):
                    return await self._soon(client.replace(beside, path))
            swap = True
            return await self._soon(client.rename(beside, path))
        except SftpError:
            # For each reason, each server has its own word: the file is gone, or the name is taken.
            if await self._soon(client.stat(beside)) is None:
                raise removed_meanwhile(self.uri(key)) from None
            if not swap or await self._soon(client.stat(path)) is None:
                raise
        return await self._swapped(client, key, beside)

    async def _swapped(self, client: SftpClient, key: str, beside: str) -> None:
        """Put the old file aside, then the new one in its place. Whatever goes wrong, the old one is put back."""
        path, aside = self._path(key), _beside(self._path(key))
        there = False
        try:
            with contextlib.suppress(MissingError):  # another writer may have put it aside
                await self._soon(client.rename(path, aside))
            await self._soon(client.rename(beside, path))
            there = True
            with told(self.uri(key), "remove files"), contextlib.suppress(MissingError):
                await self._soon(client.remove(aside))
        except (SftpError, DeliveryError) as error:
            gone = not there and await self._soon(client.stat(beside)) is None
            if there:
                with contextlib.suppress(SftpError):
                    await self._soon(client.rename(path, beside))
            await self._put_back(client, aside, path)
            raise (removed_meanwhile(self.uri(key)) if gone else error) from None

    async def _put_back(self, client: SftpClient, aside: str, path: str) -> None:
        try:
            await self._soon(client.rename(aside, path))
        except SftpError:
            with contextlib.suppress(SftpError):
                if await self._soon(client.stat(path)) is not None:  # another writer's is there by now
                    await self._soon(client.remove(aside))

    async def _entries(self, client: SftpClient, folder: str) -> Sequence[tuple[str, Attributes]]:
        """What lies directly in the folder, by name; links to files told as the files."""
        found = await self._within(client, folder)
        for name, attributes in found.items():
            if name not in (".", "..") and not _is_file(attributes) and not _is_folder(attributes):
                followed = await self._soon(client.stat(self._path(f"{folder}/{name}" if folder else name)))
                if followed is not None and _is_file(followed):
                    found[name] = followed
        return [(name, found[name]) for name in sorted(found) if name not in (".", "..")]

    async def _within(self, client: SftpClient, folder: str) -> dict[str, Attributes]:
        """What the server tells of a folder, nothing where there is none."""
        found: dict[str, Attributes] = {}
        with contextlib.suppress(MissingError):
            handle = await self._soon(client.open_folder(self._path(folder)))
            try:
                while (more := await self._soon(client.entries(handle))) is not None:
                    found.update(more)
            finally:
                await self._soon(client.close(handle))
        return found

    async def _removed(self, client: SftpClient, key: str) -> None:
        folder = key.rpartition("/")[0]
        for path in (self._path(key), _recalled(self._path(key))):
            with contextlib.suppress(MissingError):
                await self._soon(client.remove(path))
        with contextlib.suppress(SftpError):
            while folder != self._kept and _is_below(folder, self._kept):
                await self._soon(client.remove_folder(self._path(folder)))
                folder = folder.rpartition("/")[0]

    async def _cleared(self, client: SftpClient, folder: str, names: Collection[str], upto: int | None) -> int:
        removed = 0
        for name in left_behind(names, await self._within(client, folder), upto):
            with contextlib.suppress(MissingError):
                await self._soon(client.remove(self._path(f"{folder}/{name}" if folder else name)))
                removed += 1
        return removed

    def _clear_away(self, upload: Upload | None, client: SftpClient, beside: str) -> None:
        """Remove the file beside, over a new connection when the old one broke; nothing is told if that fails too."""
        with contextlib.suppress(DeliveryError, SftpError, asyncssh.Error, OSError):
            if upload is not None:
                self._session.run(client, upload.give_up())
        with contextlib.suppress(DeliveryError, SftpError, asyncssh.Error, OSError):
            again = self._session.client()
            self._session.run(again, self._soon(again.remove(beside)))


def _beside(path: str, writer: int = 0) -> str:
    return _neighbour(path, temporary_name(path.rpartition("/")[2], writer))


def _recalled(path: str) -> str:
    return _neighbour(path, recalled_name(path.rpartition("/")[2]))


def _neighbour(path: str, name: str) -> str:
    """The path of another file in the same folder."""
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{name}"


def _is_below(folder: str, kept: str) -> bool:
    return folder.startswith(f"{kept}/") if kept else folder != ""


def _is_file(attributes: Attributes) -> bool:
    """Servers that tell no kind are taken at their word that something has a size."""
    return attributes.size is not None if attributes.mode is None else stat.S_ISREG(attributes.mode)


def _is_folder(attributes: Attributes) -> bool:
    return attributes.mode is not None and stat.S_ISDIR(attributes.mode)
