"""Runs: creating, repeating and cancelling them (contract, section 17.4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, NoReturn
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake import logs
from offtake.access import audit, labels
from offtake.contract import bodies, entities, problems
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import ENGINE, EXPORT_DATASETS, Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.flows import connections, flows
from offtake.store import run_parts, run_states, runs, waits
from offtake.store.run_warnings import list_full_export_warnings
from offtake.store.tables import Flow, Run, RunDataset, SourceConnection, TargetConnection, Watermark
from offtake.store.tables.documents import Pins
from offtake.telemetry import tracing

KIND: Final = "runs"
RETRY: Final = "retry"
_SECONDS_BELOW: Final = 10**11


class RunParams(Body):
    """The run's intended time, in seconds or milliseconds; stored, without effect on the delivery."""

    start_time: int | None = None
    window_start_time: int | None = None
    window_end_time: int | None = None


class RequestedRun(Body):
    """`POST /runs`."""

    flow_id: str
    params: RunParams | None = None


@dataclass(frozen=True)
class NewRun:
    """A run to create. `scheduled_at`: the time in its folder names, epoch milliseconds. `dataset_ids` None: all.

    `pins`, `folder`: as in `Run`.
    """

    trigger: str
    scheduled_at: int
    dataset_ids: list[str] | None = None
    full_export: bool = False
    moves_position: bool = True
    parent_run_id: str | None = None
    params: Json | None = None
    pins: Pins | None = None
    folder: str | None = None


def create(session: Session, flow: Flow, new: NewRun, now_ms: int) -> Run:
    """Enqueue a run of the flow. The database refuses a second live run, and a second run with the same time."""
    run_id = str(uuid4())
    with tracing.span("run.enqueue", {"offtake.run": run_id, "offtake.flow": flow.id}, kind="producer"):
        row = _new_row(session, flow, new, run_id, now_ms)
        row.traceparent = tracing.traceparent()
    session.add(row)
    return row


def _new_row(session: Session, flow: Flow, new: NewRun, run_id: str, now_ms: int) -> Run:
    source = session.get_one(SourceConnection, flow.source_connection_id)
    target = session.get_one(TargetConnection, flow.target_connection_id)
    client = ENGINE
    return Run(
        id=run_id,
        org_id=flow.org_id,
        sandbox_id=flow.sandbox_id,
        created_at=now_ms,
        updated_at=now_ms,
        created_by=f"{client}@AdobeID",
        updated_by=f"{client}@AdobeID",
        created_client=client,
        updated_client=client,
        version=str(uuid4()),
        flow_id=flow.id,
        flow_spec_id=flow.flow_spec_id,
        source_connection_id=flow.source_connection_id,
        target_connection_id=flow.target_connection_id,
        trigger=new.trigger,
        scheduled_at=new.scheduled_at,
        dataset_ids=new.dataset_ids or source.dataset_ids,
        full_export=new.full_export,
        moves_position=new.moves_position,
        status=run_states.WAITING,
        cancel_requested=False,
        parent_run_id=new.parent_run_id,
        params=new.params,
        pins=new.pins,
        folder=new.folder,
        address=connections.address_of(session, target.base_connection_id),
        fence=0,
        errors=[],
        warnings=[],
        request_id=logs.current_request(),
    )


def time_outside_slots(session: Session, flow: Flow, now_ms: int) -> int:
    """A unique time for a run outside the schedule, with milliseconds, so that it never equals a slot."""
    taken = set(session.scalars(select(Run.scheduled_at).where(Run.flow_id == flow.id, Run.scheduled_at >= now_ms)))
    return next(ms for ms in count(now_ms) if ms % 1000 and ms not in taken)


def find(session: Session, caller: Caller, row_id: str) -> Run:
    """Find the caller's run by id; raises 1439 for an unknown run, or if its flow has a label that the caller lacks."""
    row = entities.find(session, caller, Run, KIND, row_id)
    if session.scalar(select(Run.id).where(Run.id == row.id, labels.visible(Run.flow_id, caller))) is None:
        raise problems.not_found(KIND, row_id)
    return row


def request(session: Session, caller: Caller, body: Sent, now_ms: int, *, any_flow: bool) -> Run:
    """Enqueue a run of a one-time flow, or with `any_flow` of any enabled flow: full, or its pending increment."""
    caller.require(EXPORT_DATASETS)
    requested = bodies.parse_body(RequestedRun, body)
    try:
        flow = flows.find(session, caller, requested.flow_id, lock=True)
    except Problem:
        raise Problem(problems.FLOW_NOT_FOUND, f"Flow {requested.flow_id[:100]} is not found.") from None
    one_time = flows.stored_schedule(flow).one_time
    if not one_time and not any_flow:
        raise Problem(
            problems.WRONG_FLOW_STATE,
            "Only one-time flows can be run with POST /runs; use the ad-hoc export for others.",
            flows.KIND,
            flow.id,
        )
    _check_ready(session, flow)
    at = time_outside_slots(session, flow, now_ms)
    params = None if requested.params is None else _milliseconds(requested.params)
    row = create(session, flow, NewRun("request", at, full_export=one_time, params=params or None), now_ms)
    audit.record(session, caller, now_ms, "run", (flows.KIND, flow.id), name=flow.name, after={"runId": row.id})
    return row


def act(session: Session, caller: Caller, row_id: str, op: str | None, if_match: str | None, now_ms: int) -> Run:
    """Repeat a failed run or cancel a live one; returns the new or the cancelled run (contract, section 17.4).

    `CANCEL` is an extension.
    """
    caller.require(EXPORT_DATASETS)
    row = find(session, caller, row_id)
    if if_match:
        entities.check_version(row, if_match)
    if not op:
        raise problems.missing_parameter("op", "RE_TRIGGER or CANCEL")
    action = {"RE_TRIGGER": repeat, "CANCEL": cancel}.get(op.strip().upper())
    if action is None:
        raise Problem(problems.UNKNOWN_ACTION, f"The action {op[:100]!r} is unknown; op must be RE_TRIGGER or CANCEL.")
    return action(session, caller, row, now_ms)


def cancel(session: Session, caller: Caller, row: Run, now_ms: int) -> Run:
    """Cancel a live run; idempotent. Raises 1422 when it has ended."""
    session.refresh(row, with_for_update=True)
    if row.status not in run_states.LIVE:
        raise Problem(problems.WRONG_ACTION, f"Run {row.id} has already ended: it is {row.status}.", KIND, row.id)
    if not row.cancel_requested:
        runs.cancel_run(session, row, now_ms)
        flow = session.get(Flow, row.flow_id)
        about = {"runId": row.id}
        resource = (flows.KIND, row.flow_id)
        audit.record(session, caller, now_ms, "cancel", resource, name=flow.name if flow else None, after=about)
    return row


def try_now(session: Session, caller: Caller, row_id: str, now_ms: int) -> Run:
    """Let a run that waits for its destination or source be tried at once. Raises 1422 when it does not wait."""
    caller.require(EXPORT_DATASETS)
    row = find(session, caller, row_id)
    session.refresh(row, with_for_update=True)
    if row.status != run_states.WAITING or row.waiting_since is None or row.cancel_requested:
        raise Problem(problems.WRONG_ACTION, f"Run {row.id} does not wait: it is {row.status}.", KIND, row.id)
    if row.quota_since is not None:
        reason = row.wait_reason["message"] if row.wait_reason else ""
        raise Problem(problems.WRONG_ACTION, f"Run {row.id} cannot be tried now. {reason}", KIND, row.id)
    waits.wake_run(session, row, now_ms)
    flow = session.get(Flow, row.flow_id)
    name = flow.name if flow else None
    audit.record(session, caller, now_ms, "run", (flows.KIND, row.flow_id), name=name, after={"runId": row.id})
    return row


def repeat(session: Session, caller: Caller, failed: Run, now_ms: int) -> Run:
    """Repeat a failed run with the same snapshots; returns the new run. Raises 1422 if that repeats rows."""
    if failed.status != run_states.FAILED:
        raise _not_repeatable(failed, f"only failed runs can be repeated, and this one is {failed.status}")
    flow = session.get(Flow, failed.flow_id, with_for_update=True)
    if flow is None:
        raise _not_repeatable(failed, "its flow was deleted")
    _check_ready(session, flow)
    planned = run_parts.run_datasets(session, failed.id)
    dataset_ids = repeated_datasets(failed, planned)
    why = why_not_again(session, flow, failed, dataset_ids)
    if why:
        raise _not_repeatable(failed, why)
    new = NewRun(
        RETRY,
        time_outside_slots(session, flow, now_ms),
        dataset_ids,
        full_export=failed.full_export,
        moves_position=failed.moves_position,
        parent_run_id=failed.id,
        params=failed.params,
        pins=failed.pins or _pins_with_warnings(failed, planned) or None,
        folder=failed.folder,
    )
    row = create(session, flow, new, now_ms)
    after = {"runId": row.id, "repeatedRunId": failed.id}
    audit.record(session, caller, now_ms, "run", (flows.KIND, flow.id), name=flow.name, after=after)
    return row


def repeated_datasets(failed: Run, planned: Sequence[RunDataset]) -> list[str]:
    """The datasets that a repetition delivers: if some could not be planned, those."""
    return [one.dataset_id for one in planned if one.error] or failed.dataset_ids


def refuse_update(session: Session, caller: Caller, row_id: str, if_match: str | None) -> NoReturn:
    """Refuse `PUT /runs/{id}`, which is for the engine only: raises 1427 for users, 1420 for services."""
    if caller.kind == "user":
        raise Problem(problems.NO_RUN_WRITES, "A user token cannot change runs.")
    row = find(session, caller, row_id)
    entities.check_version(row, if_match)
    raise Problem(problems.NOT_UPDATABLE, "Only the engine that executes a run can change it.", KIND, row.id)


def _check_ready(session: Session, flow: Flow) -> None:
    if flow.state != entities.ENABLED:
        raise Problem(problems.WRONG_FLOW_STATE, "The flow is disabled; enable it first.", flows.KIND, flow.id)
    live = runs.live_run(session, flow.id)
    if live is not None:
        raise Problem(
            problems.WRONG_ACTION,
            f"Run {live.id} of the flow is {live.status}; wait until it has ended.",
            KIND,
            live.id,
        )


def pins_of(planned: Sequence[RunDataset]) -> Pins:
    """The snapshots that a run planned to export, as pins for another run."""
    return {
        one.dataset_id: {
            "full": one.kind == "full",
            "from_snapshot": one.from_snapshot,
            "to_snapshot": one.to_snapshot,
        }
        for one in planned
        if one.to_snapshot is not None and not one.error
    }


def _pins_with_warnings(failed: Run, planned: Sequence[RunDataset]) -> Pins:
    """The failed run's pins, with its reasons for exporting in full again."""
    pins = pins_of(planned)
    for one in planned:
        warnings = list_full_export_warnings(failed, one)
        if one.dataset_id in pins and warnings:
            pins[one.dataset_id]["warning"] = warnings[0]["message"].removeprefix(f"{one.dataset_name}: ")
    return pins


def why_not_again(session: Session, flow: Flow, failed: Run, dataset_ids: list[str]) -> str:
    """Why a repetition would deliver rows again; empty if it would not, and for one-time flows.

    Compares positions, not times: a clock may have been set back.
    """
    if not failed.moves_position or flows.stored_schedule(flow).one_time:
        return ""
    planned = _first_plan(session, failed)
    positions = {one.dataset_id: one for one in session.scalars(select(Watermark).where(Watermark.flow_id == flow.id))}
    for one in planned:
        if one.error or one.dataset_id not in dataset_ids:
            continue
        now = positions.get(one.dataset_id)
        if now is None and one.position is not None:
            return f"the position of dataset {one.dataset_id} was reset, so the next run exports it in full"
        if now is not None and now.snapshot_id != one.position:
            return f"run {now.run_id} has delivered its rows of dataset {one.dataset_id} meanwhile"
    return ""


def _first_plan(session: Session, row: Run) -> Sequence[RunDataset]:
    """The run's plan; for a repetition that ended before it had a plan, that of the repeated run."""
    planned = run_parts.run_datasets(session, row.id)
    while not planned and row.parent_run_id is not None and (parent := session.get(Run, row.parent_run_id)) is not None:
        row = parent
        planned = run_parts.run_datasets(session, row.id)
    return planned


def _not_repeatable(failed: Run, why: str) -> Problem:
    return Problem(problems.WRONG_ACTION, f"Run {failed.id} cannot be triggered again: {why}.", KIND, failed.id)


def _milliseconds(params: RunParams) -> Json:
    """Convert to milliseconds; seconds are distinguished by size (contract, section 30, row 28)."""
    sent: dict[str, Any] = params.model_dump(by_alias=True, exclude_none=True)
    return {key: value * 1000 if abs(value) < _SECONDS_BELOW else value for key, value in sent.items()}
