"""Web servers that answer every method: plainly, or with a redirect. They record what they were asked."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Asked:
    """One request: its method, its path as it was sent, and its headers by their names in lower case."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class WebServer:
    """A server on a loopback port. `answer`: the status, and where a redirect leads."""

    port: int = 0
    status: int = 200
    location: str = ""
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def web_server(status: int = 200, location: str = "", tls: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """A server that listens on every address of this machine's IPv4."""
    found = WebServer(status=status, location=location)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.asked.append(Asked(self.command, self.path, headers))
            self.send_response(found.status)
            if found.location:
                self.send_header("Location", found.location)
            self.send_header("Content-Length", "0")
            self.send_header("ETag", '"x"')
            self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
            self.end_headers()

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)  # noqa: S104 - the address is the point of the tests
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    found.port = server.server_port
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
