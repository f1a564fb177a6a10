"""The proxy between drivers and what they may reach."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network

import httpx2
import obstore
import trustme
from obstore.exceptions import BaseError
from obstore.store import S3Store

from offtake.network.egress import Network
from offtake.network.egress_proxy import proxy_url
from offtake.network.object_clients import Endpoint, client_options

LOOPBACK = Network(multi_user=True, allow=(ip_network("127.0.0.1/32"),))
ALL_LOOPBACK = Network(multi_user=True, allow=(ip_network("127.0.0.0/8"),))
CLOSED = Network(multi_user=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    location = ""
    asked: list[str] = []  # noqa: RUF012 - one handler is created for each request, without arguments of ours

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        self.send_response(307 if self.location else 200)
        if self.location:
            self.send_header("Location", self.location)
        self.send_header("Content-Length", "2")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def web_server(
    host: str = "127.0.0.1", location: str = "", tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A web server that says ok, or sends elsewhere; its origin, and what it was asked."""
    asked: list[str] = []
    handler = type("One", (Handler,), {"location": location, "asked": asked})
    server = ThreadingHTTPServer((host, 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        name = "localhost" if host == "127.0.0.1" else host
        yield f"{'https' if tls else 'http'}://{name}:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_may_be_reached_is_reached() -> None:
    with web_server() as (origin, _), httpx2.Client(proxy=proxy_url(LOOPBACK)) as client:
        assert [client.get(f"{origin}/{number}").text for number in range(3)] == ["ok"] * 3


def test_tls_goes_through_untouched(authority: trustme.CA) -> None:
    served, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(served)
    authority.configure_trust(trusting)
    with (
        web_server(tls=served) as (origin, _),
        httpx2.Client(proxy=proxy_url(LOOPBACK), verify=trusting) as client,
    ):
        assert client.get(origin).text == "ok"


def test_what_may_not_be_reached_is_refused() -> None:
    with web_server() as (origin, asked):
        with httpx2.Client(proxy=proxy_url(CLOSED)) as client:
            assert client.get(origin).status_code == 403
        assert asked == []


def test_a_redirect_is_judged_like_any_other_address() -> None:
    """A store whose owner points it at the deployment's own network."""
    with web_server("127.0.0.2") as (inside, asked), web_server(location=f"{inside}/latest/meta-data") as (store, _):
        for network, followed in (
            (LOOPBACK, False),
            (Network(multi_user=True, allow=(ip_network("127.0.0.0/8"),)), True),
        ):
            bucket = S3Store(
                "bucket",
                endpoint=store,
                access_key_id="a",
                secret_access_key="b",
                client_options=client_options(network, Endpoint(store, chosen=True)),
                retry_config={"max_retries": 0},
            )
            with contextlib.suppress(BaseError, OSError):
                obstore.head(bucket, "key")
            assert bool(asked) == followed


def test_rules_have_one_proxy_each() -> None:
    assert proxy_url(LOOPBACK) == proxy_url(Network(multi_user=True, allow=(ip_network("127.0.0.1/32"),)))
    assert proxy_url(LOOPBACK) != proxy_url(CLOSED)
