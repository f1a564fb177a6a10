"""An external OpenID Connect issuer: tokens that it signed for clients that are registered here."""

import json
import threading
import urllib.request
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

import jwt

_ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
_TIMEOUT_SECONDS: Final = 5
_LARGEST: Final = 256 * 1024
_KEPT_SECONDS: Final = 3600
_PAUSE_SECONDS: Final = 30
"""Between two questions to the issuer, so that made-up tokens cannot have it asked all the time."""
_AHEAD_SECONDS: Final = 60
"""How far the issuer's clock may be before ours."""


class ExternalIssuer:
    """Verifies the issuer's tokens with the keys it publishes.

    The keys are asked for when a token names one that is not known, and hourly; while the issuer cannot be reached,
    those that are known stay good. Threads share it.
    """

    def __init__(self, issuer: str, audience: str, client_claim: str) -> None:
        """`client_claim` names the claim that holds the id of a client registered here."""
        self._issuer, self._audience, self._claim = issuer, audience, client_claim
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked_at: int | None = None
        self._asking = threading.Lock()

    def issued(self, token: str) -> bool:
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
        if key_id not in self._keys or not self._asked_within(_KEPT_SECONDS, now):
            with self._asking:
                # Whoever waited finds that another has asked just now.
                if not self._asked_within(_PAUSE_SECONDS, now):
                    self._asked_at = now
                    self._keys = _published(self._issuer) or self._keys
        if key_id not in self._keys:
            raise jwt.InvalidKeyError("the issuer does not publish this key, or cannot be reached")
        return self._keys[key_id]

    def _asked_within(self, seconds: int, now: int) -> bool:
        # A clock that was set back must not keep us from asking.
        return self._asked_at is not None and 0 <= now - self._asked_at < seconds


def _published(issuer: str) -> dict[str, jwt.PyJWK]:
    """The issuer's public keys by id; none when it cannot be reached, or does not answer with keys."""
    try:
        where = str(_get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")["jwks_uri"])
        keys = jwt.PyJWKSet.from_dict(_get(where)).keys
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError, RecursionError, jwt.PyJWTError):
        return {}
    fitting = (key for key in keys if key.public_key_use in ("sig", None) and key.algorithm_name in _ALGORITHMS)
    return {key.key_id: key for key in fitting if key.key_id}


def _get(address: str) -> dict[str, Any]:
    """The JSON object at the address, when it is a small one; raises as `_published` expects."""
    if urlsplit(address).scheme not in ("https", "http"):
        raise ValueError("no web address")
    with _OPENER.open(address, timeout=_TIMEOUT_SECONDS) as answer:
        text = answer.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise ValueError("too large")
    document: dict[str, Any] = json.loads(text)
    return document


class _StayHere(urllib.request.HTTPRedirectHandler):
    """The issuer's own word is wanted, not that of whom it may point to."""

    def redirect_request(self, *_: object) -> None:
        """Never."""


_OPENER: Final = urllib.request.build_opener(_StayHere())
