"""Files and folders of an SFTP server, by their keys: found, renamed into place, taken back, removed."""

import asyncio
import contextlib
import stat
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from offtake.destinations.base import Pending
from offtake.destinations.drivers.sftp_errors import (
    DeniedError,
    MissingError,
    SftpError,
    UnsupportedError,
    translating_errors,
)
from offtake.destinations.drivers.sftp_placing import FOLDER, USUAL, Placing
from offtake.destinations.drivers.sftp_protocol import (
    CREATE,
    EXCLUSIVE,
    TRUNCATE,
    WRITE,
    Attributes,
    SftpClient,
)
from offtake.destinations.drivers.temporary_names import leftovers_of, overtaken_error, temporary_name, withdrawn_name
from offtake.errors import DeliveryError

T = TypeVar("T")

_TRIES: Final = 5
UNTOLD: Final = (DeniedError, UnsupportedError)
"""What servers answer who do not let a user look at files."""


@dataclass(frozen=True)
class RemoteFolder:
    """Where files go. `server`: as in addresses, `root`: `/`, or `""` for the folder that the server logs in to.

    `kept`: the folder below it that is the target's own, which stays when it is empty. `stall`: seconds without any
    progress after which the server counts as gone.
    """

    server: str
    root: str
    kept: str
    stall: float
    placing: Placing = USUAL

    def path(self, key: str) -> str:
        """The path that the server knows a key by."""
        return f"{self.root}{key}" or "."

    def uri(self, key: str) -> str:
        """`sftp://server/folder/file`, with `/~` before what is below the folder that the server logs in to."""
        return f"sftp://{self.server}/{'' if self.root else '~/'}{key}"

    def temporary_key(self, key: str, writer: int) -> str:
        """A new name to write a file under; the file's own where nothing can be renamed."""
        if self.placing.in_place:
            return key
        return self.temporary_path(key, temporary_name(name_of(key), writer, dot=self.placing.dot))

    def withdrawn_key(self, key: str) -> str:
        """The name of a file that was taken back."""
        return self.temporary_path(key, withdrawn_name(name_of(key), dot=self.placing.dot))

    def temporary_path(self, key: str, name: str) -> str:
        """The key of another name in the file's folder, or in that of temporary names."""
        return within(f"{self.kept}/{FOLDER}".strip("/"), name) if self.has_folder else within(folder_of(key), name)

    def token(self, temporary: str) -> str:
        """What tells where a temporary file is, also when files are put in place otherwise by then."""
        return f"{FOLDER}/{name_of(temporary)}" if self.has_folder else name_of(temporary)

    def of_token(self, key: str, token: str) -> str:
        """The temporary file's key."""
        return within(self.kept, token) if token.startswith(f"{FOLDER}/") else within(folder_of(key), token)

    @property
    def has_folder(self) -> bool:
        """Whether temporary names have a folder of their own."""
        return self.placing.temporary_name == "FOLDER"


class RemoteFiles:
    """What is done over one connection. Raises `SftpError`, `asyncssh.Error`, `OSError` and `DeliveryError`."""

    def __init__(self, client: SftpClient, folder: RemoteFolder) -> None:
        self._client = client
        self._folder = folder
        self._path = folder.path

    async def create(self, key: str, temporary: str) -> bytes:
        """The temporary file, open. Whoever removes empty folders may take the folder away again in between.

        Under a final name, what is there was begun by the same writer, or has the same bytes, as a manifest has: it is
        removed first, and emptied where the server denies that.
        """
        try:
            return await self._create(key, temporary)
        except SftpError:
            # For a name that is taken, each server has its own word.
            if temporary != key or not await self._is_there(key):
                raise
        try:
            await self._submit(self._client.remove(self._path(key)))
        except UNTOLD as denied:
            with translating_errors(self._folder.uri(key), "replace files"):
                try:
                    return await self._submit(self._client.open(self._path(key), WRITE | CREATE | TRUNCATE))
                except SftpError:
                    raise denied from None
        return await self._create(key, temporary)

    async def _create(self, key: str, temporary: str) -> bytes:
        flags = WRITE | CREATE | (EXCLUSIVE if self._folder.placing.exclusive_create else 0)
        folders = list(dict.fromkeys((folder_of(key), folder_of(temporary))))
        if len(folders) > 1:
            await self._make(folders[0])
        for _ in range(_TRIES):
            with contextlib.suppress(MissingError):
                return await self._submit(self._client.open(self._path(temporary), flags))
            try:
                for one in folders:
                    await self._make(one)
            except DeliveryError as error:
                # The folder around it may have been removed meanwhile.
                if error.transient:
                    raise
        for one in folders:
            await self._make(one)
        return await self._submit(self._client.open(self._path(temporary), flags))

    async def attributes(self, key: str) -> Attributes | None:
        """What the server tells of a file, by the folder's list where it denies to tell of a single file."""
        try:
            return await self._submit(self._client.stat(self._path(key)))
        except UNTOLD:
            return (await self.within(folder_of(key))).get(name_of(key))

    async def put_in_place(self, key: str, temporary: str) -> None:
        """Rename the temporary file over the file's place, unless that is where it was written."""
        if temporary == key:
            return None
        path, source = self._path(key), self._path(temporary)
        may_be_taken = False
        try:
            if self._client.supports_posix_rename:
                # A server may offer it and then not let this user have it.
                with contextlib.suppress(DeniedError, UnsupportedError):
                    return await self._submit(self._client.replace(source, path))
            may_be_taken = True
            return await self._submit(self._client.rename(source, path))
        except SftpError:
            # For each reason, each server has its own word: the file is gone, or the name is taken.
            if not await self._is_there(temporary):
                raise overtaken_error(self._folder.uri(key)) from None
            if not may_be_taken or not await self._is_there(key):
                raise
        return await self._replace_via_backup(key, temporary)

    async def settle(self, key: str, pending: Pending) -> bool:
        """Put the announced file in place if it is still there; False if it has not all its bytes."""
        temporary = self._folder.of_token(key, pending.token or "")
        found = await self._find(temporary)
        if found is None:
            return True
        if found.size not in (None, pending.bytes) or self._folder.placing.in_place:
            return False
        try:
            await self.put_in_place(key, temporary)
        except DeliveryError:
            if await self._is_there(temporary):
                raise
        return True

    async def recall(self, key: str, pending: Pending | None) -> bool:
        """Rename the temporary file, or the file, to a name that nobody else uses; False if neither is there.

        Where nothing can be renamed, it is removed.
        """
        aside = self._folder.withdrawn_key(key)
        announced = [self._folder.of_token(key, pending.token)] if pending and pending.token else []
        if self._folder.placing.in_place:
            return await self._remove_first((*announced, key))
        # In this order: once the temporary file is gone, no other writer can complete it.
        for one in (*announced, key):
            try:
                await self._submit(self._client.rename(self._path(one), self._path(aside)))
            except SftpError:
                # For a file that is missing, each server has its own word.
                if await self._is_there(one):
                    raise
            else:
                return True
        return await self._is_there(aside)

    async def _remove_first(self, keys: Sequence[str]) -> bool:
        """Remove the first of these files that is there; False if none is."""
        for key in keys:
            if await self._is_there(key):
                with contextlib.suppress(MissingError):
                    await self._submit(self._client.remove(self._path(key)))
                    return True
        return False

    async def entries(self, folder: str) -> Sequence[tuple[str, Attributes]]:
        """What lies directly in the folder, by name; links to files told as the files."""
        found = await self.within(folder)
        for name, attributes in found.items():
            if name not in (".", "..") and not is_file(attributes) and not is_folder(attributes):
                followed = await self._submit(self._client.stat(self._path(within(folder, name))))
                if followed is not None and is_file(followed):
                    found[name] = followed
        return [(name, found[name]) for name in sorted(found) if name not in (".", "..")]

    async def within(self, folder: str) -> dict[str, Attributes]:
        """What the server tells of a folder, nothing where there is none."""
        found: dict[str, Attributes] = {}
        with contextlib.suppress(MissingError):
            handle = await self._submit(self._client.open_folder(self._path(folder)))
            try:
                while (more := await self._submit(self._client.entries(handle))) is not None:
                    found.update(more)
            finally:
                await self._submit(self._client.close(handle))
        return found

    async def remove(self, key: str) -> None:
        """Remove the file, what was recalled of it, and the folders below the target's that are empty then."""
        folder, kept = folder_of(key), self._folder.kept
        for one in (key, self._folder.withdrawn_key(key)):
            try:
                await self._submit(self._client.remove(self._path(one)))
            except MissingError:
                continue
            except SftpError:
                # For a file that is missing, each server has its own word.
                if await self._may_be_there(one):
                    raise
        with contextlib.suppress(SftpError):
            while folder != kept and _is_below(folder, kept):
                await self._submit(self._client.remove_folder(self._path(folder)))
                folder = folder_of(folder)

    async def clear(self, folder: str, names: Collection[str], upto: int | None) -> int:
        """Remove what unfinished writes of these names have left in a folder; how many files there were."""
        removed = 0
        for name in leftovers_of(names, await self.within(folder), upto):
            with contextlib.suppress(MissingError):
                await self._submit(self._client.remove(self._path(within(folder, name))))
                removed += 1
        return removed

    async def _submit(self, work: Awaitable[T]) -> T:
        async with asyncio.timeout(self._folder.stall):
            return await work

    async def _make(self, folder: str) -> None:
        missing: list[str] = []
        while folder and not await self._is_folder_there(folder):
            missing.append(folder)
            folder = folder_of(folder)
        for one in reversed(missing):
            try:
                with translating_errors(self._folder.uri(one), "make folders"):
                    await self._submit(self._client.make_folder(self._path(one)))
            except DeliveryError:
                # Another writer may have made it meanwhile; each server has its own word for that.
                if await self._is_folder_there(one) is False:
                    raise

    async def _is_folder_there(self, folder: str) -> bool | None:
        """None where the server does not tell; then it is tried to make it."""
        try:
            return await self._submit(self._client.stat(self._path(folder))) is not None
        except UNTOLD:
            return None

    async def _find(self, key: str) -> Attributes | None:
        """What is known of a file. Where the server shows nothing, it is opened to write, which changes nothing."""
        try:
            return await self.attributes(key)
        except UNTOLD:
            if self._folder.placing.read_back:
                raise
        with contextlib.suppress(MissingError):
            handle = await self._submit(self._client.open(self._path(key), WRITE))
            try:
                return Attributes(await self._submit(self._client.size_of(handle)), None, None)
            finally:
                await self._submit(self._client.close(handle))
        return None

    async def _is_there(self, key: str) -> bool:
        return await self._find(key) is not None

    async def _may_be_there(self, key: str) -> bool:
        try:
            return await self._is_there(key)
        except SftpError:
            return True

    async def _replace_via_backup(self, key: str, temporary: str) -> None:
        """Put the old file aside, then the new one in its place. Whatever goes wrong, the old one is put back."""
        path, source = self._path(key), self._path(temporary)
        aside = self._path(self._folder.temporary_key(key, 0))
        is_placed = False
        try:
            with contextlib.suppress(MissingError):  # another writer may have put it aside
                await self._submit(self._client.rename(path, aside))
            await self._submit(self._client.rename(source, path))
            is_placed = True
            with translating_errors(self._folder.uri(key), "remove files"), contextlib.suppress(MissingError):
                await self._submit(self._client.remove(aside))
        except (SftpError, DeliveryError) as error:
            is_gone = not is_placed and not await self._is_there(temporary)
            if is_placed:
                with contextlib.suppress(SftpError):
                    await self._submit(self._client.rename(path, source))
            await self._restore_backup(key, aside)
            raise (overtaken_error(self._folder.uri(key)) if is_gone else error) from None

    async def _restore_backup(self, key: str, aside: str) -> None:
        try:
            await self._submit(self._client.rename(aside, self._path(key)))
        except SftpError:
            with contextlib.suppress(SftpError):
                if await self._is_there(key):  # another writer's is there by now
                    await self._submit(self._client.remove(aside))


def name_of(key: str) -> str:
    """The last step of a key."""
    return key.rpartition("/")[2]


def folder_of(key: str) -> str:
    """The key of the folder that a file is in."""
    return key.rpartition("/")[0]


def within(folder: str, name: str) -> str:
    """The key of a name in a folder."""
    return f"{folder}/{name}" if folder else name


def is_file(attributes: Attributes) -> bool:
    """Servers that tell no kind are taken at their word that something has a size."""
    return attributes.size is not None if attributes.mode is None else stat.S_ISREG(attributes.mode)


def is_folder(attributes: Attributes) -> bool:
    """Whether it is a folder, as far as the server tells."""
    return attributes.mode is not None and stat.S_ISDIR(attributes.mode)


def _is_below(folder: str, kept: str) -> bool:
    return folder.startswith(f"{kept}/") if kept else folder != ""
