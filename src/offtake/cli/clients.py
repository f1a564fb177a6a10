"""The commands `offtake client …`."""

from typing import Annotated
from urllib.parse import quote

import typer

from offtake.cli import output
from offtake.cli.completing import names_of
from offtake.cli.connecting import connected
from offtake.cli.options import AsJson, DataDir, ToServer
from offtake.cli.output import Id, Instant
from offtake.client import names
from offtake.client.names import CLIENTS
from offtake.client.problems import ServerError
from offtake.client.server import Server
from offtake.client.transport import Query
from offtake.documents import Json
from offtake.errors import OfftakeError

ClientId = Annotated[
    str,
    typer.Argument(help="The client's id or name, or the beginning of its id.", autocompletion=names_of("clients")),
]
_EXTENSION = "managing clients"


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
    server: ToServer = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Create a client. Its secret is shown once, and stored only as a hash."""
    if external and client_id is None:
        raise OfftakeError("An external client needs --id: its id in the issuer's tokens.")
    body: Json = {"name": name, "kind": "service" if service else "user", "external": external}
    with connected(server, data_dir) as to:
        body["roles"] = [names.find_role(to, one)["id"] for one in role or ()]
        made = _post(to, CLIENTS, body | ({} if client_id is None else {"id": client_id}))
    secret = {"client_secret": made["clientSecret"]} if "clientSecret" in made else {}
    _print({"org_id": made["imsOrgID"], "client_id": made["id"]} | secret, json)


def list_(server: ToServer = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List clients, the latest first."""
    with connected(server, data_dir) as to:
        try:
            found = list(to.get_by_start(CLIENTS, "items"))
        except ServerError as error:
            raise _explain(to, error) from None
    if json:
        output.as_json(found)
        return
    rows = [
        (
            Id(one["id"]),
            one["name"],
            one["kind"],
            "external" if one["external"] else "secret",
            ", ".join(one["roles"]),
            Instant(one["createdAt"]),
            Instant(one["revokedAt"]),
        )
        for one in found
    ]
    output.table(("ID", "NAME", "KIND", "SIGNS IN BY", "ROLES", "CREATED", "REVOKED"), rows, "No clients yet.")


def rotate(client: ClientId, server: ToServer = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Replace a client's secret; shown once. The old secret is invalid from now on; its tokens expire within a day."""
    with connected(server, data_dir) as to:
        client_id = names.find_client_id(to, client)
        rotated = _post(to, f"{CLIENTS}/{quote(client_id, safe='')}/action", None, (("op", "rotate"),))
        secret = rotated["clientSecret"]
    _print({"client_id": client_id, "client_secret": secret}, json)


def revoke(client: ClientId, server: ToServer = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Revoke a client and all of its tokens permanently."""
    with connected(server, data_dir) as to:
        client_id = names.find_client_id(to, client)
        try:
            to.delete(f"{CLIENTS}/{quote(client_id, safe='')}")
        except ServerError as error:
            raise _explain(to, error) from None
    if json:
        output.as_json({"client_id": client_id, "revoked": True})
        return
    output.line(f"client {client_id} is revoked")


def _post(server: Server, path: str, body: Json | None, query: Query = ()) -> Json:
    try:
        made: Json = server.post(path, body, query)
    except ServerError as error:
        raise _explain(server, error) from None
    return made


def _explain(server: Server, error: ServerError) -> OfftakeError:
    return server.extension_error(_EXTENSION) if error.is_not_served else error


def _print(shown: dict[str, str], json: bool) -> None:
    if json:
        output.as_json(shown)
        return
    for name, value in shown.items():
        output.line(f"{name}: {value}")
