"""What `offtake status` shows of an overview, and an overview from the contract's documents alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from offtake.cli import output
from offtake.cli.flows import ends_within
from offtake.client.names import FLOW, RUN
from offtake.client.server import Server
from offtake.documents import Json

_ENDING_DAYS: Final = 30
_OF_DESTINATION: Final = ("EXPORT-2001-", "EXPORT-2002-", "EXPORT-2003-")
_OF_QUOTA: Final = "EXPORT-1429-429"
_LIVE: Final = ("waiting", "processing", "pending", "inProgress")


@dataclass(frozen=True)
class Line:
    """One thing to know. `preposition`: how its time is introduced; `command`: what helps, empty for nothing."""

    what: str
    flow: str
    flow_id: str
    run_id: str
    at_ms: int | None
    detail: str
    command: str = ""
    preposition: str = "since"


def totals_sentence(found: Json) -> str:
    """The totals of the runs that ended, and the number of live ones."""
    ended, live = found["ended"], found["live"]
    empty = f", {ended['emptyRunCount']:,} with nothing new" if ended["emptyRunCount"] else ""
    failed = f", {ended['failedRunCount']:,} failed" if ended["failedRunCount"] else ""
    # Earlier servers count queued runs as running.
    queued = f", {live['queuedCount']:,} queued" if live.get("queuedCount") else ""
    waiting = f", {live['waitingCount']:,} waiting" if live["waitingCount"] else ""
    return (
        f"since {output.instant(found['sinceUTC'])}: {output.count_of(ended['deliveredRunCount'], 'run')} delivered "
        f"{output.count_of(ended['recordCount'], 'row')}, {output.size(ended['bytes'])}{empty}{failed}; "
        f"{live['runningCount']:,} running{queued}{waiting}"
    )


def lines_of(found: Json) -> list[Line]:
    """What is late, waits or failed with the command that helps; what runs; and what ends soon."""
    shown = {one["runId"] for one in found["attention"]}
    running = [_running(one) for one in found["live"]["runs"] if one["id"] not in shown]
    return [*(_trouble(one) for one in found["attention"]), *running, *(_ending(one) for one in found["ending"])]


def remarks(found: Json) -> Iterator[str]:
    """What lists that are cut short leave out, and the next slot."""
    if found["hasMoreAttention"]:
        yield "More flows need attention: offtake status --most 100"
    if found["endingCount"] > len(found["ending"]):
        flows = output.count_of(found["endingCount"], "flow")
        yield f"ending within {_ENDING_DAYS} days: {flows}; see offtake flow list --ending-within {_ENDING_DAYS}"
    if found["coming"]:
        first = found["coming"][0]
        yield f"next: {first['flowName']} at {output.instant(first['atUTC'])}"


def _trouble(one: Json) -> Line:
    reason = one["reason"]
    following = ""
    if one["nextTryAtUTC"]:
        name = "Next attempt" if _has_live_run(one) else "Next run"
        following = f" {name}: {output.instant(one['nextTryAtUTC'])}."
    detail = f"{reason['code']} {reason['message']}{following}".strip()
    at = "at" if one["kind"] == "failed" else "since"
    return Line(
        one["kind"], one["flowName"], one["flowId"], one["runId"] or "", one["sinceUTC"], detail, _what_helps(one), at
    )


def _what_helps(one: Json) -> str:
    """The commands that show or remove the cause."""
    run_id, code = one["runId"], one["reason"]["code"]
    if run_id is None and not one["nextTryAtUTC"]:
        return "offtake serve"
    if one["kind"] != "failed" and not _has_live_run(one):
        flow = output.short_id(one["flowId"]) if output.is_terminal() else one["flowId"]
        return f"offtake flow show {flow}, then: offtake flow run {flow}"
    run = output.short_id(run_id) if output.is_terminal() else run_id
    if code.startswith(_OF_DESTINATION) and one.get("connectionId"):
        base = output.short_id(one["connectionId"]) if output.is_terminal() else one["connectionId"]
        test = f"offtake connection test {base}"
        return f"{test}, then: offtake run retry {run}" if one["kind"] == "failed" else test
    if code == _OF_QUOTA:
        return "offtake quota list"
    if one["kind"] == "failed":
        return f"offtake run show {run}, then: offtake run retry {run}"
    return f"offtake run watch {run}"


def _has_live_run(one: Json) -> bool:
    """Whether the flow's run waits or is in progress. Earlier servers do not report it."""
    return bool(one.get("hasLiveRun", one["kind"] != "failed" and one["runId"] is not None))


def _running(one: Json) -> Line:
    rows = f"{one['recordCount']:,}/{one['plannedRecordCount']:,} rows, {output.size(one['bytes'])}"
    state = "running" if one["state"] == "processing" else one["state"]
    at = one["startedAtUTC"] or one["createdAt"]
    return Line(state, one["flowName"], one["flowId"], one["id"], at, rows if state == "running" else "")


def _ending(one: Json) -> Line:
    defaulted = "The end was filled in by default." if one["endTimeDefaulted"] else ""
    flow_id = output.short_id(one["flowId"]) if output.is_terminal() else one["flowId"]
    command = f"offtake flow show {flow_id}"
    return Line("ends soon", one["flowName"], one["flowId"], "", one["endsAtUTC"], defaulted, command, "ends")


def of_contract(server: Server, since_ms: int, most: int) -> Json:
    """An overview as the extension has it, from the lists of runs and flows; late flows are unknown."""
    now = server.transport.now()
    flows = {one["id"]: one for one in server.get_all(FLOW.path, most=1000)}
    runs = list(server.get_all(RUN.path, (("property", f"createdAt>={since_ms}"),), most=1000))
    live = [one for one in runs if _status(one) in _LIVE]
    ending = ends_within(server, _ENDING_DAYS)
    failed = [_failed(one, runs) for one in flows.values() if one.get("lastRunDetails", {}).get("state") == "failed"]
    return {
        "sinceUTC": since_ms,
        "untilUTC": round(now * 1000),
        "ended": _ended(runs),
        "live": {
            "runningCount": sum(_status(one) != "waiting" for one in live),
            "waitingCount": sum(_status(one) == "waiting" for one in live),
            "runs": [_live(one, flows) for one in live[:most]],
        },
        "attention": failed[:most],
        "hasMoreAttention": len(failed) > most,
        "ending": [_end(one) for one in ending[:most]],
        "endingCount": len(ending),
        "coming": [],
    }


def _ended(runs: Sequence[Json]) -> Json:
    delivered = [one for one in runs if _status(one) == "success"]
    rows = [one["metrics"].get("recordSummary", {}).get("outputRecordCount", 0) for one in delivered]
    return {
        "deliveredRunCount": sum(bool(one) for one in rows),
        "emptyRunCount": sum(not one for one in rows),
        "failedRunCount": sum(_status(one) == "failed" for one in runs),
        "recordCount": sum(rows),
        "bytes": sum(one["metrics"].get("sizeSummary", {}).get("outputBytes", 0) for one in delivered),
    }


def _status(run: Json) -> str:
    return str(run.get("metrics", {}).get("statusSummary", {}).get("status", ""))


def _live(run: Json, flows: dict[str, Json]) -> Json:
    metrics = run.get("metrics", {})
    records = metrics.get("recordSummary", {})
    return {
        "id": run["id"],
        "flowId": run.get("flowId", ""),
        "flowName": flows.get(run.get("flowId", ""), {}).get("name", ""),
        "state": _status(run),
        "createdAt": run.get("createdAt"),
        "startedAtUTC": metrics.get("durationSummary", {}).get("startedAtUTC"),
        "recordCount": records.get("outputRecordCount", 0),
        "plannedRecordCount": records.get("inputRecordCount", 0),
        "bytes": metrics.get("sizeSummary", {}).get("outputBytes", 0),
    }


def _failed(flow: Json, runs: Sequence[Json]) -> Json:
    last = flow["lastRunDetails"]
    run = next((one for one in runs if one["id"] == last.get("id")), {})
    errors = run.get("metrics", {}).get("statusSummary", {}).get("errors") or [{}]
    return {
        "kind": "failed",
        "flowId": flow["id"],
        "flowName": flow.get("name", ""),
        "runId": last.get("id"),
        "hasLiveRun": False,
        "sinceUTC": last.get("completedAtUTC"),
        "reason": {"code": errors[0].get("code", ""), "message": errors[0].get("message", "")},
        "nextTryAtUTC": None,
    }


def _end(flow: Json) -> Json:
    return {
        "flowId": flow["id"],
        "flowName": flow.get("name", ""),
        "endsAtUTC": flow["scheduleParams"]["endTime"] * 1000,
        "endTimeDefaulted": False,
    }
