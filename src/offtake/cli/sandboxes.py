"""The commands `offtake sandbox …`."""

from typing import Annotated
from urllib.parse import quote

import typer

from offtake.cli import output
from offtake.cli.completing import names_of
from offtake.cli.connecting import connected, local_backend
from offtake.cli.options import AsJson, DataDir, ToServer
from offtake.client.server import SANDBOXES, Server
from offtake.documents import Json

Name = Annotated[str, typer.Argument(help="The sandbox's name.", autocompletion=names_of("sandboxes"))]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
_PATH = f"{SANDBOXES}/sandboxes"
_UNFINISHED = ("resetting", "deleting")


def create(
    name: Name,
    title: Annotated[str | None, typer.Option("--title", help="A display title; default: the name.")] = None,
    kind: Annotated[str, typer.Option("--type", help="production or development.")] = "development",
    server: ToServer = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Create a sandbox."""
    with connected(server, data_dir) as to:
        _report(to.post(_PATH, {"name": name, "title": title or name, "type": kind}), json)


def list_(server: ToServer = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List sandboxes."""
    with connected(server, data_dir) as to:
        found = list(to.get_by_start(_PATH, "sandboxes"))
    if json:
        output.as_json(found)
        return
    rows = [(one["name"], one["title"], one["type"], one["state"], one["createdDate"]) for one in found]
    output.table(("NAME", "TITLE", "TYPE", "STATE", "CREATED"), rows, "No sandboxes.")


def reset(
    name: Name, yes: Yes = False, server: ToServer = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Remove all content of a sandbox: flows, connections, runs, datasets, and the files of its landing zone."""
    _confirm(f"Remove all content of sandbox {name}?", yes)
    with connected(server, data_dir) as to:
        _report(_empty(to, to.put(_path(name), {"action": "reset"})), json)


def delete(
    name: Name, yes: Yes = False, server: ToServer = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Delete a sandbox with all of its content; it is removed from roles."""
    _confirm(f"Delete sandbox {name} with all of its content?", yes)
    with connected(server, data_dir) as to:
        _report(_empty(to, to.delete(_path(name))), json)


def _confirm(question: str, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True)


def _path(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='')}"


def _empty(server: Server, found: Json) -> Json:
    """Empty a local sandbox as far as possible now; a server removes later what workers still use."""
    backend = local_backend(server)
    if backend is None:
        return found
    from offtake.cli.local_work import empty_now  # noqa: PLC0415 - only for a local deployment

    return empty_now(backend, found["id"], found["name"])


def _report(found: Json, json: bool) -> None:
    if json:
        output.as_json(found)
        return
    later = "; the server will finish it" if found["state"] in _UNFINISHED else ""
    output.line(f"sandbox {found['name']} ({found['id']}) is {found['state']}{later}")
