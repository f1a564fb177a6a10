"""The client address of requests through proxies: `X-Forwarded-For` and `Forwarded`, from trusted proxies only."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from offtake.access.client_addresses import parse_address

Networks = Sequence[IPv4Network | IPv6Network]
Headers = Iterable[tuple[bytes, bytes]]

_PAIR: Final = re.compile(r'\s*([A-Za-z]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*')
_LONGEST: Final = 4096


@dataclass(frozen=True)
class Origin:
    """The caller's address, and the scheme (`http` or `https`) if a proxy sent one."""

    address: str
    scheme: str | None = None


def origin_of(peer: str, headers: Headers, trusted: Networks) -> Origin:
    """The origin of a request on a connection from the address `peer`.

    Addresses are read from the right, where each proxy appends its own peer: the first one that is not a trusted proxy
    is the caller. If the two headers differ, the caller may have forged one: both are ignored.
    """
    if not is_trusted(peer, trusted):
        return Origin(peer)
    sent = [(name.lower(), value.decode("latin-1")[:_LONGEST]) for name, value in headers]
    listed = ",".join(value for name, value in sent if name == b"x-forwarded-for")
    standard = ",".join(value for name, value in sent if name == b"forwarded")
    scheme = next((value.strip() for name, value in sent if name == b"x-forwarded-proto"), None)
    elements = _elements(standard)
    callers = []
    if listed:
        callers.append(_first_unknown(peer, listed.split(","), trusted))
    if standard:
        callers.append(_first_unknown(peer, [one.get("for", "") for one in elements], trusted))
        scheme = scheme or next((one["proto"] for one in reversed(elements) if "proto" in one), None)
    address = callers[0] if callers and len(set(callers)) == 1 else peer
    return Origin(address, scheme if scheme in ("http", "https") else None)


def is_trusted(address: str, trusted: Networks) -> bool:
    """Whether the address belongs to a trusted proxy."""
    found = parse_address(address)
    return found is not None and any(found.version == one.version and found in one for one in trusted)


def _first_unknown(peer: str, chain: Sequence[str], trusted: Networks) -> str:
    last = peer
    for one in reversed(chain):
        found = parse_address(_without_port(one.strip()))
        if found is None:
            return last
        last = str(found)
        if not is_trusted(last, trusted):
            return last
    return last


def _elements(standard: str) -> list[dict[str, str]]:
    """The well-formed elements of `Forwarded` (RFC 7239), with names in lower case."""
    found: list[dict[str, str]] = [{}]
    position = 0
    while position < len(standard):
        pair = _PAIR.match(standard, position)
        if pair is not None:
            found[-1][pair[1].lower()] = re.sub(r"\\(.)", r"\1", pair[2].strip('"'))
            position = pair.end()
        if position >= len(standard):
            break
        if standard[position] == ",":
            found.append({})
        elif standard[position] != ";":
            # Malformed: reading from the right ends at an empty address.
            found[-1]["for"] = ""
        position += 1
    return found


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
