"""Who calls through proxies is read from headers that trusted proxies wrote, and from no others."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offtake.access.client_addresses import group_of
from offtake.api.serving.forwarded import Origin, origin_of

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("::1/128"))
FOR = "x-forwarded-for"


@pytest.mark.parametrize(
    ("peer", "headers", "address"),
    [
        ("192.0.2.1", [(FOR, "203.0.113.9")], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [(FOR, "203.0.113.9")], "203.0.113.9"),
        ("10.0.0.1", [(FOR, "198.51.100.7, 203.0.113.9, 10.0.0.2")], "203.0.113.9"),
        ("10.0.0.1", [(FOR, "198.51.100.7"), (FOR, "203.0.113.9")], "203.0.113.9"),
        ("10.0.0.1", [(FOR, "203.0.113.9:4711")], "203.0.113.9"),
        ("10.0.0.1", [(FOR, "[2001:db8::7]:4711")], "2001:db8::7"),
        ("::1", [(FOR, "::ffff:203.0.113.9")], "203.0.113.9"),
        ("10.0.0.1", [(FOR, "203.0.113.9, unknown")], "10.0.0.1"),
        ("10.0.0.1", [(FOR, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        ("10.0.0.1", [("forwarded", 'for="[2001:db8::7]:47";proto=https;by=10.0.0.1')], "2001:db8::7"),
        ("10.0.0.1", [("forwarded", "for=198.51.100.7, For=203.0.113.9")], "203.0.113.9"),
        ("10.0.0.1", [("forwarded", 'for="203.0.113.9"x, for=10.0.0.2')], "10.0.0.2"),
        ("10.0.0.1", [("forwarded", "for=198.51.100.7"), (FOR, "203.0.113.9")], "10.0.0.1"),
        ("10.0.0.1", [("forwarded", "for=203.0.113.9"), (FOR, "203.0.113.9")], "203.0.113.9"),
    ],
)
def test_the_caller_is_the_first_address_from_the_right_that_is_no_trusted_proxy(
    peer: str, headers: list[tuple[str, str]], address: str
) -> None:
    assert origin_of(peer, [(name.encode(), value.encode()) for name, value in headers], TRUSTED).address == address


def test_the_scheme_is_believed_of_trusted_proxies_only() -> None:
    sent = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-for", b"203.0.113.9")]
    assert origin_of("10.0.0.1", sent, TRUSTED) == Origin("203.0.113.9", "https")
    assert origin_of("192.0.2.1", sent, TRUSTED) == Origin("192.0.2.1", None)
    assert origin_of("10.0.0.1", [(b"x-forwarded-proto", b"gopher")], TRUSTED).scheme is None


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_whatever_the_headers_hold_an_untrusted_peer_stays_itself(forwarded: bytes, standard: bytes) -> None:
    sent = [(b"x-forwarded-for", forwarded), (b"forwarded", standard)]
    assert origin_of("192.0.2.1", sent, TRUSTED).address == "192.0.2.1"
    assert group_of(origin_of("10.0.0.1", sent, TRUSTED).address)


def test_addresses_of_one_machine_are_one_group() -> None:
    assert group_of("2001:db8::1") == group_of("2001:db8::ffff") != group_of("2001:db8:0:1::1")
    assert group_of("::ffff:192.0.2.1") == group_of("192.0.2.1") != group_of("192.0.2.2")
