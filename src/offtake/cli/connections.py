"""The commands `offtake connection …`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, InSandbox, operating
from offtake.contract import listing
from offtake.errors import OfftakeError
from offtake.flows import connection_checks, connections, queries, specs


def list_(sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List the base connections, the most recently changed first."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        found = queries.connections(session, caller, listing.first_thousand()).rows
        left = connections.runs_with_files_left(session, [row.id for row in found])
        documents = [connections.render(row, caller) | {"toBeRemoved": left.get(row.id, [])} for row in found]
    if json:
        output.as_json(documents)
        return
    rows = [
        (row.id, row.name, specs.destination_of_connection(row.connection_spec_id).name, _left(left.get(row.id, [])))
        for row in found
        if row.connection_spec_id != specs.DATA_LAKE
    ]
    output.table(("ID", "NAME", "DESTINATION", "TO BE REMOVED THERE"), rows, "No connections yet.")


def _left(run_ids: Sequence[str]) -> str:
    more = f" and {len(run_ids) - 1} more" if len(run_ids) > 1 else ""
    return f"files of run {run_ids[0]}{more}" if run_ids else ""


def run_test(
    connection: Annotated[str, typer.Argument(help="The base connection's id or name.")],
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Write, read back, list and remove a small object where its target connections deliver to."""
    with operating(data_dir, sandbox) as (backend, caller):
        with backend.database.reading() as session:
            every = queries.connections(session, caller, listing.first_thousand()).rows
            found = [row.id for row in every if connection in (row.id, row.name)]
            if len(found) != 1:
                how = "no connection" if not found else "more than one connection"
                raise OfftakeError(f"There is {how} {connection}; see: offtake connection list")
            trial = connection_checks.prepare(session, caller, backend.vault, found[0], backend.site(caller))
        answer = connection_checks.run_check(trial, backend.memory)
    if json:
        output.as_json(answer)
    elif answer["result"]:
        output.console.print(f"{trial.destination.name} can be delivered to.")
        for lost in answer.get("limits", []):
            output.console.print(lost, markup=False)
    else:
        for error in answer["errors"]:
            output.console.print(f"{error['code']} {error['message']}", markup=False)
    if not answer["result"]:
        raise typer.Exit(1)
