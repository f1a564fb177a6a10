"""Patches of roles and of who has them (contract, section 27)."""

from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from offtake.access import audit, clients, last_administrator, roles
from offtake.access.roles import NewRole
from offtake.contract import bodies, problems
from offtake.contract.bodies import Body, Json
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.store.tables import Client, Role, RoleSubject

_TEXTS: Final = ("/name", "/description")
_LISTS: Final = ("/permissionSets", "/sandboxes", "/subjectAttributes/labels")
_SUBJECTS: Final = "/user"
_MAX: Final = 100


class Operation(Body):
    """One operation of a patch. `op` is add, replace or remove, in any letter case."""

    op: str
    path: str
    value: Any = None


def patch(session: Session, caller: Caller, role_id: str, body: bytes, now_ms: int) -> Role:
    """Apply every operation to the role, or none. Of lists, single words can be added and removed."""
    row = roles.find(session, caller, role_id)
    document: Json = {
        "/name": row.name,
        "/description": row.description,
        "/permissionSets": row.permissions,
        "/sandboxes": row.sandboxes,
        "/subjectAttributes/labels": row.labels,
    }
    for one in _operations(body):
        _apply(document, one)
    asked = bodies.parse_document(
        NewRole,
        {path[1:]: document[path] for path in (*_TEXTS, "/permissionSets", "/sandboxes")}
        | {"subjectAttributes": {"labels": document["/subjectAttributes/labels"]}},
    )
    changes: Json = {
        "name": asked.name,
        "description": asked.description,
        "permissions": asked.permission_sets,
        "sandboxes": asked.sandboxes,
        "labels": asked.subject_attributes.labels,
    }
    return roles.change(session, caller, row, changes, now_ms)


def subjects(session: Session, role: Role) -> list[Json]:
    """Who has the role, in the order in which they were made."""
    held = select(Client).join(RoleSubject, RoleSubject.client_id == Client.id).where(RoleSubject.role_id == role.id)
    return [_subject(role, client) for client in session.scalars(held.order_by(Client.created_at, Client.id))]


def patch_subjects(session: Session, caller: Caller, role_id: str, body: bytes, now_ms: int) -> Role:
    """Give the role to clients and take it from them, by client id or account id: every operation, or none."""
    row = roles.find(session, caller, role_id)
    with last_administrator.keeping_an_administrator(session, caller.org_id):
        for one in _operations(body):
            if one.path.rstrip("/-") != _SUBJECTS:
                raise Problem(problems.MISSING_FIELD, f"There is no {one.path[:100]} here; use {_SUBJECTS}.")
            wanted = [_client(session, caller, name) for name in _string_list(one.value)]
            if one.op != "add":
                _take_from(
                    session, caller, row, wanted if one.op == "remove" else _remaining(session, row, wanted), now_ms
                )
            if one.op != "remove":
                _give_to(session, caller, row, wanted, now_ms)
    return row


def grant(session: Session, caller: Caller, role: Role, client: Client, now_ms: int) -> None:
    """Give the role to a client; that it has it already is no error."""
    _give_to(session, caller, role, [client], now_ms)


def revoke(session: Session, caller: Caller, role: Role, client: Client, now_ms: int) -> None:
    """Take the role from a client; raises 1420 when nobody could manage access then."""
    with last_administrator.keeping_an_administrator(session, caller.org_id):
        _take_from(session, caller, role, [client], now_ms)


def _operations(body: bytes) -> list[Operation]:
    """One operation, an array of them, or one under `operations`: the vendor's documents show each."""
    document = bodies.parse_json(body)
    if isinstance(document, dict) and "operations" in document:
        document = document["operations"]
    sent = document if isinstance(document, list) else [document]
    if not sent or len(sent) > _MAX:
        raise problems.of_field("/", f"must hold 1 to {_MAX} operations")
    return [_operation(one) for one in sent]


def _operation(sent: object) -> Operation:
    one = bodies.parse_document(Operation, sent)
    if one.op.lower() not in ("add", "replace", "remove"):
        raise Problem(problems.PATCH_OP, f"The operation {one.op[:100]} is unknown; use add, replace or remove.")
    return one.model_copy(update={"op": one.op.lower()})


def _apply(document: Json, one: Operation) -> None:
    path = one.path.rstrip("/-")
    if path in _TEXTS:
        document[path] = "" if one.op == "remove" else one.value
    elif path in _LISTS:
        document[path] = _with_change(document[path], one)
    else:
        allowed = ", ".join((*_TEXTS, *_LISTS))
        raise Problem(problems.MISSING_FIELD, f"There is no {one.path[:100]} that can be changed. Allowed: {allowed}.")


def _with_change(present: list[str], one: Operation) -> list[str]:
    words = _string_list(one.value) if one.value is not None or one.op != "remove" else present
    if one.op == "add":
        return [*present, *words]
    return words if one.op == "replace" else [word for word in present if word not in words]


def _string_list(value: object) -> list[str]:
    sent = value if isinstance(value, list) else [value]
    words = [word for word in sent if isinstance(word, str) and word.isprintable()]
    if len(words) < max(len(sent), 1):
        raise problems.of_field("/value", "must be a string, or an array of strings")
    return words


def _client(session: Session, caller: Caller, name: str) -> Client:
    client = clients.find(session, caller, name)
    if client is None:
        raise problems.of_field("/value", f"there is no client {name[:200]} in this organisation")
    return client


def _remaining(session: Session, role: Role, kept: list[Client]) -> list[Client]:
    held = select(Client).join(RoleSubject, RoleSubject.client_id == Client.id).where(RoleSubject.role_id == role.id)
    return [client for client in session.scalars(held) if client not in kept]


def _give_to(session: Session, caller: Caller, role: Role, wanted: list[Client], now_ms: int) -> None:
    for client in wanted:
        if session.get(RoleSubject, (role.id, client.id)) is None:
            session.add(RoleSubject(role_id=role.id, client_id=client.id))
            session.flush()
            _record(session, caller, role, client, "grant", now_ms)


def _take_from(session: Session, caller: Caller, role: Role, wanted: list[Client], now_ms: int) -> None:
    for client in wanted:
        if session.get(RoleSubject, (role.id, client.id)) is not None:
            held = (RoleSubject.role_id == role.id, RoleSubject.client_id == client.id)
            session.execute(delete(RoleSubject).where(*held))
            _record(session, caller, role, client, "revoke", now_ms)


def _record(session: Session, caller: Caller, role: Role, client: Client, action: audit.Action, now_ms: int) -> None:
    subject = {"subject": client.id, "subjectName": client.name}
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
