"""The commands `offtake alert channel create | edit`."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from offtake.cli import output
from offtake.cli.alert_channels import Channel
from offtake.cli.connecting import connected
from offtake.cli.credentials_given import Given
from offtake.cli.derived_options import FILE, with_options, written_options
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.cli.secrets_given import prompt_for, read_secret
from offtake.client import names
from offtake.client.alerts import CHANNEL, EXTENSION, SETTINGS
from offtake.documents import Json
from offtake.errors import WrongUsageError


def _kinds(incomplete: str) -> list[str]:
    return [one for one in SETTINGS if one.startswith(incomplete)]


_OPTIONS: Final = written_options(
    url=Annotated[
        str | None,
        typer.Option(
            "--url", help="The URL. That of a chat is a secret: env:VARIABLE, or left out to be asked for it."
        ),
    ],
    url_file=Annotated[Path | None, typer.Option("--url-file", help="A file with the URL of a chat.")],
    to=Annotated[list[str] | None, typer.Option("--to", help="An e-mail address; may be given several times.")],
    secret=Annotated[
        str | None,
        typer.Option("--secret", help="env:VARIABLE with the secret that signs webhooks. Default: a generated one."),
    ],
    secret_file=Annotated[
        Path | None, typer.Option("--secret-file", help="A file with the secret that signs webhooks.")
    ],
    authorization=Annotated[
        str | None,
        typer.Option("--authorization", help="env:VARIABLE with an Authorization header's value for webhooks."),
    ],
    authorization_file=Annotated[
        Path | None,
        typer.Option("--authorization-file", help="A file with an Authorization header's value for webhooks."),
    ],
)


def _create(
    name: Annotated[str, typer.Argument(help="The channel's name.")],
    kind: Annotated[str, typer.Option("--kind", help=f"One of: {', '.join(SETTINGS)}.", autocompletion=_kinds)],
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
    **given: Any,  # noqa: ANN401 - values of options
) -> None:
    """Create a channel for alerts: a webhook, e-mail, or a chat. Nothing is sent to it."""
    settings = _settings(kind, given, is_new=True)
    with connected(server, data_dir, sandbox) as to, names.extension(to, EXTENSION):
        made = to.post(CHANNEL.path, {"name": name, "kind": kind, "settings": settings})
        document = to.get_one(f"{CHANNEL.path}/{made['id']}") if json else made
    generated: Json = made.get("generated", {})
    if json:
        output.as_json(document | ({"generated": generated} if generated else {}))
        return
    output.line(f"alert channel {name} ({made['id']}) is created")
    for key, value in generated.items():
        output.line(f"its {key} is shown only now: {value}")
    output.line(f"test it: offtake alert channel test {output.shell_word(name, made['id'])}")


def _edit(
    channel: Channel,
    name: Annotated[str | None, typer.Option("--name", help="The new name.")] = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
    **given: Any,  # noqa: ANN401 - values of options
) -> None:
    """Change a channel: its name, URL, recipients or secrets; another server's URL needs its secrets again."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, EXTENSION):
        found = names.find(to, CHANNEL, channel)
        settings = _settings(found["kind"], given, is_new=False)
        change = ({} if name is None else {"name": name}) | ({"settings": settings} if settings else {})
        if not change:
            raise WrongUsageError("Nothing to change: give --name, --url, --to, --secret or --authorization.")
        to.merge(f"{CHANNEL.path}/{found['id']}", change, found["etag"])
        after = to.get_one(f"{CHANNEL.path}/{found['id']}")
    if json:
        output.as_json(after)
        return
    shown = output.shell_word(after["name"], after["id"])
    output.line(f"alert channel {after['name']} ({after['id']}) is changed")
    output.line(f"test it: offtake alert channel test {shown}")


def _settings(kind: str, given: Given, *, is_new: bool) -> Json:
    """The settings of the options, by key. Raises `WrongUsageError` for options that the kind does not have."""
    if kind not in SETTINGS:
        raise WrongUsageError(f"--kind {kind[:100]}: must be one of {', '.join(SETTINGS)}.")
    fields = {one.key: one for one in SETTINGS[kind]}
    keys = [name.removesuffix(FILE) for name, value in given.items() if value]
    others = [f"--{key}" for key in dict.fromkeys(keys) if key not in fields]
    if others:
        allowed = ", ".join(one.option for one in fields.values())
        raise WrongUsageError(f"{', '.join(others)}: not an option of kind {kind}, which has {allowed}.")
    found: Json = {}
    for key, one in fields.items():
        value, file = given[key], given.get(key + FILE)
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


create = with_options(_create, _OPTIONS, before="server")
edit = with_options(_edit, _OPTIONS, before="server")
