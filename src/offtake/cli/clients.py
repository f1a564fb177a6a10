"""The commands `offtake client …`."""

from typing import Annotated

import typer

from offtake.access import clients
from offtake.access.clients import Registration
from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, administering
from offtake.errors import OfftakeError

Id = Annotated[str, typer.Argument(help="The client's id.")]


def create(
    name: Annotated[str, typer.Argument(help="A display name.")],
    role: Annotated[list[str] | None, typer.Option("--role", help="A role by name or id; repeatable.")] = None,
    service: Annotated[
        bool, typer.Option("--service", help="A service account instead of a technical account.")
    ] = False,
    client_id: Annotated[str | None, typer.Option("--id", help="The id; default: a random one.")] = None,
    external: Annotated[
        bool,
        typer.Option("--external", help="No secret: it gets tokens from the external issuer, with --id as its id."),
    ] = False,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Create a client. Its secret is shown once, and stored only as a hash."""
    if external and client_id is None:
        raise OfftakeError("An external client needs --id: its id in the issuer's tokens.")
    new = Registration(name, "service" if service else "user", tuple(role or ()), client_id, external)
    with administering(data_dir) as (backend, caller), backend.database.writing() as session:
        client, secret = clients.register(session, caller, new, backend.clock.now_ms())
    shown = {"org_id": client.org_id, "client_id": client.id} | ({"client_secret": secret} if secret else {})
    _print(shown, json)


def list_(data_dir: DataDir = None, json: AsJson = False) -> None:
    """List clients, the latest first."""
    with administering(data_dir) as (backend, caller), backend.database.reading() as session:
        found = [{**clients.render(client), "roles": names} for client, names in clients.all_of(session, caller)]
    if json:
        output.as_json(found)
        return
    rows = [
        (
            one["id"],
            one["name"],
            one["kind"],
            "external" if one["external"] else "secret",
            ", ".join(one["roles"]),
            output.instant(one["createdAt"]),
            output.instant(one["revokedAt"]),
        )
        for one in found
    ]
    output.table(("ID", "NAME", "KIND", "SIGNS IN BY", "ROLES", "CREATED", "REVOKED"), rows, "No clients yet.")


def rotate(client: Id, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Replace a client's secret; shown once. The old secret is invalid from now on; its tokens expire within a day."""
    with administering(data_dir) as (backend, caller), backend.database.writing() as session:
        secret = clients.rotate(session, caller, client, backend.clock.now_ms())
    _print({"client_id": client, "client_secret": secret}, json)


def revoke(client: Id, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Revoke a client and all of its tokens permanently."""
    with administering(data_dir) as (backend, caller), backend.database.writing() as session:
        clients.revoke(session, caller, client, backend.clock.now_ms())
    if json:
        output.as_json({"client_id": client, "revoked": True})
        return
    output.console.print(f"client {client} is revoked", markup=False)


def _print(shown: dict[str, str], json: bool) -> None:
    if json:
        output.as_json(shown)
        return
    for name, value in shown.items():
        output.console.print(f"{name}: {value}", markup=False)
