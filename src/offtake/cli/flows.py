"""The commands `offtake flow …`."""

import time
from typing import Annotated

import typer

from offtake.cli import output
from offtake.cli.connecting import ToServer, connected
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, find_flow, operating
from offtake.client.names import FLOW
from offtake.client.server import Server
from offtake.documents import Json
from offtake.flows import adhoc
from offtake.flows.adhoc import AdhocDestination

EndingWithin = Annotated[
    float | None,
    typer.Option(
        "--ending-within", min=0, max=36_500, help="Only flows that end within this many days, the earliest first."
    ),
]


def list_(
    ending_within: EndingWithin = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """List flows, the most recently changed first; in parentheses, the number of consecutive failed runs."""
    with connected(server, data_dir, sandbox) as to:
        found = list(to.get_all(FLOW.path, most=1000) if ending_within is None else _ending(to, ending_within))
    if json:
        output.as_json(found)
        return
    empty = "No flows yet." if ending_within is None else f"No flow ends within {ending_within:g} days."
    output.table(
        ("ID", "NAME", "STATE", "LAST RUN", "ENDED", "NEXT RUN", "FLOW ENDS"), [_row(one) for one in found], empty
    )


def _ending(server: Server, days: float) -> list[Json]:
    """The flows that end within so many days, the earliest first. An end does not affect one-time flows."""
    now = time.time()
    bounds = (f"scheduleParams.endTime>{int(now)}", f"scheduleParams.endTime<={round(now + days * 86_400)}")
    query = [("property", one) for one in bounds]
    found = [one for one in server.get_all(FLOW.path, query) if one["scheduleParams"].get("timeUnit") != "once"]
    return sorted(found, key=lambda one: one["scheduleParams"]["endTime"])


def _row(flow: Json) -> tuple[object, ...]:
    """A row of the table. Servers of the vendor send no `extensions`."""
    more, last = flow.get("extensions", {}), flow.get("lastRunDetails", {})
    failures, state = more.get("consecutiveFailures"), flow["state"]
    ended = "ended" if state == "enabled" else f"{state}, ended"
    end = flow.get("scheduleParams", {}).get("endTime")
    defaulted = " (filled in by default)" if more.get("endTimeDefaulted") else ""
    return (
        flow["id"],
        flow["name"],
        ended if more.get("ended") else state,
        f"{last.get('state')} ({failures})" if failures else last.get("state"),
        output.instant(last.get("completedAtUTC")),
        output.instant(more.get("nextRunAt")),
        output.instant(end * 1000) + defaulted if end else "",
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
