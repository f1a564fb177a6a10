"""The commands `offtake flow …`."""

from typing import Annotated

import typer

from offtake.cli import output
from offtake.cli.connecting import connected
from offtake.cli.executing import wait_for_run
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, ToServer, Wait
from offtake.cli.output import Id, Instant
from offtake.client import names
from offtake.client.names import FLOW
from offtake.client.problems import ServerError
from offtake.client.server import ACTIVATION, Server
from offtake.documents import Json

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
        found = list(to.get_all(FLOW.path, most=1000) if ending_within is None else ends_within(to, ending_within))
    if json:
        output.as_json(found)
        return
    empty = "No flows yet." if ending_within is None else f"No flow ends within {ending_within:g} days."
    output.table(
        ("ID", "NAME", "STATE", "LAST RUN", "ENDED", "NEXT RUN", "FLOW ENDS"), [_row(one) for one in found], empty
    )


def ends_within(server: Server, days: float) -> list[Json]:
    """The flows that end within so many days, the earliest first. An end does not affect one-time flows."""
    now = server.transport.now()
    bounds = (f"scheduleParams.endTime>{int(now)}", f"scheduleParams.endTime<={round(now + days * 86_400)}")
    query = [("property", one) for one in bounds]
    found = [one for one in server.get_all(FLOW.path, query) if not is_one_time(one)]
    return sorted(found, key=lambda one: one["scheduleParams"]["endTime"])


def is_one_time(flow: Json) -> bool:
    """Whether the flow has one slot only."""
    schedule: Json = flow.get("scheduleParams", {})
    return bool(schedule.get("timeUnit") == "once" or schedule.get("interval") == 0)


def _row(flow: Json) -> tuple[object, ...]:
    """A row of the table. Servers of the vendor send no `extensions`."""
    more, last = flow.get("extensions", {}), flow.get("lastRunDetails", {})
    failures, state = more.get("consecutiveFailures"), flow.get("state")
    ended = "ended" if state == "enabled" else f"{state}, ended"
    end = flow.get("scheduleParams", {}).get("endTime")
    return (
        Id(flow["id"]),
        flow.get("name"),
        ended if more.get("ended") else state,
        f"{last.get('state')} ({failures})" if failures else last.get("state"),
        Instant(last.get("completedAtUTC")),
        Instant(more.get("nextRunAt")),
        Instant(end * 1000, _defaulted(more)) if end else "",
    )


def _defaulted(extensions: Json) -> str:
    return " (filled in by default)" if extensions.get("endTimeDefaulted") else ""


def describe_end(flow: Json) -> str:
    """The flow's end for users, and whether it is the default; empty for a flow without end."""
    end = flow.get("scheduleParams", {}).get("endTime")
    return output.instant(end * 1000) + _defaulted(flow.get("extensions", {})) if end else ""


def run(
    flow: FlowName,
    full: Annotated[
        bool, typer.Option("--full", help="Export all rows, without changing the flow's position.")
    ] = False,
    wait: Wait = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Run a flow now, in addition to its schedule: a full export the first time, then incremental ones.

    The run of a one-time flow takes the place of its scheduled run. With --wait, the exit code is 1 for a failed run.
    """
    with connected(server, data_dir, sandbox) as to:
        found = names.find(to, FLOW, flow)
        made = _start(to, found["id"], full=full)
        if json and not wait:
            output.as_json(made)
        elif not json:
            more = "" if wait else f"; a running server executes it: offtake run watch {made['id']}"
            output.line(f"Run {made['id']} is queued{more}")
        if wait:
            wait_for_run(to, made["id"], json=json)


def _start(server: Server, flow_id: str, *, full: bool) -> Json:
    """Start a run. A server without the extension gets the contract's ad-hoc request."""
    try:
        made: Json = server.post(f"{FLOW.path}/{flow_id}/run", {"fullExport": full})
    except ServerError as error:
        if not error.is_not_served:
            raise
    else:
        return made
    if full:
        raise server.extension_error("--full")
    body = {"activationInfo": {"destinations": [{"flowId": flow_id}]}}
    started = server.post(f"{ACTIVATION}/adhocrun", body)["destinations"][0]
    urls = [one.get("statusURL", "") for one in started.get("datasets", [])]
    run_id = next((one.rpartition("/")[2] for one in urls if one), "")
    return {"id": run_id, "flowId": flow_id, "status": "waiting"}
