"""Lists of clients and of the subjects of a role, for people who look through them; never unbounded."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from offtake.access import clients, roles
from offtake.contract.caller import MANAGE_ACCESS, Caller
from offtake.store.tables import Client, Role, RoleSubject

State = Literal["", "active", "revoked"]


@dataclass(frozen=True)
class HeldRole:
    """A role of a client. `from_groups`: by the issuer's groups, so that a sign-in sets it again."""

    id: str
    name: str
    from_groups: bool = False


@dataclass(frozen=True)
class ClientSummary:
    """A client with its roles. `external`: it has no secret here, the issuer signs it in."""

    id: str
    name: str
    kind: str
    account_id: str
    external: bool
    created_ms: int
    rotated_ms: int | None
    revoked_ms: int | None
    roles: tuple[HeldRole, ...]


@dataclass(frozen=True)
class Subject:
    """A client that has a role."""

    id: str
    name: str
    kind: str
    from_groups: bool


def page(session: Session, caller: Caller, text: str, state: State, start: int, limit: int) -> list[ClientSummary]:
    """The organisation's clients whose name, id or account id contains the text, newest first."""
    caller.require_everywhere(MANAGE_ACCESS)
    conditions: list[ColumnElement[bool]] = [Client.org_id == caller.org_id]
    if text:
        columns = (Client.name, Client.id, Client.account_id)
        conditions.append(or_(*(column.icontains(text, autoescape=True) for column in columns)))
    if state:
        conditions.append(Client.revoked_at.is_(None) if state == "active" else Client.revoked_at.is_not(None))
    newest = select(Client).where(*conditions).order_by(Client.created_at.desc(), Client.id)
    return _summaries(session, session.scalars(newest.offset(start).limit(limit)).all())


def find(session: Session, caller: Caller, client_id: str) -> ClientSummary | None:
    """The organisation's client with that id, also if it is revoked."""
    caller.require_everywhere(MANAGE_ACCESS)
    row = session.get(Client, client_id)
    return _summaries(session, [row])[0] if row is not None and row.org_id == caller.org_id else None


def subjects(session: Session, caller: Caller, role_id: str, start: int, limit: int) -> list[Subject]:
    """The subjects of a role, oldest first; raises 1439."""
    role = roles.find(session, caller, role_id)
    held = select(Client, RoleSubject.from_groups).join(RoleSubject, RoleSubject.client_id == Client.id)
    oldest = held.where(RoleSubject.role_id == role.id).order_by(Client.created_at, Client.id)
    rows = session.execute(oldest.offset(start).limit(limit))
    return [Subject(client.id, client.name, client.kind, bool(from_groups)) for client, from_groups in rows]


def _summaries(session: Session, rows: Sequence[Client]) -> list[ClientSummary]:
    held = select(RoleSubject.client_id, Role.id, Role.name, RoleSubject.from_groups).join(
        Role, Role.id == RoleSubject.role_id
    )
    of_rows = held.where(RoleSubject.client_id.in_([row.id for row in rows])).order_by(Role.name)
    found = defaultdict[str, list[HeldRole]](list)
    for client_id, role_id, name, from_groups in session.execute(of_rows):
        found[client_id].append(HeldRole(role_id, name, bool(from_groups)))
    return [_summary(row, tuple(found[row.id])) for row in rows]


def _summary(row: Client, held: tuple[HeldRole, ...]) -> ClientSummary:
    return ClientSummary(
        id=row.id,
        name=row.name,
        kind=row.kind,
        account_id=row.account_id,
        external=not clients.has_secret(row),
        created_ms=row.created_at,
        rotated_ms=row.rotated_at,
        revoked_ms=row.revoked_at,
        roles=held,
    )
