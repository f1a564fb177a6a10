"""The status of a flow and of a run beyond the contract's documents, for the command line."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.documents import Json
from offtake.flows import flow_ends, flows, run_documents, runs
from offtake.flows.credentials import unsupported_guarantees
from offtake.flows.run_waits import wait_of
from offtake.flows.undelivered import Owed, describe, owed_by, remedy
from offtake.store import attempts, disposals
from offtake.store.disposals import what_follows
from offtake.store.run_parts import run_parts
from offtake.store.runs import live_run
from offtake.store.tables import Flow, Run, RunPart, SourceConnection, TargetConnection
from offtake.store.vault import Vault


def flow_status(session: Session, vault: Vault, caller: Caller, flow_id: str) -> Json:
    """The flow's run in progress, undelivered data, files left behind, and the guarantees its destination lacks."""
    caller.require(VIEW_DESTINATIONS)
    row = flows.find(session, caller, flow_id)
    live = live_run(session, row.id)
    last = session.get(Run, row.last_run_id) if row.last_run_id else None
    source = session.get_one(SourceConnection, row.source_connection_id)
    target = session.get_one(TargetConnection, row.target_connection_id)
    left = attempts.leftover_names(session, [one for one in (live and live.id, row.last_run_id) if one])
    return {
        "lastRunId": row.last_run_id,
        "hasSlotLeft": row.next_run_s is not None,
        "toExtend": flow_ends.describe_prolonging(row),
        "owed": _owed(owed_by(session, last) if last is not None else [], row),
        "remedy": remedy(row),
        "held": [
            {
                "runId": run.id,
                "files": [part.uri or part.key for part in parts],
                "message": disposals.describe(parts, disposals.NEXT),
            }
            for run, parts in disposals.kept_runs(session, row.id, source.dataset_ids)
        ],
        "toBeRemoved": [
            {"runId": run_id, "files": keys, "message": attempts.describe(keys)} for run_id, keys in left.items()
        ],
        "limits": list(unsupported_guarantees(session, vault, target)),
        **({"liveRun": _live(live)} if live is not None else {}),
    }


def run_progress(session: Session, caller: Caller, run_id: str) -> Json:
    """How far the run is: parts and rows of its plan, delivered bytes and bytes per second, and its wait or errors."""
    caller.require(VIEW_DESTINATIONS)
    row = runs.find(session, caller, run_id)
    parts = run_parts(session, row.id)
    done = [part for part in parts if part.finished_at]
    delivered = sum(part.bytes or 0 for part in done)
    wait = wait_of(row)
    return {
        "id": row.id,
        "flowId": row.flow_id,
        "status": row.status,
        "partCount": len(parts),
        "finishedPartCount": len(done),
        "recordCount": sum(part.rows or 0 for part in done),
        "plannedRecordCount": sum(part.input_rows for part in parts),
        "bytes": delivered,
        "bytesPerSecond": delivered / max(_seconds(row, done), 0.001),
        "heartbeatCount": row.heartbeat_counter,
        "errors": row.errors,
        **({"waiting": wait.to_json()} if wait is not None else {}),
    }


def run_files(session: Session, caller: Caller, run_id: str) -> Json:
    """The files of the run's plan with their hashes, its manifest, and what it did not deliver or remove."""
    caller.require(VIEW_DESTINATIONS)
    row = runs.find(session, caller, run_id)
    left = attempts.leftover_names(session, [row.id]).get(row.id)
    return {
        "run": run_documents.render(session, row, caller),
        "files": [_file(part) for part in run_parts(session, row.id)],
        "manifest": row.manifest["key"] if row.manifest and row.completed_at else None,
        "owed": _owed(owed_by(session, row), session.get(Flow, row.flow_id)),
        "remedy": remedy(session.get(Flow, row.flow_id)),
        "warnings": row.warnings,
        **({"toBeRemoved": {"files": left, "message": attempts.describe(left)}} if left else {}),
    }


def after_cancel(session: Session, run: Run) -> Json:
    """What happens to the files that a cancelled run has completed; empty when there are none."""
    complete = [part for part in run_parts(session, run.id) if part.finished_at]
    if not complete:
        return {}
    message = disposals.describe(complete, what_follows(session, run))
    return {"files": [part.uri or part.key for part in complete], "message": message}


def _owed(owed: Sequence[Owed], flow: Flow | None) -> list[Json]:
    return [one.to_json() | {"message": describe(one), "remedy": remedy(flow, one)} for one in owed]


def _live(run: Run) -> Json:
    wait = wait_of(run)
    return {"id": run.id, "status": run.status, "waiting": wait and wait.to_json()}


def _file(part: RunPart) -> Json:
    return {
        "path": part.key,
        "dataSetId": part.dataset_id,
        "recordCount": part.rows,
        "bytes": part.bytes,
        "sha256": part.sha256,
        "completedAtUTC": part.finished_at,
    }


def _seconds(run: Run, done: Sequence[RunPart]) -> float:
    finished = [part.finished_at or 0 for part in done]
    return (max(finished) - (run.started_at or 0)) / 1000 if finished else 0
