"""The commands `offtake flow …`."""

from typing import Annotated

import typer

from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, find_flow, operating
from offtake.contract import listing
from offtake.contract.entities import ENABLED
from offtake.flows import adhoc, flow_documents, flow_ends, flows, queries
from offtake.flows.adhoc import AdhocDestination
from offtake.store.tables import Flow

EndingWithin = Annotated[
    float | None,
    typer.Option(
        "--ending-within", min=0, max=36_500, help="Only flows that end within this many days, the earliest first."
    ),
]


def list_(
    ending_within: EndingWithin = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """List flows, the most recently changed first; in parentheses, the number of consecutive failed runs."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        now_ms = backend.clock.now_ms()
        if ending_within is None:
            found = queries.flows(session, caller, listing.first_thousand()).rows
        else:
            in_sandbox = Flow.sandbox_id == caller.sandbox_id
            found = flow_ends.find_ending(session, now_ms // 1000, ending_within, in_sandbox)
        documents = flow_documents.render_all(session, found, caller, now_ms) if json else []
    if json:
        output.as_json(documents)
        return
    empty = "No flows yet." if ending_within is None else f"No flow ends within {ending_within:g} days."
    output.table(
        ("ID", "NAME", "STATE", "LAST RUN", "ENDED", "NEXT RUN", "FLOW ENDS"),
        [_row(row, now_ms // 1000) for row in found],
        empty,
    )


def _row(row: Flow, now: int) -> tuple[object, ...]:
    """A row of the table."""
    following = flow_ends.next_run(row, now)
    ended = "ended" if row.state == ENABLED else f"{row.state}, ended"
    return (
        row.id,
        row.name,
        ended if flow_ends.is_over(row, now) else row.state,
        f"{row.last_run_state} ({row.failures})" if row.failures else row.last_run_state,
        output.instant(row.last_run_completed_at),
        output.instant(following * 1000 if following else None),
        flow_ends.describe_end(flows.stored_schedule(row)),
    )


def run(
    flow: FlowName,
    full: Annotated[
        bool, typer.Option("--full", help="Export all rows, without changing the flow's position.")
    ] = False,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Run a flow now, in addition to its schedule: a full export the first time, then incremental ones.

    The run of a one-time flow takes the place of its scheduled run.
    """
    with operating(data_dir, sandbox) as (backend, caller), backend.database.writing() as session:
        found = find_flow(session, caller, flow)
        request = AdhocDestination.model_validate({"flowId": found.id, "fullExport": full})
        row = adhoc.run_now(session, caller, request, backend.clock.now_ms())
    if json:
        output.as_json({"id": row.id, "flowId": row.flow_id, "status": row.status})
        return
    output.console.print(f"Run {row.id} is queued; a running server executes it: offtake run watch {row.id}")
