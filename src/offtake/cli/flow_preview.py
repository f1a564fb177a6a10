"""The command `offtake flow preview`."""

from json import dumps

from offtake.cli import output
from offtake.cli.connecting import connected
from offtake.cli.flow_options import Rows
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, ToServer
from offtake.client import names
from offtake.client.names import FLOW
from offtake.documents import Json


def preview(
    flow: FlowName,
    rows: Rows = 5,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Show what a flow delivers: the paths, the next five runs, and the first rows as in its files."""
    with connected(server, data_dir, sandbox) as to:
        found = names.find(to, FLOW, flow)
        planned = to.get_extension(f"{FLOW.path}/{found['id']}/preview", (("rows", str(rows)),))
        if planned is None:
            raise to.extension_error("flow preview")
    print_preview(planned, json=json)


def print_preview(planned: Json, *, json: bool) -> None:
    """Print a preview: its document, or lines with the rows as JSON."""
    if json:
        output.as_json(planned)
        return
    for at in planned["runs"]:
        output.line(f"run: {output.instant(at)}")
    if not planned["runs"]:
        output.line("run: none")
    if planned["state"] != "enabled":
        output.line(f"the flow is {planned['state']}: these runs start when it is resumed")
    for one in planned["datasets"]:
        name = one["name"] or one["dataSetId"]
        output.line(f"dataset {name}: {one['path']}")
        if "columns" in one:
            output.line(f"columns: {', '.join(one['columns'])}")
        if "problem" in one:
            output.line(f"its rows cannot be read: {one['problem']}")
        for row in one.get("rows", ()):
            output.row(dumps(row, ensure_ascii=False))
