"""The command `offtake flow show`."""

from collections.abc import Sequence
from typing import Final

from offtake.cli import output
from offtake.cli.connecting import connected
from offtake.cli.flows import describe_end, is_one_time
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, ToServer
from offtake.cli.runs import wait_sentence
from offtake.cli.schedule_options import in_words
from offtake.client import durations, names
from offtake.client.names import CONNECTION, FLOW, TARGET, Kind
from offtake.client.server import Server
from offtake.documents import Json

_SOURCE: Final = Kind("sourceConnections", "source connection")


def show_(
    flow: FlowName, server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Show a flow: schedule, last and current run, undelivered data, files left behind, unsupported guarantees."""
    with connected(server, data_dir, sandbox) as to:
        found = names.find(to, FLOW, flow)
        status = to.get_extension(f"{FLOW.path}/{found['id']}/status")
        sources = [] if json else [_source(to, one) for one in found.get("sourceConnectionIds", ())]
        targets = [] if json else [_target_line(to, one) for one in found.get("targetConnectionIds", ())]
    if json:
        output.as_json(found | _public(status or {}))
        return
    chosen = [line for one in sources for line in _column_lines(one)]
    exports = [*_dataset_lines(sources), *targets, *_repetition_lines(found), *_freshness_lines(found)]
    for line in [*_schedule_lines(found, status or {}), *exports, *chosen, *_lines(found, status or {})]:
        output.line(line)
    if status is None:
        output.note(f"{to.name} does not report undelivered data and files left behind: an extension of Offtake.")


def _source(server: Server, source_id: str) -> Json:
    """A source connection, as the server shows it."""
    found: Json = server.get(f"{_SOURCE.path}/{source_id}")["items"][0]
    return found


def _dataset_lines(sources: Sequence[Json]) -> list[str]:
    """The datasets of the flow."""
    named = [str(one.get("name") or one["dataSetId"]) for source in sources for one in source["params"]["datasets"]]
    return [f"datasets: {', '.join(named)}"] if named else []


def _target_line(server: Server, target_id: str) -> str:
    """The connection, place and format of the flow's files."""
    target = server.get_one(f"{TARGET.path}/{target_id}")
    connection = server.get_one(f"{CONNECTION.path}/{target['baseConnectionId']}")
    params = target.get("params", {})
    place = [params.get(key) for key in ("bucketName", "container", "path", "remotePath")]
    path = "/".join(str(one) for one in place if one)
    return f"to: {connection.get('name')}, path {path or '/'}, format {params.get('datasetFileType', 'unknown')}"


def _repetition_lines(flow: Json) -> list[str]:
    """The repetition, and the template of folders."""
    params = flow.get("scheduleParams", {})
    template = params.get("foldernameTemplate")
    return [f"schedule: {in_words(params)}"] * bool(params) + [f"folder: {template}"] * bool(template)


def _freshness_lines(flow: Json) -> list[str]:
    """The target of the freshness, until when it is delivered, and since when it is late."""
    more = flow.get("extensions", {})
    target, delivered, late = (more.get(key) for key in ("freshWithinSeconds", "deliveredUpToUTC", "lateSinceUTC"))
    lines = [f"delivered up to: {output.instant(delivered)}"] if delivered else []
    lines += [f"late when its data is older than {durations.describe(target)}"] if target else []
    return lines + ([f"late since {output.instant(late)}"] if late else [])


def _column_lines(source: Json) -> list[str]:
    """The datasets of which the flow delivers only some columns."""
    chosen = source["params"].get("columns", {})
    named = [(one["dataSetId"], one.get("name") or one["dataSetId"]) for one in source["params"]["datasets"]]
    return [f"delivers of {name} only: {', '.join(chosen[one])}" for one, name in named if one in chosen]


def _public(status: Json) -> Json:
    """The fields of the status that `--json` prints."""
    return {name: status[name] for name in ("owed", "liveRun", "held", "toBeRemoved", "limits") if name in status}


def _lines(flow: Json, status: Json) -> list[str]:
    last, lines = flow.get("lastRunDetails", {}), []
    if status.get("lastRunId") or last.get("id"):
        run_id = status.get("lastRunId") or last["id"]
        lines.append(f"last run: {run_id} {last.get('state')}, ended {output.instant(last.get('completedAtUTC'))}")
    live = status.get("liveRun")
    if live is not None:
        wait = live["waiting"]
        lines.append(f"run {live['id']} {'waits ' + wait_sentence(wait) if wait else 'is ' + live['status']}")
    lines += [
        f"undelivered: {one['message']}; {one.get('remedy') or status['remedy']}" for one in status.get("owed", ())
    ]
    lines += [f"run {one['runId']}: {one['message']}" for one in status.get("held", ())]
    lines += [f"run {one['runId']}: {one['message']}" for one in status.get("toBeRemoved", ())]
    return [*lines, *status.get("limits", ())]


def _schedule_lines(flow: Json, status: Json) -> list[str]:
    """The flow's state, its next slot and its end."""
    more = flow.get("extensions", {})
    due = output.instant(more.get("nextRunAt")) or "none"
    end, head = describe_end(flow), f"flow {flow.get('name')} ({flow['id']}) is {flow.get('state')}"
    if not more.get("ended"):
        slot = [f"next slot: {due}"] if "nextRunAt" in more else []
        return [head, *slot, f"ends: {end or 'never'}"]
    lines = [f"{head}, ended since {end}", f"next slot: {due}"]
    if flow.get("state") == "enabled" and status.get("hasSlotLeft"):
        lines.append("one more run follows: a slot before the end is still due")
    if "toExtend" in status and not (is_one_time(flow) and status.get("lastRunId")):
        lines.append(f"to extend it: {status['toExtend']}")
    return lines
