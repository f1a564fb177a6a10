"""Sandboxes: isolated namespaces of an organisation (contract, section 26)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from uuid import uuid4

from pydantic import BeforeValidator, Field
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from offtake.access import access, audit
from offtake.contract import bodies, entities, problems
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import ALL, MANAGE_SANDBOXES, RESET_SANDBOXES, Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.store.sandbox_states import ACTIVE, DELETED, DELETING, RESETTING
from offtake.store.tables import Connection, Dataset, Flow, LandingZoneKey, Role, Sandbox, Stamp

TYPES: Final = ("production", "development")
FIELDS: Final = ("name", "title", "state", "type", "isDefault", "createdDate", "lastModifiedDate")
"""Fields for filters and order in lists of sandboxes."""

RESERVED: Final = ("dlz-destination", "dlz-user-container", "sign-in", "sign-out", "static")
"""Names that are no sandboxes: their pages would have addresses that mean something else."""

# A sandbox's name is also a folder's name, which has at most 255 characters.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,254}")
_REGION: Final = "local"

Title = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NewSandbox(Body):
    """`POST /sandboxes`."""

    name: str
    title: Title
    type: Annotated[Literal["production", "development"], BeforeValidator(lambda sent: str(sent).lower())]


class TitleChange(Body):
    """`PATCH /sandboxes/{name}`."""

    title: Title


class SandboxAction(Body):
    """`PUT /sandboxes/{name}`."""

    action: str


def visible(session: Session, caller: Caller, most: int | None = None, *, active: bool = False) -> list[Sandbox]:
    """The organisation's sandboxes in which the caller has a role, except deleted ones; the default one first.

    `active`: only those that can be entered.
    """
    names = access.sandboxes_of(session, caller)
    query = select(Sandbox).where(Sandbox.org_id == caller.org_id, Sandbox.state != DELETED)
    query = query if ALL in names else query.where(Sandbox.name.in_(names))
    query = query.where(Sandbox.state == ACTIVE) if active else query
    order = (Sandbox.is_default.desc(), Sandbox.created_at, Sandbox.name)
    return list(session.scalars(query.order_by(*order).limit(most)))


def find(session: Session, caller: Caller, name: str) -> tuple[Sandbox, Caller]:
    """The sandbox with that name, in any state, and the caller in that sandbox; raises 2100."""
    well_formed = _NAME.fullmatch(name) is not None
    row = session.scalar(select(Sandbox).filter_by(org_id=caller.org_id, name=name)) if well_formed else None
    if row is None or not {ALL, name}.intersection(access.sandboxes_of(session, caller)):
        raise access.sandbox_not_found(name)
    return row, access.in_sandbox(session, caller, row)


def create(session: Session, caller: Caller, body: Sent, now_ms: int) -> Sandbox:
    """Create a sandbox; it is active at once. Raises 3409 when the name is taken."""
    caller.require_everywhere(MANAGE_SANDBOXES)
    new = bodies.parse_body(NewSandbox, body)
    if not _NAME.fullmatch(new.name):
        raise problems.of_field(
            "/name", "must be 1 to 255 lower-case letters, digits and hyphens, and start with a letter or digit"
        )
    if new.name in RESERVED:
        raise problems.of_field("/name", f"is reserved for an address of the pages; others are: {', '.join(RESERVED)}")
    earlier = session.scalar(select(Sandbox).filter_by(org_id=caller.org_id, name=new.name))
    if earlier is not None and earlier.state != DELETED:
        raise Problem(problems.CONFLICT, f"Sandbox {new.name} already exists; it is {earlier.state}.")
    if earlier is not None:
        session.execute(delete(LandingZoneKey).where(LandingZoneKey.sandbox_id == earlier.id))
        session.execute(delete(Sandbox).where(Sandbox.id == earlier.id))
    row = Sandbox(
        id=str(uuid4()),
        org_id=caller.org_id,
        name=new.name,
        title=new.title,
        type=new.type,
        state=ACTIVE,
        is_default=False,
        revision=1,
        created_at=now_ms,
        updated_at=now_ms,
        created_by=caller.account_id,
        updated_by=caller.account_id,
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError:
        raise Problem(
            problems.CONFLICT, f"Sandbox {new.name} already exists: another request has just created it."
        ) from None
    _record(session, access.in_sandbox(session, caller, row), now_ms, "create", row, None)
    return row


def rename(session: Session, caller: Caller, name: str, body: Sent, now_ms: int) -> Sandbox:
    """Change the sandbox's title, the only field that can be changed."""
    row, inside = find(session, caller, name)
    inside.require(MANAGE_SANDBOXES)
    document = bodies.parse_json(body) if isinstance(body, bytes) else body
    others = sorted(set(document) - {"title"}) if isinstance(document, dict) else []
    if others:
        raise problems.of_field(f"/{others[0][:100]}", "cannot be changed; only title can")
    change = bodies.parse_body(TitleChange, document if isinstance(document, dict) else {})
    lock_active(session, row)
    before = render(row)
    row.title = change.title
    _touch(row, inside, now_ms)
    _record(session, inside, now_ms, "update", row, before)
    return row


def reset(
    session: Session, caller: Caller, name: str, body: Sent, now_ms: int, *, validate_only: bool = False
) -> Sandbox:
    """Start a reset; a background task removes the content and makes the sandbox active again."""
    row, inside = find(session, caller, name)
    inside.require(RESET_SANDBOXES)
    request = bodies.parse_body(SandboxAction, body)
    if request.action.strip().lower() != "reset":
        raise Problem(problems.UNKNOWN_ACTION, f"The action {request.action[:100]} is unknown; use reset.")
    lock_active(session, row)
    if not validate_only:
        _begin_removal(session, inside, row, RESETTING, now_ms)
    return row


def remove(session: Session, caller: Caller, name: str, now_ms: int, *, validate_only: bool = False) -> Sandbox:
    """Start a deletion, done by a background task. Removes the name from roles: a successor must not inherit access."""
    row, inside = find(session, caller, name)
    caller.require_everywhere(MANAGE_SANDBOXES)
    if row.is_default:
        raise Problem(problems.NOT_UPDATABLE, f"Sandbox {name} is the default sandbox and cannot be deleted.")
    lock_active(session, row)
    if not validate_only:
        _remove_from_roles(session, caller, row, now_ms)
        _begin_removal(session, inside, row, DELETING, now_ms)
    return row


def unfinished(session: Session) -> list[Sandbox]:
    """The sandboxes of all organisations whose content is still to be removed."""
    return list(session.scalars(select(Sandbox).where(Sandbox.state.in_((RESETTING, DELETING)))))


@dataclass(frozen=True)
class Content:
    """What a sandbox contains, and its reset or deletion removes."""

    flows: int
    enabled_flows: int
    connections: int
    datasets: int


def content(session: Session, row: Sandbox) -> Content:
    """Count what the sandbox contains."""

    def count(table: type[Stamp], *conditions: ColumnElement[bool]) -> int:
        counted = select(func.count()).select_from(table).where(table.sandbox_id == row.id, *conditions)
        return session.scalar(counted) or 0

    return Content(count(Flow), count(Flow, Flow.state == entities.ENABLED), count(Connection), count(Dataset))


def removal_warnings(session: Session, row: Sandbox) -> list[str]:
    """Warnings before a reset or deletion: the number of enabled flows that will be removed."""
    enabled = select(func.count()).select_from(Flow).where(Flow.sandbox_id == row.id, Flow.state == entities.ENABLED)
    count = session.scalar(enabled) or 0
    return [f"{count} enabled flow(s) are removed with everything else in it."] if count else []


def render(row: Sandbox) -> Json:
    """The sandbox as the API shows it."""
    return {
        "id": row.id,
        "name": row.name,
        "title": row.title,
        "state": row.state,
        "type": row.type,
        "region": _REGION,
        "isDefault": row.is_default,
        "eTag": row.revision,
        "etag": row.revision,
        "createdDate": _date(row.created_at),
        "lastModifiedDate": _date(row.updated_at),
        "createdBy": row.created_by,
        "modifiedBy": row.updated_by,
    }


def _date(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def lock_active(session: Session, row: Sandbox) -> None:
    """Lock the row, so that state changes are serialised. Raises 1422 unless the sandbox is active."""
    session.refresh(row, with_for_update=True)
    if row.state != ACTIVE:
        raise Problem(
            problems.WRONG_ACTION, f"Sandbox {row.name} is {row.state}; only an active sandbox can be changed."
        )


def _touch(row: Sandbox, caller: Caller, now_ms: int) -> None:
    row.revision += 1
    row.updated_at, row.updated_by = now_ms, caller.account_id


def _begin_removal(
    session: Session, caller: Caller, row: Sandbox, state: Literal["resetting", "deleting"], now_ms: int
) -> None:
    before = render(row)
    row.state = state
    _touch(row, caller, now_ms)
    _record(session, caller, now_ms, "reset" if state == RESETTING else "delete", row, before)


def _remove_from_roles(session: Session, caller: Caller, row: Sandbox, now_ms: int) -> None:
    for role in session.scalars(select(Role).filter_by(org_id=row.org_id)):
        if row.name in role.sandboxes:
            before: dict[str, Any] = {"sandboxes": role.sandboxes}
            role.sandboxes = [name for name in role.sandboxes if name != row.name]
            role.updated_at, role.updated_by = now_ms, caller.account_id
            after = {"sandboxes": role.sandboxes}
            audit.record(
                session, caller, now_ms, "update", ("roles", role.id), name=role.name, before=before, after=after
            )


def _record(
    session: Session, caller: Caller, now_ms: int, action: audit.Action, row: Sandbox, before: Json | None
) -> None:
    audit.record(
        session, caller, now_ms, action, ("sandboxes", row.id), name=row.name, before=before, after=render(row)
    )
