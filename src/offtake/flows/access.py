"""Who may do what: organisations, sandboxes, API clients, their tokens, and the permissions of a call."""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import jwt
from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.clock import Clock
from offtake.errors import OfftakeError
from offtake.flows import problems
from offtake.flows.problems import FlowProblem
from offtake.store.database import Database
from offtake.store.tables import Client, Organisation, Sandbox, SigningKey
from offtake.store.vault import Vault

TOKEN_SECONDS: Final = 86_399
_ALGORITHM: Final = "HS256"

VIEW_DESTINATIONS: Final = "view-destinations"
MANAGE_DESTINATIONS: Final = "manage-destinations"
EXPORT_DATASETS: Final = "manage-and-activate-dataset-destinations"
VIEW_DATASETS: Final = "view-datasets"
MANAGE_DATASETS: Final = "manage-datasets"
PERMISSIONS: Final = (VIEW_DESTINATIONS, MANAGE_DESTINATIONS, EXPORT_DATASETS, VIEW_DATASETS, MANAGE_DATASETS)


class BadCredentialsError(OfftakeError):
    """The client id or its secret is not right."""


class BadTokenError(OfftakeError):
    """The token is malformed, expired, or not ours."""


@dataclass(frozen=True)
class Identity:
    """Who a token speaks for."""

    client_id: str
    account_id: str
    org_id: str
    permissions: frozenset[str]


@dataclass(frozen=True)
class Caller:
    """Who calls, and in which sandbox of which organisation; everything a request does happens in it."""

    org_id: str
    org_name: str
    sandbox_id: str
    sandbox_name: str
    client_id: str
    account_id: str
    permissions: frozenset[str]

    def require(self, *alternatives: str) -> None:
        """Raise 2120 unless the caller has one of the permissions."""
        if not self.permissions.intersection(alternatives):
            raise FlowProblem(problems.FORBIDDEN, f"The operation needs the permission {' or '.join(alternatives)}.")


@dataclass(frozen=True)
class NewClient:
    """A client just made; its secret is shown once and not kept."""

    org_id: str
    client_id: str
    client_secret: str
    sandbox: str


def set_up(database: Database, clock: Clock) -> None:
    """Make the organisation and its sandbox `prod`, unless they are there."""
    now = clock.now_ms()
    with database.writing() as session:
        if session.scalar(select(Organisation)) is not None:
            return
        org = Organisation(id=f"{secrets.token_hex(12).upper()}@AdobeOrg", name="Offtake", created_at=now)
        session.add(org)
        session.flush()
        sandbox = Sandbox(
            id=str(uuid4()),
            org_id=org.id,
            name="prod",
            title="Production",
            type="production",
            state="active",
            is_default=True,
            created_at=now,
            updated_at=now,
        )
        session.add(sandbox)


def first_client(database: Database, clock: Clock) -> NewClient | None:
    """Make the administrator's client; None when there is a client already."""
    with database.writing() as session:
        if session.scalar(select(Client)) is not None:
            return None
        org = session.scalars(select(Organisation)).one()
        return _new_client(session, org.id, "administrator", clock.now_ms())


def _new_client(session: Session, org_id: str, name: str, now_ms: int) -> NewClient:
    secret = f"p8e-{secrets.token_urlsafe(32)}"
    client = Client(
        id=secrets.token_hex(16),
        org_id=org_id,
        name=name,
        account_id=f"{secrets.token_hex(12).upper()}@AdobeID",
        secret_hash=_hash(secret),
        permissions=list(PERMISSIONS),
        created_at=now_ms,
    )
    session.add(client)
    return NewClient(org_id, client.id, secret, "prod")


def issue_token(database: Database, vault: Vault, clock: Clock, client_id: str, client_secret: str) -> str:
    """A signed token that lives 24 hours; raises `BadCredentialsError`."""
    with database.reading() as session:
        client = session.get(Client, client_id)
    # The same work for an unknown id as for a wrong secret: neither can be told from the other.
    matches = _matches(client_secret, client.secret_hash if client else _NOBODY)
    if client is None or client.revoked_at is not None or not matches:
        raise BadCredentialsError("invalid client_id or client_secret")
    key_id, key = _signing_key(database, vault, clock)
    now = clock.now_seconds()
    claims = {"sub": client.account_id, "client_id": client.id, "org": client.org_id, "type": "user"}
    return jwt.encode(claims | {"iat": now, "exp": now + TOKEN_SECONDS}, key, _ALGORITHM, headers={"kid": key_id})


def read_token(database: Database, vault: Vault, clock: Clock, token: str) -> Identity:
    """Whom the token speaks for; raises `BadTokenError`."""
    try:
        key_id = jwt.get_unverified_header(token).get("kid", "")
        claims = _claims(token, _key_by_id(database, vault, str(key_id)))
    except jwt.PyJWTError:
        raise BadTokenError("The token is not valid.") from None
    if not isinstance(claims.get("exp"), int) or claims["exp"] <= clock.now_seconds():
        raise BadTokenError("The token has expired.")
    with database.reading() as session:
        client = session.get(Client, str(claims.get("client_id")))
    if client is None or client.revoked_at is not None:
        raise BadTokenError("The token's client is not known.")
    return Identity(client.id, client.account_id, client.org_id, frozenset(client.permissions))


def find_sandbox(database: Database, org_id: str, name: str | None) -> Sandbox:
    """The organisation's sandbox of that name, its default one without a name; raises 2100."""
    with database.reading() as session:
        wanted = Sandbox.name == name if name else Sandbox.is_default
        sandbox = session.scalar(select(Sandbox).where(Sandbox.org_id == org_id, wanted))
    if sandbox is None:
        raise FlowProblem(problems.SANDBOX_NOT_FOUND, f"Sandbox {name or '(default)'} is not found.")
    if sandbox.state != "active":
        raise FlowProblem(problems.SANDBOX_NOT_FOUND, f"Sandbox {sandbox.name} is {sandbox.state}, not active.")
    return sandbox


def caller_of(database: Database, identity: Identity, sandbox: Sandbox) -> Caller:
    """The identity at work in one sandbox."""
    with database.reading() as session:
        org = session.get_one(Organisation, sandbox.org_id)
    return Caller(
        org_id=org.id,
        org_name=org.name,
        sandbox_id=sandbox.id,
        sandbox_name=sandbox.name,
        client_id=identity.client_id,
        account_id=identity.account_id,
        permissions=identity.permissions,
    )


def operator(database: Database) -> Caller:
    """Whoever works on this machine's data directory itself: the command line, with every permission."""
    with database.reading() as session:
        org = session.scalar(select(Organisation))
    if org is None:
        raise OfftakeError("Nothing is set up in this data directory yet.")
    sandbox = find_sandbox(database, org.id, None)
    return caller_of(database, Identity("offtake-cli", "operator@AdobeID", org.id, frozenset(PERMISSIONS)), sandbox)


def _claims(token: str, key: bytes) -> dict[str, Any]:
    # Expiry is judged by the clock that was passed in, not by the library's.
    claims: dict[str, Any] = jwt.decode(token, key, [_ALGORITHM], options={"verify_exp": False, "verify_iat": False})
    return claims


def _signing_key(database: Database, vault: Vault, clock: Clock) -> tuple[str, bytes]:
    with database.writing() as session:
        newest = select(SigningKey).where(SigningKey.retired_at.is_(None)).order_by(SigningKey.created_at.desc())
        row = session.scalar(newest.limit(1))
        if row is None:
            row = SigningKey(id=str(uuid4()), created_at=clock.now_ms(), sealed=b"")
            row.sealed = vault.seal(row.id, {"key": base64.b64encode(secrets.token_bytes(32)).decode()})
            session.add(row)
        return row.id, base64.b64decode(vault.open(row.id, row.sealed)["key"])


def _key_by_id(database: Database, vault: Vault, key_id: str) -> bytes:
    with database.reading() as session:
        row = session.get(SigningKey, key_id)
    if row is None:
        raise BadTokenError("The token was not signed here.")
    return base64.b64decode(vault.open(row.id, row.sealed)["key"])


def _hash(secret: str) -> str:
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_scrypt(secret, salt).hex()}"


def _matches(secret: str, stored: str) -> bool:
    salt, _, digest = stored.partition("$")
    return hmac.compare_digest(_scrypt(secret, bytes.fromhex(salt)), bytes.fromhex(digest))


def _scrypt(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=2**14, r=8, p=1)


_NOBODY: Final = _hash(secrets.token_hex(16))
