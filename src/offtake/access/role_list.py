"""A page of roles for people who look through them."""

from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from offtake.contract.caller import MANAGE_ACCESS, Caller
from offtake.store.tables import Role, RoleSubject


@dataclass(frozen=True)
class RoleSummary:
    """A role, and how many clients have it."""

    id: str
    name: str
    description: str
    permissions: tuple[str, ...]
    sandboxes: tuple[str, ...]
    labels: tuple[str, ...]
    updated_ms: int
    subjects: int


def page(session: Session, caller: Caller, text: str, start: int, limit: int) -> list[RoleSummary]:
    """The organisation's roles whose name or description contains the text, by name."""
    caller.require_everywhere(MANAGE_ACCESS)
    held = select(func.count()).select_from(RoleSubject).where(RoleSubject.role_id == Role.id).scalar_subquery()
    query = select(Role, held).where(Role.org_id == caller.org_id)
    if text:
        query = query.where(
            or_(Role.name.icontains(text, autoescape=True), Role.description.icontains(text, autoescape=True))
        )
    rows = session.execute(query.order_by(Role.name, Role.id).offset(start).limit(limit))
    return [
        RoleSummary(
            id=row.id,
            name=row.name,
            description=row.description,
            permissions=tuple(row.permissions),
            sandboxes=tuple(row.sandboxes),
            labels=tuple(row.labels),
            updated_ms=row.updated_at,
            subjects=count,
        )
        for row, count in rows
    ]


def names(session: Session, caller: Caller, limit: int) -> list[str]:
    """The first names of roles, sorted; for forms that offer them."""
    caller.require_everywhere(MANAGE_ACCESS)
    return list(session.scalars(select(Role.name).filter_by(org_id=caller.org_id).order_by(Role.name).limit(limit)))
