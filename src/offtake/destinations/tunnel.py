"""A proxy of this process's own, through which drivers reach only addresses that the deployment lets them.

The drivers of object stores resolve names by themselves, and follow redirects. Given this proxy, they leave both to
`Network`: a name that was judged cannot come to mean another address, and a redirect is judged like any other host.
"""

import contextlib
import functools
import socket
import threading
from typing import Final
from urllib.parse import urlsplit

from offtake.destinations.network import Network
from offtake.errors import DeliveryError

_HEAD_BYTES: Final = 64 * 1024
_PIECE: Final = 256 * 1024
_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 600.0


@functools.lru_cache(maxsize=8)
def proxy_url(network: Network) -> str:
    """The address of this process's proxy for a deployment's rules, started when it is first asked for.

    Others on this machine could use it too; they reach no more by it than without it.
    """
    server = socket.create_server(("127.0.0.1", 0), backlog=128)
    threading.Thread(target=_serve, args=(server, network), name="egress-tunnel", daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def _serve(server: socket.socket, network: Network) -> None:
    while True:
        client, _ = server.accept()
        threading.Thread(target=_pass_through, args=(client, network), daemon=True).start()


def _pass_through(client: socket.socket, network: Network) -> None:
    with client, contextlib.suppress(OSError, ValueError):
        client.settimeout(_IDLE_SECONDS)
        head, rest = _read_head(client)
        method, target = head.split(b" ", 2)[:2]
        tunnel = method == b"CONNECT"
        url = urlsplit(("//" if tunnel else "") + target.decode("ascii"))
        try:
            server = network.connect(url.hostname or "", url.port or 80, _CONNECT_SECONDS)
        except DeliveryError as error:
            _refuse(client, 502 if error.transient else 403, "Refused")
            return
        with server:
            server.settimeout(_IDLE_SECONDS)
            if tunnel:
                client.sendall(b"HTTP/1.1 200 Connection Established\r\n\r\n")
            else:
                server.sendall(head)
            server.sendall(rest)
            _both_ways(client, server)


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = client.recv(_PIECE)
        if not piece or len(received) > _HEAD_BYTES:
            raise ValueError("no request")
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _refuse(client: socket.socket, status: int, reason: str) -> None:
    client.sendall(f"HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())


def _both_ways(client: socket.socket, server: socket.socket) -> None:
    back = threading.Thread(target=_copy, args=(server, client), daemon=True)
    back.start()
    _copy(client, server)
    back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    buffer = memoryview(bytearray(_PIECE))
    with contextlib.suppress(OSError):
        while count := source.recv_into(buffer):
            target.sendall(buffer[:count])
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_WR if one is target else socket.SHUT_RD)
