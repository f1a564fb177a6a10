"""Operations on files and folders of an SFTP server, by key: find, rename into place, withdraw, remove."""

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
from offtake.destinations.drivers.sftp_placing import DEFAULT_PLACING, FOLDER, Placing
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
"""The errors of servers that do not let a user read files."""


@dataclass(frozen=True)
class RemoteFolder:
    """The location of files. `server`: as in URLs; `root`: `/`, or `""` for the login folder.

    `target_folder`: the target's folder below it, kept when empty. `stall`: idle timeout in seconds.
    """

    server: str
    root: str
    target_folder: str
    stall: float
    placing: Placing = DEFAULT_PLACING

    def path(self, key: str) -> str:
        """The key's path on the server."""
        return f"{self.root}{key}" or "."

    def uri(self, key: str) -> str:
        """`sftp://server/folder/file`, with `/~` for paths below the login folder."""
        return f"sftp://{self.server}/{'' if self.root else '~/'}{key}"

    def temporary_key(self, key: str, writer: int) -> str:
        """A new temporary name for a file; the final name at servers that cannot rename."""
        if self.placing.in_place:
            return key
        return self.temporary_path(key, temporary_name(name_of(key), writer, dot=self.placing.dot))

    def withdrawn_key(self, key: str) -> str:
        """The name of a withdrawn file."""
        return self.temporary_path(key, withdrawn_name(name_of(key), dot=self.placing.dot))

    def temporary_path(self, key: str, name: str) -> str:
        """The key of `name` in the file's folder, or in the folder of temporary names."""
        return (
            within(f"{self.target_folder}/{FOLDER}".strip("/"), name)
            if self.has_folder
            else within(folder_of(key), name)
        )

    def token(self, temporary: str) -> str:
        """A token that locates a temporary file, also if `placing` changes later."""
        return f"{FOLDER}/{name_of(temporary)}" if self.has_folder else name_of(temporary)

    def of_token(self, key: str, token: str) -> str:
        """The temporary file's key."""
        return within(self.target_folder, token) if token.startswith(f"{FOLDER}/") else within(folder_of(key), token)

    @property
    def has_folder(self) -> bool:
        """Whether temporary files have their own folder."""
        return self.placing.temporary_name == "FOLDER"


class RemoteFiles:
    """Operations over one connection. They raise `SftpError`, `asyncssh.Error`, `OSError` and `DeliveryError`."""

    def __init__(self, client: SftpClient, folder: RemoteFolder) -> None:
        self._client = client
        self._folder = folder
        self._path = folder.path

    async def create(self, key: str, temporary: str) -> bytes:
        """Create the temporary file; returns its handle.

        Retries, because another process may remove a new folder while it is empty. An existing file with the final name
        was started by the same writer or has the same bytes (a manifest): it is removed first, or truncated if the
        server denies removing.
        """
        try:
            return await self._create(key, temporary)
        except SftpError:
            # For an existing name, each server reports another error.
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
                # The parent folder may have been removed meanwhile.
                if error.transient:
                    raise
        for one in folders:
            await self._make(one)
        return await self._submit(self._client.open(self._path(temporary), flags))

    async def attributes(self, key: str) -> Attributes | None:
        """The attributes of a file; from the folder's listing if the server denies a stat."""
        try:
            return await self._submit(self._client.stat(self._path(key)))
        except UNTOLD:
            return (await self.within(folder_of(key))).get(name_of(key))

    async def put_in_place(self, key: str, temporary: str) -> None:
        """Rename the temporary file to the final name, unless it was written under that name."""
        if temporary == key:
            return None
        path, source = self._path(key), self._path(temporary)
        may_be_taken = False
        try:
            if self._client.supports_posix_rename:
                # A server may announce the extension and still deny it to this user.
                with contextlib.suppress(DeniedError, UnsupportedError):
                    return await self._submit(self._client.replace(source, path))
            may_be_taken = True
            return await self._submit(self._client.rename(source, path))
        except SftpError:
            # Each server reports a missing file and an existing name with other errors.
            if not await self._is_there(temporary):
                raise overtaken_error(self._folder.uri(key)) from None
            if not may_be_taken or not await self._is_there(key):
                raise
        return await self._replace_via_backup(key, temporary)

    async def settle(self, key: str, pending: Pending) -> bool:
        """Rename the pending file into place if it exists; False if it is incomplete."""
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
        """Rename the temporary file, or else the file, to a hidden name; False if neither exists.

        At servers that cannot rename, it is removed.
        """
        aside = self._folder.withdrawn_key(key)
        pending_keys = [self._folder.of_token(key, pending.token)] if pending and pending.token else []
        if self._folder.placing.in_place:
            return await self._remove_first((*pending_keys, key))
        # Temporary file first: once it is gone, no other writer can complete it.
        for one in (*pending_keys, key):
            try:
                await self._submit(self._client.rename(self._path(one), self._path(aside)))
            except SftpError:
                # For a missing file, each server reports another error.
                if await self._is_there(one):
                    raise
            else:
                return True
        return await self._is_there(aside)

    async def _remove_first(self, keys: Sequence[str]) -> bool:
        """Remove the first of these files that exists; False if none does."""
        for key in keys:
            if await self._is_there(key):
                with contextlib.suppress(MissingError):
                    await self._submit(self._client.remove(self._path(key)))
                    return True
        return False

    async def entries(self, folder: str) -> Sequence[tuple[str, Attributes]]:
        """The entries of the folder, sorted by name; links to files have the files' attributes."""
        found = await self.within(folder)
        for name, attributes in found.items():
            if name not in (".", "..") and not is_file(attributes) and not is_folder(attributes):
                followed = await self._submit(self._client.stat(self._path(within(folder, name))))
                if followed is not None and is_file(followed):
                    found[name] = followed
        return [(name, found[name]) for name in sorted(found) if name not in (".", "..")]

    async def within(self, folder: str) -> dict[str, Attributes]:
        """The attributes of a folder's entries, by name; empty when the folder is missing."""
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
        """Remove the file, its withdrawn copy, and folders below the target's folder that are then empty."""
        folder, target_folder = folder_of(key), self._folder.target_folder
        for one in (key, self._folder.withdrawn_key(key)):
            try:
                await self._submit(self._client.remove(self._path(one)))
            except MissingError:
                continue
            except SftpError:
                # For a missing file, each server reports another error.
                if await self._may_be_there(one):
                    raise
        with contextlib.suppress(SftpError):
            while folder != target_folder and _is_below(folder, target_folder):
                await self._submit(self._client.remove_folder(self._path(folder)))
                folder = folder_of(folder)

    async def clear(self, folder: str, names: Collection[str], upto: int | None) -> int:
        """Remove temporary files of these names in a folder; returns their number."""
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
                # Another writer may have created it meanwhile; each server reports that with another error.
                if await self._is_folder_there(one) is False:
                    raise

    async def _is_folder_there(self, folder: str) -> bool | None:
        """Whether the folder exists; None when the server denies a stat: then the caller tries to create it."""
        try:
            return await self._submit(self._client.stat(self._path(folder))) is not None
        except UNTOLD:
            return None

    async def _find(self, key: str) -> Attributes | None:
        """The attributes of a file; if the server denies reading, by opening it for writing, which changes nothing."""
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
        """Rename the old file to a temporary name, then the new one into place. After an error, restore the old one."""
        path, source = self._path(key), self._path(temporary)
        aside = self._path(self._folder.temporary_key(key, 0))
        is_placed = False
        try:
            with contextlib.suppress(MissingError):  # another writer may have renamed it
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
                if await self._is_there(key):  # another writer's file is in place
                    await self._submit(self._client.remove(aside))


def name_of(key: str) -> str:
    """The last segment of a key."""
    return key.rpartition("/")[2]


def folder_of(key: str) -> str:
    """The key of the file's folder."""
    return key.rpartition("/")[0]


def within(folder: str, name: str) -> str:
    """The key of a name in a folder."""
    return f"{folder}/{name}" if folder else name


def is_file(attributes: Attributes) -> bool:
    """Whether it is a regular file; at servers that report no mode, anything with a size."""
    return attributes.size is not None if attributes.mode is None else stat.S_ISREG(attributes.mode)


def is_folder(attributes: Attributes) -> bool:
    """Whether the server reports a folder."""
    return attributes.mode is not None and stat.S_ISDIR(attributes.mode)


def _is_below(folder: str, target_folder: str) -> bool:
    return folder.startswith(f"{target_folder}/") if target_folder else folder != ""
