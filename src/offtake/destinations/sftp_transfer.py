"""The bytes of one file on their way to or from an SFTP server. All of it runs in the session's thread."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, cast

from offtake.destinations.sftp_errors import UNSUPPORTED
from offtake.destinations.sftp_library import asyncssh

_PIECE: Final = 1024 * 1024
_IN_FLIGHT_BYTES: Final = 4 * 1024 * 1024
_MOST_REQUESTS: Final = 64
_LARGEST_BLOCK: Final = 256 * 1024
_SAFE_BLOCK: Final = 32 * 1024
"""What every server takes: the protocol's draft asks them to accept packets of 34000 bytes."""


class Upload:
    """Writes to an open file, several blocks at a time."""

    def __init__(self, file: asyncssh.SFTPClientFile, block: int, stall: float) -> None:
        self._file = file
        self._block = block
        self._stall = stall
        self._most = min(_MOST_REQUESTS, max(1, _IN_FLIGHT_BYTES // block))
        self._pending: deque[asyncio.Task[int]] = deque()
        self.offset = 0
        """Bytes sent so far."""

    async def send(self, piece: bytes) -> None:
        """Send the piece; up to `_IN_FLIGHT_BYTES` of it are still on their way afterwards."""
        view = memoryview(piece)
        for start in range(0, len(view), self._block):
            while len(self._pending) >= self._most:
                await self._oldest()
            block = view[start : start + self._block]
            # The library takes whatever can be joined to bytes, and its own type does not say so.
            self._pending.append(asyncio.create_task(self._file.write(cast(bytes, block), self.offset)))
            self.offset += len(block)

    async def finish(self) -> None:
        """Wait for everything, have it written to disk where the server can do that, and close the file."""
        while self._pending:
            await self._oldest()
        async with asyncio.timeout(self._stall):
            with contextlib.suppress(*UNSUPPORTED):
                await self._file.fsync()
            await self._file.close()

    async def give_up(self) -> None:
        """Forget what is on its way and close the file."""
        for task in self._pending:
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)
        async with asyncio.timeout(self._stall):
            await self._file.close()

    async def _oldest(self) -> None:
        """Answers come in the order of the requests: none for the oldest means that nothing moves."""
        async with asyncio.timeout(self._stall):
            await self._pending.popleft()


class Download:
    """Reads an open file from its start, a chunk ahead."""

    def __init__(self, file: asyncssh.SFTPClientFile, stall: float) -> None:
        self._file = file
        self._stall = stall
        self._offset = 0
        self._ahead: asyncio.Task[bytes] | None = None

    async def next(self) -> bytes:
        """The next chunk, `b""` at the end."""
        if self._ahead is None:
            self._ahead = self._ask()
        async with asyncio.timeout(self._stall):
            chunk = await self._ahead
        self._offset += len(chunk)
        self._ahead = self._ask() if chunk else None
        return chunk

    async def end(self) -> None:
        """Close the file."""
        if self._ahead is not None:
            self._ahead.cancel()
        async with asyncio.timeout(self._stall):
            await self._file.close()

    def _ask(self) -> asyncio.Task[bytes]:
        return asyncio.create_task(self._file.read(_PIECE, self._offset))


def gathered(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of at least `_PIECE`, except the last: each costs a change of threads."""
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


def block_bytes(most: int) -> int:
    """The size of a write: what the server says it takes, up to 256 KiB, or what every server takes."""
    return min(most, _LARGEST_BLOCK) if most > _SAFE_BLOCK else _SAFE_BLOCK
