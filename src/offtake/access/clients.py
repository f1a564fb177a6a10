"""API clients: who can get a token. Secrets are shown once, and kept as salted hashes only."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from offtake.access import audit, last_administrator, roles
from offtake.clock import Clock
from offtake.contract.bodies import Json
from offtake.contract.caller import ALL, Caller, Kind
from offtake.errors import OfftakeError
from offtake.store.database import Database, advisory_lock
from offtake.store.tables import Client, Organisation, Role, RoleSubject, Sandbox

ADMINISTRATORS: Final = "Administrators"
_SYSTEM: Final = "system@AdobeID"
_ID: Final = re.compile(r"[A-Za-z0-9_.@:/|-]{1,128}")


@dataclass(frozen=True)
class NewClient:
    """A client just made; its secret is shown once and not kept."""

    org_id: str
    client_id: str
    client_secret: str
    sandbox: str


@dataclass(frozen=True)
class Registration:
    """A client to make. An `external` one has no secret: it signs in at the deployment's OpenID Connect issuer."""

    name: str
    kind: Kind = "user"
    roles: tuple[str, ...] = ()
    client_id: str | None = None
    external: bool = False


def create_organisation(database: Database, clock: Clock) -> None:
    """Make the organisation, its sandbox `prod` and its administrators' role, unless they are there."""
    now = clock.now_ms()
    with database.writing() as session:
        advisory_lock(session.connection())
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


def first_client(
    database: Database, clock: Clock, keep: Callable[[NewClient], None] = lambda _: None
) -> NewClient | None:
    """Make the administrator's client; None when there is a client already.

    `keep` stores its secret, which is known to nobody else; when it fails there is no client.
    """
    with database.writing() as session:
        advisory_lock(session.connection())
        if session.scalar(select(Client)) is not None:
            return None
        org = session.scalars(select(Organisation)).one()
        client, secret = new_client(session, org.id, "administrator", "user", clock.now_ms())
        role = session.scalars(select(Role).filter_by(org_id=org.id, name=ADMINISTRATORS)).one()
        session.flush()
        session.add(RoleSubject(role_id=role.id, client_id=client.id))
        session.flush()
        made = NewClient(org.id, client.id, secret, "prod")
        keep(made)
        return made


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


def register(session: Session, caller: Caller, new: Registration, now_ms: int) -> tuple[Client, str | None]:
    """A client with the roles named, and its secret, which an external one does not have.

    Raises `OfftakeError` when the id is taken or no id, and 1439 for a role that there is not.
    """
    if new.client_id is not None and not _ID.fullmatch(new.client_id):
        raise OfftakeError("A client's id is 1 to 128 letters, digits and the characters - _ . @ : / |.")
    if new.client_id is not None and session.get(Client, new.client_id) is not None:
        raise OfftakeError(f"There is a client {new.client_id} already.")
    given = [roles.find_by_name(session, caller, name) for name in new.roles]
    client, secret = new_client(session, caller.org_id, new.name, new.kind, now_ms)
    client.id = new.client_id or client.id
    if new.external:
        client.secret_hash = None
    session.flush()
    session.add_all(RoleSubject(role_id=role.id, client_id=client.id) for role in given)
    after = {**render(client), "roles": [role.name for role in given]}
    audit.record(session, caller, now_ms, "create", ("clients", client.id), name=client.name, after=after)
    return client, None if new.external else secret


def all_of(session: Session, caller: Caller) -> list[tuple[Client, list[str]]]:
    """The organisation's clients with the names of their roles, the latest first."""
    found = session.scalars(
        select(Client).filter_by(org_id=caller.org_id).order_by(Client.created_at.desc(), Client.id)
    )
    return [(client, role_names(session, client)) for client in found]


def role_names(session: Session, client: Client) -> list[str]:
    """The names of the roles that a client has."""
    held = select(Role.name).join(RoleSubject, RoleSubject.role_id == Role.id)
    return list(session.scalars(held.where(RoleSubject.client_id == client.id).order_by(Role.name)))


def find(session: Session, caller: Caller, id_or_account: str) -> Client | None:
    """The organisation's client of that id, or of that account id, unless it is revoked."""
    same = or_(Client.id == id_or_account, Client.account_id == id_or_account)
    return session.scalar(select(Client).where(same, Client.org_id == caller.org_id, Client.revoked_at.is_(None)))


def rotate(session: Session, caller: Caller, client_id: str, now_ms: int) -> str:
    """A new secret; the one before ends at once, while tokens that were given for it live on until they end."""
    client = _find(session, caller, client_id)
    if client.secret_hash is None:
        raise OfftakeError(f"Client {client.id} signs in at the external issuer; it has no secret here.")
    secret = new_secret()
    client.secret_hash, client.rotated_at = hash_secret(secret), now_ms
    audit.record(session, caller, now_ms, "rotate", ("clients", client.id), name=client.name)
    return secret


def revoke(session: Session, caller: Caller, client_id: str, now_ms: int) -> None:
    """End a client: its secret, its roles and every token it has, at once and for good."""
    client = _find(session, caller, client_id)
    before = {**render(client), "roles": role_names(session, client)}
    with last_administrator.keeping_an_administrator(session, caller.org_id):
        client.revoked_at = now_ms
        session.execute(delete(RoleSubject).where(RoleSubject.client_id == client.id))
    after = {**render(client), "roles": []}
    audit.record(
        session, caller, now_ms, "revoke", ("clients", client.id), name=client.name, before=before, after=after
    )


def render(client: Client) -> Json:
    """The client as commands and the audit log show it; of its secret, only when it was made."""
    return {
        "id": client.id,
        "name": client.name,
        "kind": client.kind,
        "accountId": client.account_id,
        "external": client.secret_hash is None,
        "createdAt": client.created_at,
        "rotatedAt": client.rotated_at,
        "revokedAt": client.revoked_at,
    }


def _find(session: Session, caller: Caller, client_id: str) -> Client:
    client = find(session, caller, client_id)
    if client is None:
        raise OfftakeError(f"There is no client {client_id}, or it is revoked; see: offtake client list")
    return client


def new_secret() -> str:
    """A fresh secret."""
    return f"p8e-{secrets.token_urlsafe(32)}"


def may_sign_in(client: Client) -> bool:
    """Whether the client is one that has a secret here, and is not revoked."""
    return client.revoked_at is None and client.secret_hash is not None


def stored_hash(client: Client | None) -> str:
    """The hash of the client's secret; for a client that is not there or has none, one that no secret has."""
    return client.secret_hash if client is not None and client.secret_hash is not None else _NOBODY


def secret_matches(stored: str, secret: str) -> bool:
    """Whether the secret is the one with this hash; takes equally long for every hash."""
    salt, _, digest = stored.partition("$")
    return hmac.compare_digest(_scrypt(secret, bytes.fromhex(salt)), bytes.fromhex(digest))


def hash_secret(secret: str) -> str:
    """The secret as it is kept: salt and scrypt digest in hexadecimal."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_scrypt(secret, salt).hex()}"


def _scrypt(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(errors="surrogatepass"), salt=salt, n=2**14, r=8, p=1)


_NOBODY: Final = f"{secrets.token_hex(16)}${secrets.token_hex(64)}"
"""What `hash_secret` would give, made at once: nobody knows a secret of that digest."""
