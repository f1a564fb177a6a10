"""Held, half-sent, slow or too many connections do not block other clients, nor the server's stop."""

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.attacks.server import FLOW_SERVICE, Server, serving

ALLOWED = 256
SFTP = "36965a81-b1c6-401b-99f8-22508f1e6a26"
TOKEN_HEAD = b"POST /ims/token/v3 HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        tmp_path_factory.mktemp("held"),
        descriptors=ALLOWED,
        request_head_seconds=2,
        request_body_seconds=2,
        concurrent_requests_per_address=8,
        trusted_proxies="127.0.0.2",
    ) as opened:
        yield opened


@pytest.fixture
def held() -> Iterator[list[socket.socket]]:
    """Connections that are closed in the end."""
    sockets: list[socket.socket] = []
    yield sockets
    for one in sockets:
        one.close()


def test_held_connections_do_not_block_other_clients(server: Server, held: list[socket.socket]) -> None:
    for _ in range(2 * ALLOWED):
        held.append(server.connect())
        assert server.descriptors() < ALLOWED * 0.9
    assert server.call("GET", f"{FLOW_SERVICE}/flows", timeout=10).status_code == 200
    lines = [line for line in server.log.read_text().splitlines() if "closed for new ones" in line]
    assert 1 <= len(lines) < 20
    assert "similar lines were suppressed" in lines[-1] or len(lines) == 1


def test_bodies_that_anonymous_callers_of_many_addresses_send_slowly_keep_no_client_out(
    server: Server, held: list[socket.socket]
) -> None:
    assert server.call("GET", f"{FLOW_SERVICE}/flows").status_code == 200  # has signed in
    for number in range(8 * 10):
        source = (f"127.0.1.{1 + number // 8}", 0)
        held.append(socket.create_connection(("127.0.0.1", server.port), 10, source))
        held[-1].sendall(TOKEN_HEAD + b"Content-Length: 100\r\n\r\na")
    assert server.call("GET", f"{FLOW_SERVICE}/flows", timeout=10).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHo"], ids=["nothing", "half a head"])
def test_a_connection_without_a_whole_request_head_is_closed(server: Server, sent: bytes) -> None:
    with server.connect(sent) as opened:
        opened.settimeout(8)
        assert _rest(opened) == b""


def test_a_head_that_comes_byte_by_byte_is_closed_in_time(server: Server) -> None:
    with server.connect() as opened:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in b"GET /healthz HTTP/1.1\r\nx-long: " + b"a" * 100:
                opened.sendall(bytes([byte]))
                time.sleep(0.2)
        assert time.monotonic() - began < 8


def test_a_body_that_stands_still_is_closed_and_one_that_moves_is_taken(server: Server) -> None:
    form = b"grant_type=client_credentials&client_id=x&client_secret=y"
    head = TOKEN_HEAD + f"Content-Length: {len(form)}\r\n\r\n".encode()
    with server.connect(head + form[:3]) as still, server.connect(head) as slow:
        for begin in range(0, len(form), 10):
            slow.sendall(form[begin : begin + 10])
            time.sleep(0.8)
        slow.settimeout(10)
        assert slow.recv(12) == b"HTTP/1.1 400"
        still.settimeout(5)
        assert _rest(still) == b""


def test_requests_over_the_limit_of_an_address_are_answered_503_and_others_are_served(
    server: Server, held: list[socket.socket]
) -> None:
    _ = server.headers
    held.extend(server.connect(TOKEN_HEAD + b"Content-Length: 100\r\n\r\na") for _ in range(8))
    time.sleep(0.5)
    refused = server.call("GET", f"{FLOW_SERVICE}/flows")
    assert _from(server, "127.0.0.1", "203.0.113.9") == refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["type"].endswith("FLOW-3508-503")
    assert refused.json()["report"]["request-id"] == refused.headers["x-request-id"]
    signing_in = server.sign_in("x")
    assert (signing_in.status_code, signing_in.json()["error"]) == (503, "temporarily_unavailable")
    assert httpx2.get(f"{server.origin}/healthz").status_code == 200
    assert _from(server, "127.0.0.2", "203.0.113.9") == 200
    assert _from(server, "127.0.0.3", None) == 200


def _from(server: Server, source: str, forwarded: str | None) -> int:
    transport = httpx2.HTTPTransport(local_address=source)
    headers = {**server.headers, **({"X-Forwarded-For": forwarded} if forwarded else {})}
    with httpx2.Client(transport=transport) as client:
        return client.get(f"{server.origin}{FLOW_SERVICE}/flows", headers=headers).status_code


def test_an_answer_reaches_a_client_that_still_sends_and_closes(server: Server) -> None:
    body = b'{"name": "' + b"x" * 5_000_000 + b'"}'
    path = f"{FLOW_SERVICE}/connections"
    head = server.head("POST", path, "Content-Type: application/json", f"Content-Length: {len(body)}")
    for closing in (b"", b"Connection: close\r\n"):
        with server.connect(head[:-2] + closing + b"\r\n") as opened:
            opened.sendall(body)
            opened.settimeout(10)
            assert opened.recv(12) == b"HTTP/1.1 413"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 200_000 + b"\r\n\r\n", 431),
        (b"\x16\x03\x01" * 70_000, 414),
        (b"nonsense\r\n\r\n", 400),
    ],
    ids=["address", "headers", "TLS", "nonsense"],
)
def test_what_is_no_request_is_answered(server: Server, sent: bytes, status: int) -> None:
    with server.connect(sent) as opened:
        opened.settimeout(10)
        assert opened.recv(12) == f"HTTP/1.1 {status}".encode()


def test_log_lines_of_the_same_kind_come_once_a_second(server: Server) -> None:
    before = server.log.read_text().count("\n")
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool, httpx2.Client(base_url=server.origin, timeout=60) as http:
        list(pool.map(lambda _: http.get(f"{FLOW_SERVICE}/flows"), range(60)))
    time.sleep(2.5)
    lines = server.log.read_text().splitlines()[before:]
    refused = [line for line in lines if " 403 " in line]
    assert 1 <= len(refused) <= time.monotonic() - began + 2
    assert any("similar lines were suppressed" in line for line in refused)


def test_the_server_stops_in_five_seconds_whatever_clients_hold_open(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        path = f"{FLOW_SERVICE}/connections"
        head = server.head("POST", path, "Content-Type: application/json", "Content-Length: 1000")
        with server.connect(head + b"{"), server.connect(b"GET / HT"), server.connect():
            time.sleep(0.5)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(10) == 0
            assert time.monotonic() - began < 5
        assert "Traceback" not in server.log.read_text()


def test_the_server_stops_in_five_seconds_while_a_request_waits_for_a_silent_host(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, serving(tmp_path) as server:
        where = {"domain": "127.0.0.1", "port": silent.getsockname()[1], "username": "u", "password": "p"}
        auth = {"specName": "SFTP with Password", "params": where}
        body = {"name": "s", "connectionSpec": {"id": SFTP, "version": "1.0"}, "auth": auth}
        made = server.call("POST", f"{FLOW_SERVICE}/connections", json=body)
        assert made.status_code == 201, made.text
        base = made.json()["id"]
        params = {"remotePath": "x", "datasetFileType": "JSON", "compression": "GZIP"}
        spec = {"id": SFTP, "version": "1.0"}
        target = {"name": "t", "baseConnectionId": base, "connectionSpec": spec, "params": params}
        made = server.call("POST", f"{FLOW_SERVICE}/targetConnections", json=target)
        assert made.status_code == 201, made.text
        head = server.head("GET", f"{FLOW_SERVICE}/connections/{base}/test")
        with server.connect(head):
            time.sleep(2)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(20) == 0
            assert time.monotonic() - began < 5
        assert "a request was aborted" in server.log.read_text()
        assert "Traceback" not in server.log.read_text()


def _rest(opened: socket.socket) -> bytes:
    """What comes until the server closes."""
    with contextlib.suppress(ConnectionResetError):
        return opened.recv(100)
    return b""
