"""An overview of a sandbox's deliveries, for the command line: what the home page shows, as a document."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.contract.entities import ENABLED
from offtake.documents import Json
from offtake.flows import deliveries, flow_ends, monitoring, run_views
from offtake.flows.deliveries import Trouble
from offtake.flows.flows import stored_schedule
from offtake.flows.run_views import RunLine
from offtake.store.tables import Connection, Flow, TargetConnection

ENDING_DAYS: Final = 30


def overview(session: Session, caller: Caller, since_ms: int, now_ms: int, most: int) -> Json:
    """The totals of the runs that ended since then, and at most `most` each of: live runs, troubles, ends, slots."""
    caller.require(VIEW_DESTINATIONS)
    ended = monitoring.ended_in(session, caller, since_ms, max(0, now_ms + 1 - since_ms))
    running, waiting = monitoring.count_live(session, caller)
    queued = monitoring.count_queued(session, caller)
    counts = {"runningCount": running - queued, "queuedCount": queued, "waitingCount": waiting}
    live, _ = run_views.list_runs(session, caller, None, "live", 0, most)
    troubles = deliveries.troubles(session, caller, now_ms, most + 1)
    ending = _ending(session, caller, now_ms)
    return {
        "sinceUTC": since_ms,
        "untilUTC": now_ms,
        "ended": {
            "deliveredRunCount": ended.delivered,
            "emptyRunCount": ended.empty,
            "failedRunCount": ended.failed,
            "recordCount": ended.rows,
            "bytes": ended.bytes,
        },
        "live": {**counts, "runs": _live(session, live)},
        "attention": _attention(session, troubles[:most]),
        "hasMoreAttention": len(troubles) > most,
        "ending": [_end(flow) for flow in ending[:most]],
        "endingCount": len(ending),
        "coming": [
            {"flowId": one.flow_id, "flowName": one.name, "atUTC": one.at_ms}
            for one in deliveries.coming(session, caller, now_ms, most)
        ],
    }


def _live(session: Session, lines: Sequence[RunLine]) -> list[Json]:
    progress = run_views.progress_of(session, [one.run_id for one in lines])
    return [
        {
            "id": one.run_id,
            "flowId": one.flow_id,
            "flowName": one.flow_name,
            "state": one.state,
            "createdAt": one.created_ms,
            "startedAtUTC": one.started_ms,
            "recordCount": progress[one.run_id].rows,
            "plannedRecordCount": progress[one.run_id].input_rows,
            "bytes": progress[one.run_id].bytes,
        }
        for one in lines
        if one.run_id in progress
    ]


def _attention(session: Session, troubles: Sequence[Trouble]) -> list[Json]:
    """The troubles, with the base connections of their flows."""
    query = select(Flow.id, Connection.id, Connection.name).join(
        TargetConnection, TargetConnection.id == Flow.target_connection_id
    )
    query = query.join(Connection, Connection.id == TargetConnection.base_connection_id)
    rows = session.execute(query.where(Flow.id.in_([one.flow_id for one in troubles])))
    bases = {flow_id: {"connectionId": base_id, "connectionName": name} for flow_id, base_id, name in rows}
    return [
        {
            "kind": one.kind,
            "flowId": one.flow_id,
            "flowName": one.flow_name,
            "runId": one.run_id,
            "hasLiveRun": one.live,
            "sinceUTC": one.since_ms,
            "reason": {"code": one.code, "message": one.reason},
            "nextTryAtUTC": one.next_ms,
            **bases.get(one.flow_id, {}),
        }
        for one in troubles
    ]


def _ending(session: Session, caller: Caller, now_ms: int) -> list[Flow]:
    mine = and_(Flow.sandbox_id == caller.sandbox_id, Flow.state == ENABLED, labels.visible(Flow.id, caller))
    return flow_ends.find_ending(session, now_ms // 1000, ENDING_DAYS, mine)


def _end(flow: Flow) -> Json:
    schedule = stored_schedule(flow)
    end = (schedule.end_time or 0) * 1000
    return {"flowId": flow.id, "flowName": flow.name, "endsAtUTC": end, "endTimeDefaulted": schedule.end_defaulted}
