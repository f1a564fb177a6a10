"""Roles: permissions of clients in sandboxes."""

from typing import Any

from offtake.client.names import ROLES
from offtake.contract.caller import ALL, PERMISSIONS
from offtake.declarations.context import Context
from offtake.declarations.models import RoleDocument
from offtake.declarations.plan import Change, FieldChange, compare
from offtake.declarations.problems import nearest
from offtake.documents import Json


def plan_all(context: Context) -> list[Change]:
    """The changes of all roles."""
    found = []
    for index, declared in context.of_kind("role"):
        document = declared.document
        assert isinstance(document, RoleDocument)  # noqa: S101 - of this kind
        for number, one in enumerate(document.permissions):
            if one not in (*PERMISSIONS, ALL):
                why = f"{one[:100]!r} is not a permission; {nearest(one, PERMISSIONS)}"
                context.problems.append(declared.problem(("permissions", number), why))
        found.append(_plan(context, document, context.existing.get(index)))
    return found


def export(entity: Json) -> Json:
    """The document of a role."""
    labels = entity.get("subjectAttributes", {}).get("labels") or []
    return (
        {"kind": "role", "name": entity["name"]}
        | ({"description": entity["description"]} if entity.get("description") else {})
        | {"permissions": list(entity["permissionSets"]), "sandboxes": list(entity["sandboxes"])}
        | ({"labels": list(labels)} if labels else {})
    )


def delete(context: Context, role_id: str) -> None:
    """Delete a role; its clients lose what it grants."""
    context.server.delete(f"{ROLES}/{role_id}")


def _plan(context: Context, document: RoleDocument, existing: Json | None) -> Change:
    if existing is None:
        fields = [FieldChange(name, None, getattr(document, name)) for name in ("permissions", "sandboxes", "labels")]
        return Change("role", document.name, "create", fields=fields, step=lambda: _create(context, document))
    labels = existing.get("subjectAttributes", {}).get("labels") or []
    pairs: list[tuple[str, Any, Any]] = [
        ("name", existing["name"], document.name),
        ("permissions", sorted(existing["permissionSets"]), sorted(set(document.permissions))),
        ("sandboxes", sorted(existing["sandboxes"]), sorted(set(document.sandboxes))),
        ("labels", sorted(labels), sorted(set(document.labels))),
    ]
    if "description" in document.model_fields_set:
        pairs.append(("description", existing.get("description") or "", document.description))
    fields = compare(pairs)
    if not fields:
        return Change("role", document.name, "nothing", existing["id"])
    return Change(
        "role", document.name, "change", existing["id"], fields, step=lambda: _change(context, document, existing)
    )


def _body(document: RoleDocument, description: str) -> Json:
    return {
        "name": document.name,
        "description": description,
        "roleType": "user-defined",
        "permissionSets": list(dict.fromkeys(document.permissions)),
        "sandboxes": list(dict.fromkeys(document.sandboxes)),
        "subjectAttributes": {"labels": list(dict.fromkeys(document.labels))},
    }


def _create(context: Context, document: RoleDocument) -> str:
    return str(context.server.post(ROLES, _body(document, document.description))["id"])


def _change(context: Context, document: RoleDocument, existing: Json) -> str:
    given = "description" in document.model_fields_set
    description = document.description if given else existing.get("description") or ""
    body = _body(document, description) | {"roleType": existing.get("roleType") or "user-defined"}
    context.server.put(f"{ROLES}/{existing['id']}", body)
    return str(existing["id"])
