"""The commands `offtake alert list | retry`: messages."""

from typing import Annotated, Final

import typer

from offtake.cli import output
from offtake.cli.connecting import connected
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.cli.output import Instant
from offtake.client import names
from offtake.client.alerts import EXTENSION, MESSAGES

_STATES: Final = ("waiting", "sent", "dead")


def list_(
    state: Annotated[
        str | None, typer.Option("--state", help=f"Only messages in this state: {', '.join(_STATES)}.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The most messages to list.")] = 50,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """List the messages of alerts, the latest first: sent, waiting, or dead, with the receiver's answer."""
    query = () if state is None else (("state", state),)
    with connected(server, data_dir, sandbox) as to, names.extension(to, EXTENSION):
        found = list(to.get_all(MESSAGES, query, most=limit))
    if json:
        output.as_json(found)
        return
    rows = [
        (
            one["id"],
            Instant(one["createdAt"]),
            one["state"],
            one["attempts"],
            one["channelName"],
            one["title"],
            one["answer"] or "",
        )
        for one in found
    ]
    output.table(("ID", "CREATED", "STATE", "ATTEMPTS", "CHANNEL", "TITLE", "ANSWER"), rows, "No messages.")


def retry(
    message: Annotated[str, typer.Argument(help="The message's id, as in offtake alert list.")],
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Send a dead message again, or a waiting one now; a running server sends it."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, EXTENSION):
        found = names.choose_by_id("alert", message, to.get_all(MESSAGES, most=1000))
        result = to.post(f"{MESSAGES}/{found['id']}/action", None, (("op", "retry"),))
    if json:
        output.as_json(result)
        return
    output.line(f"message {result['id']} is sent again; see offtake alert list")
