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
    """List base connections, the most recently changed first."""
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
    """Test a connection: write, read back, list and delete a small object where its target connections deliver to."""
    with operating(data_dir, sandbox) as (backend, caller):
        with backend.database.reading() as session:
            all_rows = queries.connections(session, caller, listing.first_thousand()).rows
            found = [row.id for row in all_rows if connection in (row.id, row.name)]
            if len(found) != 1:
                problem = "Several connections have the name" if found else "No connection has the id or the name"
                raise OfftakeError(f"{problem} {connection}; see: offtake connection list")
            check = connection_checks.prepare(
                session, caller, backend.vault, found[0], backend.sandbox_location(caller)
            )
        result = connection_checks.run_check(check, backend.pin_store)
    if json:
        output.as_json(result)
    elif result["result"]:
        output.console.print(f"Success: Offtake can deliver to {check.destination.name}.")
        for limit in result.get("limits", []):
            output.console.print(limit, markup=False)
    else:
        for error in result["errors"]:
            output.console.print(f"{error['code']} {error['message']}", markup=False)
    if not result["result"]:
        raise typer.Exit(1)
