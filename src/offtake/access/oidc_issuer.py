"""An external OpenID Connect issuer: tokens that it signed for clients that are registered here."""

import logging
import threading
from typing import Any, Final
from urllib.parse import urlsplit

import jwt

from offtake.destinations.drivers.http import fetch_document
from offtake.destinations.egress import Network
from offtake.errors import DeliveryError

_log = logging.getLogger(__name__)

_ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
_TIMEOUT_SECONDS: Final = 5
_LARGEST: Final = 256 * 1024
_KEPT_SECONDS: Final = 3600
_PAUSE_SECONDS: Final = 30
"""Between two questions to the issuer, so that made-up tokens cannot have it asked all the time."""
_AHEAD_SECONDS: Final = 60
"""How far the issuer's clock may be before ours."""
_WAITING: Final = 8
"""Requests that may wait for keys at once, so that made-up tokens cannot hold all threads while the issuer is slow."""


class IssuerKeys(jwt.PyJWKClient):
    """The issuer's key set, fetched under the network's rules: bounded in time and size, without redirects.

    The issuer's host is the operator's choice: it may be in a private network, but is no metadata service.
    """

    def __init__(self, issuer: str, network: Network) -> None:
        """Nothing is fetched yet, and nothing kept: `ExternalIssuer` keeps keys, by the clock that it is given."""
        configuration = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        super().__init__(configuration, cache_jwk_set=False, timeout=_TIMEOUT_SECONDS)
        self._network = network.for_operator()

    def fetch_data(self) -> dict[str, Any]:
        """The key set that the issuer's configuration names; raises `PyJWKClientError`."""
        return self._document(self._document(self.uri).get("jwks_uri"))

    def _document(self, url: object) -> dict[str, Any]:
        if not isinstance(url, str) or urlsplit(url).scheme not in ("https", "http"):
            raise jwt.PyJWKClientError("the issuer's configuration names no URL of keys")
        try:
            return self._as_jwk_set_payload(
                fetch_document(url, self._network, largest=_LARGEST, seconds=_TIMEOUT_SECONDS)
            )
        except DeliveryError as error:
            raise jwt.PyJWKClientError(error.message) from None


class ExternalIssuer:
    """Verifies the issuer's tokens with the keys it publishes.

    The keys are asked for when a token names one that is not known, and hourly; while the issuer cannot be reached,
    those that are known stay good. Threads share it.
    """

    def __init__(self, issuer: str, audience: str, client_claim: str, network: Network | None = None) -> None:
        """`client_claim` names the claim that holds the id of a client registered here."""
        self._issuer, self._audience, self._claim = issuer, audience, client_claim
        self._client = IssuerKeys(issuer, network or Network())
        self._waiting = threading.BoundedSemaphore(_WAITING)
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked_at: int | None = None
        self._asking = threading.Lock()

    def is_issuer_of(self, token: str) -> bool:
        """Whether the token says that it comes from this issuer; raises `PyJWTError` for what is no token."""
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        return bool(claims.get("iss") == self._issuer)

    def client_id(self, token: str, now: int) -> str:
        """The client the token was signed for; raises `PyJWTError` for one that is not valid at `now` (seconds)."""
        key = self._key(str(jwt.get_unverified_header(token).get("kid")), now)
        # The key says which algorithm it is for, not the token. Times are judged by the clock that was passed in.
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=_ALGORITHMS,
            audience=self._audience,
            issuer=self._issuer,
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "require": ["exp", "iss", "aud"]},
        )
        expires, begins, client = claims["exp"], claims.get("nbf", 0), claims.get(self._claim)
        if not isinstance(expires, int | float) or not expires > now:
            raise jwt.ExpiredSignatureError("expired")
        if not isinstance(begins, int | float) or not begins <= now + _AHEAD_SECONDS:
            raise jwt.ImmatureSignatureError("not valid yet")
        if not isinstance(client, str):
            raise jwt.MissingRequiredClaimError(self._claim)
        return client

    def _key(self, key_id: str, now: int) -> jwt.PyJWK:
        is_wanting = key_id not in self._keys or not self._was_asked_within(_KEPT_SECONDS, now)
        # A request that finds all places taken is judged by the keys that are known.
        if is_wanting and self._waiting.acquire(blocking=False):
            try:
                self._ask(now)
            finally:
                self._waiting.release()
        if key_id not in self._keys:
            raise jwt.InvalidKeyError("the issuer does not publish this key, or cannot be reached")
        return self._keys[key_id]

    def _ask(self, now: int) -> None:
        with self._asking:
            # Another thread may have asked while this one waited.
            if self._was_asked_within(_PAUSE_SECONDS, now):
                return
            self._asked_at = now
            try:
                keys = self._client.get_signing_keys()
            except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
                _log.warning("the keys of the issuer %s cannot be had: %s", self._issuer, error)
                return
            found = {key.key_id: key for key in keys if key.key_id and key.algorithm_name in _ALGORITHMS}
            self._keys = found or self._keys

    def _was_asked_within(self, seconds: int, now: int) -> bool:
        # A clock that was set back must not keep us from asking.
        return self._asked_at is not None and 0 <= now - self._asked_at < seconds
