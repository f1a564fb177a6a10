"""Patches of roles and their subjects (contract, section 27)."""

import logging
from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from offtake.access import audit, clients, last_administrator, roles
from offtake.access.roles import NewRole
from offtake.contract import bodies, json_patch, problems
from offtake.contract.bodies import Body
from offtake.contract.caller import MANAGE_ACCESS, Caller
from offtake.contract.json_patch_rules import Patch
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.store.tables import Client, Role, RoleSubject

_log = logging.getLogger(__name__)

_TEXTS: Final = ("/name", "/description")
_LISTS: Final = ("/permissionSets", "/sandboxes", "/subjectAttributes/labels")
_SUBJECTS: Final = "/user"
_MAX: Final = 100


class Operation(Body):
    """One operation of a patch. `op` is add, replace or remove, in any letter case."""

    op: str
    path: str
    value: Any = None


def patch(session: Session, caller: Caller, role_id: str, body: Patch, now_ms: int) -> Role:
    """Apply all operations to the role, atomically. Single values of lists can be added and removed."""
    row = roles.find(session, caller, role_id)
    document: Json = {
        "/name": row.name,
        "/description": row.description,
        "/permissionSets": row.permissions,
        "/sandboxes": row.sandboxes,
        "/subjectAttributes/labels": row.labels,
    }
    for operation in _operations(body):
        _apply(document, operation)
    role = bodies.parse_document(
        NewRole,
        {path[1:]: document[path] for path in (*_TEXTS, "/permissionSets", "/sandboxes")}
        | {"subjectAttributes": {"labels": document["/subjectAttributes/labels"]}},
    )
    changes: Json = {
        "name": role.name,
        "description": role.description,
        "permissions": role.permission_sets,
        "sandboxes": role.sandboxes,
        "labels": role.subject_attributes.labels,
    }
    return roles.change(session, caller, row, changes, now_ms)


def subjects(session: Session, role: Role) -> list[Json]:
    """The subjects of the role (clients), oldest first."""
    held = select(Client).join(RoleSubject, RoleSubject.client_id == Client.id).where(RoleSubject.role_id == role.id)
    return [_subject(role, client) for client in session.scalars(held.order_by(Client.created_at, Client.id))]


def patch_subjects(session: Session, caller: Caller, role_id: str, body: Patch, now_ms: int) -> Role:
    """Grant the role to clients or revoke it, by client id or account id; all operations, atomically."""
    row = roles.find(session, caller, role_id)
    with last_administrator.keeping_an_administrator(session, caller.org_id):
        for operation in _operations(body):
            if operation.path.rstrip("/-") != _SUBJECTS:
                message = f"The path {operation.path[:100]} does not exist; use {_SUBJECTS}."
                raise Problem(problems.MISSING_FIELD, message)
            selected = [_client(session, caller, name) for name in _string_list(operation.value)]
            if operation.op != "add":
                _revoke(
                    session,
                    caller,
                    row,
                    selected if operation.op == "remove" else _remaining(session, row, selected),
                    now_ms,
                )
            if operation.op != "remove":
                _grant(session, caller, row, selected, now_ms)
    return row


def grant(session: Session, caller: Caller, role: Role, client: Client, now_ms: int) -> None:
    """Grant the role to a client; no-op if it has it."""
    _grant(session, caller, role, [client], now_ms)


def revoke(session: Session, caller: Caller, role: Role, client: Client, now_ms: int) -> None:
    """Revoke the role from a client; raises 1420 if no client could manage access after that."""
    with last_administrator.keeping_an_administrator(session, caller.org_id):
        _revoke(session, caller, role, [client], now_ms)


def follow_groups(session: Session, caller: Caller, client: Client, groups: Collection[str], now_ms: int) -> None:
    """Give a person the roles whose names equal one of its groups at the issuer, and take those of other groups.

    Roles that were assigned here stay. So does a role without which no client could manage access.
    """
    last_administrator.lock(session, client.org_id)
    named = {row.id: row for row in session.scalars(select(Role).filter_by(org_id=client.org_id))}
    held = {one.role_id: one for one in session.scalars(select(RoleSubject).filter_by(client_id=client.id))}
    wanted = {row.id for row in named.values() if row.name in groups}
    for role_id in sorted(wanted - held.keys()):
        session.add(RoleSubject(role_id=role_id, client_id=client.id, from_groups=True))
        session.flush()
        _record(session, caller, named[role_id], client, "grant", now_ms, from_groups=True)
    for role_id in sorted(held.keys() - wanted):
        if not held[role_id].from_groups:
            continue
        if last_administrator.depends_on(session, held[role_id], client.org_id):
            _log.warning(
                "client %s keeps the role %s, which its groups no longer give it: no other client can manage access; "
                "give another one %s in all sandboxes",
                client.id,
                named[role_id].name,
                MANAGE_ACCESS,
            )
            continue
        session.delete(held[role_id])
        session.flush()
        _record(session, caller, named[role_id], client, "revoke", now_ms, from_groups=True)


def _operations(body: Patch) -> Sequence[json_patch.Operation]:
    """Parse one operation, an array, or an array under `operations`: the vendor documents each form."""
    if not isinstance(body, bytes):
        return body
    document = bodies.parse_json(body)
    if isinstance(document, dict) and "operations" in document:
        document = document["operations"]
    sent = document if isinstance(document, list) else [document]
    if not sent or len(sent) > _MAX:
        raise problems.of_field("/", f"must have 1 to {_MAX} operations")
    return [_operation(one) for one in sent]


def _operation(sent: object) -> json_patch.Operation:
    operation = bodies.parse_document(Operation, sent)
    if operation.op.lower() not in ("add", "replace", "remove"):
        raise Problem(problems.PATCH_OP, f"The operation {operation.op[:100]} is unknown; use add, replace or remove.")
    return json_patch.Operation(operation.op.lower(), operation.path, operation.value)


def _apply(document: Json, operation: json_patch.Operation) -> None:
    path = operation.path.rstrip("/-")
    if path in _TEXTS:
        document[path] = "" if operation.op == "remove" else operation.value
    elif path in _LISTS:
        document[path] = _changed_list(document[path], operation)
    else:
        allowed = ", ".join((*_TEXTS, *_LISTS))
        raise Problem(problems.MISSING_FIELD, f"The path {operation.path[:100]} cannot be changed. Allowed: {allowed}.")


def _changed_list(current: list[str], operation: json_patch.Operation) -> list[str]:
    words = _string_list(operation.value) if operation.value is not None or operation.op != "remove" else current
    if operation.op == "add":
        return [*current, *words]
    return words if operation.op == "replace" else [word for word in current if word not in words]


def _string_list(value: object) -> list[str]:
    sent = value if isinstance(value, list) else [value]
    words = [word for word in sent if isinstance(word, str) and word.isprintable()]
    if len(words) < max(len(sent), 1):
        raise problems.of_field("/value", "must be a string, or an array of strings")
    return words


def _client(session: Session, caller: Caller, name: str) -> Client:
    client = clients.find(session, caller, name)
    if client is None:
        raise problems.of_field("/value", f"client {name[:200]} does not exist in this organisation")
    return client


def _remaining(session: Session, role: Role, excluded: list[Client]) -> list[Client]:
    held = select(Client).join(RoleSubject, RoleSubject.client_id == Client.id).where(RoleSubject.role_id == role.id)
    return [client for client in session.scalars(held) if client not in excluded]


def _grant(session: Session, caller: Caller, role: Role, receivers: list[Client], now_ms: int) -> None:
    for client in receivers:
        held = session.get(RoleSubject, (role.id, client.id))
        if held is not None and held.from_groups:
            # From now on, it stays whatever the groups are.
            held.from_groups = False
            session.flush()
            _record(session, caller, role, client, "grant", now_ms)
        if held is None:
            session.add(RoleSubject(role_id=role.id, client_id=client.id))
            session.flush()
            _record(session, caller, role, client, "grant", now_ms)


def _revoke(session: Session, caller: Caller, role: Role, holders: list[Client], now_ms: int) -> None:
    for client in holders:
        if session.get(RoleSubject, (role.id, client.id)) is not None:
            held = (RoleSubject.role_id == role.id, RoleSubject.client_id == client.id)
            session.execute(delete(RoleSubject).where(*held))
            _record(session, caller, role, client, "revoke", now_ms)


def _record(
    session: Session,
    caller: Caller,
    role: Role,
    client: Client,
    action: audit.Action,
    now_ms: int,
    *,
    from_groups: bool = False,
) -> None:
    subject: Json = {"subject": client.id, "subjectName": client.name} | ({"fromGroups": True} if from_groups else {})
    change = {"after": subject} if action == "grant" else {"before": subject}
    audit.record(session, caller, now_ms, action, ("roles", role.id), name=role.name, **change)


def _subject(role: Role, client: Client) -> Json:
    kind = "service" if client.kind == "service" else "user"
    return {
        "roleId": role.id,
        "subjectId": client.account_id,
        "subjectType": kind,
        "clientId": client.id,
        "name": client.name,
    }
