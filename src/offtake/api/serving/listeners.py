"""The sockets of a server, bound before anything else is done."""

import contextlib
import socket

from offtake.errors import OfftakeError


def bind(host: str, port: int, setting: str | None = None) -> list[socket.socket]:
    """Bind the port on every address of the host; nothing can connect before a server listens.

    `setting`: the variable that the port comes from; None for options. Raises `OfftakeError` with the reason.
    """
    bound: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, protocol)
            bound.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
    except OSError as error:
        for listener in bound:
            with contextlib.suppress(OSError):
                listener.close()
        advice = "another --host or --port" if setting is None else f"another {setting}"
        raise OfftakeError(f"Cannot listen on {host}:{port}: {error.strerror or error}. Choose {advice}.") from None
    return bound
