"""An HTTP proxy in this process, through which drivers reach only addresses that the deployment allows.

The drivers of object stores resolve names themselves and follow redirects. Through this proxy, `Network` does the
resolution: a checked name cannot resolve to another address later (DNS rebinding), and redirects are checked too. If
the operator's environment names a proxy (`HTTPS_PROXY`, `NO_PROXY`), connections go through it. It resolves names
again, so its own rules apply too; addresses that this process denies are refused first.
"""

import base64
import contextlib
import functools
import socket
import threading
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from offtake.errors import DESTINATION_UNAVAILABLE, DeliveryError
from offtake.network.egress import Network

PROXY_STATUS: Final = "Proxy-Status"
"""Marks responses of the proxy itself (RFC 9209)."""
PROXY_NAME: Final = "offtake"
_HEAD_BYTES: Final = 64 * 1024
_PIECE: Final = 256 * 1024
_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 600.0


@functools.lru_cache(maxsize=8)
def proxy_url(network: Network) -> str:
    """The URL of this process's proxy for a deployment's rules; started at the first call.

    Other processes on this machine could use it, but reach nothing more than without it.
    """
    server = socket.create_server(("127.0.0.1", 0), backlog=128)
    threading.Thread(target=_serve, args=(server, network), name="egress-tunnel", daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def operators_proxy(scheme: str, host: str) -> SplitResult | None:
    """The proxy for the host from the environment; None for a direct connection."""
    found = getproxies()
    url = found.get(scheme) or found.get("all")
    if not url or proxy_bypass(host):
        return None
    return urlsplit(url if "://" in url else f"http://{url}")


def _serve(server: socket.socket, network: Network) -> None:
    while True:
        client, _ = server.accept()
        threading.Thread(target=_tunnel, args=(client, network), daemon=True).start()


def _tunnel(client: socket.socket, network: Network) -> None:
    with client, contextlib.suppress(OSError, ValueError):
        client.settimeout(_IDLE_SECONDS)
        head, rest = _read_head(client)
        is_tunnel = head.startswith(b"CONNECT ")
        url = _target(head)
        host, port = url.hostname or "", url.port or 80
        proxy = operators_proxy("https" if is_tunnel else "http", host)
        try:
            server = network.connect(host, port, _CONNECT_SECONDS) if proxy is None else _by(proxy, network, host, port)
        except DeliveryError as error:
            _refuse(client, 502 if error.transient else 403, "Refused")
            return
        with server:
            server.settimeout(_IDLE_SECONDS)
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            if proxy is not None:
                # The operator's proxy sends the responses, also to CONNECT.
                server.sendall(_signed_in(head, proxy) + rest)
                _copy(client, server)
            elif is_tunnel:
                client.sendall(b"HTTP/1.1 200 Connection Established\r\n\r\n")
                server.sendall(rest)
                _copy(client, server)
            else:
                _forward(client, server, head, rest)
            back.join()


def _target(head: bytes) -> SplitResult:
    method, target = head.split(b" ", 2)[:2]
    return urlsplit(("//" if method == b"CONNECT" else "") + target.decode("ascii"))


def _forward(client: socket.socket, server: socket.socket, head: bytes, rest: bytes) -> None:
    """Forward requests to one server in origin form: not every server accepts absolute URLs.

    A request to another server ends the connection.
    """
    first = _target(head).netloc
    try:
        while _target(head).netloc == first:
            server.sendall(_origin_form(head))
            length = _body_length(head)
            if length is None:
                server.sendall(rest)
                _copy(client, server)
                return
            rest = _send_body(client, server, rest, length)
            head, rest = _read_head(client, rest)
    except ValueError:
        pass  # the client has no more requests
    finally:
        _end(client, server)


def _origin_form(head: bytes) -> bytes:
    method, _, others = head.partition(b" ")
    target, _, others = others.partition(b" ")
    url = urlsplit(target)
    path = url.path or (b"*" if method == b"OPTIONS" else b"/")
    return b" ".join((method, path + (b"?" + url.query if url.query else b""), others))


def _body_length(head: bytes) -> int | None:
    """Bytes of the request's body; None when it is chunked."""
    lines = [line.lower().partition(b":") for line in head.split(b"\r\n")[1:]]
    headers = {name.strip(): value.strip() for name, _, value in lines}
    return None if b"transfer-encoding" in headers else int(headers.get(b"content-length", b"0"))


def _send_body(client: socket.socket, server: socket.socket, rest: bytes, length: int) -> bytes:
    """Forward the body, of which `rest` was read already; returns the bytes read of the next request."""
    server.sendall(rest[:length])
    missing = length - len(rest)
    buffer = memoryview(bytearray(min(_PIECE, max(missing, 0))))
    while missing > 0:
        count = client.recv_into(buffer[:missing])
        if not count:
            raise ValueError("the body ends early")
        server.sendall(buffer[:count])
        missing -= count
    return rest[length:]


def _by(proxy: SplitResult, network: Network, host: str, port: int) -> socket.socket:
    """Connect to the operator's proxy, for an allowed host; raises `DeliveryError`."""
    try:
        network.resolve(host, port)
    except DeliveryError as error:
        # A name that only the operator's proxy can resolve is checked by that proxy.
        if not error.transient or network.is_host_denied(host):
            raise
    if proxy.scheme != "http":
        raise DeliveryError(
            DESTINATION_UNAVAILABLE,
            f"The proxy {proxy.scheme}://{proxy.hostname} of the environment is not an http:// proxy.",
            "Ask the operator to set HTTPS_PROXY and HTTP_PROXY to an http:// proxy.",
            unreachable=True,
        )
    return network.for_operator().connect(proxy.hostname or "", proxy.port or 80, _CONNECT_SECONDS)


def _signed_in(head: bytes, proxy: SplitResult) -> bytes:
    """The request's head with a Proxy-Authorization header, if the proxy's URL has a user."""
    if not proxy.username:
        return head
    secret = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    first, _, others = head.partition(b"\r\n")
    return first + b"\r\nProxy-Authorization: Basic " + base64.b64encode(secret) + b"\r\n" + others


def _read_head(client: socket.socket, received: bytes = b"") -> tuple[bytes, bytes]:
    while b"\r\n\r\n" not in received:
        piece = client.recv(_PIECE)
        if not piece or len(received) > _HEAD_BYTES:
            raise ValueError("no request")
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _refuse(client: socket.socket, status: int, reason: str) -> None:
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n{PROXY_STATUS}: {PROXY_NAME}\r\n\r\n"
    )
    client.sendall(head.encode())


def _copy(source: socket.socket, target: socket.socket) -> None:
    buffer = memoryview(bytearray(_PIECE))
    with contextlib.suppress(OSError):
        while count := source.recv_into(buffer):
            target.sendall(buffer[:count])
    _end(source, target)


def _end(source: socket.socket, target: socket.socket) -> None:
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_WR if one is target else socket.SHUT_RD)
