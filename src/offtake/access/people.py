"""People who sign in to the pages through the OpenID Connect issuer: clients with a subject instead of a secret."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import access, audit, clients, role_patches
from offtake.errors import OfftakeError
from offtake.store.tables import Client, Organisation

_ID_CHARACTERS: Final = 26


class PersonRefusedError(OfftakeError):
    """The issuer knows the person, but this deployment refuses the person."""


@dataclass(frozen=True)
class Identity:
    """A person as the issuer describes it. `name`: printable, for display only."""

    issuer: str
    subject: str
    name: str
    groups: frozenset[str] = frozenset()


def sign_in(session: Session, identity: Identity, now_ms: int, *, remote: str, request_id: str) -> Client:
    """The client of a person, with the current name and the roles of the current groups; created at the first sign-in.

    The person is the actor of these changes in the audit log. Raises `PersonRefusedError`.
    """
    # Locked, so that two first sign-ins of one person are serialised.
    first = select(Organisation).order_by(Organisation.created_at, Organisation.id).limit(1)
    org = session.scalars(first.with_for_update()).one()
    known = session.scalar(select(Client).filter_by(issuer=identity.issuer, subject=identity.subject))
    if known is not None and known.revoked_at is not None:
        raise PersonRefusedError(f"An administrator revoked your access ({known.id}). Ask an administrator.")
    client = known or _create(session, org.id, identity, now_ms)
    caller = access.caller_of(session, client, None, remote=remote, request_id=request_id)
    resource = ("clients", client.id)
    if known is None:
        audit.record(session, caller, now_ms, "create", resource, name=client.name, after=clients.render(client))
    elif client.name != identity.name:
        before = clients.render(client)
        client.name = identity.name
        audit.record(
            session, caller, now_ms, "update", resource, name=client.name, before=before, after=clients.render(client)
        )
    role_patches.follow_groups(session, caller, client, identity.groups, now_ms)
    return client


def _create(session: Session, org_id: str, identity: Identity, now_ms: int) -> Client:
    client_id = id_of(identity.issuer, identity.subject)
    if session.get(Client, client_id) is not None:
        raise PersonRefusedError(
            f"Another client has the id that belongs to you, {client_id}. Ask the operator of this server."
        )
    client = Client(
        id=client_id,
        org_id=org_id,
        name=identity.name,
        kind="user",
        account_id=clients.new_account("user"),
        secret_hash=None,
        created_at=now_ms,
        issuer=identity.issuer,
        subject=identity.subject,
    )
    session.add(client)
    session.flush()
    return client


def id_of(issuer: str, subject: str) -> str:
    """The client id of a person, which the administrator can know before the first sign-in."""
    digest = hashlib.sha256(f"{issuer}\0{subject}".encode()).digest()
    return f"person-{base64.b32encode(digest).decode().lower()[:_ID_CHARACTERS]}"
