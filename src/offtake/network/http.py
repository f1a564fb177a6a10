"""Single HTTP requests for operations that a driver does not support, under the same network rules."""

import json
import logging
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from offtake.errors import DESTINATION_UNAVAILABLE, DeliveryError
from offtake.network.egress import Network
from offtake.network.egress_proxy import operators_proxy, proxy_url

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
