"""API clients. Their secrets are shown once, and stored as salted hashes only."""

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

from offtake.access import audit, last_administrator, roles, web_sessions
from offtake.clock import Clock
from offtake.contract import problems
from offtake.contract.caller import ALL, MANAGE_ACCESS, Caller, Kind
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.store.database import Database, advisory_lock
from offtake.store.tables import Client, Organisation, Role, RoleSubject, Sandbox

ADMINISTRATORS: Final = "Administrators"
_SYSTEM: Final = "system@AdobeID"
_LONGEST_NAME: Final = 255
_ID: Final = re.compile(r"[A-Za-z0-9_.@:/|-]{1,128}")


@dataclass(frozen=True)
class NewClient:
    """A new client with its secret, which is not stored."""

    org_id: str
    client_id: str
    client_secret: str
    sandbox: str


@dataclass(frozen=True)
class Registration:
    """A client to create. An `external` client has no secret: it signs in at the external OpenID Connect issuer."""

    name: str
    kind: Kind = "user"
    roles: tuple[str, ...] = ()
    client_id: str | None = None
    external: bool = False


def create_organisation(database: Database, clock: Clock) -> None:
    """Create the organisation, its sandbox `prod` and its administrators' role, unless there is an organisation."""
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
    """Create the administrator's client; None when any client exists.

    `keep` stores its secret; when `keep` raises, the client is not created.
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
        created = NewClient(org.id, client.id, secret, "prod")
        keep(created)
        return created


def first_administrator(session: Session) -> Client | None:
    """The oldest client with every permission everywhere; None when there is none."""
    query = select(Client, Role).join(RoleSubject, RoleSubject.client_id == Client.id)
    query = query.join(Role, Role.id == RoleSubject.role_id).where(Client.revoked_at.is_(None))
    for client, role in session.execute(query.order_by(Client.created_at, Client.id)):
        if ALL in role.permissions and ALL in role.sandboxes:
            return client
    return None


def new_client(session: Session, org_id: str, name: str, kind: Kind, now_ms: int) -> tuple[Client, str]:
    """Create a client without roles; returns it and its secret."""
    secret = new_secret()
    client = Client(
        id=secrets.token_hex(16),
        org_id=org_id,
        name=name,
        kind=kind,
        account_id=new_account(kind),
        secret_hash=hash_secret(secret),
        created_at=now_ms,
    )
    session.add(client)
    return client, secret


def new_account(kind: Kind) -> str:
    """A random account id."""
    account = secrets.token_hex(12).upper()
    return f"{account}@AdobeID" if kind == "user" else f"{account}@techacct.adobe.com"


def register(session: Session, caller: Caller, new: Registration, now_ms: int) -> tuple[Client, str | None]:
    """Create a client with roles; returns it and its secret (None for an external client).

    Raises 1452 for a name that is empty, too long or unprintable and for a malformed id, 1439 for an unknown role, and
    3409 when the id is taken.
    """
    caller.require_everywhere(MANAGE_ACCESS)
    if not 1 <= len(new.name) <= _LONGEST_NAME or not new.name.isprintable():
        raise problems.of_field("/name", f"must be 1 to {_LONGEST_NAME} printable characters")
    if new.client_id is not None and not _ID.fullmatch(new.client_id):
        raise problems.of_field("/id", "must be 1 to 128 letters, digits and the characters - _ . @ : / |")
    if new.client_id is not None and session.get(Client, new.client_id) is not None:
        raise Problem(problems.CONFLICT, f"The client {new.client_id} already exists.", "clients", new.client_id)
    granted = [roles.find_by_name(session, caller, name) for name in new.roles]
    client, secret = new_client(session, caller.org_id, new.name, new.kind, now_ms)
    client.id = new.client_id or client.id
    if new.external:
        client.secret_hash = None
    session.flush()
    session.add_all(RoleSubject(role_id=role.id, client_id=client.id) for role in granted)
    after = {**render(client), "roles": [role.name for role in granted]}
    audit.record(session, caller, now_ms, "create", ("clients", client.id), name=client.name, after=after)
    return client, None if new.external else secret


def all_of(session: Session, caller: Caller) -> list[tuple[Client, list[str]]]:
    """The organisation's clients with the names of their roles, newest first."""
    caller.require_everywhere(MANAGE_ACCESS)
    found = session.scalars(
        select(Client).filter_by(org_id=caller.org_id).order_by(Client.created_at.desc(), Client.id)
    )
    return [(client, role_names(session, client)) for client in found]


def role_names(session: Session, client: Client) -> list[str]:
    """The names of the roles that a client has."""
    held = select(Role.name).join(RoleSubject, RoleSubject.role_id == Role.id)
    return list(session.scalars(held.where(RoleSubject.client_id == client.id).order_by(Role.name)))


def find(session: Session, caller: Caller, id_or_account: str) -> Client | None:
    """The organisation's client with that id or account id, unless it is revoked."""
    same = or_(Client.id == id_or_account, Client.account_id == id_or_account)
    return session.scalar(select(Client).where(same, Client.org_id == caller.org_id, Client.revoked_at.is_(None)))


def rotate(session: Session, caller: Caller, client_id: str, now_ms: int) -> str:
    """Replace the client's secret; returns the new one. Tokens issued before stay valid until they expire."""
    client = _find(session, caller, client_id)
    if client.secret_hash is None:
        message = f"Client {client.id} signs in at the external issuer; it has no secret here."
        raise Problem(problems.WRONG_ACTION, message, "clients", client.id)
    secret = new_secret()
    client.secret_hash, client.rotated_at = hash_secret(secret), now_ms
    audit.record(session, caller, now_ms, "rotate", ("clients", client.id), name=client.name)
    return secret


def revoke(session: Session, caller: Caller, client_id: str, now_ms: int) -> None:
    """Revoke a client permanently: its secret, its roles, its sessions and all its tokens, at once."""
    client = _find(session, caller, client_id)
    before = {**render(client), "roles": role_names(session, client)}
    with last_administrator.keeping_an_administrator(session, caller.org_id):
        client.revoked_at = now_ms
        session.execute(delete(RoleSubject).where(RoleSubject.client_id == client.id))
        web_sessions.end_all_of(session, client.id)
    after = {**render(client), "roles": []}
    audit.record(
        session, caller, now_ms, "revoke", ("clients", client.id), name=client.name, before=before, after=after
    )


def render(client: Client) -> Json:
    """The client as commands and the audit log show it, without its secret; of a person with issuer and subject."""
    person = {} if client.subject is None else {"issuer": client.issuer, "subject": client.subject}
    return {
        "id": client.id,
        "name": client.name,
        "kind": client.kind,
        "accountId": client.account_id,
        "external": client.secret_hash is None,
        "createdAt": client.created_at,
        "rotatedAt": client.rotated_at,
        "revokedAt": client.revoked_at,
        **person,
    }


def _find(session: Session, caller: Caller, client_id: str) -> Client:
    caller.require_everywhere(MANAGE_ACCESS)
    client = find(session, caller, client_id)
    if client is None:
        message = f"The client {client_id[:200]} does not exist, or is revoked; see: offtake client list"
        raise Problem(problems.NOT_FOUND, message, "clients", client_id)
    return client


def new_secret() -> str:
    """Generate a secret."""
    return f"p8e-{secrets.token_urlsafe(32)}"


def may_sign_in(client: Client) -> bool:
    """Whether the client has a secret (is not external), and is not revoked."""
    return client.revoked_at is None and client.secret_hash is not None


def has_secret(client: Client) -> bool:
    """Whether the client signs in with a secret; an external one does not."""
    return client.secret_hash is not None


def stored_hash(client: Client | None) -> str:
    """The hash of the client's secret; for a missing or external client, a hash that no secret matches."""
    return client.secret_hash if client is not None and client.secret_hash is not None else _UNMATCHED_HASH


def secret_matches(stored: str, secret: str) -> bool:
    """Whether the secret matches the hash; in constant time."""
    salt, _, digest = stored.partition("$")
    return hmac.compare_digest(_scrypt(secret, bytes.fromhex(salt)), bytes.fromhex(digest))


def hash_secret(secret: str) -> str:
    """The hash to store: salt and scrypt digest in hexadecimal."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_scrypt(secret, salt).hex()}"


def _scrypt(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(errors="surrogatepass"), salt=salt, n=2**14, r=8, p=1)


_UNMATCHED_HASH: Final = f"{secrets.token_hex(16)}${secrets.token_hex(64)}"
"""A random value in the format of `hash_secret`, so that unknown clients take as long as known ones."""
