"""Uploads and downloads of one file with pipelined requests; coroutines run in the connection's thread."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

from offtake.destinations.drivers.sftp_errors import SftpError
from offtake.destinations.drivers.sftp_protocol import SftpClient

_PIECE: Final = 1024 * 1024
_IN_FLIGHT_BYTES: Final = 4 * 1024 * 1024
_MOST_REQUESTS: Final = 64
"""As many concurrent requests as OpenSSH's client; some servers support no more."""


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
        """Send the piece; returns before all of it is acknowledged."""
        view, step = memoryview(piece), self._client.block
        for start in range(0, len(view), step):
            while len(self._pending) >= self._most:
                await self._oldest()
            block = view[start : start + step]
            self._pending.append(self._client.write(self._handle, self.offset, block))
            self.offset += len(block)

    async def finish(self) -> None:
        """Wait for all blocks, sync the file to disk if the server supports it, and close it.

        Raises `SftpError` when the file's size on the server differs from the bytes sent.
        """
        while self._pending:
            await self._oldest()
        async with asyncio.timeout(self._stall):
            await self._client.fsync(self._handle)
            size = await self._client.size_of(self._handle)
            if size not in (None, self.offset):
                raise SftpError(f"the file has {size} bytes, but {self.offset} were sent")
            await self._client.close(self._handle)

    async def abort(self) -> None:
        """Drop outstanding requests and close the file."""
        for one in self._pending:
            one.cancel()
        async with asyncio.timeout(self._stall):
            await self._client.close(self._handle)

    async def _oldest(self) -> None:
        """Wait for the oldest request; servers answer in order, so a timeout means that the transfer has stalled."""
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
        self._requested = 0

    async def next(self) -> bytes:
        """The next bytes, about 1 MiB; `b""` at the end."""
        found: list[bytes] = []
        while sum(map(len, found)) < _PIECE and (block := await self._block()):
            found.append(block)
        return b"".join(found)

    async def _block(self) -> bytes:
        size = self._client.block
        while len(self._ahead) < self._window:
            read = self._client.read(self._handle, self._requested, size)
            self._ahead.append((self._requested, asyncio.create_task(read)))
            self._requested += size
        start, task = self._ahead.popleft()
        async with asyncio.timeout(self._stall):
            found = await task
        if len(found) == size:
            # Slow start: few useless requests for a small file, many concurrent ones for a large file.
            self._window = min(self._window * 2, self._most)
        else:
            # Servers may return fewer bytes than requested. Request the following blocks again from there.
            self._drop()
            self._requested = start + len(found)
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
    """Join chunks into pieces of at least 1 MiB, except the last: each piece costs a thread switch."""
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
