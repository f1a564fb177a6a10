"""The commands `offtake connection …`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from offtake.cli import output
from offtake.cli.completing import names_of
from offtake.cli.connecting import connected
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.cli.output import Id
from offtake.client import names
from offtake.client.exports import DATA_LAKE_ID
from offtake.client.names import CONNECTION
from offtake.client.server import FLOW_SERVICE, Server

ConnectionName = Annotated[
    str,
    typer.Argument(
        help="The base connection's name or id, or the beginning of its id.", autocompletion=names_of("connections")
    ),
]


def list_(server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List base connections, the most recently changed first."""
    with connected(server, data_dir, sandbox) as to:
        found = list(to.get_all(CONNECTION.path, most=1000))
        specs = {} if json else _spec_names(to)
    if json:
        output.as_json([one | {"toBeRemoved": one.get("extensions", {}).get("toBeRemoved", [])} for one in found])
        return
    rows = [
        (
            Id(one["id"]),
            one["name"],
            specs.get(one["connectionSpec"]["id"], one["connectionSpec"]["id"]),
            _left(one.get("extensions", {}).get("toBeRemoved", ())),
        )
        for one in found
        if one["connectionSpec"]["id"] != DATA_LAKE_ID
    ]
    output.table(("ID", "NAME", "DESTINATION", "TO BE REMOVED THERE"), rows, "No connections yet.")


def _spec_names(server: Server) -> dict[str, str]:
    return {one["id"]: one["name"] for one in server.get(f"{FLOW_SERVICE}/connectionSpecs")["items"]}


def _left(run_ids: Sequence[str]) -> str:
    more = f" and {len(run_ids) - 1} more" if len(run_ids) > 1 else ""
    return f"files of run {run_ids[0]}{more}" if run_ids else ""


def run_test(
    connection: ConnectionName,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Test a connection: write, read back, list and delete a small object where its target connections deliver to."""
    with connected(server, data_dir, sandbox) as to:
        found = names.find(to, CONNECTION, connection)
        result = to.get(f"{CONNECTION.path}/{found['id']}/test")
        spec = found["connectionSpec"]["id"]
        destination = _spec_names(to).get(spec, spec) if result["result"] and not json else ""
    if json:
        output.as_json(result)
    elif result["result"]:
        output.line(f"Success: Offtake can deliver to {destination}.")
        for limit in result.get("limits", []):
            output.line(limit)
    else:
        for error in result["errors"]:
            output.line(f"{error['code']} {error['message']}")
    if not result["result"]:
        raise typer.Exit(1)
