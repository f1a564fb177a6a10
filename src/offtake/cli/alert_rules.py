"""The commands `offtake alert rule …`."""

from typing import Annotated, Any, Final

import typer

from offtake.cli import output
from offtake.cli.completing import names_of
from offtake.cli.connecting import connected
from offtake.cli.credentials_given import Given
from offtake.cli.derived_options import with_options, written_options
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.cli.output import Id
from offtake.client import names
from offtake.client.alerts import CHANNEL, EXTENSION, RULE, TOPICS
from offtake.client.names import FLOW
from offtake.client.server import Server
from offtake.documents import Json
from offtake.errors import WrongUsageError


def _topics(incomplete: str) -> list[str]:
    return [one for one in TOPICS if one.startswith(incomplete)]


Rule = Annotated[
    str,
    typer.Argument(help="The rule's name or id, or the beginning of its id.", autocompletion=names_of("alert rules")),
]
_OPTIONS: Final = written_options(
    channel=Annotated[
        list[str] | None,
        typer.Option(
            "--channel", help="A channel; may be given several times.", autocompletion=names_of("alert channels")
        ),
    ],
    flow=Annotated[
        str | None,
        typer.Option("--flow", help="Only events of this flow; default: all flows.", autocompletion=names_of("flows")),
    ],
    on=Annotated[
        list[str] | None,
        typer.Option("--on", help=f"A topic, several times: {', '.join(TOPICS)}.", autocompletion=_topics),
    ],
    single=Annotated[
        bool | None, typer.Option("--single/--grouped", help="Send each event as a message of its own, for machines.")
    ],
    group_seconds=Annotated[
        int | None,
        typer.Option("--group-seconds", help="Collect events with the same cause for so long; default: 30."),
    ],
    repeat_seconds=Annotated[
        int | None,
        typer.Option("--repeat-seconds", help="At most one message about the same cause in that time; default: 3600."),
    ],
)


def _create(
    name: Annotated[str, typer.Argument(help="The rule's name.")],
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
    **given: Any,  # noqa: ANN401 - values of options
) -> None:
    """Create a rule: which events are sent to which channels; by default all about problems and recoveries."""
    if not given["channel"]:
        raise WrongUsageError("--channel is missing: give the name of an alert channel.")
    with connected(server, data_dir, sandbox) as to, names.extension(to, EXTENSION):
        body = {"name": name, **_fields(to, given)}
        made = to.post(RULE.path, body)
        document = to.get_one(f"{RULE.path}/{made['id']}")
    if json:
        output.as_json(document)
        return
    output.line(f"alert rule {name} ({made['id']}) is created: {', '.join(document['topics'])}")


def list_(server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List the rules for alerts."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, EXTENSION):
        found = sorted(to.get_all(RULE.path), key=lambda one: str(one["name"]))
        channels = {} if json else {one["id"]: one["name"] for one in to.get_all(CHANNEL.path)}
        flows = {} if json or not any(one["flowId"] for one in found) else _flow_names(to)
    if json:
        output.as_json(found)
        return
    rows = [
        (
            Id(one["id"]),
            one["name"],
            "all" if one["flowId"] is None else flows.get(one["flowId"], one["flowId"]),
            ", ".join(one["topics"]),
            ", ".join(channels.get(channel_id, channel_id) for channel_id in one["channelIds"]),
            "enabled" if one["enabled"] else "disabled",
        )
        for one in found
    ]
    empty = "No rules yet: offtake alert rule create NAME --channel CHANNEL"
    output.table(("ID", "NAME", "FLOWS", "TOPICS", "CHANNELS", "STATE"), rows, empty)


def _edit(
    rule: Rule,
    name: Annotated[str | None, typer.Option("--name", help="The new name.")] = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether the rule applies; events do not wait for it.")
    ] = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
    **given: Any,  # noqa: ANN401 - values of options
) -> None:
    """Change a rule; topics and channels that are given replace all of its own."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, EXTENSION):
        found = names.find(to, RULE, rule)
        change = _fields(to, given)
        change |= ({} if name is None else {"name": name}) | ({} if enable is None else {"enabled": enable})
        if not change:
            raise WrongUsageError("Nothing to change: give --name, --channel, --on, --flow, --enable or --disable.")
        to.merge(f"{RULE.path}/{found['id']}", change, found["etag"])
        after = to.get_one(f"{RULE.path}/{found['id']}")
    if json:
        output.as_json(after)
        return
    output.line(f"alert rule {after['name']} ({after['id']}) is changed")


def delete(
    rule: Rule,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Delete a rule, with the messages that wait for it."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, EXTENSION):
        found = names.find(to, RULE, rule)
        to.delete(f"{RULE.path}/{found['id']}")
    if json:
        output.as_json({"id": found["id"], "name": found["name"], "deleted": True})
        return
    output.line(f"alert rule {found['name']} ({found['id']}) is deleted")


def _fields(to: Server, given: Given) -> Json:
    """The given fields of a rule."""
    channels, flow = given["channel"], given["flow"]
    found: Json = {
        "channelIds": [names.find(to, CHANNEL, one)["id"] for one in channels] if channels else None,
        "flowId": None if flow is None else names.find(to, FLOW, flow)["id"],
        "topics": given["on"] or None,
        "single": given["single"],
        "groupSeconds": given["group_seconds"],
        "repeatSeconds": given["repeat_seconds"],
    }
    return {key: value for key, value in found.items() if value is not None}


def _flow_names(to: Server) -> dict[str, str]:
    return {one["id"]: one["name"] for one in to.get_all(FLOW.path)}


create = with_options(_create, _OPTIONS, before="server")
edit = with_options(_edit, _OPTIONS, before="server")
