"""Receivers of alerts: an HTTP server whose answers a test chooses, and an SMTP server."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

Json = dict[str, Any]


@dataclass(frozen=True)
class Received:
    """One request. `headers`: by their names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Json:
        """The body as JSON."""
        found: Json = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """A server on a loopback port. `statuses`: of the next answers; then `status`. `reply` writes an answer itself."""

    port: int = 0
    status: int = 200
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    text: str = "ok"
    reply: Callable[[socket.socket], None] | None = None
    received: list[Received] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Where it receives."""
        return f"http://127.0.0.1:{self.port}/hooks/a-long-secret-token"

    @property
    def documents(self) -> list[Json]:
        """What it has received."""
        return [one.document for one in self.received]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver that listens on every address of this machine's IPv4."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.received.append(Received(self.path, headers, body))
            if found.reply is not None:
                with suppress(OSError):
                    found.reply(self.connection)
                self.close_connection = True
                return
            self.send_response(found.statuses.pop(0) if found.statuses else found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(found.text)))
            self.end_headers()
            self.wfile.write(found.text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Server(("0.0.0.0", 0), Handler)  # noqa: S104 - tests reach it by several addresses
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    found.port = server.server_port
    try:
        yield found
    finally:
        found.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Mailbox:
    """An SMTP server on a loopback port. `refused`: the reply to a recipient, by its address."""

    port: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    reply: str = "250 OK"
    envelopes: list[Envelope] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        if self.reply.startswith("250"):
            self.envelopes.append(envelope)
        return self.reply

    @property
    def mails(self) -> list[EmailMessage]:
        """The accepted e-mails."""
        contents = (one.content for one in self.envelopes if isinstance(one.content, bytes))
        found = [message_from_bytes(one, policy=policy.default) for one in contents]
        return [one for one in found if isinstance(one, EmailMessage)]


@contextmanager
def mailbox(tls: ssl.SSLContext | None = None, password: str | None = None) -> Iterator[Mailbox]:
    """An SMTP server; `tls`: it requires STARTTLS; `password`: and that users log in."""
    found = Mailbox()

    def authenticate(_server: object, _session: object, _envelope: object, _mechanism: str, data: Any) -> AuthResult:
        found.users.append(data.login.decode())
        return AuthResult(success=data.password.decode() == password, handled=False)

    options: Json = {} if tls is None else {"tls_context": tls, "require_starttls": True}
    if password is not None:
        options |= {"authenticator": authenticate, "auth_required": True}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found.port = probe.getsockname()[1]
    controller = Controller(found, hostname="127.0.0.1", port=found.port, **options)
    controller.start()
    try:
        yield found
    finally:
        controller.stop()
