"""Signs people in through the OpenID Connect issuer: authorization code flow with PKCE, state and nonce."""

import base64
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote_plus, urlencode, urlsplit

import jwt

from offtake.access.client_addresses import group_of, is_loopback
from offtake.access.oidc_issuer import ExternalIssuer
from offtake.access.people import Identity
from offtake.access.sign_in_limits import SignInLimits
from offtake.errors import DeliveryError, OfftakeError
from offtake.network.egress import Network
from offtake.network.http import post_form

ATTEMPT_MS: Final = 10 * 60_000
"""How long a sign-in at the issuer may take."""
_TIMEOUT_SECONDS: Final = 10
_LARGEST: Final = 256 * 1024
_WAITING: Final = 8
"""The maximum of requests that wait for the token endpoint, so that a slow issuer cannot block all threads."""
_LONGEST_SUBJECT: Final = 255
_LONGEST_NAME: Final = 200
_NAME_CLAIMS: Final = ("name", "preferred_username", "email")
_ERROR_CODE: Final = re.compile(r"[a-z_]{1,64}")
_RETRY: Final = "Sign in again."


class IssuerSignInError(OfftakeError):
    """A sign-in through the issuer failed. The text is for the person; `detail` is for the log, without secrets."""

    def __init__(self, message: str, detail: str, status: HTTPStatus = HTTPStatus.UNAUTHORIZED) -> None:
        super().__init__(message)
        self.detail, self.status = detail, status


@dataclass(frozen=True)
class PagesClient:
    """The pages' client at the issuer. `secret`: None for a public client. For the claims see `Settings`."""

    client_id: str
    secret: str | None
    scopes: str
    person_claim: str
    groups_claim: str | None


@dataclass(frozen=True)
class Attempt:
    """A sign-in that has begun. The browser keeps it in a cookie. `back`: the page to go to after it."""

    state: str
    nonce: str
    verifier: str
    back: str
    began_ms: int

    @classmethod
    def begin(cls, back: str, now_ms: int) -> "Attempt":
        """A new attempt with random values."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, back, now_ms)

    def is_over(self, now_ms: int) -> bool:
        """Whether it has taken too long."""
        return not 0 <= now_ms - self.began_ms < ATTEMPT_MS


@dataclass(frozen=True)
class Response:
    """What the issuer sent back through the browser: a code or an error; `issuer` as in RFC 9207, may be empty."""

    code: str
    state: str
    error: str
    issuer: str


class IssuerSignIn:
    """The pages' client of one issuer. Thread-safe."""

    def __init__(
        self,
        issuer: ExternalIssuer,
        client: PagesClient,
        network: Network,
        per_minute: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`per_minute`: how many sign-ins from one address may fail. `now`: a monotonic clock in seconds."""
        self._issuer, self._client, self._network = issuer, client, network.for_operator()
        self.host = urlsplit(issuer.url).netloc.rpartition("@")[2]
        self._waiting = threading.BoundedSemaphore(_WAITING)
        self._limits, self._limits_lock = SignInLimits(per_minute, now), threading.Lock()

    def authorization_url(self, attempt: Attempt, redirect_uri: str, now: int) -> str:
        """The issuer's page to send the browser to. `now`: epoch seconds. Raises `IssuerSignInError`."""
        endpoint = self._endpoint("authorization_endpoint", now)
        challenge = hashlib.sha256(attempt.verifier.encode()).digest()
        fields = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": redirect_uri,
            "scope": self._client.scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(fields)}"

    def identify(
        self, attempt: Attempt | None, response: Response, redirect_uri: str, now_ms: int, address: str
    ) -> Identity:
        """The person whom the issuer's response to the attempt stands for.

        `attempt`: None when the browser has none. `address`: of the browser. Raises `IssuerSignInError`.
        """
        checked = self._check_response(attempt, response, now_ms)
        self._count(address)
        token = self._redeem(checked, response.code, redirect_uri, now_ms // 1000)
        identity = self._identity(self._verify(token, checked, now_ms // 1000))
        with self._limits_lock:
            self._limits.give_back("", group_of(address))
        return identity

    def _check_response(self, attempt: Attempt | None, response: Response, now_ms: int) -> Attempt:
        if attempt is None or attempt.is_over(now_ms):
            raise IssuerSignInError(
                f"The sign-in took longer than ten minutes, or was not started in this browser. {_RETRY}",
                "no attempt, or it has expired",
                HTTPStatus.BAD_REQUEST,
            )
        if not hmac.compare_digest(attempt.state.encode(), response.state.encode(errors="surrogatepass")):
            raise IssuerSignInError(
                f"The answer belongs to another sign-in, perhaps in another tab. {_RETRY}",
                "the state differs",
                HTTPStatus.BAD_REQUEST,
            )
        if response.issuer and response.issuer != self._issuer.url:
            raise IssuerSignInError(f"The answer is not from {self.host}. {_RETRY}", "the parameter iss differs")
        if response.error == "access_denied":
            raise IssuerSignInError(
                f"{self.host} did not let you in, or you cancelled. Sign in again, "
                "or ask its administrator to assign you to Offtake.",
                "access_denied",
                HTTPStatus.FORBIDDEN,
            )
        if response.error or not response.code:
            code = _error_code(response.error)
            raise IssuerSignInError(
                f"{self.host} could not sign you in ({code}). Sign in again, or ask the operator.",
                f"the issuer's error is {code}",
            )
        return attempt

    def _count(self, address: str) -> None:
        with self._limits_lock:
            wait = self._limits.take("", group_of(address))
        if wait:
            raise IssuerSignInError(
                "Too many sign-ins from your address failed. Try again in a minute.",
                "the rate limit is reached",
                HTTPStatus.TOO_MANY_REQUESTS,
            )

    def _redeem(self, attempt: Attempt, code: str, redirect_uri: str, now: int) -> str:
        """Exchange the code for the ID token, which is not verified yet."""
        endpoint = self._endpoint("token_endpoint", now)
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": attempt.verifier,
        }
        authorization = self._authenticate(fields, now)
        if not self._waiting.acquire(blocking=False):
            raise self._unavailable("too many requests wait for the token endpoint")
        try:
            status, document = post_form(
                endpoint,
                self._network,
                fields,
                authorization=authorization,
                largest=_LARGEST,
                seconds=_TIMEOUT_SECONDS,
            )
        except DeliveryError as error:
            raise self._unavailable(f"token endpoint: {error.message}") from None
        finally:
            self._waiting.release()
        answer: dict[str, Any] = document if isinstance(document, dict) else {}
        if status != HTTPStatus.OK:
            raise self._refused(status, _error_code(answer.get("error")))
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise self._misconfigured("the token endpoint sent no ID token")
        return token

    def _authenticate(self, fields: dict[str, str], now: int) -> str | None:
        """Add the client to the form, or return it as a header, by what the issuer supports."""
        client_id, secret = self._client.client_id, self._client.secret
        if secret is None:
            fields["client_id"] = client_id
            return None
        # The default is that of OpenID Connect Discovery 1.0, section 3.
        supported = self._issuer.configuration(now).get(
            "token_endpoint_auth_methods_supported", ["client_secret_basic"]
        )
        if not isinstance(supported, list) or "client_secret_basic" in supported:
            # Encoded as a form first (RFC 6749, 2.3.1).
            pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        if "client_secret_post" not in supported:
            raise self._misconfigured("the issuer supports neither client_secret_basic nor client_secret_post")
        fields |= {"client_id": client_id, "client_secret": secret}
        return None

    def _verify(self, token: str, attempt: Attempt, now: int) -> dict[str, Any]:
        """The claims of the ID token (OpenID Connect Core 1.0, section 3.1.3.7)."""
        client_id = self._client.client_id
        try:
            claims = self._issuer.verify(token, client_id, now)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise self._untrusted(type(error).__name__) from None
        party, nonce = claims.get("azp"), claims.get("nonce")
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if party != client_id and (several or party is not None):
            raise self._untrusted("the token was issued to another client (azp)")
        if not isinstance(nonce, str) or not hmac.compare_digest(
            nonce.encode(errors="surrogatepass"), attempt.nonce.encode()
        ):
            raise self._untrusted("the nonce differs")
        return claims

    def _identity(self, claims: dict[str, Any]) -> Identity:
        claim = self._client.person_claim
        subject = claims.get(claim)
        if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
            raise self._misconfigured(
                f"the claim {claim} is not a text of 1 to {_LONGEST_SUBJECT} printable characters"
            )
        if claim == "email" and claims.get("email_verified") is False:
            raise IssuerSignInError(
                f"{self.host} has not verified your email address. Verify it there, then sign in again.",
                "the email address is not verified",
                HTTPStatus.FORBIDDEN,
            )
        names = (_printable(claims.get(name)) for name in _NAME_CLAIMS)
        name = next((one for one in names if one), subject[:_LONGEST_NAME])
        return Identity(self._issuer.url, subject, name, self._groups(claims))

    def _groups(self, claims: dict[str, Any]) -> frozenset[str]:
        claim = self._client.groups_claim
        if claim is None:
            return frozenset()
        elsewhere = claims.get("_claim_names")
        if isinstance(elsewhere, dict) and claim in elsewhere:
            raise IssuerSignInError(
                f"You are in more groups than {self.host} sends. "
                "Ask the operator to have it send only the groups that are assigned to Offtake.",
                f"the claim {claim} is not in the token (_claim_names)",
            )
        sent = claims.get(claim, [])
        return frozenset(one for one in (sent if isinstance(sent, list) else [sent]) if isinstance(one, str))

    def _endpoint(self, name: str, now: int) -> str:
        """An endpoint of the issuer's configuration; https, or http where issuer and endpoint are this machine."""
        configuration = self._issuer.configuration(now)
        if not configuration:
            raise self._unavailable("its configuration could not be fetched")
        if configuration.get("issuer") != self._issuer.url:
            raise self._misconfigured("the issuer in its configuration is not exactly OFFTAKE_OIDC_ISSUER")
        url = configuration.get(name)
        if (
            not isinstance(url, str)
            or not url.isprintable()
            or not is_safe(url, loopback=is_loopback_url(self._issuer.url))
        ):
            raise self._misconfigured(f"its {name} is not an https URL")
        return url

    def _refused(self, status: int, code: str) -> IssuerSignInError:
        if code == "invalid_grant":
            return IssuerSignInError(f"The sign-in was used already, or took too long. {_RETRY}", code)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            return self._unavailable(f"token endpoint: status {status}, {code}")
        return self._misconfigured(f"the token endpoint answered with status {status}, {code}")

    def _unavailable(self, detail: str) -> IssuerSignInError:
        message = f"{self.host} does not answer, or is overloaded. Try again in a minute."
        return IssuerSignInError(message, detail, HTTPStatus.SERVICE_UNAVAILABLE)

    def _misconfigured(self, detail: str) -> IssuerSignInError:
        message = f"{self.host} and this server do not fit together. Ask the operator: the server's log has the reason."
        return IssuerSignInError(message, detail, HTTPStatus.BAD_GATEWAY)

    def _untrusted(self, detail: str) -> IssuerSignInError:
        message = f"The identity that {self.host} sent is not valid here. Sign in again, or ask the operator."
        return IssuerSignInError(message, f"ID token: {detail}")


def is_loopback_url(url: str) -> bool:
    """Whether a URL's host is this machine itself."""
    return is_loopback(_split_host(url))


def is_safe(url: str, *, loopback: bool) -> bool:
    """Whether a URL is https, or http with a host that is this machine itself, where `loopback` allows that."""
    scheme = url.partition(":")[0].lower()
    return (scheme == "https" and bool(_split_host(url))) or (scheme == "http" and loopback and is_loopback_url(url))


def _split_host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _error_code(sent: object) -> str:
    return sent if isinstance(sent, str) and _ERROR_CODE.fullmatch(sent) else "unknown error"


def _printable(value: object) -> str:
    """The text without control characters, on one line; empty for anything else."""
    if not isinstance(value, str):
        return ""
    spaced = " ".join(value[: 4 * _LONGEST_NAME].split())
    return "".join(one for one in spaced if one.isprintable())[:_LONGEST_NAME].strip()
