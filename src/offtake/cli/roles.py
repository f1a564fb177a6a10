"""The commands `offtake role …`."""

from typing import Annotated, Any

import typer

from offtake.cli import output
from offtake.cli.clients import ClientId
from offtake.cli.completing import names_of
from offtake.cli.connecting import connected
from offtake.cli.options import AsJson, DataDir, ToServer
from offtake.cli.output import Id
from offtake.client import names
from offtake.client.names import ROLES
from offtake.contract.caller import ALL, PERMISSIONS
from offtake.documents import Json
from offtake.errors import OfftakeError

Name = Annotated[
    str, typer.Argument(help="The role's name or id, or the beginning of its id.", autocompletion=names_of("roles"))
]


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
    server: ToServer = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Create a role."""
    body = {
        "name": name,
        "description": description,
        "roleType": "user-defined",
        "permissionSets": permission,
        "sandboxes": sandbox or [ALL],
        "subjectAttributes": {"labels": label or []},
    }
    with connected(server, data_dir) as to:
        made = to.post(ROLES, body)
    _print(made, f"role {made['name']} ({made['id']}) is created", json)


def list_(
    permission: Annotated[
        list[str] | None, typer.Option("--permission", help="Only roles that grant it; repeatable.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="Only roles that do not grant it; repeatable.")
    ] = None,
    server: ToServer = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """List roles, the latest first."""
    _check_permissions([*(permission or ()), *(without or ())])
    with connected(server, data_dir) as to:
        found = [
            one
            for one in to.get_by_start(ROLES, "items")
            if all(_grants(one, name) for name in permission or ())
            and not any(_grants(one, name) for name in without or ())
        ]
    if json:
        output.as_json(found)
        return
    rows = [
        (Id(one["id"]), one["name"], ", ".join(one["permissionSets"]), ", ".join(one["sandboxes"])) for one in found
    ]
    output.table(("ID", "NAME", "PERMISSIONS", "SANDBOXES"), rows, "No roles.")


def show_(role: Name, server: ToServer = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Show a role's permissions, sandboxes, labels and clients."""
    with connected(server, data_dir) as to:
        found = names.find_role(to, role)
        subjects = list(to.get_by_start(f"{ROLES}/{found['id']}/subjects", "items"))
    if json:
        output.as_json(found | {"subjects": subjects})
        return
    output.line(f"{found['name']} ({found['id']}) {found['description']}".rstrip())
    output.line(f"permissions: {', '.join(found['permissionSets'])}")
    output.line(f"sandboxes: {', '.join(found['sandboxes'])}")
    output.line(f"labels: {', '.join(found['subjectAttributes']['labels'])}")
    rows = [(Id(one.get("clientId") or one["subjectId"]), one.get("name"), one["subjectType"]) for one in subjects]
    output.table(("CLIENT", "NAME", "KIND"), rows, "No client has it.")


def update(
    role: Name,
    add: Annotated[list[str] | None, typer.Option("--add", help="A permission to add; repeatable.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="A permission to remove; repeatable.")] = None,
    server: ToServer = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Change the permissions of a role, for all clients that have it."""
    _check_permissions([*(add or ()), *(remove or ())])
    if not (add or remove):
        raise OfftakeError("Nothing to change: give --add or --remove.")
    operations = [{"op": "remove", "path": "/permissionSets", "value": one} for one in remove or ()]
    operations += [{"op": "add", "path": "/permissionSets", "value": one} for one in add or ()]
    with connected(server, data_dir) as to:
        changed = to.patch(f"{ROLES}/{names.find_role(to, role)['id']}", operations)
    granted = ", ".join(changed["permissionSets"]) or "nothing"
    _print(changed, f"role {changed['name']} grants {granted}", json)


def grant(
    role: Name, client: ClientId, server: ToServer = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Grant a role to a client."""
    name, client_id = _change_subject(server, data_dir, role, client, "add")
    _print({"role": name, "client": client_id}, f"client {client_id} has role {name}", json)


def revoke(
    role: Name, client: ClientId, server: ToServer = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Revoke a role from a client."""
    name, client_id = _change_subject(server, data_dir, role, client, "remove")
    _print({"role": name, "client": client_id}, f"client {client_id} no longer has role {name}", json)


def delete(role: Name, server: ToServer = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Delete a role; its clients lose what it grants."""
    with connected(server, data_dir) as to:
        found = names.find_role(to, role)
        to.delete(f"{ROLES}/{found['id']}")
    _print({"role": found["name"], "deleted": True}, f"role {found['name']} is deleted", json)


def _change_subject(server: str | None, data_dir: DataDir, role: str, client: str, op: str) -> tuple[str, str]:
    with connected(server, data_dir) as to:
        found, client_id = names.find_role(to, role), names.find_client_id(to, client)
        to.patch(f"{ROLES}/{found['id']}/subjects", [{"op": op, "path": "/user", "value": client_id}])
    return found["name"], client_id


def _grants(role: Json, permission: str) -> bool:
    return bool({permission, ALL}.intersection(role["permissionSets"]))


def _check_permissions(wanted: list[str]) -> None:
    unknown = [one for one in wanted if one not in (*PERMISSIONS, ALL)]
    if unknown:
        raise OfftakeError(f"{unknown[0]} is not a permission. Allowed: {', '.join(PERMISSIONS)}, and * for all.")


def _print(document: dict[str, Any], sentence: str, json: bool) -> None:
    if json:
        output.as_json(document)
        return
    output.line(sentence)
