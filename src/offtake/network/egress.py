"""SSRF protection: the addresses that connections may reach, and the certificate authorities that they trust.

Users choose hosts, so without rules they could reach the server's own network. An address is checked after DNS
resolution, and the connection then goes to the checked address. Metadata services and link-local addresses are refused
in every deployment: they give away the deployment's credentials.
"""

import ipaddress
import socket
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Self

from offtake.errors import ACCESS_DENIED, DESTINATION_UNAVAILABLE, DeliveryError

Address = IPv4Address | IPv6Address
AddressRange = IPv4Network | IPv6Network

_NEVER: Final[tuple[AddressRange, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",  # link-local, and the metadata services of most clouds
        "100.100.100.200/32",  # the metadata service of Alibaba's cloud
        "168.63.129.16/32",  # the host of Azure's virtual machines
        "192.0.0.192/32",  # the metadata service of Oracle's older cloud
        "224.0.0.0/4",
        "::/128",
        "fe80::/10",
        "fd00:ec2::/32",  # Amazon's own services: metadata (::254), credentials of pods (::23)
        "fd20:ce::254/128",  # the metadata service of Google's cloud
        "ff00::/8",
    )
)
_WITH_IPV4: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"), IPv6Network("::/96"))
"""NAT64, and the deprecated IPv4-compatible IPv6 addresses, which tunnels still route."""
_OWN: Final = (IPv6Address("::"), IPv6Address("::1"))


@dataclass(frozen=True)
class Network:
    """A deployment's egress rules. `certificates`: PEM of authorities that are trusted in addition to the system's.

    `multi_user`: API users may not use this machine's network, so only public addresses are reachable. `allow` names
    exceptions; `deny` takes precedence. `read_timeout`: seconds that a peer may be silent. `operators`: the hosts come
    from the operator's settings, not from API users.
    """

    multi_user: bool = False
    allow: tuple[AddressRange, ...] = ()
    deny: tuple[AddressRange, ...] = ()
    certificates: bytes | None = None
    read_timeout: float = 60
    operators: bool = False

    def for_operator(self) -> Self:
        """The rules for hosts of the operator's settings: they may be private, but never metadata or link-local."""
        return replace(self, multi_user=False, deny=(), operators=True)

    def is_settled(self, host: str) -> bool:
        """Whether the host cannot resolve to another address after the check: numeric, or from the settings."""
        return self.operators or host == "localhost" or _is_number(host)

    def is_denied(self, address: str) -> bool:
        """Whether a numeric address is denied. An IPv4 address inside an IPv6 address is checked as IPv4."""
        ip = _ipv4_mapped(ipaddress.ip_address(address.partition("%")[0]))
        if _within(ip, self.deny):
            return True
        if _within(ip, self.allow):
            return False
        return _within(ip, _NEVER) or (self.multi_user and not ip.is_global)

    def is_host_denied(self, host: str) -> bool:
        """Whether a host as given by a user is a denied numeric address; names are not resolved."""
        try:
            return self.is_denied(host.strip("[]"))
        except ValueError:
            return False

    def resolve(self, host: str, port: int) -> list[str]:
        """Resolve the host to numeric addresses, all of which are allowed; raises `DeliveryError`."""
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise DeliveryError(
                DESTINATION_UNAVAILABLE,
                f"The host name {host} cannot be resolved.",
                "Correct the host in the base connection, or check DNS.",
                unreachable=True,
            ) from None
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        for address in addresses:
            if self.is_denied(address):
                raise DeliveryError(
                    ACCESS_DENIED,
                    f"{host} resolves to {address}, which this deployment's network rules deny.",
                    "Use another host, or ask the operator to allow its network in OFFTAKE_EGRESS_ALLOW.",
                )
        return addresses

    def connect(self, host: str, port: int, timeout: float) -> socket.socket:
        """Connect to a checked address of the host; `timeout` in seconds. Raises `DeliveryError`."""
        reason = ""
        for address in self.resolve(host, port):
            try:
                found = socket.create_connection((address, port), timeout)
            except OSError as error:
                reason = error.strerror or "no answer in time"
                continue
            found.settimeout(None)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return found
        raise DeliveryError(
            DESTINATION_UNAVAILABLE,
            f"{host}:{port} could not be reached: {reason}.",
            "Check the host, the port and the network; the export is retried.",
            unreachable=True,
        )


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _within(ip: Address, ranges: tuple[AddressRange, ...]) -> bool:
    return any(ip in one for one in ranges)


def _ipv4_mapped(ip: Address) -> Address:
    if isinstance(ip, IPv4Address):
        return ip
    if ip not in _OWN and _within(ip, _WITH_IPV4):
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    teredo = ip.teredo
    return ip.ipv4_mapped or ip.sixtofour or (teredo[1] if teredo else ip)
