"""Bearer tokens: signed by this server with rotating keys, or by an external issuer (contract, section 2)."""

import base64
import secrets
from typing import Any, Final
from uuid import uuid4

import jwt
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from offtake.access.oidc_issuer import ExternalIssuer
from offtake.clock import Clock
from offtake.errors import OfftakeError
from offtake.store.database import Database
from offtake.store.tables import Client, SigningKey
from offtake.store.vault import Vault

BAD_CREDENTIALS: Final = "invalid client_id or client_secret"
TOKEN_SECONDS: Final = 86_399
_ALGORITHM: Final = "HS256"
_KEY_SIGNS_MS: Final = 7 * 86_400_000
_KEY_KEPT_MS: Final = (TOKEN_SECONDS + 1) * 1000


class BadCredentialsError(OfftakeError):
    """The client id or its secret is wrong."""


class BadTokenError(OfftakeError):
    """The token is malformed, expired, or not from a trusted issuer."""


def find(database: Database, client_id: str) -> Client | None:
    """The client with that id, revoked or not."""
    with database.reading() as session:
        return _client(session, client_id)


def issue(database: Database, vault: Vault, clock: Clock, client: Client) -> str:
    """Issue a signed token for a client that has signed in; it is valid for 24 hours."""
    key_id, key = _signing_key(database, vault, clock)
    now = clock.now_seconds()
    claims = {"sub": client.account_id, "client_id": client.id, "org": client.org_id, "type": client.kind}
    return jwt.encode(claims | {"iat": now, "exp": now + TOKEN_SECONDS}, key, _ALGORITHM, headers={"kid": key_id})


def read(session: Session, vault: Vault, clock: Clock, token: str, issuer: ExternalIssuer | None) -> Client:
    """Verify a token and return its client; raises `BadTokenError`."""
    external = False
    try:
        if issuer is not None and issuer.is_issuer_of(token):
            external, client_id = True, issuer.client_id(token, clock.now_seconds())
        else:
            client_id = _own_client_id(session, vault, clock, token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise BadTokenError("The token is not valid.") from None
    client = _client(session, client_id)
    # The external issuer may only authenticate external clients, not those that have a secret here, and not people:
    # these sign in to the pages, and an issuer may let a person choose the claim's value.
    is_external = client is not None and client.secret_hash is None and client.subject is None
    if client is None or client.revoked_at is not None or (external and not is_external):
        raise BadTokenError("The token's client is not known.")
    return client


def _client(session: Session, client_id: str) -> Client | None:
    # PostgreSQL refuses queries with text that it cannot store, such as NUL characters.
    return session.get(Client, client_id) if client_id.isprintable() else None


def _own_client_id(session: Session, vault: Vault, clock: Clock, token: str) -> str:
    key_id = str(jwt.get_unverified_header(token).get("kid", ""))
    row = session.get(SigningKey, key_id) if key_id.isprintable() else None
    if row is None:
        raise BadTokenError("The token was not signed here.")
    # Expiry is checked below, by the injected clock.
    claims: dict[str, Any] = jwt.decode(
        token, _key(vault, row), [_ALGORITHM], options={"verify_exp": False, "verify_iat": False}
    )
    if not isinstance(claims.get("exp"), int) or claims["exp"] <= clock.now_seconds():
        raise BadTokenError("The token has expired.")
    return str(claims.get("client_id"))


def _signing_key(database: Database, vault: Vault, clock: Clock) -> tuple[str, bytes]:
    """The current signing key. It is replaced after a week; old keys are kept until their tokens have expired."""
    now = clock.now_ms()
    newest = select(SigningKey).where(SigningKey.retired_at.is_(None)).order_by(SigningKey.created_at.desc()).limit(1)
    with database.reading() as session:
        row = session.scalar(newest)
    if row is not None and now - row.created_at < _KEY_SIGNS_MS:
        return row.id, _key(vault, row)
    with database.writing() as session:
        row = session.scalar(newest.with_for_update())
        if row is None or now - row.created_at >= _KEY_SIGNS_MS:
            if row is not None:
                row.retired_at = now
            session.execute(delete(SigningKey).where(SigningKey.retired_at <= now - _KEY_KEPT_MS))
            row = SigningKey(id=str(uuid4()), created_at=now, sealed=b"")
            row.sealed = vault.encrypt(row.id, {"key": base64.b64encode(secrets.token_bytes(32)).decode()})
            session.add(row)
        return row.id, _key(vault, row)


def end_all(session: Session) -> None:
    """Delete the signing keys: all tokens signed here end now, and the next one is signed with a new key."""
    session.execute(delete(SigningKey))


def _key(vault: Vault, row: SigningKey) -> bytes:
    return base64.b64decode(vault.decrypt(row.id, row.sealed)["key"])
