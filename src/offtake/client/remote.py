"""A server over the network, with tokens of OAuth client credentials."""

import logging
import re
import ssl
import time
from collections.abc import Iterator
from typing import Any, Final

import httpx2

from offtake.client import token_cache
from offtake.client.problems import error_of
from offtake.client.profiles import Profile
from offtake.client.token_cache import Token
from offtake.client.transport import (
    FIRST_ERROR_STATUS,
    Answer,
    FilePart,
    NotAContractServerError,
    Receive,
    Request,
)
from offtake.errors import OfftakeError

_TIMEOUT: Final = httpx2.Timeout(120, connect=10)
_TOKEN_REFUSED: Final = 401
_BUSY: Final = 503
_TRIES: Final = 3
_PAUSE_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_PIECE: Final = 1024 * 1024
_DEFAULT_LIFETIME: Final = 3600
_LONGEST_LIFETIME: Final = 10**9
_LARGEST_ANSWER: Final = 128 * 1024 * 1024
"""In bytes, decompressed; rows and exported files are not held in memory."""
_LONGEST_ANSWER_SECONDS: Final = 600
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_HEADER: Final = re.compile(r"[\x20-\x7e]*")
_IN_SANDBOX: Final = "x-sandbox-name"

for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Remote:
    """Sends requests to a server. A token that the server refuses is replaced once."""

    def __init__(self, profile: Profile, sandbox: str | None = None, seconds: float | None = None) -> None:
        """`sandbox`: instead of the profile's. `seconds`: the timeout of every request.

        Raises `OfftakeError` when the profile's CA file cannot be read.
        """
        self._profile = profile
        self._sandbox = sandbox or profile.sandbox
        self._token = token_cache.cached(profile)
        self._http = httpx2.Client(timeout=seconds or _TIMEOUT, verify=_trust(profile), follow_redirects=False)

    @property
    def server(self) -> str:
        """The server's URL."""
        return self._profile.server

    def now(self) -> float:
        """The time of this machine: tokens show soon enough when the server's is another one."""
        return time.time()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, request: Request, receive: Receive | None = None) -> Answer:
        """Send a request; one that the server is too busy for is sent again. Raises `OfftakeError`."""
        answer = self._send(request, receive)
        if answer.status == _TOKEN_REFUSED:
            token_cache.forget(self._profile)
            self._token = None
            answer = self._send(request, receive)
        return answer

    def _send(self, request: Request, receive: Receive | None) -> Answer:
        headers = {**self._identity(), **request.headers}
        if isinstance(request.content, FilePart):
            headers["content-length"] = str(request.content.size)
        for attempt in range(1, _TRIES + 1):
            answer = self._exchange(
                request.method,
                f"{self._profile.server}{request.path}",
                receive,
                params=list(request.query),
                content=_pieces(request.content) if isinstance(request.content, FilePart) else request.content,
                headers=headers,
            )
            if answer.status != _BUSY or attempt == _TRIES:
                break
            time.sleep(_pause(answer))
        return answer

    def _identity(self) -> dict[str, str]:
        if self._token is None or not self._token.is_usable:
            self._token = self._fetch_token()
        profile = self._profile
        sandbox = {_IN_SANDBOX: self._sandbox} if self._sandbox else {}
        named = {"x-api-key": profile.client_id, "x-gw-ims-org-id": profile.organisation, **sandbox}
        if not all(_HEADER.fullmatch(value) for value in named.values()):
            raise OfftakeError(
                "The client id, the organisation or the sandbox has a character that a header cannot have. Correct it "
                "in the profile or the environment."
            )
        return {"authorization": f"Bearer {self._token.text}", **named}

    def _fetch_token(self) -> Token:
        profile = self._profile
        form = {
            "grant_type": "client_credentials",
            "client_id": profile.client_id,
            "client_secret": profile.client_secret,
            "scope": profile.scope,
        }
        asked = time.time()
        answer = self._exchange("POST", profile.token_url, data=form)
        if answer.is_error:
            raise error_of(Request("POST", profile.token_url), answer)
        found = answer.json()
        text = found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(text, str) or not _TOKEN.fullmatch(text):
            raise NotAContractServerError
        lifetime = found.get("expires_in", _DEFAULT_LIFETIME)
        token = Token(
            text, asked + min(lifetime if isinstance(lifetime, int) else _DEFAULT_LIFETIME, _LONGEST_LIFETIME)
        )
        token_cache.keep(profile, token)
        return token

    def _exchange(self, method: str, url: str, receive: Receive | None = None, **options: Any) -> Answer:  # noqa: ANN401 - the driver's options
        try:
            with self._http.stream(method, url, **options) as found:
                headers = {name.lower(): value for name, value in found.headers.items()}
                if receive is None or found.status_code >= FIRST_ERROR_STATUS:
                    return Answer(found.status_code, headers, self._read(found))
                for piece in found.iter_bytes():
                    receive(piece)
                return Answer(found.status_code, headers, b"")
        except httpx2.TimeoutException:
            raise OfftakeError(f"The server {self.server} did not answer in time.") from None
        except httpx2.HTTPError as error:
            reason = str(error).rstrip(".") or type(error).__name__
            hint = " Set ca_file in its profile to trust its certificate." if "CERTIFICATE_VERIFY" in reason else ""
            raise OfftakeError(f"The server {self.server} cannot be reached: {reason}.{hint}") from None
        except httpx2.InvalidURL:
            raise OfftakeError(f"{url} is not a valid URL.") from None

    def _read(self, response: httpx2.Response) -> bytes:
        """The body. Raises `OfftakeError` for one that is too large or takes too long."""
        content, ends = bytearray(), time.monotonic() + _LONGEST_ANSWER_SECONDS
        for piece in response.iter_bytes():
            content += piece
            if len(content) > _LARGEST_ANSWER:
                raise OfftakeError(f"An answer of {self.server} has more than {_LARGEST_ANSWER >> 20} MiB.")
            if time.monotonic() > ends:
                raise OfftakeError(f"The server {self.server} did not answer in time.")
        return bytes(content)


def _pause(answer: Answer) -> float:
    """The seconds before a busy server is tried again: its `Retry-After`, within limits."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), _LONGEST_PAUSE_SECONDS) if text.isdecimal() else _PAUSE_SECONDS


def _pieces(part: FilePart) -> Iterator[bytes]:
    with part.path.open("rb") as file:
        file.seek(part.first)
        left = part.size
        while left and (piece := file.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece


def _trust(profile: Profile) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if profile.ca_file:
        try:
            context.load_verify_locations(profile.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise OfftakeError(f"ca_file {profile.ca_file} cannot be read: {error.strerror or error}.") from None
    return context
