"""Verifies tokens of an external OpenID Connect issuer for registered clients."""

import logging
import threading
from typing import Any, Final
from urllib.parse import urlsplit

import jwt

from offtake.errors import DeliveryError
from offtake.network.egress import Network
from offtake.network.http import fetch_document

_log = logging.getLogger(__name__)

_ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
_TIMEOUT_SECONDS: Final = 5
_LARGEST: Final = 256 * 1024
_CACHE_SECONDS: Final = 3600
_PAUSE_SECONDS: Final = 30
"""The minimum interval between fetches, so that forged tokens cannot cause constant requests to the issuer."""
_AHEAD_SECONDS: Final = 60
"""How far the issuer's clock may be ahead of this server's."""
_WAITING: Final = 8
"""The maximum of requests that wait for keys, so that forged tokens cannot block all threads on a slow issuer."""


class IssuerKeys(jwt.PyJWKClient):
    """Fetches the issuer's key set with limits on time and size, without redirects, under the network's rules.

    The operator chooses the issuer's host: it may be in a private network, but must not be a metadata service.
    """

    def __init__(self, issuer: str, network: Network) -> None:
        """No request is made yet. Keys are not cached here but in `ExternalIssuer`, by the injected clock."""
        configuration = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        super().__init__(configuration, cache_jwk_set=False, timeout=_TIMEOUT_SECONDS)
        self._network = network.for_operator()
        self.configuration: dict[str, Any] = {}
        """The issuer's configuration (discovery document) as last fetched, unverified; empty before that."""

    def fetch_data(self) -> dict[str, Any]:
        """Fetch the issuer's configuration, and the key set that it names; raises `PyJWKClientError`."""
        self.configuration = self._document(self.uri)
        return self._document(self.configuration.get("jwks_uri"))

    def _document(self, url: object) -> dict[str, Any]:
        if not isinstance(url, str) or urlsplit(url).scheme not in ("https", "http"):
            raise jwt.PyJWKClientError("the issuer's configuration has no valid jwks_uri")
        try:
            return self._as_jwk_set_payload(
                fetch_document(url, self._network, largest=_LARGEST, seconds=_TIMEOUT_SECONDS)
            )
        except DeliveryError as error:
            raise jwt.PyJWKClientError(error.message) from None


class ExternalIssuer:
    """Verifies the issuer's tokens with its published keys. Thread-safe.

    The keys are fetched hourly, and when a token has an unknown key id; while the issuer is unreachable, known keys
    stay valid.
    """

    def __init__(self, issuer: str, audience: str | None, client_claim: str, network: Network | None = None) -> None:
        """`client_claim`: the name of the claim with the id of a registered client.

        `audience`: which the tokens of clients must name; None: none of them is valid.
        """
        self.url, self._audience, self._claim = issuer, audience, client_claim
        self._client = IssuerKeys(issuer, network or Network())
        self._waiting = threading.BoundedSemaphore(_WAITING)
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: int | None = None
        self._fetching = threading.Lock()

    def is_issuer_of(self, token: str) -> bool:
        """Whether the token's `iss` claim is this issuer (unverified); raises `PyJWTError` for a malformed token."""
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        return bool(claims.get("iss") == self.url)

    def client_id(self, token: str, now: int) -> str:
        """The client id of a verified token; raises `PyJWTError` when it is not valid at `now` (epoch seconds)."""
        if self._audience is None:
            raise jwt.InvalidAudienceError("no audience is configured")
        client = self.verify(token, self._audience, now).get(self._claim)
        if not isinstance(client, str):
            raise jwt.MissingRequiredClaimError(self._claim)
        return client

    def verify(self, token: str, audience: str, now: int) -> dict[str, Any]:
        """The claims of a token that this issuer signed for the audience.

        Raises `PyJWTError`, `ValueError` or `RecursionError` when it is not valid at `now` (epoch seconds).
        """
        key = self._key(str(jwt.get_unverified_header(token).get("kid")), now)
        # The key, not the token, determines the algorithm. Times are checked below, by the injected clock.
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=_ALGORITHMS,
            audience=audience,
            issuer=self.url,
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "require": ["exp", "iss", "aud"]},
        )
        expires, not_before = claims["exp"], claims.get("nbf", 0)
        if not isinstance(expires, int | float) or not expires > now:
            raise jwt.ExpiredSignatureError("expired")
        if not isinstance(not_before, int | float) or not not_before <= now + _AHEAD_SECONDS:
            raise jwt.ImmatureSignatureError("not valid yet")
        return claims

    def configuration(self, now: int) -> dict[str, Any]:
        """The issuer's configuration, unverified and at most an hour old; older or empty while it is unreachable."""
        if not self._client.configuration or not self._was_fetched_within(_CACHE_SECONDS, now):
            self._fetch_if_few_wait(now)
        return self._client.configuration

    def _key(self, key_id: str, now: int) -> jwt.PyJWK:
        needs_fetch = key_id not in self._keys or not self._was_fetched_within(_CACHE_SECONDS, now)
        if needs_fetch:
            self._fetch_if_few_wait(now)
        if key_id not in self._keys:
            raise jwt.InvalidKeyError("the issuer does not publish this key, or cannot be reached")
        return self._keys[key_id]

    def _fetch_if_few_wait(self, now: int) -> None:
        # When too many requests are waiting already, what is known is used.
        if self._waiting.acquire(blocking=False):
            try:
                self._fetch(now)
            finally:
                self._waiting.release()

    def _fetch(self, now: int) -> None:
        with self._fetching:
            # Another thread may have fetched the keys while this one waited.
            if self._was_fetched_within(_PAUSE_SECONDS, now):
                return
            self._fetched_at = now
            try:
                keys = self._client.get_signing_keys()
            except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
                _log.warning("the keys of the issuer %s could not be fetched: %s", self.url, error)
                return
            found = {key.key_id: key for key in keys if key.key_id and key.algorithm_name in _ALGORITHMS}
            self._keys = found or self._keys

    def _was_fetched_within(self, seconds: int, now: int) -> bool:
        # A clock that was set back must not prevent a fetch.
        return self._fetched_at is not None and 0 <= now - self._fetched_at < seconds
