"""Single requests to a store, for what its driver cannot do or does not tell. Under the same rules of the network."""

import logging
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from offtake.destinations.network import Network
from offtake.destinations.tunnel import proxy_url

if TYPE_CHECKING:
    import httpx2

LONGEST_WAIT: Final = 900.0
"""Seconds. A server that asks for more is asked again after so many."""
TRIED_AGAIN: Final = (429, 503)
"""The statuses that Retry-After goes with (RFC 9110, 10.2.3; RFC 6585, 4)."""
_LONGEST_ANSWER: Final = 10.0

for _name in ("httpx2", "httpcore2"):
    # They log the addresses of requests, and those hold signatures.
    logging.getLogger(_name).setLevel(logging.WARNING)


def send(
    method: str, url: str, network: Network, *, guarded: bool, patience: float, headers: dict[str, str] | None = None
) -> "httpx2.Response":
    """The answer; redirects are not followed. Raises `httpx2.TransportError`, whose text may hold the address.

    `guarded`: a user chose the address, so that it is reached as the network's rules say. `patience`: seconds.
    """
    import httpx2  # noqa: PLC0415 - what is seldom needed, others shall not have to hold

    context = ssl.create_default_context()
    if network.certificates is not None:
        context.load_verify_locations(cadata=network.certificates.decode())
    proxy = proxy_url(network) if guarded and network.guards else None
    return httpx2.request(method, url, headers=headers, verify=context, proxy=proxy, timeout=patience)


def pause_asked_for(url: str, network: Network, *, guarded: bool) -> float | None:
    """Seconds after which a server that refuses for now wants to be asked again, by asking it once more for a head.

    None when it says nothing of that, when it does not refuse any more, and when there is no answer.
    """
    import httpx2  # noqa: PLC0415 - as above

    patience = min(_LONGEST_ANSWER, network.patience)
    try:
        answer = send("HEAD", url, network, guarded=guarded, patience=patience)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
        return None
    return pause_in(answer.headers) if answer.status_code in TRIED_AGAIN else None


def pause_in(headers: Mapping[str, str]) -> float | None:
    """What an answer's Retry-After asks for, in seconds; at most `LONGEST_WAIT`, None for what is no wait.

    A date is told by the clock that the answer's own Date is told by. Names of headers in any case, or in lower case.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        until = _epoch(text)
        if until is None:
            return None
        seconds = until - (_epoch(headers.get("date", "")) or time.time())
    return min(seconds, LONGEST_WAIT) if seconds > 0 else None


def _epoch(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
