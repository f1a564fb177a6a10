"""The commands `offtake alert …`: channels, rules and messages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from offtake.cli import output
from offtake.cli.completing import names_of
from offtake.cli.connecting import connected
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.cli.output import Id, Instant
from offtake.cli.secrets_given import prompt_for, read_secret
from offtake.client import names
from offtake.client.alerts import CHANNEL, MESSAGES, RULE, SETTINGS, TOPICS
from offtake.client.names import FLOW
from offtake.client.server import Server
from offtake.documents import Json
from offtake.errors import OfftakeError, WrongUsageError

_EXTENSION: Final = "alerts"
_STATES: Final = ("waiting", "sent", "dead")


def _kinds(incomplete: str) -> list[str]:
    return [one for one in SETTINGS if one.startswith(incomplete)]


def _topics(incomplete: str) -> list[str]:
    return [one for one in TOPICS if one.startswith(incomplete)]


Channel = Annotated[
    str,
    typer.Argument(
        help="The channel's name or id, or the beginning of its id.", autocompletion=names_of("alert channels")
    ),
]
Rule = Annotated[
    str,
    typer.Argument(help="The rule's name or id, or the beginning of its id.", autocompletion=names_of("alert rules")),
]
Url = Annotated[
    str | None,
    typer.Option("--url", help="The URL. That of a chat is a secret: env:VARIABLE, or left out to be asked for it."),
]
UrlFile = Annotated[Path | None, typer.Option("--url-file", help="A file with the URL of a chat.")]
To = Annotated[list[str] | None, typer.Option("--to", help="An e-mail address; may be given several times.")]
Secret = Annotated[
    str | None,
    typer.Option("--secret", help="env:VARIABLE with the secret that signs webhooks. Default: a generated one."),
]
SecretFile = Annotated[Path | None, typer.Option("--secret-file", help="A file with the secret that signs webhooks.")]
Authorization = Annotated[
    str | None, typer.Option("--authorization", help="env:VARIABLE with an Authorization header's value for webhooks.")
]
AuthorizationFile = Annotated[
    Path | None, typer.Option("--authorization-file", help="A file with an Authorization header's value for webhooks.")
]
OfFlow = Annotated[
    str | None,
    typer.Option("--flow", help="Only events of this flow; default: all flows.", autocompletion=names_of("flows")),
]
On = Annotated[
    list[str] | None,
    typer.Option("--on", help=f"A topic, several times: {', '.join(TOPICS)}.", autocompletion=_topics),
]
ToChannels = Annotated[
    list[str] | None,
    typer.Option("--channel", help="A channel; may be given several times.", autocompletion=names_of("alert channels")),
]
Single = Annotated[
    bool | None, typer.Option("--single/--grouped", help="Send each event as a message of its own, for machines.")
]
GroupSeconds = Annotated[
    int | None,
    typer.Option("--group-seconds", help="Collect events with the same cause for so long; default: 30."),
]
RepeatSeconds = Annotated[
    int | None,
    typer.Option("--repeat-seconds", help="At most one message about the same cause in that time; default: 3600."),
]


def create_channel(  # noqa: PLR0913, PLR0917 - one parameter an option
    name: Annotated[str, typer.Argument(help="The channel's name.")],
    kind: Annotated[str, typer.Option("--kind", help=f"One of: {', '.join(SETTINGS)}.", autocompletion=_kinds)],
    url: Url = None,
    url_file: UrlFile = None,
    to: To = None,
    secret: Secret = None,
    secret_file: SecretFile = None,
    authorization: Authorization = None,
    authorization_file: AuthorizationFile = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Create a channel for alerts: a webhook, e-mail, or a chat. Nothing is sent to it."""
    given = {
        "url": (url, url_file),
        "to": (to, None),
        "secret": (secret, secret_file),
        "authorization": (authorization, authorization_file),
    }
    settings = _settings(kind, given, is_new=True)
    with connected(server, data_dir, sandbox) as to_server, names.extension(to_server, _EXTENSION):
        made = to_server.post(CHANNEL.path, {"name": name, "kind": kind, "settings": settings})
        document = to_server.get_one(f"{CHANNEL.path}/{made['id']}") if json else made
    generated: Json = made.get("generated", {})
    if json:
        output.as_json(document | ({"generated": generated} if generated else {}))
        return
    output.line(f"alert channel {name} ({made['id']}) is created")
    for key, value in generated.items():
        output.line(f"its {key} is shown only now: {value}")
    output.line(f"test it: offtake alert channel test {output.shell_word(name, made['id'])}")


def list_channels(
    server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """List the channels for alerts."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, _EXTENSION):
        found = sorted(to.get_all(CHANNEL.path), key=lambda one: str(one["name"]))
    if json:
        output.as_json(found)
        return
    rows = [(Id(one["id"]), one["name"], one["kind"], _state(one)) for one in found]
    output.table(("ID", "NAME", "KIND", "STATE"), rows, "No channels yet: offtake alert channel create NAME --kind …")


def show_channel(
    channel: Channel,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Show a channel's settings, without its secrets."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, _EXTENSION):
        found = names.find(to, CHANNEL, channel)
    if json:
        output.as_json(found)
        return
    output.line(f"{found['name']} ({found['id']}), kind {found['kind']}, {_state(found)}")
    rows = [(key, _shown(value)) for key, value in sorted(found["settings"].items())]
    output.table(("SETTING", "VALUE"), rows, "")


def edit_channel(  # noqa: PLR0913, PLR0917 - one parameter an option
    channel: Channel,
    name: Annotated[str | None, typer.Option("--name", help="The new name.")] = None,
    url: Url = None,
    url_file: UrlFile = None,
    to: To = None,
    secret: Secret = None,
    secret_file: SecretFile = None,
    authorization: Authorization = None,
    authorization_file: AuthorizationFile = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Change a channel: its name, URL, recipients or secrets; another server's URL needs its secrets again."""
    given = {
        "url": (url, url_file),
        "to": (to, None),
        "secret": (secret, secret_file),
        "authorization": (authorization, authorization_file),
    }
    with connected(server, data_dir, sandbox) as to_server, names.extension(to_server, _EXTENSION):
        found = names.find(to_server, CHANNEL, channel)
        settings = _settings(found["kind"], given, is_new=False)
        change = ({} if name is None else {"name": name}) | ({"settings": settings} if settings else {})
        if not change:
            raise WrongUsageError("Nothing to change: give --name, --url, --to, --secret or --authorization.")
        to_server.merge(f"{CHANNEL.path}/{found['id']}", change, found["etag"])
        after = to_server.get_one(f"{CHANNEL.path}/{found['id']}")
    if json:
        output.as_json(after)
        return
    shown = output.shell_word(after["name"], after["id"])
    output.line(f"alert channel {after['name']} ({after['id']}) is changed")
    output.line(f"test it: offtake alert channel test {shown}")


def run_test(
    channel: Channel,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Send a test message to a channel now, and print the receiver's answer."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, _EXTENSION):
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


def delete_channel(
    channel: Channel,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Delete a channel with its messages; refused while rules use it."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, _EXTENSION):
        found = names.find(to, CHANNEL, channel)
        to.delete(f"{CHANNEL.path}/{found['id']}")
    if json:
        output.as_json({"id": found["id"], "name": found["name"], "deleted": True})
        return
    output.line(f"alert channel {found['name']} ({found['id']}) is deleted")


def create_rule(  # noqa: PLR0913, PLR0917 - one parameter an option
    name: Annotated[str, typer.Argument(help="The rule's name.")],
    channel: ToChannels = None,
    flow: OfFlow = None,
    on: On = None,
    single: Single = None,
    group_seconds: GroupSeconds = None,
    repeat_seconds: RepeatSeconds = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Create a rule: which events are sent to which channels; by default all about problems and recoveries."""
    if not channel:
        raise WrongUsageError("--channel is missing: give the name of an alert channel.")
    with connected(server, data_dir, sandbox) as to, names.extension(to, _EXTENSION):
        body = {"name": name, **_rule_fields(to, channel, flow, on, single, group_seconds, repeat_seconds)}
        made = to.post(RULE.path, body)
        document = to.get_one(f"{RULE.path}/{made['id']}")
    if json:
        output.as_json(document)
        return
    output.line(f"alert rule {name} ({made['id']}) is created: {', '.join(document['topics'])}")


def list_rules(
    server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """List the rules for alerts."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, _EXTENSION):
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


def edit_rule(  # noqa: PLR0913, PLR0917 - one parameter an option
    rule: Rule,
    name: Annotated[str | None, typer.Option("--name", help="The new name.")] = None,
    channel: ToChannels = None,
    flow: OfFlow = None,
    on: On = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether the rule applies; events do not wait for it.")
    ] = None,
    single: Single = None,
    group_seconds: GroupSeconds = None,
    repeat_seconds: RepeatSeconds = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Change a rule; topics and channels that are given replace all of its own."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, _EXTENSION):
        found = names.find(to, RULE, rule)
        change = _rule_fields(to, channel, flow, on, single, group_seconds, repeat_seconds)
        change |= ({} if name is None else {"name": name}) | ({} if enable is None else {"enabled": enable})
        if not change:
            raise WrongUsageError("Nothing to change: give --name, --channel, --on, --flow, --enable or --disable.")
        to.merge(f"{RULE.path}/{found['id']}", change, found["etag"])
        after = to.get_one(f"{RULE.path}/{found['id']}")
    if json:
        output.as_json(after)
        return
    output.line(f"alert rule {after['name']} ({after['id']}) is changed")


def delete_rule(
    rule: Rule,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Delete a rule, with the messages that wait for it."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, _EXTENSION):
        found = names.find(to, RULE, rule)
        to.delete(f"{RULE.path}/{found['id']}")
    if json:
        output.as_json({"id": found["id"], "name": found["name"], "deleted": True})
        return
    output.line(f"alert rule {found['name']} ({found['id']}) is deleted")


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
    with connected(server, data_dir, sandbox) as to, names.extension(to, _EXTENSION):
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
    with connected(server, data_dir, sandbox) as to, names.extension(to, _EXTENSION):
        found = names.choose_by_id("alert", message, to.get_all(MESSAGES, most=1000))
        result = to.post(f"{MESSAGES}/{found['id']}/action", None, (("op", "retry"),))
    if json:
        output.as_json(result)
        return
    output.line(f"message {result['id']} is sent again; see offtake alert list")


def _settings(kind: str, given: Mapping[str, tuple[Any, Path | None]], *, is_new: bool) -> Json:
    """The settings of the options, by key. Raises `WrongUsageError` for options that the kind does not have."""
    if kind not in SETTINGS:
        raise WrongUsageError(f"--kind {kind[:100]}: must be one of {', '.join(SETTINGS)}.")
    fields = {one.key: one for one in SETTINGS[kind]}
    others = [f"--{key}" for key, values in given.items() if any(values) and key not in fields]
    if others:
        allowed = ", ".join(one.option for one in fields.values())
        raise WrongUsageError(f"{', '.join(others)}: not an option of kind {kind}, which has {allowed}.")
    found: Json = {}
    for key, one in fields.items():
        value, file = given[key]
        if one.secret:
            value = read_secret(one, value, file)
        elif file is not None:
            raise WrongUsageError(f"{one.option}-file is for secrets; give {one.option}.")
        if value:
            found[key] = value
        elif is_new and one.required and one.secret:
            found[key] = prompt_for(one)
        elif is_new and one.required:
            raise WrongUsageError(f"{one.option} is missing: it is required for kind {kind}.")
    return found


def _rule_fields(
    to: Server,
    channels: list[str] | None,
    flow: str | None,
    on: list[str] | None,
    single: bool | None,
    group_seconds: int | None,
    repeat_seconds: int | None,
) -> Json:
    """The given fields of a rule."""
    found: Json = {
        "channelIds": [names.find(to, CHANNEL, one)["id"] for one in channels] if channels else None,
        "flowId": None if flow is None else names.find(to, FLOW, flow)["id"],
        "topics": on or None,
        "single": single,
        "groupSeconds": group_seconds,
        "repeatSeconds": repeat_seconds,
    }
    return {key: value for key, value in found.items() if value is not None}


def _flow_names(to: Server) -> dict[str, str]:
    return {one["id"]: one["name"] for one in to.get_all(FLOW.path)}


def _state(channel: Json) -> str:
    failures = channel["failures"]
    return f"{failures} failed attempt{'s' if failures != 1 else ''}" if failures else "ready"


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
