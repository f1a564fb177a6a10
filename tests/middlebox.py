"""A machine between a driver and its server that cuts, slows, stalls and refuses as a bad network does."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trustme

_PIECE = 16 * 1024


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
    """What went to the server, in the order it passed."""
    closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refuse(self, status: int, *, times: int, headers: str = "", body: str = "") -> None:
        """Answer the first request of the next `times` connections with a status."""
        head = f"HTTP/1.1 {status} Refused\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
        self.refusals += [(head + body).encode()] * times


@contextmanager
def middlebox(
    host: str, port: int, authority: trustme.CA | None = None, *, plain_behind: bool = False
) -> Iterator[Middlebox]:
    """Before a server; with an authority, for TLS, which ends here and begins anew behind, unless that is plain."""
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    box = Middlebox(server.getsockname()[1], (host, port))
    front, back = _contexts(authority)
    back = None if plain_behind else back
    thread = threading.Thread(target=_serve, args=(box, server, front, back))
    thread.start()
    try:
        yield box
    finally:
        box.closed = True
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def _contexts(authority: trustme.CA | None) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    if authority is None:
        return None, None
    front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(front)
    back = ssl.create_default_context()
    authority.configure_trust(back)
    return front, back


def _serve(
    box: Middlebox,
    server: socket.socket,
    front: ssl.SSLContext | None,
    back: ssl.SSLContext | None,
) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_connection, args=(box, client, front, back), daemon=True).start()


def _connection(
    box: Middlebox,
    client: socket.socket,
    front: ssl.SSLContext | None,
    back: ssl.SSLContext | None,
) -> None:
    with contextlib.suppress(OSError), contextlib.ExitStack() as open_sockets:
        client = open_sockets.enter_context(front.wrap_socket(client, server_side=True) if front else client)
        with box._lock:  # noqa: SLF001 - this module's own class
            refusal = box.refusals.pop(0) if box.refusals else None
        if refusal is not None:
            _read_request(client)
            client.sendall(refusal)
            return
        server = open_sockets.enter_context(socket.create_connection(box.upstream))
        if back is not None:
            server = open_sockets.enter_context(back.wrap_socket(server, server_hostname=box.upstream[0]))
        answers = threading.Thread(target=_copy, args=(server, client), daemon=True)
        answers.start()
        _forward(box, client, server)
        answers.join()


def _forward(box: Middlebox, client: socket.socket, server: socket.socket) -> None:
    while piece := client.recv(_PIECE):
        with box._lock:  # noqa: SLF001 - this module's own class
            box.passed += len(piece)
            box.seen += piece
            passed = box.passed
        if box.cut_after is not None and passed > box.cut_after:
            _reset(client)
            _reset(server)
            return
        while box.stall_after is not None and passed > box.stall_after:
            time.sleep(0.05)
            if box.closed:
                _reset(client)
                _reset(server)
                return
        if box.bytes_per_second is not None:
            time.sleep(len(piece) / box.bytes_per_second)
        server.sendall(piece)
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_WR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def _read_request(client: socket.socket) -> None:
    """The whole request: who is answered before it has spoken out may see a reset instead of the answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = client.recv(_PIECE)
        if not piece:
            return
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0]) - len(body) if lengths else 0
    while missing > 0 and (piece := client.recv(_PIECE)):
        missing -= len(piece)


def _reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        one.close()
