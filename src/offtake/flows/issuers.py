"""An external OpenID Connect issuer: tokens that it signed for clients that are registered here."""

import json
import urllib.request
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlsplit

import jwt

_ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
_SECONDS: Final = 5
_LARGEST: Final = 1024 * 1024


class ExternalIssuer:
    """Verifies the issuer's tokens with the keys it publishes; they are fetched when needed and kept."""

    def __init__(self, issuer: str, audience: str, client_claim: str) -> None:
        """`client_claim` names the claim that holds the id of a client registered here."""
        self._issuer, self._audience, self._claim = issuer, audience, client_claim

    def issued(self, token: str) -> bool:
        """Whether the token says that it comes from this issuer; raises `PyJWTError` for what is no token."""
        return bool(_unverified(token).get("iss") == self._issuer)

    def client_id(self, token: str, now: int) -> str:
        """The client the token was signed for; raises `PyJWTError` for one that is not valid at `now` (seconds)."""
        key = self._keys.get_signing_key_from_jwt(token)
        # Times are judged by the clock that was passed in, not by the library's.
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=_ALGORITHMS,
            audience=self._audience,
            issuer=self._issuer,
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "require": ["exp", "iss", "aud"]},
        )
        expires, begins, client = claims["exp"], claims.get("nbf", 0), claims.get(self._claim)
        if not isinstance(expires, int | float) or expires <= now or begins > now or not isinstance(client, str):
            raise jwt.InvalidTokenError("expired, or without a client")
        return client

    @cached_property
    def _keys(self) -> jwt.PyJWKClient:
        address = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        if urlsplit(address).scheme not in ("https", "http"):
            raise jwt.InvalidTokenError("the issuer is no web address")
        try:
            with urllib.request.urlopen(address, timeout=_SECONDS) as answer:  # noqa: S310 - the scheme is checked above
                where = json.loads(answer.read(_LARGEST))["jwks_uri"]
        except (OSError, ValueError, KeyError, TypeError):
            raise jwt.InvalidTokenError("the issuer cannot be asked for its keys") from None
        return jwt.PyJWKClient(where, cache_keys=True, timeout=_SECONDS)


def _unverified(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims
