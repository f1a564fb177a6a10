"""Every command by its words, with the function that carries it out and the line that lists show of it.

A command's module is imported only when that command is asked for: most of what they import takes longer than what
they do. The lines are the first sentences of the functions' docstrings.
"""

import gc
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Final

from typer import Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_install_completion_arguments

if TYPE_CHECKING:
    # What the signatures of Typer's public classes take; it has no public name.
    from typer._click import Context


@dataclass(frozen=True)
class Command:
    """`function` is a module below `offtake.cli` and a name in it, as in `serve:worker`."""

    function: str
    line: str


@dataclass(frozen=True)
class Group:
    """Commands that share their first word."""

    line: str
    commands: dict[str, Command]


COMMANDS: Final[dict[str, Command | Group]] = {
    "serve": Command("serve:serve", "Serve the API, tick schedules and carry out runs, in one process."),
    "worker": Command(
        "serve:worker",
        "Carry out runs and bring batches in, beside a server that uses the same database; any number of these may.",
    ),
    "demo": Command(
        "demo:demo", "Make a dataset, export it in full and then by an increment, and prove what was delivered."
    ),
    "backup": Command(
        "backup:backup", "Write an archive of everything this deployment knows, beside a running server."
    ),
    "restore": Command(
        "backup:restore", "Bring a backup back into an empty data directory and database, with no server running."
    ),
    "dataset": Group(
        "Datasets: bring rows in, look at them.",
        {
            "import": Command(
                "datasets:import_", "Append the rows of FILES to a dataset as one batch: all of them, or none."
            ),
            "list": Command("datasets:list_", "List the datasets."),
            "show": Command("datasets:show_", "Show a dataset's schema, size and snapshots."),
            "preview": Command("datasets:preview", "Print the first rows of a dataset, one JSON object a row."),
            "create": Command(
                "datasets:create",
                "Make a dataset without rows; its columns are given here, or come with its first batch.",
            ),
            "update": Command("datasets:update", "Change whether batches may add columns to a dataset."),
            "delete": Command("datasets:delete", "Delete a dataset with its rows; refused while flows export it."),
            "label": Command(
                "datasets:label",
                "Give a dataset exactly these access labels; whoever lacks one of them no longer sees it.",
            ),
        },
    ),
    "batch": Group(
        "Batches: what came into datasets, and what did not.",
        {
            "list": Command("batches:list_", "List the latest batches."),
            "show": Command("batches:show_", "Show a batch as Catalog does, as JSON."),
            "revert": Command(
                "batches:revert",
                "Take a batch's rows out of its dataset again; refused when they have been rewritten since.",
            ),
        },
    ),
    "connection": Group(
        "Base connections: accounts at destinations.",
        {
            "list": Command("connections:list_", "List the base connections, the most recently changed first."),
            "test": Command(
                "connections:run_test",
                "Write, read back, list and remove a small object where its target connections deliver to.",
            ),
        },
    ),
    "flow": Group(
        "Flows: what is delivered where, and when.",
        {
            "list": Command(
                "flows:list_",
                "List the flows, the most recently changed first; in brackets, how many runs have failed one after "
                "another.",
            ),
            "show": Command(
                "flow_show:show_",
                "Show a flow: its runs, what they wait for, what is owed or stays delivered, and what does not hold.",
            ),
            "run": Command(
                "flows:run", "Run a flow now, beside its schedule: in full the first time, then what was added since."
            ),
            "backfill": Command(
                "backfilling:command",
                "Deliver a run, or a range of snapshots, again: into a fresh folder, without moving the flow's "
                "position.",
            ),
            "verify": Command(
                "proofs:flow",
                "Prove that the snapshot ranges of a flow's runs tile its datasets' history: no gap, no overlap.",
            ),
        },
    ),
    "run": Group(
        "Runs: what was delivered, what is going on.",
        {
            "list": Command("runs:list_", "List the latest runs."),
            "show": Command("runs:show_", "Show what a run delivered, or why it did not."),
            "watch": Command(
                "runs:watch", "Follow a run to its end; the exit code is 0 when it delivered and 1 when it failed."
            ),
            "manifest": Command(
                "runs:manifest", "Print what a run delivered: the manifest, whether or not a file of it was delivered."
            ),
            "verify": Command(
                "proofs:run",
                "Compare what a run delivered with its destination: what is extra, altered, or was collected.",
            ),
            "cancel": Command(
                "runs:cancel",
                "Stop a run that waits or is going on; files that nobody has collected are removed.",
            ),
            "retry": Command(
                "runs:retry",
                "Repeat a failed run over the same snapshots; refused when a later run has delivered them.",
            ),
        },
    ),
    "sandbox": Group(
        "Sandboxes: rooms that nothing crosses.",
        {
            "create": Command("sandboxes:create", "Make a sandbox."),
            "list": Command("sandboxes:list_", "List the sandboxes."),
            "reset": Command(
                "sandboxes:reset",
                "Remove everything in a sandbox: flows, connections, runs, datasets, and the files of its landing "
                "zone.",
            ),
            "delete": Command("sandboxes:delete", "Remove a sandbox with everything in it; roles no longer name it."),
        },
    ),
    "client": Group(
        "API clients: who can get a token.",
        {
            "create": Command("clients:create", "Make a client. Its secret is shown once, and not kept."),
            "list": Command("clients:list_", "List the clients, the latest first."),
            "rotate": Command(
                "clients:rotate",
                "Give a client a new secret, shown once. The old one ends at once; tokens given for it live out their "
                "day.",
            ),
            "revoke": Command("clients:revoke", "End a client for good, with every token it has."),
        },
    ),
    "role": Group(
        "Roles: what clients may do, and in which sandboxes.",
        {
            "create": Command("roles:create", "Make a role."),
            "list": Command("roles:list_", "List the roles, the latest first."),
            "show": Command("roles:show_", "Show what a role grants, and who has it."),
            "update": Command("roles:update", "Change which permissions a role grants, for every client that has it."),
            "grant": Command("roles:grant", "Give a role to a client."),
            "revoke": Command("roles:revoke", "Take a role from a client."),
            "delete": Command("roles:delete", "Forget a role; whoever had it loses what it granted."),
        },
    ),
    "audit": Group(
        "The audit log: who changed what, when, and from where.",
        {"list": Command("audit:list_", "List changes, the latest first.")},
    ),
    "vault": Group(
        "The vault: the keys that stored credentials are encrypted with.",
        {"rotate": Command("vault:rotate", "Put every stored secret under a new key, beside a running server.")},
    ),
}


class Deferred(TyperCommand):
    """A command known by its line; its function gives its options, and is imported for them."""

    def __init__(self, word: str, command: Command) -> None:
        super().__init__(word, help=command.line, short_help=command.line)
        self._function = command.function

    def make_context(
        self, info_name: str | None, args: list[str], parent: "Context | None" = None, **extra: object
    ) -> "Context":
        """The context of the command itself, which goes on from here."""
        module, _, name = self._function.partition(":")
        alone = Typer(add_completion=False)
        alone.command(self.name)(getattr(_imported(f"offtake.cli.{module}"), name))
        return get_command(alone).make_context(info_name, args, parent, **extra)


def _imported(name: str) -> ModuleType:
    """The module. What is imported stays, so garbage is not looked for meanwhile, and there never: a sixth faster."""
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.enable()
        gc.freeze()


def command_line() -> TyperGroup:
    """All of it, to be called with arguments."""
    return TyperGroup(
        name="offtake",
        help="Scheduled, provable exports of Iceberg datasets.",
        commands={
            word: _group(word, entry) if isinstance(entry, Group) else Deferred(word, entry)
            for word, entry in COMMANDS.items()
        },
        params=list(get_install_completion_arguments()),
    )


def _group(word: str, group: Group) -> TyperGroup:
    commands = [Deferred(one, command) for one, command in group.commands.items()]
    return TyperGroup(name=word, help=group.line, short_help=group.line, commands=commands)
