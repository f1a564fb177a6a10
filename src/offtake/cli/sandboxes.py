"""The commands `offtake sandbox …`."""

from typing import Annotated

import typer

from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, administering
from offtake.contract.caller import Caller
from offtake.deployment.backend import Backend
from offtake.sandboxes import sandboxes
from offtake.scheduling.housekeeping import empty_sandbox
from offtake.store import sandbox_states
from offtake.store.tables import Sandbox

Name = Annotated[str, typer.Argument(help="The sandbox's name.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def create(
    name: Name,
    title: Annotated[str | None, typer.Option("--title", help="A display title; default: the name.")] = None,
    kind: Annotated[str, typer.Option("--type", help="production or development.")] = "development",
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Create a sandbox."""
    body = {"name": name, "title": title or name, "type": kind}
    with administering(data_dir) as (backend, caller), backend.database.writing() as session:
        row = sandboxes.create(session, caller, body, backend.clock.now_ms())
    _report(row, json)


def list_(data_dir: DataDir = None, json: AsJson = False) -> None:
    """List sandboxes."""
    with administering(data_dir) as (backend, caller), backend.database.reading() as session:
        documents = [sandboxes.render(row) for row in sandboxes.visible(session, caller)]
    if json:
        output.as_json(documents)
        return
    rows = [(one["name"], one["title"], one["type"], one["state"], one["createdDate"]) for one in documents]
    output.table(("NAME", "TITLE", "TYPE", "STATE", "CREATED"), rows, "No sandboxes.")


def reset(name: Name, yes: Yes = False, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Remove all content of a sandbox: flows, connections, runs, datasets, and the files of its landing zone."""
    _confirm(f"Remove all content of sandbox {name}?", yes)
    with administering(data_dir) as (backend, caller):
        with backend.database.writing() as session:
            row = sandboxes.reset(session, caller, name, {"action": "reset"}, backend.clock.now_ms())
        _report(_empty(backend, caller, row), json)


def delete(name: Name, yes: Yes = False, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Delete a sandbox with all of its content; it is removed from roles."""
    _confirm(f"Delete sandbox {name} with all of its content?", yes)
    with administering(data_dir) as (backend, caller):
        with backend.database.writing() as session:
            row = sandboxes.remove(session, caller, name, backend.clock.now_ms())
        _report(_empty(backend, caller, row), json)


def _confirm(question: str, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True)


def _empty(backend: Backend, caller: Caller, row: Sandbox) -> Sandbox:
    """Empty the sandbox as far as possible now; the server removes later what workers still use."""
    for _ in empty_sandbox(backend, row.id):
        pass
    with backend.database.reading() as session:
        return sandboxes.find(session, caller, row.name)[0]


def _report(row: Sandbox, json: bool) -> None:
    if json:
        output.as_json(sandboxes.render(row))
        return
    later = "; the server will finish it" if row.state in (sandbox_states.RESETTING, sandbox_states.DELETING) else ""
    output.console.print(f"sandbox {row.name} ({row.id}) is {row.state}{later}", markup=False)
