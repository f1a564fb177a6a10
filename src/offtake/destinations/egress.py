"""Which addresses a deployment lets its users' connections reach, and which authorities they trust.

Hosts come from users: a server that connects wherever it is told would open its own network to them. An address is
judged after the name is resolved, and the connection then goes to the address that was judged. Metadata services and
link-local addresses are refused in every deployment: what answers there gives away the deployment's own identity.
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
"""NAT64, and the old way to write an IPv4 address as one of IPv6, which tunnels still follow."""
_OWN: Final = (IPv6Address("::"), IPv6Address("::1"))


@dataclass(frozen=True)
class Network:
    """A deployment's rules. `certificates`: PEM of authorities that are trusted beside the system's.

    `multi_user`: whoever uses the API may not use this machine's own network, so only public addresses are reached.
    What `allow` names is reached all the same; what `deny` names never is. `patience`: seconds that a peer may say
    nothing. `operators`: the hosts come from the operator's settings, not from callers.
    """

    multi_user: bool = False
    allow: tuple[AddressRange, ...] = ()
    deny: tuple[AddressRange, ...] = ()
    certificates: bytes | None = None
    patience: float = 60
    operators: bool = False

    def for_operator(self) -> Self:
        """The rules for hosts of the operator's settings: they may be private, but never metadata or link-local."""
        return replace(self, multi_user=False, deny=(), operators=True)

    def is_settled(self, host: str) -> bool:
        """Whether the host, once judged, cannot come to mean another address: a number, or the operator's own name."""
        return self.operators or host == "localhost" or _is_number(host)

    def is_denied(self, address: str) -> bool:
        """Whether a numeric address may not be reached. IPv4 in an IPv6 address is judged as the IPv4 address."""
        ip = _ipv4_mapped(ipaddress.ip_address(address.partition("%")[0]))
        if _within(ip, self.deny):
            return True
        if _within(ip, self.allow):
            return False
        return _within(ip, _NEVER) or (self.multi_user and not ip.is_global)

    def is_host_denied(self, host: str) -> bool:
        """The same for a host as a user names it: True only for a number that is refused; names are not resolved."""
        try:
            return self.is_denied(host.strip("[]"))
        except ValueError:
            return False

    def resolve(self, host: str, port: int) -> list[str]:
        """The host's numeric addresses, all of which may be reached; raises `DeliveryError`."""
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise DeliveryError(
                DESTINATION_UNAVAILABLE,
                f"The name {host} has no address.",
                "Correct the host in the base connection, or check the name service.",
                unreachable=True,
            ) from None
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        for address in addresses:
            if self.is_denied(address):
                raise DeliveryError(
                    ACCESS_DENIED,
                    f"{host} is at {address}, which this deployment does not let connections reach.",
                    "Use a host that may be reached, or have the operator allow its network in OFFTAKE_EGRESS_ALLOW.",
                )
        return addresses

    def connect(self, host: str, port: int, timeout: float) -> socket.socket:
        """A connection to an address of the host that was judged before; raises `DeliveryError`. Seconds."""
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
            "Check the host, the port and the network; the export is tried again.",
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
