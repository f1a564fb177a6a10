"""Roles: permissions and labels that clients have in the listed sandboxes (contract, section 27)."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal
from uuid import UUID, uuid4

from pydantic import BeforeValidator, Field
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from offtake.access import audit, last_administrator
from offtake.contract import bodies, problems
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import (
    ALL,
    EXPORT_DATASETS,
    MANAGE_ACCESS,
    MANAGE_DESTINATIONS,
    PERMISSIONS,
    VIEW_DESTINATIONS,
    Caller,
)
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import FieldProblem, InvalidInputError
from offtake.store.sandbox_states import DELETED
from offtake.store.tables import Role, RoleSubject, Sandbox

FIELDS: Final = ("id", "name", "description", "roleType", "createdAt", "modifiedAt", "createdBy", "modifiedBy")
"""Fields for filters and order in lists of roles."""

_SYSTEM: Final = "system@AdobeID"

Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
Text = Annotated[str, Field(max_length=4000, pattern=r"^[^\x00]*$")]
Words = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]], Field(max_length=1000)
]
RoleType = Annotated[Literal["user-defined", "system-defined"], BeforeValidator(lambda sent: str(sent).lower())]


class SubjectAttributes(Body):
    """What subjects get in addition to permissions."""

    labels: Words = Field(default_factory=list)


class NewRole(Body):
    """`POST /administration/roles`. Only the name is required."""

    name: Name
    description: Text = ""
    role_type: RoleType = "user-defined"
    permission_sets: Words = Field(default_factory=list)
    sandboxes: Words = Field(default_factory=list)
    subject_attributes: SubjectAttributes = Field(default_factory=SubjectAttributes)


class ChangedRole(Body):
    """`PUT /administration/roles/{id}`. Absent optional fields stay unchanged, for clients that send only three."""

    name: Name
    description: Text
    role_type: RoleType
    permission_sets: Words | None = None
    sandboxes: Words | None = None
    subject_attributes: SubjectAttributes | None = None


def all_of(session: Session, caller: Caller) -> list[Role]:
    """The organisation's roles, newest first."""
    caller.require_everywhere(MANAGE_ACCESS)
    newest_first = (Role.created_at.desc(), Role.id)
    return list(session.scalars(select(Role).filter_by(org_id=caller.org_id).order_by(*newest_first)))


def without_view_destinations(session: Session) -> list[Role]:
    """All roles that grant creating connections or exports but not `VIEW_DESTINATIONS`, ordered by name.

    Creation needs both permissions. A client whose other roles grant the view is not affected.
    """
    by_name = session.scalars(select(Role).order_by(Role.name, Role.id))
    return [
        row
        for row in by_name
        if {EXPORT_DATASETS, MANAGE_DESTINATIONS}.intersection(row.permissions)
        and not {ALL, VIEW_DESTINATIONS}.intersection(row.permissions)
    ]


def find(session: Session, caller: Caller, role_id: str) -> Role:
    """The organisation's role with that id; raises 1439."""
    caller.require_everywhere(MANAGE_ACCESS)
    row = session.get(Role, role_id) if _is_uuid(role_id) else None
    if row is None or row.org_id != caller.org_id:
        raise problems.not_found("roles", role_id)
    return row


def find_by_name(session: Session, caller: Caller, name: str) -> Role:
    """The organisation's role with that name or id; raises 1439."""
    row = session.scalar(select(Role).filter_by(org_id=caller.org_id, name=name))
    return row if row is not None else find(session, caller, name)


def create(session: Session, caller: Caller, body: Sent, now_ms: int) -> Role:
    """Create a role without subjects; raises 3409 when the name is taken."""
    caller.require_everywhere(MANAGE_ACCESS)
    new = bodies.parse_body(NewRole, body)
    row = Role(
        id=str(uuid4()),
        org_id=caller.org_id,
        name=new.name,
        description=new.description,
        permissions=new.permission_sets,
        sandboxes=new.sandboxes,
        labels=new.subject_attributes.labels,
        created_at=now_ms,
        updated_at=now_ms,
        created_by=caller.account_id,
        updated_by=caller.account_id,
    )
    _check(session, row)
    session.add(row)
    _flush(session, row)
    audit.record(session, caller, now_ms, "create", ("roles", row.id), name=row.name, after=render(row))
    return row


def replace(session: Session, caller: Caller, role_id: str, body: Sent, now_ms: int) -> Role:
    """Replace the role's name and description, and the other fields that are in the body."""
    row = find(session, caller, role_id)
    new = bodies.parse_body(ChangedRole, body)
    changes: Json = {"name": new.name, "description": new.description}
    if new.permission_sets is not None:
        changes["permissions"] = new.permission_sets
    if new.sandboxes is not None:
        changes["sandboxes"] = new.sandboxes
    if new.subject_attributes is not None:
        changes["labels"] = new.subject_attributes.labels
    return change(session, caller, row, changes, now_ms)


def change(session: Session, caller: Caller, row: Role, changes: Json, now_ms: int) -> Role:
    """Set columns of the role; raises 1420 if no client could manage access after that."""
    before = render(row)
    with last_administrator.keeping_an_administrator(session, caller.org_id):
        for column, value in changes.items():
            setattr(row, column, value)
        _check(session, row)
        row.updated_at, row.updated_by = now_ms, caller.account_id
        _flush(session, row)
    audit.record(session, caller, now_ms, "update", ("roles", row.id), name=row.name, before=before, after=render(row))
    return row


def remove(session: Session, caller: Caller, role_id: str, now_ms: int) -> None:
    """Delete the role, also from its subjects; raises 1420 if no client could manage access after that."""
    row = find(session, caller, role_id)
    with last_administrator.keeping_an_administrator(session, caller.org_id):
        session.execute(delete(RoleSubject).where(RoleSubject.role_id == row.id))
        session.delete(row)
    audit.record(session, caller, now_ms, "delete", ("roles", row.id), name=row.name, before=render(row))


def render(row: Role) -> Json:
    """The role as the API shows it."""
    return {
        "id": row.id,
        "recordType": "role",
        "name": row.name,
        "description": row.description,
        "roleType": "system-defined" if row.created_by == _SYSTEM else "user-defined",
        "permissionSets": row.permissions,
        "sandboxes": row.sandboxes,
        "subjectAttributes": {"labels": row.labels},
        "imsOrgID": row.org_id,
        "createdBy": row.created_by,
        "createdAt": row.created_at,
        "modifiedBy": row.updated_by,
        "modifiedAt": row.updated_at,
    }


def _check(session: Session, row: Role) -> None:
    """Raise 1452 with every unknown permission and sandbox."""
    existing = select(Sandbox.name).where(Sandbox.org_id == row.org_id, Sandbox.state != DELETED)
    with session.no_autoflush:
        sandboxes = set(session.scalars(existing))
    found = _unknown_values("permissionSets", row.permissions, (*PERMISSIONS, ALL), "a permission")
    found += _unknown_values("sandboxes", row.sandboxes, (*sorted(sandboxes), ALL), "a sandbox")
    if found:
        raise problems.of_fields(InvalidInputError(found))
    row.permissions, row.sandboxes, row.labels = (
        _deduplicate(one) for one in (row.permissions, row.sandboxes, row.labels)
    )


def _unknown_values(field: str, sent: Sequence[str], known: Sequence[str], kind: str) -> list[FieldProblem]:
    allowed = ", ".join(known[:50])
    return [
        FieldProblem(f"/{field}/{index}", f"{value} is not {kind}. Allowed: {allowed}")
        for index, value in enumerate(sent)
        if value not in known
    ]


def _deduplicate(words: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _flush(session: Session, row: Role) -> None:
    name = row.name
    try:
        session.flush()
    except IntegrityError:
        raise Problem(problems.CONFLICT, f"The role {name} already exists.") from None


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
