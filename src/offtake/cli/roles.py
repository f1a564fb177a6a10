"""The commands `offtake role …`."""

from typing import Annotated, Any

import typer

from offtake.access import clients, role_patches, roles
from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, administering
from offtake.contract.caller import ALL, PERMISSIONS
from offtake.errors import OfftakeError
from offtake.store.tables import Role

Name = Annotated[str, typer.Argument(help="The role's name or id.")]
ClientId = Annotated[str, typer.Argument(help="The client's id.")]


def create(
    name: Annotated[str, typer.Argument(help="The role's name.")],
    permission: Annotated[
        list[str], typer.Option("--permission", help=f"Repeatable: {', '.join(PERMISSIONS)}, or * for all.")
    ],
    sandbox: Annotated[
        list[str] | None,
        typer.Option("--sandbox", help="A sandbox where it applies; repeatable. Default: all sandboxes."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="An access label that it grants; repeatable.")
    ] = None,
    description: Annotated[str, typer.Option("--description", help="A description.")] = "",
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Create a role."""
    body = {
        "name": name,
        "description": description,
        "permissionSets": permission,
        "sandboxes": sandbox or [ALL],
        "subjectAttributes": {"labels": label or []},
    }
    with administering(data_dir) as (backend, caller), backend.database.writing() as session:
        row = roles.create(session, caller, body, backend.clock.now_ms())
    _print(roles.render(row), f"role {row.name} ({row.id}) is created", json)


def list_(
    permission: Annotated[
        list[str] | None, typer.Option("--permission", help="Only roles that grant it; repeatable.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="Only roles that do not grant it; repeatable.")
    ] = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """List roles, the latest first."""
    _check_permissions([*(permission or ()), *(without or ())])
    with administering(data_dir) as (backend, caller), backend.database.reading() as session:
        found = [
            roles.render(row)
            for row in roles.all_of(session, caller)
            if all(_grants(row, one) for one in permission or ())
            and not any(_grants(row, one) for one in without or ())
        ]
    if json:
        output.as_json(found)
        return
    rows = [(one["id"], one["name"], ", ".join(one["permissionSets"]), ", ".join(one["sandboxes"])) for one in found]
    output.table(("ID", "NAME", "PERMISSIONS", "SANDBOXES"), rows, "No roles.")


def show_(role: Name, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Show a role's permissions, sandboxes, labels and clients."""
    with administering(data_dir) as (backend, caller), backend.database.reading() as session:
        row = roles.find_by_name(session, caller, role)
        document = roles.render(row) | {"subjects": role_patches.subjects(session, row)}
    if json:
        output.as_json(document)
        return
    output.console.print(f"{row.name} ({row.id}) {row.description}".rstrip(), markup=False)
    output.console.print(f"permissions: {', '.join(row.permissions)}", markup=False)
    output.console.print(f"sandboxes: {', '.join(row.sandboxes)}", markup=False)
    output.console.print(f"labels: {', '.join(row.labels)}", markup=False)
    subjects = [(one["clientId"], one["name"], one["subjectType"]) for one in document["subjects"]]
    output.table(("CLIENT", "NAME", "KIND"), subjects, "No client has it.")


def update(
    role: Name,
    add: Annotated[list[str] | None, typer.Option("--add", help="A permission to add; repeatable.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="A permission to remove; repeatable.")] = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Change the permissions of a role, for all clients that have it."""
    _check_permissions([*(add or ()), *(remove or ())])
    with administering(data_dir) as (backend, caller), backend.database.writing() as session:
        row = roles.find_by_name(session, caller, role)
        remaining = [one for one in row.permissions if one not in (remove or ())]
        roles.change(session, caller, row, {"permissions": [*remaining, *(add or ())]}, backend.clock.now_ms())
    _print(roles.render(row), f"role {row.name} grants {', '.join(row.permissions) or 'nothing'}", json)


def grant(role: Name, client: ClientId, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Grant a role to a client."""
    with administering(data_dir) as (backend, caller), backend.database.writing() as session:
        row, found = roles.find_by_name(session, caller, role), clients.find(session, caller, client)
        if found is None:
            raise OfftakeError(f"Client {client} does not exist; see: offtake client list")
        role_patches.grant(session, caller, row, found, backend.clock.now_ms())
    _print({"role": row.name, "client": client}, f"client {client} has role {row.name}", json)


def revoke(role: Name, client: ClientId, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Revoke a role from a client."""
    with administering(data_dir) as (backend, caller), backend.database.writing() as session:
        row, found = roles.find_by_name(session, caller, role), clients.find(session, caller, client)
        if found is None:
            raise OfftakeError(f"Client {client} does not exist; see: offtake client list")
        role_patches.revoke(session, caller, row, found, backend.clock.now_ms())
    _print({"role": row.name, "client": client}, f"client {client} no longer has role {row.name}", json)


def delete(role: Name, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Delete a role; its clients lose what it grants."""
    with administering(data_dir) as (backend, caller), backend.database.writing() as session:
        row = roles.find_by_name(session, caller, role)
        roles.remove(session, caller, row.id, backend.clock.now_ms())
    _print({"role": row.name, "deleted": True}, f"role {row.name} is deleted", json)


def _grants(row: Role, permission: str) -> bool:
    return bool({permission, ALL}.intersection(row.permissions))


def _check_permissions(names: list[str]) -> None:
    unknown = [one for one in names if one not in (*PERMISSIONS, ALL)]
    if unknown:
        raise OfftakeError(f"{unknown[0]} is not a permission. Allowed: {', '.join(PERMISSIONS)}, and * for all.")


def _print(document: dict[str, Any], sentence: str, json: bool) -> None:
    if json:
        output.as_json(document)
        return
    output.console.print(sentence, markup=False)
