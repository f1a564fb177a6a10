"""Options of all commands, and access to the deployment."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from sqlalchemy.orm import Session

from offtake.access import access, clients
from offtake.clock import Clock
from offtake.contract import listing
from offtake.contract.caller import Caller
from offtake.deployment.backend import Backend, open_backend
from offtake.errors import OfftakeError
from offtake.flows import queries
from offtake.invalid_values import message_of
from offtake.settings import Settings
from offtake.store.tables import Flow

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="The data directory (or OFFTAKE_DATA_DIR; default ./offtake-data)."),
]
InSandbox = Annotated[str | None, typer.Option("--sandbox", help="A sandbox's name; default: the default sandbox.")]
FlowName = Annotated[str, typer.Argument(help="The flow's id or name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_at(data_dir: Path | None) -> Settings:
    """Read the deployment's settings; raises `OfftakeError`, which names the invalid ones."""
    try:
        return Settings.at(data_dir)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {message_of(one)}" for one in error.errors())
        raise OfftakeError(f"Invalid settings (OFFTAKE_* or offtake.toml): {wrong}") from None


@contextmanager
def operating(data_dir: Path | None, sandbox: str | None = None) -> Iterator[tuple[Backend, Caller]]:
    """Open the deployment directly, with every permission in one sandbox; a server may be running."""
    with opened(data_dir) as backend:
        yield backend, access.operator_caller(backend.database, sandbox)


@contextmanager
def administering(data_dir: Path | None) -> Iterator[tuple[Backend, Caller]]:
    """Open the deployment directly, for the organisation's clients, roles and sandboxes; a server may be running."""
    with opened(data_dir) as backend:
        yield backend, access.organisation_operator(backend.database)


def find_flow(session: Session, caller: Caller, flow: str) -> Flow:
    """Find the flow with that id or name; raises `OfftakeError` for none or several."""
    found = [row for row in queries.flows(session, caller, listing.first_thousand()).rows if flow in (row.id, row.name)]
    if len(found) != 1:
        problem = "Several flows have the name" if found else "No flow has the id or the name"
        raise OfftakeError(f"{problem} {flow} in sandbox {caller.sandbox_name}; see: offtake flow list")
    return found[0]


@contextmanager
def opened(data_dir: Path | None) -> Iterator[Backend]:
    """Open the deployment directly; a server may be running."""
    backend = open_backend(settings_at(data_dir), Clock())
    try:
        clients.create_organisation(backend.database, backend.clock)
        yield backend
    finally:
        backend.close()
