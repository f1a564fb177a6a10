"""API clients: who can get a token. Secrets are shown once, and kept as salted hashes only."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.clock import Clock
from offtake.flows.access import ALL, Kind
from offtake.store.database import Database
from offtake.store.tables import Client, Organisation, Role, RoleSubject, Sandbox

ADMINISTRATORS: Final = "Administrators"
_SYSTEM: Final = "system@AdobeID"


@dataclass(frozen=True)
class NewClient:
    """A client just made; its secret is shown once and not kept."""

    org_id: str
    client_id: str
    client_secret: str
    sandbox: str


def set_up(database: Database, clock: Clock) -> None:
    """Make the organisation, its sandbox `prod` and its administrators' role, unless they are there."""
    now = clock.now_ms()
    with database.writing() as session:
        if session.scalar(select(Organisation)) is not None:
            return
        org = Organisation(id=f"{secrets.token_hex(12).upper()}@AdobeOrg", name="Offtake", created_at=now)
        session.add(org)
        session.flush()
        session.add(
            Sandbox(
                id=str(uuid4()),
                org_id=org.id,
                name="prod",
                title="Production",
                type="production",
                state="active",
                is_default=True,
                revision=1,
                created_at=now,
                updated_at=now,
                created_by=_SYSTEM,
                updated_by=_SYSTEM,
            )
        )
        session.add(
            Role(
                id=str(uuid4()),
                org_id=org.id,
                name=ADMINISTRATORS,
                description="Everything, in every sandbox.",
                permissions=[ALL],
                sandboxes=[ALL],
                labels=[ALL],
                created_at=now,
                updated_at=now,
                created_by=_SYSTEM,
                updated_by=_SYSTEM,
            )
        )


def first_client(database: Database, clock: Clock) -> NewClient | None:
    """Make the administrator's client; None when there is a client already."""
    with database.writing() as session:
        if session.scalar(select(Client)) is not None:
            return None
        org = session.scalars(select(Organisation)).one()
        client, secret = new_client(session, org.id, "administrator", "user", clock.now_ms())
        role = session.scalars(select(Role).filter_by(org_id=org.id, name=ADMINISTRATORS)).one()
        session.flush()
        session.add(RoleSubject(role_id=role.id, client_id=client.id))
        return NewClient(org.id, client.id, secret, "prod")


def new_client(session: Session, org_id: str, name: str, kind: Kind, now_ms: int) -> tuple[Client, str]:
    """A client without any role yet, and its secret."""
    secret = new_secret()
    account = secrets.token_hex(12).upper()
    client = Client(
        id=secrets.token_hex(16),
        org_id=org_id,
        name=name,
        kind=kind,
        account_id=f"{account}@AdobeID" if kind == "user" else f"{account}@techacct.adobe.com",
        secret_hash=hash_secret(secret),
        created_at=now_ms,
    )
    session.add(client)
    return client, secret


def new_secret() -> str:
    """A fresh secret."""
    return f"p8e-{secrets.token_urlsafe(32)}"


def secret_matches(client: Client | None, secret: str) -> bool:
    """Whether the secret is the client's; takes as long for a client that is not there."""
    known = client is not None and client.revoked_at is None and client.secret_hash is not None
    salt, _, digest = (client.secret_hash if client and client.secret_hash else _NOBODY).partition("$")
    same = hmac.compare_digest(_scrypt(secret, bytes.fromhex(salt)), bytes.fromhex(digest))
    return known and same


def hash_secret(secret: str) -> str:
    """The secret as it is kept: salt and scrypt digest in hexadecimal."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_scrypt(secret, salt).hex()}"


def _scrypt(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(errors="surrogatepass"), salt=salt, n=2**14, r=8, p=1)


_NOBODY: Final = hash_secret(secrets.token_hex(16))
