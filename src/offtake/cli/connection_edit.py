"""The commands `offtake connection show | edit | delete`."""

from typing import Annotated, Any, Final

import typer

from offtake.cli import output
from offtake.cli.confirming import Yes, confirm
from offtake.cli.connecting import connected
from offtake.cli.connection_create import PublicKey, encryption_of
from offtake.cli.connections import ConnectionName
from offtake.cli.credentials_given import Given, changed_params, given_options
from offtake.cli.derived_options import Options, options_of, with_options
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.cli.refusals import naming_options
from offtake.cli.secrets_given import prompt_for
from offtake.client import names
from offtake.client.connection_users import delete_if_unused, flows_of, targets_of
from offtake.client.destinations import AuthMethod, Field, by_spec_id, destinations, distinct
from offtake.client.names import CONNECTION, TARGET
from offtake.documents import Json
from offtake.errors import OfftakeError, WrongUsageError

_NAMED: Final = 10


def show_(
    connection: ConnectionName,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Show a connection without its secrets, and the flows that deliver there."""
    with connected(server, data_dir, sandbox) as to:
        found = names.find(to, CONNECTION, connection)
        flows = flows_of(to, found["id"])
    if json:
        output.as_json(found)
        return
    for line in _lines(found):
        output.line(line)
    output.line(f"flows: {_listed(flows) or 'none'}")


def _lines(connection: Json) -> list[str]:
    spec_id = connection["connectionSpec"]["id"]
    destination = by_spec_id(spec_id)
    lines = [
        f"connection {connection['name']} ({connection['id']})",
        f"destination: {destination.name if destination else spec_id}",
    ]
    if connection.get("description"):
        lines.append(f"description: {connection['description']}")
    auth = connection.get("auth") or {}
    if auth:
        lines.append(f"authentication: {auth['specName']}")
    lines += [f"  {key}: {value}" for key, value in auth.get("params", {}).items()]
    if connection.get("encryption"):
        lines.append("encryption: files are encrypted with a PGP public key")
    left = connection.get("extensions", {}).get("toBeRemoved", [])
    return lines + [f"files of run {one} are still to be removed there" for one in left]


def _listed(flows: list[Json]) -> str:
    more = f" and {len(flows) - _NAMED} more" if len(flows) > _NAMED else ""
    return ", ".join(f"{one['name']} ({one['id']})" for one in flows[:_NAMED]) + more


def delete(
    connection: ConnectionName,
    yes: Yes = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Delete a connection that no flow delivers to, with its unused target connections; asks first."""
    with connected(server, data_dir, sandbox) as to:
        found = names.find(to, CONNECTION, connection)
        flows = flows_of(to, found["id"])
        if flows:
            first = output.shell_word(flows[0]["name"], flows[0]["id"])
            raise OfftakeError(
                f"Connection {found['name']} cannot be deleted: flows deliver there: {_listed(flows)}. Delete them "
                f"first (offtake flow delete {first}), or move them (offtake flow edit {first} --to CONNECTION)."
            )
        stops = ["No flow delivers there. The stored credentials are deleted; delivered files stay."]
        confirm(stops, f"Delete connection {found['name']} ({found['id']})?", yes=yes)
        for target in targets_of(to, found["id"]):
            delete_if_unused(to, f"{TARGET.path}/{target['id']}")
        to.delete(f"{CONNECTION.path}/{found['id']}")
    if json:
        output.as_json({"id": found["id"], "name": found["name"], "deleted": True})
        return
    output.line(f"connection {found['name']} ({found['id']}) is deleted")


def _panels() -> list[tuple[Field, str]]:
    """The credentials' fields of all destinations, each with the names of those that have it."""
    users: dict[str, list[str]] = {}
    for destination in destinations():
        for key in dict.fromkeys(field.key for method in destination.auth_methods for field in method.fields):
            users.setdefault(key, []).append(destination.name)
    return [(field, f"Credentials of {' and '.join(users[field.key])}") for field in _all_fields()]


def _all_fields() -> list[Field]:
    return list(distinct(f for one in destinations() for method in one.auth_methods for f in method.fields))


def _edit(  # noqa: PLR0913, PLR0917 - one parameter an option
    connection: ConnectionName,
    name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="Another description; '': none.")] = None,
    public_key_file: PublicKey = None,
    no_encryption: Annotated[bool, typer.Option("--no-encryption", help="No longer encrypt files.")] = False,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for the secrets, which are typed without echo.")] = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
    **given: Any,  # noqa: ANN401 - values of options
) -> None:
    """Change a connection: its name, description, credentials or public key; later runs use the new ones.

    Credentials that are not given stay as stored. A secret is bound to its server: for another one, give it again. An
    empty text removes an optional value.
    """
    if public_key_file is not None and no_encryption:
        raise WrongUsageError("--public-key-file and --no-encryption contradict each other.")
    if name is not None and not name.strip():
        raise WrongUsageError("--name: must not be empty.")
    wanted = given_options(_all_fields(), given)
    encryption = None if public_key_file is None else encryption_of(public_key_file)
    if not wanted and not no_encryption and not ask and all(one is None for one in (name, description, encryption)):
        raise WrongUsageError("Nothing to change: give at least one option, such as --name or --password-file.")
    with connected(server, data_dir, sandbox) as to:
        found = names.find(to, CONNECTION, connection)
        if name not in (None, found["name"]):
            names.check_unused(to, CONNECTION, str(name))
        operations = [
            *plain_operations(found, name, description),
            *_encryption_operations(found, encryption, remove=no_encryption),
            *(_credential_operations(found, given, wanted, ask=ask) if wanted or ask else ()),
        ]
        if operations:
            with naming_options(_words()):
                to.patch(f"{CONNECTION.path}/{found['id']}", operations, found["etag"])
    shown = name or found["name"]
    if json:
        output.as_json({"id": found["id"], "name": shown, "changed": [one["path"] for one in operations]})
        return
    output.line(f"connection {shown} ({found['id']}) is {'changed' if operations else 'unchanged'}")
    if wanted or ask:
        output.line(f"to test it: offtake connection test {output.shell_word(shown, found['id'])}")


def plain_operations(entity: Json, name: str | None, description: str | None) -> list[Json]:
    """The patch that changes an entity's name and description; an empty description is removed."""
    operations: list[Json] = []
    if name is not None:
        operations.append({"op": "replace", "path": "/name", "value": name})
    if description:
        operations.append({"op": "add", "path": "/description", "value": description})
    elif description is not None and entity.get("description"):
        operations.append({"op": "remove", "path": "/description"})
    return operations


def _words() -> dict[str, str]:
    options = {f"/auth/params/{field.key}": field.option for field in _all_fields()}
    return options | {"/name": "--name", "/encryption": "--public-key-file"}


def _encryption_operations(connection: Json, encryption: Json | None, *, remove: bool) -> list[Json]:
    if encryption is not None:
        return [{"op": "add", "path": "/encryption", "value": encryption}]
    return [{"op": "remove", "path": "/encryption"}] if remove and connection.get("encryption") else []


def _credential_operations(connection: Json, given: Given, wanted: list[str], *, ask: bool) -> list[Json]:
    """Replace the credentials by the stored ones with the given changes; secrets that are not given stay as stored.

    An empty text removes an optional param. What was found at the first connection is found again for another server.
    """
    method = _method_of(connection)
    unknown = [one for one in wanted if one not in [field.option for field in method.fields]]
    if unknown:
        allowed = ", ".join(field.option for field in method.fields) or "no credentials"
        raise WrongUsageError(f"{', '.join(unknown)}: not of this connection, which has {allowed}.")
    stored: Json = connection["auth"]["params"]
    kept = {field.key: stored[field.key] for field in method.fields if field.key in stored and not field.pinned}
    changed = {key: value if value != "" else None for key, value in changed_params(method.fields, given).items()}
    if ask:
        asked = [field for field in method.fields if field.required and not field.is_typed and field.key not in changed]
        changed |= {field.key: prompt_for(field) for field in asked}
    pinned = [field.key for field in method.fields if field.pinned]
    params = {key: value for key, value in (kept | changed).items() if value is not None or key in pinned}
    return [{"op": "replace", "path": "/auth/params", "value": params}]


def _method_of(connection: Json) -> AuthMethod:
    destination = by_spec_id(connection["connectionSpec"]["id"])
    name = (connection.get("auth") or {}).get("specName")
    method = destination.auth_method(name) if destination is not None and name is not None else None
    if method is None:
        raise WrongUsageError(f"Connection {connection['name']} has no credentials to change.")
    return method


def _options() -> Options:
    found: Options = {}
    for field, panel in _panels():
        found |= options_of([field], panel)
    return found


edit = with_options(_edit, _options(), before="server")
