"""The commands `offtake alert channel list | show | test | delete`."""

from typing import Annotated

import typer

from offtake.cli import output
from offtake.cli.completing import names_of
from offtake.cli.connecting import connected
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.cli.output import Id
from offtake.client import names
from offtake.client.alerts import CHANNEL, EXTENSION
from offtake.documents import Json
from offtake.errors import OfftakeError

Channel = Annotated[
    str,
    typer.Argument(
        help="The channel's name or id, or the beginning of its id.", autocompletion=names_of("alert channels")
    ),
]


def list_(server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List the channels for alerts."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, EXTENSION):
        found = sorted(to.get_all(CHANNEL.path), key=lambda one: str(one["name"]))
    if json:
        output.as_json(found)
        return
    rows = [(Id(one["id"]), one["name"], one["kind"], _state(one)) for one in found]
    output.table(("ID", "NAME", "KIND", "STATE"), rows, "No channels yet: offtake alert channel create NAME --kind …")


def show(
    channel: Channel,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Show a channel's settings, without its secrets."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, EXTENSION):
        found = names.find(to, CHANNEL, channel)
    if json:
        output.as_json(found)
        return
    output.line(f"{found['name']} ({found['id']}), kind {found['kind']}, {_state(found)}")
    rows = [(key, _shown(value)) for key, value in sorted(found["settings"].items())]
    output.table(("SETTING", "VALUE"), rows, "")


def run_test(
    channel: Channel,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Send a test message to a channel now, and print the receiver's answer."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, EXTENSION):
        found = names.find(to, CHANNEL, channel)
        result = to.post(f"{CHANNEL.path}/{found['id']}/action", None, (("op", "test"),))
    if json:
        output.as_json(result)
    elif result["result"]:
        output.line(f"Success: {result['answer']}")
    else:
        raise OfftakeError(result["answer"])
    if not result["result"]:
        raise typer.Exit(1)


def delete(
    channel: Channel,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Delete a channel with its messages; refused while rules use it."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, EXTENSION):
        found = names.find(to, CHANNEL, channel)
        to.delete(f"{CHANNEL.path}/{found['id']}")
    if json:
        output.as_json({"id": found["id"], "name": found["name"], "deleted": True})
        return
    output.line(f"alert channel {found['name']} ({found['id']}) is deleted")


def _state(channel: Json) -> str:
    failures = channel["failures"]
    return output.count_of(failures, "failed attempt") if failures else "ready"


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
