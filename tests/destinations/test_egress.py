"""Which addresses connections may reach, judged as they are resolved."""

import socket
from ipaddress import ip_network

import pytest

from offtake.errors import DeliveryError
from offtake.network.egress import Network
from tests.servers import free_port

METADATA = [
    "169.254.169.254",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
]
NEVER = [*METADATA, "fe80::1", "fe80::1%eth0", "0.1.2.3", "224.0.0.1"]
HIDDEN = [
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "::169.254.169.254",
    "2002:a9fe:a9fe::1",
]
PRIVATE = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1", "::ffff:10.0.0.1"]
PUBLIC = ["52.216.1.1", "2600:1f18::1"]


@pytest.mark.parametrize("address", NEVER + HIDDEN)
def test_metadata_and_link_local_addresses_are_refused_everywhere(address: str) -> None:
    assert Network().is_denied(address)
    assert Network(multi_user=True).is_denied(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_where_there_are_many_users(address: str) -> None:
    assert not Network().is_denied(address)
    assert Network(multi_user=True).is_denied(address)


def test_the_operators_own_hosts_may_be_private_but_no_metadata_services() -> None:
    network = Network(
        multi_user=True, deny=(ip_network("10.0.0.0/8"),), certificates=b"pem", read_timeout=7
    ).for_operator()
    assert not any(network.is_denied(address) for address in PRIVATE + PUBLIC)
    assert all(network.is_denied(address) for address in NEVER + HIDDEN)
    assert (network.certificates, network.read_timeout) == (b"pem", 7)
    allowed = Network(allow=(ip_network("169.254.3.0/24"),)).for_operator()
    assert not allowed.is_denied("169.254.3.1")


def test_a_host_is_settled_when_no_name_service_can_move_it() -> None:
    assert all(Network().is_settled(host) for host in ("127.0.0.1", "::1", "10.0.0.1", "localhost"))
    assert not any(Network().is_settled(host) for host in ("store.example", "0x7f.1", "2130706433", "a.localhost", ""))
    assert Network().for_operator().is_settled("minio.internal")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_reached(address: str) -> None:
    assert not Network(multi_user=True).is_denied(address)


def test_what_is_allowed_is_reached_and_what_is_denied_never_is() -> None:
    network = Network(multi_user=True, allow=(ip_network("10.0.0.0/8"),), deny=(ip_network("10.9.0.0/16"),))
    assert not network.is_denied("10.1.2.3")
    assert not network.is_denied("::ffff:10.1.2.3")
    assert network.is_denied("10.9.2.3")
    assert network.is_denied("192.168.1.1")


def test_a_name_is_judged_by_its_addresses() -> None:
    with pytest.raises(DeliveryError) as caught:
        Network(multi_user=True).resolve("localhost", 80)
    assert caught.value.code == "EXPORT-2001-403"
    assert not caught.value.transient
    assert "OFFTAKE_EGRESS_ALLOW" in caught.value.remedy
    assert "127.0.0.1" in Network().resolve("localhost", 80)


def test_a_name_without_an_address_is_reported() -> None:
    with pytest.raises(DeliveryError) as caught:
        Network().resolve("no.such.host.invalid", 80)
    assert (caught.value.code, caught.value.transient) == ("EXPORT-2003-504", True)


def test_a_connection_goes_to_a_judged_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with Network().connect("localhost", port, 5) as found:
            assert found.getpeername() == ("127.0.0.1", port)


def test_a_closed_port_is_transient() -> None:
    with pytest.raises(DeliveryError) as caught:
        Network().connect("localhost", free_port(), 5)
    assert (caught.value.code, caught.value.transient) == ("EXPORT-2003-504", True)
