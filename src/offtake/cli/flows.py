"""The commands `offtake flow …`."""

from typing import Annotated

import typer

from offtake.cli import show
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, find_flow, operating
from offtake.flows import adhoc, dataflows, listing, reading
from offtake.flows.adhoc import AdhocDestination


def list_(sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List the flows, the most recently changed first; in brackets, how many runs have failed one after another."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        found = reading.flows(session, caller, listing.everything()).rows
        documents = [dataflows.render(session, row, caller) for row in found]
    if json:
        show.as_json(documents)
        return
    rows = [
        (
            row.id,
            row.name,
            row.state,
            f"{row.last_run_state} ({row.failures})" if row.failures else row.last_run_state,
            show.instant(row.last_run_completed_at),
            show.instant(row.next_run_s * 1000 if row.next_run_s else None),
        )
        for row in found
    ]
    show.table(("ID", "NAME", "STATE", "LAST RUN", "ENDED", "NEXT RUN"), rows, "No flows yet.")


def run(
    flow: FlowName,
    full: Annotated[bool, typer.Option("--full", help="Export everything, without moving the position.")] = False,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Run a flow now, beside its schedule: in full the first time, then what was added since."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.writing() as session:
        found = find_flow(session, caller, flow)
        asked = AdhocDestination.model_validate({"flowId": found.id, "fullExport": full})
        made = adhoc.run_now(session, caller, asked, backend.clock.now_ms())
    if json:
        show.as_json({"id": made.id, "flowId": made.flow_id, "status": made.status})
        return
    show.console.print(f"Run {made.id} is queued; a running server carries it out: offtake run watch {made.id}")
