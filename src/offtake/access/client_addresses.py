"""Addresses of clients: parsed, and grouped for limits."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

_SUBNET: Final = 64


def group_of(address: str) -> str:
    """The group of addresses that share limits: an IPv6 address's /64, all of which one machine may own."""
    found = parse_address(address)
    if found is None or found.version == 4:  # noqa: PLR2004 - the version's own number
        return str(found or address)
    return str(ip_network((found, _SUBNET), strict=False))


def parse_address(text: str) -> Address | None:
    """The address, an IPv4-mapped one as IPv4; None for other text. A zone (`%eth0`) is ignored."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def is_loopback(host: str | None) -> bool:
    """Whether a host, as an address or a name, is this machine itself."""
    found = parse_address((host or "").strip("[]"))
    return host == "localhost" if found is None else found.is_loopback
