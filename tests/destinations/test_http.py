"""How long a server wants to be left alone, and requests under the network's rules."""

import logging
import math
import time
from email.utils import formatdate
from ipaddress import ip_network

import pytest

from offtake.network.egress import Network
from offtake.network.http import retry_after_of, retry_after_of_error
from tests.middlebox import Middlebox, middlebox
from tests.servers import free_port


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1", 1),
        (" 120 ", 120),
        ("90100", 90_100),
        ("9" * 400, math.inf),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("0", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_what_a_header_asks_for(header: str | None, seconds: float | None) -> None:
    assert retry_after_of({"retry-after": header} if header is not None else {}) == seconds


def test_a_date_asks_for_the_time_until_then() -> None:
    found = retry_after_of({"retry-after": formatdate(time.time() + 100, usegmt=True), "date": "soon"})
    assert found is not None
    assert 90 < found <= 100


def test_a_date_is_read_by_the_servers_own_clock() -> None:
    date, until = (formatdate(1_000_000_000 + more, usegmt=True) for more in (0, 120))
    assert retry_after_of({"retry-after": until, "date": date}) == 120
    assert retry_after_of({"retry-after": date, "date": until}) is None


def asked(box: Middlebox, network: Network, *, guarded: bool = True) -> float | None:
    return retry_after_of_error(f"http://127.0.0.1:{box.port}/a?Signature=MARKED", network, guarded=guarded)


def test_only_a_server_that_refuses_for_now_is_believed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    header = "Retry-After: 33\r\n"
    with middlebox("127.0.0.1", free_port()) as box:
        for status, seconds in ((429, 33), (503, 33), (200, None), (403, None), (500, None)):
            box.refuse(status, times=1, headers=header)
            assert asked(box, Network()) == seconds, status
        box.refuse(302, times=1, headers=f"{header}Location: http://127.0.0.1:{box.port}/b\r\n")
        box.refuse(503, times=1, headers=header)
        assert asked(box, Network()) is None  # redirects are not followed
        box.refusals.clear()
        assert asked(box, Network()) is None  # no server answers
    assert "MARKED" not in caplog.text


def test_the_networks_rules_hold() -> None:
    with middlebox("127.0.0.1", free_port()) as box:
        box.refuse(503, times=2, headers="Retry-After: 33\r\n")
        allowed = Network(multi_user=True, allow=(ip_network("127.0.0.0/8"),))
        assert asked(box, Network(multi_user=True)) is None
        assert len(box.refusals) == 2  # it was not asked
        assert asked(box, allowed) == 33
        assert asked(box, Network(multi_user=True), guarded=False) == 33


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with middlebox("127.0.0.1", free_port()) as silent, middlebox("127.0.0.1", silent.port) as box:
        box.stall_after = 0
        started = time.monotonic()
        assert asked(box, Network(read_timeout=0.5)) is None
        assert time.monotonic() - started < 5
