"""The sink of an SFTP server: writes a temporary file, syncs it if supported, then renames it into place.

At servers that cannot rename, files are written under their final names.
"""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Collection, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from offtake.destinations.base import BeforeCompletion, Pending, StoredObject
from offtake.destinations.drivers.asyncssh_logging import asyncssh
from offtake.destinations.drivers.sftp_errors import SftpError, translating_errors
from offtake.destinations.drivers.sftp_files import (
    RemoteFiles,
    RemoteFolder,
    folder_of,
    is_file,
    is_folder,
    name_of,
    within,
)
from offtake.destinations.drivers.sftp_placing import FOLDER
from offtake.destinations.drivers.sftp_protocol import READ, SftpClient
from offtake.destinations.drivers.sftp_session import SftpConnection
from offtake.destinations.drivers.sftp_transfer import Download, Upload, coalesce
from offtake.destinations.drivers.temporary_names import is_temporary
from offtake.errors import DeliveryError

T = TypeVar("T")


class SftpSink:
    """A folder of a server. Files appear atomically, unless the server cannot rename."""

    def __init__(self, session: SftpConnection, folder: RemoteFolder) -> None:
        self._session = session
        self._folder = folder

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        before_completion: BeforeCompletion | None = None,
        writer: int = 0,
    ) -> int:
        """Write under a temporary name, sync, compare the size of the open file, rename to NAME.

        Servers without posix-rename@openssh.com cannot replace a file: there, an old file is renamed first, and for a
        moment none is visible. A file written under its final name is complete when the server has closed it: it has no
        separate last step, so `before_completion` is not called.
        """
        client = self._session.client()
        files = RemoteFiles(client, self._folder)
        temporary = self._folder.temporary_key(key, writer)
        upload: Upload | None = None
        is_announced = False
        try:
            handle = self._place(client, key, "write files", files.create(key, temporary))
            upload = Upload(client, handle, self._folder.stall)
            for piece in coalesce(chunks):
                self._do(client, key, "write files", upload.send(piece))
            self._do(client, key, "write files", upload.finish())
            if self._folder.placing.in_place:
                return upload.offset
            if before_completion is not None:
                is_announced = True
                before_completion(Pending(upload.offset, self._folder.token(temporary)))
            self._place(client, key, "rename files", files.put_in_place(key, temporary))
        except BaseException:
            if not is_announced:
                self._remove_temporaries(upload, client, temporary)
            raise
        return upload.offset

    def settle(self, key: str, pending: Pending) -> bool:
        """Rename the temporary file into place, if it exists and is complete."""
        client, files = self._open()
        return self._place(client, key, "rename files", files.settle(key, pending))

    def recall(self, key: str, pending: Pending | None = None, *, again: bool = False) -> bool:
        """Rename the temporary file, or else the file, to a hidden name; at servers that cannot rename, remove it."""
        client, files = self._open()
        in_place = self._folder.placing.in_place
        right = "remove files" if in_place else "rename files"
        withdrawn = self._place(client, key, right, files.recall(key, pending))
        return withdrawn or (in_place and again)

    def size(self, key: str) -> int | None:
        """The file's size."""
        client, files = self._open()
        found = self._do(client, key, "read files", files.attributes(key))
        return found.size if found is not None and is_file(found) else None

    def is_gone(self, key: str) -> bool:
        """Whether the file is missing."""
        return self.size(key) is None

    def read(self, key: str) -> Iterator[bytes]:
        """The file in chunks of about 1 MiB; reads up to 4 MiB ahead."""
        client = self._session.client()
        handle = self._do(client, key, "read files", self._submit(client.open(self._folder.path(key), READ)))
        download = Download(client, handle, self._folder.stall)
        try:
            while chunk := self._do(client, key, "read files", download.next()):
                yield chunk
        finally:
            with contextlib.suppress(DeliveryError):
                self._do(client, key, "read files", download.end())

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All complete files below the folder. Links to folders are not followed."""
        client, files = self._open()
        folders = deque([prefix.strip("/")])
        while folders:
            folder = folders.popleft()
            found = self._do(client, folder, "list folders", files.entries(folder))
            for name, attributes in found:
                key = within(folder, name)
                if is_folder(attributes):
                    folders.append(key)
                elif is_file(attributes) and not is_temporary(name):
                    yield StoredObject(key, attributes.size or 0, (attributes.modified or 0) * 1000)

    def delete(self, key: str) -> None:
        """Remove the file, and folders below the target's folder that are then empty."""
        client, files = self._open()
        self._do(client, key, "remove files", files.remove(key))

    def clear(self, keys: Collection[str], upto: int | None = None) -> int:
        """Remove the temporary files of these keys; each folder is listed once, and need not be listable."""
        client, files = self._open()
        names: dict[str, set[str]] = defaultdict(set)
        for key in keys:
            names[folder_of(key)].add(name_of(key))
            # Temporary files may have had their own folder before the connection was changed.
            names[within(self._folder.target_folder, FOLDER)].add(name_of(key))
        removed = 0
        for folder, of in names.items():
            try:
                removed += self._do(client, folder, "remove files", files.clear(folder, of, upto))
            except DeliveryError as error:
                if name_of(folder) == FOLDER and not self._folder.has_folder:
                    continue
                if self._folder.placing.read_back or error.transient:
                    raise
        return removed

    def uri(self, key: str) -> str:
        """`sftp://server/folder/file`, with `/~` for paths below the login folder."""
        return self._folder.uri(key)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _open(self) -> tuple[SftpClient, RemoteFiles]:
        client = self._session.client()
        return client, RemoteFiles(client, self._folder)

    def _do(self, client: SftpClient, key: str, right: str, work: Coroutine[Any, Any, T]) -> T:
        with translating_errors(self.uri(key), right):
            return self._session.run(client, work)

    def _place(self, client: SftpClient, key: str, right: str, work: Coroutine[Any, Any, T]) -> T:
        """Like `_do`, for operations that depend on `Placing`: the remedy of a permanent error names it."""
        try:
            return self._do(client, key, right, work)
        except DeliveryError as error:
            if error.transient:
                raise
            remedy = (
                f"{error.remedy} The base connection uses {self._folder.placing}. If the server's rules have "
                "changed, remove these options from the base connection and test it: they are found again."
            )
            raise DeliveryError(error.kind, error.message, remedy, transient=False) from None

    async def _submit(self, work: Coroutine[Any, Any, T]) -> T:
        async with asyncio.timeout(self._folder.stall):
            return await work

    def _remove_temporaries(self, upload: Upload | None, client: SftpClient, temporary: str) -> None:
        """Remove the temporary file, over a new connection if the old one was lost; ignores errors."""
        with contextlib.suppress(DeliveryError, SftpError, asyncssh.Error, OSError):
            if upload is not None:
                self._session.run(client, upload.abort())
        with contextlib.suppress(DeliveryError, SftpError, asyncssh.Error, OSError):
            again = self._session.client()
            self._session.run(again, self._submit(again.remove(self._folder.path(temporary))))
