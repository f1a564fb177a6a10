"""A machine between a driver and its server that cuts, slows, stalls and refuses as a bad network does."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trustme

from tests.event_loops import loop_in_thread

_PIECE = 16 * 1024
_MOST_SEEN = 64 * 1024


@dataclass
class Middlebox:
    """What it does to what passes, changeable while it runs. Bytes are those that go to the server."""

    port: int
    upstream: tuple[str, int]
    cut_after: int | None = None
    """Connections are reset once so many bytes have passed in all."""
    stall_after: int | None = None
    """Nothing passes any more once so many bytes have passed in all."""
    bytes_per_second: int | None = None
    refusals: list[bytes] = field(default_factory=list)
    """Answers to the requests that come first, one to a connection, instead of the server's."""
    passed: int = 0
    seen: bytearray = field(default_factory=bytearray)
    """What went to the server first, in the order it passed."""

    def refuse(self, status: int, *, times: int, headers: str = "", body: str = "") -> None:
        """Answer the first request of the next `times` connections with a status."""
        head = f"HTTP/1.1 {status} Refused\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
        self.refusals += [(head + body).encode()] * times


@contextmanager
def middlebox(
    host: str, port: int, authority: trustme.CA | None = None, *, plain_behind: bool = False
) -> Iterator[Middlebox]:
    """A proxy before a server. With an authority it terminates TLS; to the server it uses TLS unless `plain_behind`."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    box = Middlebox(listener.getsockname()[1], (host, port))
    front, back = _contexts(authority)
    relay = _Relay(box, None if plain_behind else back)
    with loop_in_thread() as loop:
        serving = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(relay.connection, sock=listener, ssl=front, limit=4 * _PIECE), loop
        ).result(10)
        try:
            yield box
        finally:
            loop.call_soon_threadsafe(serving.close)


def _contexts(authority: trustme.CA | None) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    if authority is None:
        return None, None
    front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(front)
    back = ssl.create_default_context()
    authority.configure_trust(back)
    return front, back


class _Relay:
    """Carries connections, in one event loop."""

    def __init__(self, box: Middlebox, back: ssl.SSLContext | None) -> None:
        self._box = box
        self._back = back

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._carry(reader, writer)
        finally:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._box.refusals:
            refusal = self._box.refusals.pop(0)
            await _read_request(reader)
            writer.write(refusal)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return
        host, port = self._box.upstream
        name = host if self._back is not None else None
        there, to_server = await asyncio.open_connection(host, port, ssl=self._back, server_hostname=name)
        ways = (asyncio.create_task(self._forward(reader, to_server)), asyncio.create_task(_copy(there, writer)))
        try:
            done, going_on = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for one in going_on:
                one.cancel()
            if any(one.exception() is not None for one in done):
                _reset(writer)
        finally:
            to_server.transport.abort()
            for one in ways:
                one.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _forward(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        box = self._box
        while piece := await client.read(_PIECE):
            box.passed += len(piece)
            if len(box.seen) < _MOST_SEEN:
                box.seen += piece
            passed = box.passed
            if box.cut_after is not None and passed > box.cut_after:
                raise ConnectionResetError
            while box.stall_after is not None and passed > box.stall_after:
                await asyncio.sleep(0.05)
            if box.bytes_per_second is not None:
                await asyncio.sleep(len(piece) / box.bytes_per_second)
            server.write(piece)
            await server.drain()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while piece := await source.read(_PIECE):
        target.write(piece)
        await target.drain()


async def _read_request(client: asyncio.StreamReader) -> None:
    """The whole request: who is answered before it has spoken out may see a reset instead of the answer."""
    head = await client.readuntil(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0]) if lengths else 0
    while missing > 0 and (piece := await client.read(min(missing, _PIECE))):
        missing -= len(piece)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Let the other side see a connection that breaks, and not one that ends."""
    found = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
