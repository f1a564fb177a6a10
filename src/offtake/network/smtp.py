"""Sends e-mails through the operator's SMTP server, over a connection that the network's rules allow."""

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from offtake.errors import ACCESS_DENIED, CREDENTIALS_REFUSED, DESTINATION_UNAVAILABLE, DeliveryError, OfftakeError
from offtake.network.egress import Network
from offtake.network.http import verifying_context

_SUBMISSION: Final = 587
_SUBMISSION_TLS: Final = 465
_MOST_BYTES: Final = 256 * 1024
"""Of all replies of one session."""
_PERMANENT: Final = range(500, 600)
_LONGEST_REPLY: Final = 300


@dataclass(frozen=True)
class SmtpServer:
    """An SMTP server. `tls`: `implicit`, `starttls` (required), or `off`. `password` is only sent over TLS."""

    host: str
    port: int
    tls: str
    user: str | None = None
    password: str | None = None


def parse_url(url: str) -> SmtpServer:
    """Parse `smtps://user:password@host:port`, or `smtp://…` for STARTTLS; `?tls=off` sends without encryption.

    Raises `OfftakeError`, which does not contain the URL.
    """
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        raise OfftakeError(_invalid("its port is not a number")) from None
    options = dict(parse_qsl(split.query, keep_blank_values=True))
    if split.scheme not in ("smtp", "smtps") or not split.hostname:
        raise OfftakeError(_invalid("it must be smtps://host or smtp://host"))
    if split.path not in ("", "/") or split.fragment or options not in ({}, {"tls": "off"}):
        raise OfftakeError(_invalid("after the host and port, only ?tls=off is allowed"))
    tls = "implicit" if split.scheme == "smtps" else "off" if options else "starttls"
    user = unquote(split.username) if split.username else None
    if options and (split.scheme == "smtps" or user):
        raise OfftakeError(_invalid("?tls=off is for smtp:// without a user only: passwords are not sent unencrypted"))
    if user and split.password is None:
        raise OfftakeError(_invalid("the user has no password"))
    usual = _SUBMISSION_TLS if tls == "implicit" else _SUBMISSION
    return SmtpServer(split.hostname, port or usual, tls, user, unquote(split.password) if split.password else None)


def _invalid(why: str) -> str:
    return f"OFFTAKE_SMTP_URL is not valid: {why}."


def send_mail(
    server: SmtpServer, network: Network, message: EmailMessage, recipients: Sequence[str], *, seconds: float
) -> dict[str, str]:
    """Send the message to the recipients within about `seconds`; returns the replies about refused recipients.

    Raises `DeliveryError`: permanent when the server refuses the message or all recipients for good.
    """
    where = f"{server.host}:{server.port}"
    session = _Session(server, network.for_operator(), seconds)
    try:
        with session.watched():
            session.open()
            refused = session.send_message(message, from_addr=str(message["From"]), to_addrs=list(recipients))
            with contextlib.suppress(smtplib.SMTPException, OSError):
                # The server has accepted the message, whatever it answers now.
                session.quit()
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        text = f"{where} refuses every recipient: {_replies(error.recipients)}."
        raise _refusal(text, permanent=all(code in _PERMANENT for code in codes)) from None
    except smtplib.SMTPAuthenticationError as error:
        text = f"{where} refuses the user or the password: {_reply(error.smtp_code, error.smtp_error)}."
        raise DeliveryError(CREDENTIALS_REFUSED, text, "Correct OFFTAKE_SMTP_URL.", transient=True) from None
    except smtplib.SMTPNotSupportedError as error:
        remedy = "Ask the operator to correct OFFTAKE_SMTP_URL."
        raise DeliveryError(ACCESS_DENIED, f"{where}: {error}", remedy, transient=True) from None
    except smtplib.SMTPResponseException as error:
        text = f"{where} refuses the message: {_reply(error.smtp_code, error.smtp_error)}."
        raise _refusal(text, permanent=error.smtp_code in _PERMANENT) from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        why = _failure(error, over=session.is_over, seconds=seconds)
        raise DeliveryError(
            DESTINATION_UNAVAILABLE, f"{where} {why}.", "Check the SMTP server and the network.", unreachable=True
        ) from None
    finally:
        session.close()
    return {one: _reply(code, text) for one, (code, text) in refused.items()}


class _Session(smtplib.SMTP):
    """One SMTP session, limited in time and in bytes, over a socket that `Network` has connected."""

    def __init__(self, server: SmtpServer, network: Network, seconds: float) -> None:
        super().__init__(timeout=seconds)
        self.is_over = False
        self._server, self._network, self._seconds = server, network, seconds

    def open(self) -> None:
        """Connect, encrypt and log in."""
        server = self._server
        self.connect(server.host, server.port)
        self.ehlo_or_helo_if_needed()
        if server.tls == "starttls":
            self.starttls(context=verifying_context(self._network.certificates))
            self.ehlo_or_helo_if_needed()
        if server.user is not None:
            self.login(server.user, server.password or "")

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Shut the connection down after the deadline: the socket's timeout applies to single reads only."""
        timer = threading.Timer(self._seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end(self) -> None:
        self.is_over = True
        with contextlib.suppress(OSError):
            if isinstance(self.sock, socket.socket):
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """Called by `connect`."""
        found = self._network.connect(host, port, timeout)
        found.settimeout(timeout)
        if self._server.tls != "implicit":
            return found
        try:
            return verifying_context(self._network.certificates).wrap_socket(found, server_hostname=host)
        except BaseException:
            found.close()
            raise

    def connect(self, host: str = "localhost", port: int = 0, source_address: Any = None) -> tuple[int, bytes]:  # noqa: ANN401 - the base class's
        """Connect; STARTTLS later checks the certificate for this host."""
        self._host = host
        return super().connect(host, port, source_address)

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply, of limited size: the base class collects lines until the server ends it."""
        if self.file is None and self.sock is not None:
            self.file = _Bounded(self.sock.makefile("rb"))
        return super().getreply()


class _Bounded:
    """A file of replies that ends after a number of bytes."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - as `makefile` returns it
        self._file, self._left = file, _MOST_BYTES

    def readline(self, most: int) -> bytes:
        line: bytes = self._file.readline(min(most, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise OSError("the server's replies are too long")
        return line

    def close(self) -> None:
        self._file.close()


def _refusal(text: str, *, permanent: bool) -> DeliveryError:
    kind = ACCESS_DENIED if permanent else DESTINATION_UNAVAILABLE
    return DeliveryError(kind, text, "Check the recipients and the SMTP server.", transient=not permanent)


def _replies(refused: dict[str, tuple[int, bytes]]) -> str:
    return "; ".join(f"{one}: {_reply(code, text)}" for one, (code, text) in list(refused.items())[:3])


def _reply(code: int, text: bytes | str) -> str:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    printable = "".join(one if one.isprintable() else " " for one in shown)
    return f"{code} {' '.join(printable.split())}"[:_LONGEST_REPLY]


def _failure(error: Exception, *, over: bool, seconds: float) -> str:
    # `smtplib` hides a read that timed out behind "Connection unexpectedly closed".
    if over or isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        return f"did not answer within {seconds:g} seconds"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a certificate that is not trusted ({error.verify_message})"
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return "closed the connection"
    return f"did not answer as SMTP requires ({type(error).__name__})"
