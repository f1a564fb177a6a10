"""The table of all commands, with their functions and help lines.

A command's module is imported only when the command is called: imports take longer than most commands. The help lines
equal the first paragraphs of the functions' docstrings.
"""

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer import Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_install_completion_arguments

from offtake import __version__
from offtake.cli.examples import EXAMPLES

if TYPE_CHECKING:
    # The signatures of Typer's public classes use it, but it has no public name.
    from typer._click import Command as _AnyCommand
    from typer._click import Context, Parameter


@dataclass(frozen=True)
class Command:
    """A command; `function` is a module below `offtake.cli` and a name in it, such as `serve:worker`."""

    function: str
    line: str


@dataclass(frozen=True)
class Group:
    """Commands with the same first word."""

    line: str
    commands: "dict[str, Command | Group]"


_CREATE: Final = (
    "Create a connection to {}, after a test; secrets are typed when asked, or read from a file or variable."
)
COMMANDS: Final[dict[str, Command | Group]] = {
    "init": Command(
        "init:init",
        "Create a deployment without starting a server: its folders, databases and keys; no-op if there is one.",
    ),
    "serve": Command("serve:serve", "Run the server: the API, the scheduler and the workers of runs and imports."),
    "worker": Command(
        "serve:worker",
        "Run a worker of runs and imports, next to a server with the same database; any number of workers may run.",
    ),
    "demo": Command(
        "demo:demo", "Demo: import a dataset, export it in full, then incrementally, and verify the delivered rows."
    ),
    "copy": Command(
        "copy:copy", "Deliver files, datasets or tables of catalogs once, without a server and without a flow."
    ),
    "status": Command(
        "status:status",
        "Show what was delivered, what runs, what waits, is late or failed and what helps, and what ends soon.",
    ),
    "usage": Command("usage:usage", "Show rows, bytes, files and CPU seconds by dataset and destination in a month."),
    "backup": Command("backup:backup", "Back up the deployment to an archive; the server may be running."),
    "restore": Command(
        "backup:restore", "Restore a backup into an empty data directory and database; no server may be running."
    ),
    "migrate": Command(
        "migrate:migrate",
        "Move the deployment from SQLite to PostgreSQL, with all positions; no server or worker may be running.",
    ),
    "apply": Command("apply:apply", "Create and change what documents in files declare; the plan is shown first."),
    "diff": Command("apply:diff", "Show how the server differs from documents in files; nothing is changed."),
    "export": Command(
        "export:export", "Print what exists as documents that apply reads; secrets are references to be filled in."
    ),
    "dataset": Group(
        "Datasets: import and inspect them.",
        {
            "import": Command(
                "datasets:import_", "Append the rows of FILES to a dataset as one batch: all rows or none."
            ),
            "list": Command("datasets:list_", "List datasets."),
            "show": Command("datasets:show_", "Show a dataset's schema, size and snapshots."),
            "maintain": Command(
                "upkeep:maintain",
                "Merge small files, and remove old snapshots and files that nothing refers to, as servers do each day.",
            ),
            "preview": Command("datasets:preview", "Print the first rows of a dataset, one JSON object per line."),
            "create": Command(
                "datasets:create",
                "Create an empty dataset; its columns are declared here, or defined by its first batch.",
            ),
            "update": Command("datasets:update", "Change whether batches may add columns to a dataset."),
            "delete": Command("datasets:delete", "Delete a dataset with its rows; refused if flows export it."),
            "register": Command(
                "registering:register",
                "Register a table or a namespace of a catalog as datasets, which are read where they are.",
            ),
            "label": Command(
                "datasets:label",
                "Replace the access labels of a dataset; only clients with all of its labels can see it.",
            ),
        },
    ),
    "catalog": Group(
        "Catalogs of others, whose tables are exported where they are.",
        {
            "add": Command("lake_catalogs:add", "Add a catalog with its properties, by PyIceberg's names."),
            "list": Command("lake_catalogs:list_", "List catalogs."),
            "show": Command(
                "lake_catalogs:show",
                "Show a catalog's properties, without its secrets, and its namespaces in step.",
            ),
            "test": Command("lake_catalogs:run_test", "Test a catalog: list its namespaces; read a table."),
            "update": Command(
                "lake_catalogs:update",
                "Change a catalog's name, properties and secrets; what is not named stays.",
            ),
            "sync": Command(
                "lake_catalogs:sync",
                "Compare the catalog's namespaces that are kept in step with the catalog, now and completely.",
            ),
            "remove": Command(
                "lake_catalogs:remove", "Forget a catalog; refused while datasets are registered from it."
            ),
        },
    ),
    "batch": Group(
        "Batches: imports into datasets.",
        {
            "list": Command("batches:list_", "List batches, the latest first."),
            "show": Command("batches:show_", "Show a batch as JSON, in the format of the Catalog API."),
            "revert": Command(
                "batches:revert",
                "Revert a batch: remove its rows from its dataset; refused if they have been rewritten since.",
            ),
        },
    ),
    "connection": Group(
        "Base connections: accounts at destinations.",
        {
            "create": Group(
                "Create a connection to a destination.",
                {
                    "sftp": Command("connection_create:sftp", _CREATE.format("an SFTP server")),
                    "s3": Command("connection_create:s3", _CREATE.format("Amazon S3 or a compatible store")),
                    "azure-blob": Command("connection_create:azure_blob", _CREATE.format("Azure Blob Storage")),
                    "adls": Command("connection_create:adls", _CREATE.format("Azure Data Lake Storage Gen2")),
                    "gcs": Command("connection_create:gcs", _CREATE.format("Google Cloud Storage")),
                    "landing-zone": Command(
                        "connection_create:landing_zone",
                        "Create a connection to the landing zone of the sandbox; it needs no secrets.",
                    ),
                },
            ),
            "list": Command("connections:list_", "List base connections, the most recently changed first."),
            "show": Command(
                "connection_edit:show_", "Show a connection without its secrets, and the flows that deliver there."
            ),
            "edit": Command(
                "connection_edit:edit",
                "Change a connection: its name, description, credentials or public key; later runs use the new ones.",
            ),
            "delete": Command(
                "connection_edit:delete",
                "Delete a connection that no flow delivers to, with its unused target connections; asks first.",
            ),
            "test": Command(
                "connections:run_test",
                "Test a connection: write, read back, list and delete a small object where its target connections "
                "deliver to.",
            ),
        },
    ),
    "flow": Group(
        "Flows: scheduled exports.",
        {
            "create": Command(
                "flow_create:create",
                "Create a flow: datasets, a connection, and a schedule; its source and target connection are created "
                "with it.",
            ),
            "list": Command(
                "flows:list_",
                "List flows, the most recently changed first; in parentheses, the number of consecutive failed runs.",
            ),
            "show": Command(
                "flow_show:show_",
                "Show a flow: schedule, last and current run, undelivered data, files left behind, unsupported "
                "guarantees.",
            ),
            "edit": Command(
                "flow_edit:edit",
                "Change a flow: its name, datasets, place, files or schedule, all or nothing; later runs are changed.",
            ),
            "preview": Command(
                "flow_preview:preview",
                "Show what a flow delivers: the paths, the next five runs, and the first rows as in its files.",
            ),
            "pause": Command(
                "flow_states:pause",
                "Pause a flow: no scheduled run starts until it is resumed; a run in progress continues.",
            ),
            "resume": Command("flow_states:resume", "Resume a paused flow: its next run covers what was missed."),
            "delete": Command(
                "flow_states:delete",
                "Delete a flow, with its source and target connection if no other flow uses them; asks first.",
            ),
            "run": Command(
                "flows:run",
                "Run a flow now, in addition to its schedule: a full export the first time, then incremental ones.",
            ),
            "backfill": Command(
                "backfill:command",
                "Deliver a run, a range of snapshots or a period again: into a new folder, without moving the flow's "
                "position.",
            ),
            "verify": Command(
                "verify:flow",
                "Verify that the snapshot ranges of a flow's runs cover its datasets' history without gaps or "
                "overlaps.",
            ),
        },
    ),
    "run": Group(
        "Runs: single exports of flows.",
        {
            "list": Command("runs:list_", "List runs, the latest first."),
            "show": Command("runs:show_", "Show the files that a run delivered, or its errors."),
            "watch": Command(
                "runs:watch", "Follow a run until it ends; the exit code is 0 on success and 1 on failure."
            ),
            "manifest": Command(
                "runs:manifest", "Print the manifest of a run, also if no manifest file was delivered."
            ),
            "verify": Command(
                "verify:run",
                "Compare the files that a run delivered with its destination: missing, extra, altered and "
                "collected files.",
            ),
            "cancel": Command(
                "runs:cancel",
                "Cancel a run that waits or is in progress; files that were not collected are removed.",
            ),
            "retry": Command(
                "runs:retry",
                "Retry a failed run with the same snapshots; refused if a later run has delivered them.",
            ),
        },
    ),
    "sandbox": Group(
        "Sandboxes: isolated namespaces of the organisation.",
        {
            "create": Command("sandboxes:create", "Create a sandbox."),
            "list": Command("sandboxes:list_", "List sandboxes."),
            "reset": Command(
                "sandboxes:reset",
                "Remove all content of a sandbox: flows, connections, runs, datasets, and the files of its "
                "landing zone.",
            ),
            "delete": Command(
                "sandboxes:delete", "Delete a sandbox with all of its content; it is removed from roles."
            ),
        },
    ),
    "quota": Group(
        "Monthly quotas of sandboxes, which hold new runs while they are reached.",
        {
            "set": Command(
                "usage:set_", "Set a sandbox's monthly quota; while it is reached, new runs wait, and none fails."
            ),
            "list": Command("usage:list_", "List a sandbox's monthly quotas and what is used of them."),
            "remove": Command("usage:remove", "Remove a sandbox's monthly quota; the runs that it held start."),
        },
    ),
    "client": Group(
        "API clients, which can get tokens.",
        {
            "create": Command(
                "clients:create", "Create a client. Its secret is shown once, and stored only as a hash."
            ),
            "list": Command("clients:list_", "List clients, the latest first."),
            "rotate": Command(
                "clients:rotate",
                "Replace a client's secret; shown once. The old secret is invalid from now on; its tokens expire "
                "within a day.",
            ),
            "revoke": Command("clients:revoke", "Revoke a client and all of its tokens permanently."),
        },
    ),
    "role": Group(
        "Roles: permissions of clients in sandboxes.",
        {
            "create": Command("roles:create", "Create a role."),
            "list": Command("roles:list_", "List roles, the latest first."),
            "show": Command("roles:show_", "Show a role's permissions, sandboxes, labels and clients."),
            "update": Command("roles:update", "Change the permissions of a role, for all clients that have it."),
            "grant": Command("roles:grant", "Grant a role to a client."),
            "revoke": Command("roles:revoke", "Revoke a role from a client."),
            "delete": Command("roles:delete", "Delete a role; its clients lose what it grants."),
        },
    ),
    "profile": Group(
        "Profiles: servers that --server names.",
        {
            "add": Command("profiles:add", "Add a profile or replace it; asks for its secret unless it is given."),
            "list": Command("profiles:list_", "List profiles."),
            "show": Command("profiles:show_", "Show a profile, without its secret."),
            "use": Command("profiles:use", "Make a profile the default: commands without --server use it."),
            "remove": Command("profiles:remove", "Remove a profile."),
        },
    ),
    "audit": Group(
        "The audit log: who changed what, when, and from where.",
        {"list": Command("audit:list_", "List changes, the latest first.")},
    ),
    "alert": Group(
        "Alerts: what is reported to whom, and what was sent.",
        {
            "channel": Group(
                "Channels: webhooks, e-mail and chats.",
                {
                    "create": Command(
                        "alert_channel_edits:create",
                        "Create a channel for alerts: a webhook, e-mail, or a chat. Nothing is sent to it.",
                    ),
                    "list": Command("alert_channels:list_", "List the channels for alerts."),
                    "show": Command("alert_channels:show", "Show a channel's settings, without its secrets."),
                    "edit": Command(
                        "alert_channel_edits:edit",
                        "Change a channel: its name, URL, recipients or secrets; another server's URL needs its "
                        "secrets again.",
                    ),
                    "test": Command(
                        "alert_channels:run_test",
                        "Send a test message to a channel now, and print the receiver's answer.",
                    ),
                    "delete": Command(
                        "alert_channels:delete", "Delete a channel with its messages; refused while rules use it."
                    ),
                },
            ),
            "rule": Group(
                "Rules: which events are sent to which channels.",
                {
                    "create": Command(
                        "alert_rules:create",
                        "Create a rule: which events are sent to which channels; by default all about problems and "
                        "recoveries.",
                    ),
                    "list": Command("alert_rules:list_", "List the rules for alerts."),
                    "edit": Command(
                        "alert_rules:edit",
                        "Change a rule; topics and channels that are given replace all of its own.",
                    ),
                    "delete": Command("alert_rules:delete", "Delete a rule, with the messages that wait for it."),
                },
            ),
            "list": Command(
                "alert_messages:list_",
                "List the messages of alerts, the latest first: sent, waiting, or dead, with the receiver's answer.",
            ),
            "retry": Command(
                "alert_messages:retry", "Send a dead message again, or a waiting one now; a running server sends it."
            ),
        },
    ),
    "vault": Group(
        "The vault: the encryption keys of stored secrets.",
        {"rotate": Command("vault:rotate", "Re-encrypt all stored secrets with a new key; the server may be running.")},
    ),
}


def entries(commands: dict[str, Command | Group] = COMMANDS, before: str = "") -> Iterator[tuple[str, Command | Group]]:
    """All commands and groups by their words, such as `flow run`."""
    for word, entry in commands.items():
        words = f"{before} {word}".strip()
        yield words, entry
        if isinstance(entry, Group):
            yield from entries(entry.commands, words)


class Deferred(TyperCommand):
    """A command whose module is imported when it is called or its options are needed."""

    def __init__(self, word: str, command: Command) -> None:
        super().__init__(word, help=command.line, short_help=command.line)
        self._function = command.function

    def make_context(
        self, info_name: str | None, args: list[str], parent: "Context | None" = None, **extra: object
    ) -> "Context":
        """Import the command and return its own context."""
        module, _, name = self._function.partition(":")
        alone = Typer(add_completion=False)
        example = EXAMPLES.get(" ".join((*_words(parent), self.name or "")))
        epilog = f"Example: offtake {example}" if example else None
        alone.command(self.name, epilog=epilog)(getattr(_import_module(f"offtake.cli.{module}"), name))
        return get_command(alone).make_context(info_name, args, parent, **extra)


def _words(parent: "Context | None") -> tuple[str, ...]:
    """The words of the groups that a command is in."""
    if parent is None or parent.parent is None:
        return ()
    return (*_words(parent.parent), parent.command.name or "")


def _import_module(name: str) -> ModuleType:
    """Import a module without garbage collection, and exempt it from later collections: a sixth faster."""
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.enable()
        gc.freeze()


def command_line() -> TyperGroup:
    """The whole command line, a callable that takes arguments."""
    return TyperGroup(
        name="offtake",
        help="Scheduled, verifiable exports of Iceberg datasets.",
        commands=_entries(COMMANDS),
        params=[*get_install_completion_arguments(), *_own_options()],
    )


def _print_version(ctx: typer.Context, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        print(f"offtake {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", is_eager=True, expose_value=False, callback=_print_version, help="Print the version."),
]


def _own_options() -> "list[Parameter]":
    """The options of the command line itself."""
    alone = Typer(add_completion=False)

    @alone.callback()
    def of_all(version: Version = False) -> None:
        """Take the options."""
        del version

    return get_command(alone).params


def _group(word: str, group: Group) -> TyperGroup:
    return TyperGroup(name=word, help=group.line, short_help=group.line, commands=_entries(group.commands))


def _entries(commands: dict[str, Command | Group]) -> "dict[str, _AnyCommand]":
    return {
        word: _group(word, entry) if isinstance(entry, Group) else Deferred(word, entry)
        for word, entry in commands.items()
    }
