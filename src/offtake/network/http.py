"""Single HTTP requests for operations that a driver does not support, under the same network rules."""

import contextlib
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from offtake.errors import ACCESS_DENIED, DESTINATION_UNAVAILABLE, DeliveryError
from offtake.network.egress import Network
from offtake.network.egress_proxy import PROXY_NAME, PROXY_STATUS, operators_proxy, proxy_url

if TYPE_CHECKING:
    import httpx2

_OVERLOADED: Final = (429, 502, 503, 504)
TRIED_AGAIN: Final = (429, 503)
"""The statuses that may have a Retry-After (RFC 9110, 10.2.3; RFC 6585, 4)."""
_LONGEST_ANSWER: Final = 10.0
ANSWER_SECONDS: Final = 5.0
"""Timeout of one step of probing a server, in seconds."""

for _name in ("httpx2", "httpcore2"):
    # They log the URLs of requests, which contain signatures.
    logging.getLogger(_name).setLevel(logging.WARNING)


def send(
    method: str,
    url: str,
    network: Network,
    *,
    guarded: bool,
    timeout: float,
    headers: dict[str, str] | None = None,
    trusting: bool = True,
) -> "httpx2.Response":
    """Send a request without following redirects. Raises `httpx2.TransportError`, whose text may contain the URL.

    `guarded`: a setting or a user chose the URL, so that the network's rules apply. `timeout`: in seconds. `trusting`:
    verify the server's certificate.
    """
    import httpx2  # noqa: PLC0415 - rarely needed

    context = verifying_context(network.certificates) if trusting else _trusting_context()
    proxy = proxy_url(network) if guarded else None
    return httpx2.request(
        method, url, headers=headers, verify=context, proxy=proxy, timeout=timeout, follow_redirects=False
    )


def fetch_document(url: str, network: Network, *, largest: int, seconds: float) -> object:
    """Fetch a JSON document of at most `largest` bytes within about `seconds`; redirects are refused.

    Raises `DeliveryError`.
    """
    status, document = _exchange("GET", url, network, {}, None, largest, seconds)
    if status != HTTPStatus.OK:
        raise _no_document(f"status {status}")
    return document


def post_form(
    url: str, network: Network, fields: Mapping[str, str], *, authorization: str | None, largest: int, seconds: float
) -> tuple[int, object]:
    """Send a form; returns the status and the JSON document of at most `largest` bytes, also of a refusal.

    `authorization`: the header's value. Takes about `seconds` at most. Redirects are not followed. Raises
    `DeliveryError`, which contains nothing that was sent.
    """
    headers = {} if authorization is None else {"Authorization": authorization}
    return _exchange("POST", url, network, headers, fields, largest, seconds)


@dataclass(frozen=True)
class PostAnswer:
    """The response to `post`. `text`: the beginning of its body. `retry_after`: in seconds, None if there is none."""

    status: int
    text: str
    retry_after: float | None


def post(
    url: str, network: Network, body: bytes, headers: Mapping[str, str], *, largest: int, seconds: float
) -> PostAnswer:
    """Send a body to a URL that a user chose; at most `largest` bytes of the response are read.

    Ends within `seconds` of resolving the host, also if the peer sends one byte at a time. Redirects are not followed.
    Raises `DeliveryError`, whose message names the host, and nothing else of the URL.
    """
    import httpx2  # noqa: PLC0415 - as above

    host = _check_host(url, network)
    sent = {"Accept-Encoding": "identity", "Connection": "close", **headers}
    deadline = _Deadline(seconds)
    try:
        with (
            deadline.watching(),
            httpx2.Client(
                verify=verifying_context(network.certificates),
                proxy=proxy_url(network),
                timeout=seconds,
                follow_redirects=False,
            ) as client,
            client.stream("POST", url, content=body, headers=sent, extensions={"trace": deadline.trace}) as answer,
        ):
            if answer.headers.get(PROXY_STATUS) == PROXY_NAME:
                raise httpx2.ConnectError("the egress proxy could not connect")
            # A peer that stops after the status has answered: the rest of its body is for people only.
            text = _beginning(answer, largest)
            return PostAnswer(answer.status_code, text, retry_after_of(answer.headers))
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
        raise DeliveryError(
            DESTINATION_UNAVAILABLE,
            f"{host} {_failure(error, over=deadline.is_over, seconds=seconds)}.",
            "Check the URL, the receiver and the network.",
            unreachable=True,
        ) from None


@dataclass
class _Deadline:
    """Shuts a request's socket down after `seconds`: timeouts of the client apply to single reads only."""

    seconds: float
    is_over: bool = False
    _socket: socket.socket | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the socket of each new stream; for the client's extension `trace`."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
            if self.is_over:
                self._end()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        timer = threading.Timer(self.seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end(self) -> None:
        self.is_over = True
        with self._lock, contextlib.suppress(OSError):
            if self._socket is not None:
                # Of the plain socket: the method of `SSLSocket` changes what its reader uses.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _check_host(url: str, network: Network) -> str:
    """The URL's host and port, after a check of its addresses: the egress proxy would not report why it refuses.

    With the operator's proxy, which resolves names itself, only numeric hosts are checked here.
    """
    try:
        split = urlsplit(url)
        host, port = split.hostname or "", split.port or (443 if split.scheme == "https" else 80)
    except ValueError:
        raise DeliveryError(ACCESS_DENIED, "The URL is not valid.", "Correct the URL.") from None
    if operators_proxy(split.scheme, host) is None or network.is_host_denied(host):
        try:
            network.resolve(host, port)
        except DeliveryError as error:
            if not error.unreachable:
                raise
            raise DeliveryError(error.kind, error.message, "Correct the URL, or check DNS.", unreachable=True) from None
    return f"{host}:{port}"


def _beginning(answer: "httpx2.Response", largest: int) -> str:
    import httpx2  # noqa: PLC0415 - as above

    text = b""
    with contextlib.suppress(httpx2.HTTPError, httpx2.StreamError, OSError):
        for piece in answer.iter_raw(largest):
            text += piece
            if len(text) >= largest:
                break
    return text[:largest].decode("utf-8", "replace")


def _failure(error: Exception, *, over: bool, seconds: float) -> str:
    import httpx2  # noqa: PLC0415 - as above

    if over or isinstance(error, (httpx2.TimeoutException, TimeoutError)):
        return f"did not answer within {seconds:g} seconds"
    if isinstance(error, httpx2.ConnectError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "has a certificate that is not trusted"
    if isinstance(error, (httpx2.ConnectError, httpx2.ProxyError)):
        return "could not be reached"
    return f"did not answer as HTTP requires ({type(error).__name__})"


def _exchange(
    method: str,
    url: str,
    network: Network,
    headers: Mapping[str, str],
    fields: Mapping[str, str] | None,
    largest: int,
    seconds: float,
) -> tuple[int, object]:
    import httpx2  # noqa: PLC0415 - as above

    deadline = time.monotonic() + seconds
    sent = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
    try:
        with (
            httpx2.Client(
                verify=verifying_context(network.certificates),
                proxy=proxy_url(network),
                timeout=seconds,
                follow_redirects=False,
            ) as client,
            client.stream(method, url, headers=sent, data=fields) as answer,
        ):
            status = answer.status_code
            if method == "GET" and status != HTTPStatus.OK:
                return status, None
            text = b""
            for piece in answer.iter_raw():
                text += piece
                if len(text) > largest:
                    raise _no_document(f"more than {largest} bytes")
                if time.monotonic() > deadline:
                    raise _no_document("timeout")
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
        raise _no_document(type(error).__name__) from None
    try:
        return status, json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_document(f"status {status}, {type(error).__name__}") from None


def _no_document(why: str) -> DeliveryError:
    return DeliveryError(
        DESTINATION_UNAVAILABLE, f"No JSON document was received ({why}).", "Check the URL.", transient=False
    )


def retry_after_of_error(url: str, network: Network, *, guarded: bool) -> float | None:
    """The Retry-After of an overloaded server in seconds, found with a HEAD request.

    None when the response has none, when the server no longer refuses, and when it does not answer.
    """
    import httpx2  # noqa: PLC0415 - as above

    timeout = min(_LONGEST_ANSWER, network.read_timeout)
    try:
        answer = send("HEAD", url, network, guarded=guarded, timeout=timeout)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
        return None
    return retry_after_of(answer.headers) if answer.status_code in TRIED_AGAIN else None


def is_answering(url: str, network: Network, *, guarded: bool) -> bool:
    """Whether a server answers a HEAD request without credentials, also with an error; False when that is unclear.

    Raises `DeliveryError` when it cannot be reached or does not answer within seconds. Nothing secret is sent, so the
    server's certificate is not verified.
    """
    import httpx2  # noqa: PLC0415 - as above

    split = urlsplit(url)
    port = split.port or (443 if split.scheme == "https" else 80)
    timeout = min(ANSWER_SECONDS, network.read_timeout)
    if guarded and operators_proxy(split.scheme, split.hostname or "") is None:
        # The egress proxy would not report why it could not connect.
        if network.is_settled(split.hostname or ""):
            network.resolve(split.hostname or "", port)
            guarded = False
        else:
            network.connect(split.hostname or "", port, timeout).close()
    try:
        answer = send("HEAD", url, network, guarded=guarded, timeout=timeout, trusting=False)
    except (httpx2.ConnectError, httpx2.TimeoutException) as error:
        why = "no answer in time" if isinstance(error, httpx2.TimeoutException) else "the connection failed"
        raise DeliveryError(
            DESTINATION_UNAVAILABLE,
            f"{split.hostname}:{port} could not be reached: {why}.",
            "Check the endpoint and the network; the export is retried.",
            unreachable=True,
        ) from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
        return False
    return answer.status_code not in _OVERLOADED


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """A response's Retry-After in seconds; None when it is missing, invalid or not positive.

    A date is compared with the response's Date header. `headers`: case-insensitive, or with names in lower case.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        until = _epoch(text)
        if until is None:
            return None
        seconds = until - (_epoch(headers.get("date", "")) or time.time())
    return seconds if seconds > 0 else None


@lru_cache(maxsize=4)
def verifying_context(certificates: bytes | None) -> ssl.SSLContext:
    """A TLS context that trusts the system's authorities and `certificates` (PEM); made once: it takes 20 ms."""
    context = ssl.create_default_context()
    if certificates is not None:
        context.load_verify_locations(cadata=certificates.decode())
    return context


def _trusting_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _epoch(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
