"""The command `offtake status`."""

from typing import Annotated, Final

import typer

from offtake.cli import instants, output, status_report
from offtake.cli.connecting import connected
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.cli.status_report import Line
from offtake.client.server import FLOW_SERVICE, Server
from offtake.documents import Json

_TROUBLES: Final = ("failed", "late")


def status(
    since: Annotated[
        str, typer.Option("--since", help=f"Count the runs that ended since then: {instants.HELP}.")
    ] = "1d",
    check: Annotated[
        bool, typer.Option("--check", help="Exit with code 1 if a flow is late or its last run has failed.")
    ] = False,
    most: Annotated[int, typer.Option("--most", min=1, max=100, help="Maximum number of lines of each kind.")] = 20,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Show what was delivered, what runs, what waits, is late or failed and what helps, and what ends soon."""
    with connected(server, data_dir, sandbox) as to:
        start = instants.start("--since", since, to.transport.now())
        found = _read(to, start, most)
    if json:
        output.as_json(found)
    else:
        _print(found)
    if check and any(one["kind"] in _TROUBLES for one in found["attention"]):
        raise typer.Exit(1)


def _read(server: Server, since_ms: int, most: int) -> Json:
    query = (("since", str(since_ms)), ("limit", str(most)))
    found: Json | None = server.get_extension(f"{FLOW_SERVICE}/overview", query)
    if found is None:
        output.note(f"{server.name} does not report which flows are late: an extension of Offtake.")
        return status_report.of_contract(server, since_ms, most)
    return found


def _print(found: Json) -> None:
    lines = status_report.lines_of(found)
    totals = status_report.totals_sentence(found)
    if not output.is_terminal():
        columns = ("WHAT", "FLOW", "FLOW ID", "RUN", "SINCE", "DETAIL", "WHAT HELPS")
        output.line(totals)
        output.table(columns, [_row(one) for one in lines], "")
        return
    output.line(totals)
    if not lines:
        output.line("Every delivery is in time.")
    for one in lines:
        output.line("")
        run = f", run {output.short_id(one.run_id)}" if one.run_id else ""
        output.line(f"{one.what}: {one.flow}{run}, {one.preposition} {output.instant(one.at_ms)}")
        for text in (one.detail, one.command):
            if text:
                output.line(f"  {text}")
    for text in status_report.remarks(found):
        output.line("")
        output.line(text)


def _row(one: Line) -> tuple[object, ...]:
    return one.what, one.flow, one.flow_id, one.run_id, output.Instant(one.at_ms), one.detail, one.command
