"""Who sent a request that came through a proxy: `X-Forwarded-For` and `Forwarded`, believed of trusted proxies only."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]
Headers = Iterable[tuple[bytes, bytes]]

_PAIR: Final = re.compile(r'\s*([A-Za-z]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*')
_LONGEST: Final = 4096
_SUBNET: Final = 64


@dataclass(frozen=True)
class Origin:
    """Where a request came from: the caller's address, and `http` or `https` where a proxy names it."""

    address: str
    scheme: str | None = None


def origin_of(peer: str, headers: Headers, trusted: Networks) -> Origin:
    """The origin of a request that the address `peer` sent.

    Addresses are read from the right, where each proxy appends its own peer: the first one that is not a trusted proxy
    is the caller. When both headers are there and differ, the caller may have sent one: neither is believed.
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
    """Whether the address is one of a trusted proxy."""
    found = _parse(address)
    return found is not None and any(found.version == one.version and found in one for one in trusted)


def group_of(address: str) -> str:
    """What an address is limited as: IPv6 by its /64, of which one machine may have every address."""
    found = _parse(address)
    if found is None or found.version == 4:  # noqa: PLR2004 - the version's own number
        return str(found or address)
    return str(ip_network((found, _SUBNET), strict=False))


def _first_unknown(peer: str, chain: Sequence[str], trusted: Networks) -> str:
    last = peer
    for one in reversed(chain):
        found = _parse(_without_port(one.strip()))
        if found is None:
            return last
        last = str(found)
        if not is_trusted(last, trusted):
            return last
    return last


def _elements(standard: str) -> list[dict[str, str]]:
    """The elements of `Forwarded` (RFC 7239), as far as they are well formed, names in lower case."""
    found: list[dict[str, str]] = [{}]
    place = 0
    while place < len(standard):
        pair = _PAIR.match(standard, place)
        if pair is not None:
            found[-1][pair[1].lower()] = re.sub(r"\\(.)", r"\1", pair[2].strip('"'))
            place = pair.end()
        if place >= len(standard):
            break
        if standard[place] == ",":
            found.append({})
        elif standard[place] != ";":
            # Damaged: nothing to the left of a damaged place is reached from the right either.
            found[-1]["for"] = ""
        place += 1
    return found


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _parse(text: str) -> Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
