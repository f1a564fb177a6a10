"""Refuses changes after which no client could manage access."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from offtake.contract import problems
from offtake.contract.caller import ALL, MANAGE_ACCESS
from offtake.contract.problems import Problem
from offtake.store.tables import Client, Organisation, Role, RoleSubject


@contextmanager
def keeping_an_administrator(session: Session, org_id: str) -> Iterator[None]:
    """Context manager for a change of roles or clients; raises 1420 if no client can manage access after it.

    Locks the organisation's row, so that concurrent changes are serialised.
    """
    lock(session, org_id)
    had_administrator = _has_administrator(session, org_id)
    yield
    session.flush()
    if had_administrator and not _has_administrator(session, org_id):
        raise Problem(
            problems.NOT_UPDATABLE,
            "No client could manage access after this change. "
            f"Give another client {MANAGE_ACCESS} in all sandboxes first.",
        )


def lock(session: Session, org_id: str) -> None:
    """Lock the organisation's row until the transaction ends."""
    session.get_one(Organisation, org_id, with_for_update=True)


def depends_on(session: Session, held: RoleSubject, org_id: str) -> bool:
    """Whether a client can manage access now, but none could if that subject no longer had that role."""
    return _has_administrator(session, org_id) and not _has_administrator(session, org_id, without=held)


def _has_administrator(session: Session, org_id: str, without: RoleSubject | None = None) -> bool:
    held = (
        select(Role).join(RoleSubject, RoleSubject.role_id == Role.id).join(Client, Client.id == RoleSubject.client_id)
    )
    if without is not None:
        held = held.where(
            or_(RoleSubject.role_id != without.role_id, RoleSubject.client_id != without.client_id),
        )
    roles = session.scalars(held.where(Role.org_id == org_id, Client.revoked_at.is_(None)))
    return any(ALL in role.sandboxes and {ALL, MANAGE_ACCESS}.intersection(role.permissions) for role in roles)
