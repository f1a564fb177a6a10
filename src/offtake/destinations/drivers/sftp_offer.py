"""Reads the algorithms of an SSH server from the first packet of its key exchange (RFC 4253, section 7.1).

The library cannot report them if the server disconnects first: many servers close the connection without a message when
they have no algorithm in common with the client. Here the client offers nothing, so they do not.
"""

import socket
from collections.abc import Mapping
from typing import BinaryIO, Final

KINDS: Final = ("key exchange", "host key", "encryption", "encryption back", "MAC")
"""The kinds of algorithms, in the order of the packet's first lists."""
Algorithms = Mapping[str, list[str]]
"""Names by kind."""
_MOST_LINES: Final = 50
_LONGEST_LINE: Final = 1024
_LONGEST_PACKET: Final = 35_000
_KEXINIT: Final = 20
_COOKIE: Final = 16
_SEALING: Final = ("gcm", "poly1305")
"""Markers in the names of ciphers that need no MAC."""


def read_offer(sock: socket.socket, timeout: float) -> Algorithms:
    """The algorithms that the server offers; empty when it does not answer. Consumes the socket."""
    sock.settimeout(timeout)
    try:
        sock.sendall(b"SSH-2.0-Offtake\r\n")
        with sock.makefile("rb") as stream:
            return _lists_of(_first_packet(stream))
    except (OSError, ValueError):
        return {}


def missing_kind(theirs: Algorithms, ours: Algorithms) -> str | None:
    """The first kind without a common algorithm; None when there is none."""
    for kind in KINDS:
        common = [name for name in ours[kind] if name in theirs.get(kind, ours[kind])]
        if not common:
            return kind
        if kind == "encryption" and any(mark in common[0] for mark in _SEALING):
            return None
    return None


def _first_packet(stream: BinaryIO) -> bytes:
    for _ in range(_MOST_LINES):
        line = stream.readline(_LONGEST_LINE)
        if line.startswith(b"SSH-"):
            break
    length = int.from_bytes(stream.read(4), "big")
    if length > _LONGEST_PACKET:
        raise ValueError("no packet of a key exchange")
    return stream.read(length)[1:]  # without the padding length byte


def _lists_of(packet: bytes) -> Algorithms:
    if packet[:1] != bytes((_KEXINIT,)):
        raise ValueError("no packet of a key exchange")
    at = 1 + _COOKIE
    found = {}
    for kind in KINDS:
        end = at + 4 + int.from_bytes(packet[at : at + 4], "big")
        found[kind] = [name for name in packet[at + 4 : end].decode("ascii").split(",") if name]
        at = end
    return found
