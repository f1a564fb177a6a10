"""The bytes of one file on their way to or from an SFTP server. What waits runs in the session's thread."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

from offtake.destinations.drivers.sftp_errors import SftpError
from offtake.destinations.drivers.sftp_protocol import SftpClient

_PIECE: Final = 1024 * 1024
_IN_FLIGHT_BYTES: Final = 4 * 1024 * 1024
_MOST_REQUESTS: Final = 64
"""OpenSSH's client has as many under way; some servers take no more."""


class Upload:
    """Writes to an open file, several blocks at a time."""

    def __init__(self, client: SftpClient, handle: bytes, stall: float) -> None:
        self._client = client
        self._handle = handle
        self._stall = stall
        self._most = _requests(client.block)
        self._pending: deque[asyncio.Future[Any]] = deque()
        self.offset = 0
        """Bytes sent so far."""

    async def send(self, piece: bytes) -> None:
        """Send the piece; some of it is still on its way afterwards."""
        view, step = memoryview(piece), self._client.block
        for start in range(0, len(view), step):
            while len(self._pending) >= self._most:
                await self._oldest()
            block = view[start : start + step]
            self._pending.append(self._client.write(self._handle, self.offset, block))
            self.offset += len(block)

    async def finish(self) -> None:
        """Wait for everything, have it written to disk where the server can do that, and close the file.

        Raises `SftpError` when the server has another number of bytes than were sent.
        """
        while self._pending:
            await self._oldest()
        async with asyncio.timeout(self._stall):
            await self._client.fsync(self._handle)
            size = await self._client.size_of(self._handle)
            if size not in (None, self.offset):
                raise SftpError(f"it has {size} bytes of the {self.offset} that were sent")
            await self._client.close(self._handle)

    async def abort(self) -> None:
        """Forget what is on its way and close the file."""
        for one in self._pending:
            one.cancel()
        async with asyncio.timeout(self._stall):
            await self._client.close(self._handle)

    async def _oldest(self) -> None:
        """Servers answer in the order of the requests: none for the oldest means that nothing moves."""
        async with asyncio.timeout(self._stall):
            await self._client.confirm_written(self._pending.popleft())


class Download:
    """Reads an open file from its start to its end, several blocks ahead."""

    def __init__(self, client: SftpClient, handle: bytes, stall: float) -> None:
        self._client = client
        self._handle = handle
        self._stall = stall
        self._most = _requests(client.block)
        self._window = 1
        self._ahead: deque[tuple[int, asyncio.Task[bytes]]] = deque()
        self._asked = 0

    async def next(self) -> bytes:
        """The next bytes, about 1 MiB of them; `b""` at the end."""
        found: list[bytes] = []
        while sum(map(len, found)) < _PIECE and (block := await self._block()):
            found.append(block)
        return b"".join(found)

    async def _block(self) -> bytes:
        size = self._client.block
        while len(self._ahead) < self._window:
            read = self._client.read(self._handle, self._asked, size)
            self._ahead.append((self._asked, asyncio.create_task(read)))
            self._asked += size
        start, task = self._ahead.popleft()
        async with asyncio.timeout(self._stall):
            found = await task
        if len(found) == size:
            # Little is asked for in vain of a small file, and a large one soon has many blocks on their way.
            self._window = min(self._window * 2, self._most)
        else:
            # Servers may give less than was asked for. What follows is asked for anew, from where this ended.
            self._drop()
            self._asked = start + len(found)
        return found

    async def end(self) -> None:
        """Close the file."""
        self._drop()
        async with asyncio.timeout(self._stall):
            await self._client.close(self._handle)

    def _drop(self) -> None:
        for _, task in self._ahead:
            task.cancel()
        self._ahead.clear()


def coalesce(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of at least 1 MiB, except the last: each costs a change of threads."""
    small = bytearray()
    for chunk in chunks:
        if not small and len(chunk) >= _PIECE:
            yield chunk
            continue
        small += chunk
        if len(small) >= _PIECE:
            yield bytes(small)
            small.clear()
    if small:
        yield bytes(small)


def _requests(block: int) -> int:
    return min(_MOST_REQUESTS, max(1, _IN_FLIGHT_BYTES // block))
