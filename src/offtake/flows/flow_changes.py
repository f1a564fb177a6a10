"""Changing, enabling, disabling and deleting flows (contract, sections 18 and 19)."""

from dataclasses import asdict, replace
from typing import Any, Final

from sqlalchemy import delete as delete_rows
from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import audit, labels
from offtake.contract import bodies, entities, json_patch_rules, problems
from offtake.contract.bodies import NewEntity
from offtake.contract.caller import EXPORT_DATASETS, VIEW_DATASETS, Caller
from offtake.contract.json_patch import Operation
from offtake.contract.json_patch_rules import Patch, Patchable, Rules
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import InvalidInputError
from offtake.flows import flow_events, flows, specs
from offtake.flows.flows import KIND
from offtake.flows.schedule import Schedule, ScheduleRules, first_slot, next_slot, parse_schedule
from offtake.store import disposals, waits
from offtake.store import runs as store
from offtake.store.conditions import LIVE_RUN
from offtake.store.tables import Flow, Run, SourceConnection, TargetConnection, Watermark

DISABLED: Final = "disabled"
_SCHEDULE: Final = "scheduleParams"
_TEMPLATE: Final = {"folderNameTemplate": "foldernameTemplate"}
_RULES: Final = Rules(
    {
        "/name": Patchable(),
        "/description": Patchable(("add", "replace", "remove")),
        f"/{_SCHEDULE}": Patchable(merges=True, key_ops=("add", "replace", "remove")),
        "/sourceConnectionIds": Patchable(("replace",)),
        "/targetConnectionIds": Patchable(("replace",)),
        "/labels": Patchable(("add", "replace", "remove")),
        "/policy": Patchable(),
    },
    {"/state": Problem(problems.BAD_STATE, "Use POST /flows/{id}/action?op=enable or op=disable to change the state.")},
)


class PatchedFlow(NewEntity):
    """A flow after a patch."""

    schedule_params: dict[str, Any]
    source_connection_ids: list[str]
    target_connection_ids: list[str]
    labels: list[str] | None = None
    policy: dict[str, Any] | None = None


def update(
    session: Session,
    caller: Caller,
    row_id: str,
    body: Patch,
    if_match: str | None,
    now_ms: int,
    rules: ScheduleRules,
) -> Flow:
    """Apply a patch to a flow atomically; a new schedule is computed from now."""
    caller.require(EXPORT_DATASETS)
    _lock_live_run(session, row_id)
    row = flows.lock_to_change(session, caller, row_id)
    entities.check_version(row, if_match)
    before = flows.render(session, row, caller)
    operations = [_canonical(one) for one in json_patch_rules.parse(body)]
    keys = ("name", "description", _SCHEDULE, "sourceConnectionIds", "targetConnectionIds", "labels", "policy")
    document = json_patch_rules.apply({key: before.get(key) for key in keys}, operations, _RULES)
    after = bodies.parse_document(PatchedFlow, document)
    row.name, row.description, row.policy = after.name, after.description, after.policy
    _move_source(session, caller, row, after.source_connection_ids, now_ms)
    _move_target(session, caller, row, after.target_connection_ids)
    if any(one.path.startswith(f"/{_SCHEDULE}") for one in operations):
        chosen = any(_chooses_end(one) for one in operations)
        _reschedule(session, row, after.schedule_params, now_ms, rules, end_chosen=chosen)
        waits.forget_window(session, row.id)
    if any(one.path == "/labels" for one in operations):
        flows.set_labels(session, row.id, after.labels or [])
    row.last_operation = _operation(operations, now_ms)
    entities.set_updated(row, caller, now_ms)
    session.flush()
    shown = flows.render(session, row, caller)
    audit.record(session, caller, now_ms, "update", (KIND, row.id), name=row.name, before=before, after=shown)
    return row


def delete(session: Session, caller: Caller, row_id: str, now_ms: int) -> Flow:
    """Delete a flow and cancel its live run; its runs and connections are kept. Returns the deleted flow."""
    caller.require(EXPORT_DATASETS)
    _lock_live_run(session, row_id)
    row = flows.lock_to_change(session, caller, row_id)
    before = flows.render(session, row, caller)
    audit.record(session, caller, now_ms, "delete", (KIND, row.id), name=row.name, before=before)
    store.cancel(session, row.id, now_ms)
    session.execute(delete_rows(Watermark).filter_by(flow_id=row.id))
    labels.set_labels(session, row.id, [])
    session.delete(row)
    return row


def act(
    session: Session, caller: Caller, row_id: str, op: str | None, sub_op: str | None, if_match: str | None, now_ms: int
) -> Flow:
    """Enable or disable a flow; raises 1422 when it is in that state already. A live run continues."""
    caller.require(EXPORT_DATASETS)
    _lock_live_run(session, row_id)
    row = flows.lock_to_change(session, caller, row_id)
    if if_match:
        entities.check_version(row, if_match)
    if not op:
        raise problems.missing_parameter("op", "enable or disable")
    state = {"enable": entities.ENABLED, "disable": DISABLED}.get(op.strip().lower())
    if state is None:
        raise Problem(problems.UNKNOWN_ACTION, f"The action {op[:100]!r} is unknown; op must be enable or disable.")
    if sub_op:
        raise Problem(problems.SUB_ACTION, "subOp is not allowed with enable and disable; omit it.")
    if row.state == state:
        raise Problem(problems.WRONG_ACTION, f"The flow is already {row.state}.", KIND, row.id)
    before = row.state
    row.state = state
    waits.forget_window(session, row.id)
    if state == entities.ENABLED:
        row.next_run_s = _slot_from_now(session, row, now_ms // 1000)
        row.failures, row.failing_since = 0, None
        row.judged_from = now_ms
    entities.set_updated(row, caller, now_ms)
    action: audit.Action = "enable" if state == entities.ENABLED else "disable"
    states = {"state": before}, {"state": state}
    audit.record(session, caller, now_ms, action, (KIND, row.id), name=row.name, before=states[0], after=states[1])
    if state == DISABLED:
        flow_events.record_flow(session, "flow.disabled", row, now_ms, reason="request", client=caller.client_id)
    return row


def _lock_live_run(session: Session, row_id: str) -> None:
    """Lock the flow's live run before the flow, in the same order as code that ends runs: prevents deadlocks."""
    session.execute(select(Run.id).where(Run.flow_id == row_id, LIVE_RUN).with_for_update())


def _move_source(session: Session, caller: Caller, row: Flow, ids: list[str], now_ms: int) -> None:
    """Remaining datasets keep their position; removed ones lose it, and start in full if they are added again.

    A live run gets no new datasets; until it is planned, removed datasets are taken out of it.
    """
    source_id = flows.exactly_one(ids, "/sourceConnectionIds")
    if source_id == row.source_connection_id:
        return
    caller.require(VIEW_DATASETS)
    source = entities.find(session, caller, SourceConnection, "sourceConnections", source_id)
    gone = delete_rows(Watermark).where(Watermark.flow_id == row.id, Watermark.dataset_id.not_in(source.dataset_ids))
    session.execute(gone)
    row.source_connection_id = source.id
    live = store.live_run(session, row.id)
    if live is not None and live.planned_at is None:
        kept = [one for one in live.dataset_ids if one in source.dataset_ids]
        if kept:
            live.dataset_ids = kept
        else:
            store.cancel_run(session, live, now_ms)


def _move_target(session: Session, caller: Caller, row: Flow, ids: list[str]) -> None:
    target_id = flows.exactly_one(ids, "/targetConnectionIds")
    if target_id == row.target_connection_id:
        return
    target = entities.find(session, caller, TargetConnection, "targetConnections", target_id)
    flows.check_target(session, specs.destination_of_flow(row.flow_spec_id), target)
    row.target_connection_id = target.id
    disposals.reset(session, row.id)


def _reschedule(
    session: Session, row: Flow, params: Json, now_ms: int, rules: ScheduleRules, *, end_chosen: bool
) -> None:
    old = flows.stored_schedule(row)
    new = _parse(old, params, row.created_at // 1000, rules, end_chosen=end_chosen)
    if end_chosen or new.end_time != old.end_time:
        row.ends_logged = None
    if new.export_mode != old.export_mode:
        # A change from increments drops the position; a change to them starts in full, whatever a live run delivers.
        session.execute(delete_rows(Watermark).filter_by(flow_id=row.id))
        disposals.reset(session, row.id)
        live = store.live_run(session, row.id)
        if live is not None:
            live.moves_position = False
    row.schedule = asdict(new)
    if (new.start_time, new.time_unit, new.interval) != (old.start_time, old.time_unit, old.interval):
        row.judged_from = now_ms
    now = now_ms // 1000
    if new.start_time != old.start_time:
        row.next_run_s = first_slot(new, now)
    elif row.next_run_s is None or row.next_run_s > now or new.one_time or _is_over(new, row.next_run_s):
        row.next_run_s = _slot_from_now(session, row, now)


def _parse(old: Schedule, params: Json, created_at: int, rules: ScheduleRules, *, end_chosen: bool) -> Schedule:
    """Parse the new schedule. A defaulted end stays computed from the creation time; a removed end stays removed.

    With `end_chosen`, the caller sent the end, even if it equals the default.
    """
    endless = params.get("endTime") is None
    if old.end_defaulted and not end_chosen and params.get("endTime") == old.end_time:
        params = {key: value for key, value in params.items() if key != "endTime"}
    try:
        new = parse_schedule(params, created_at=created_at, rules=rules)
    except InvalidInputError as error:
        raise problems.of_fields(error) from None
    return replace(new, end_time=None, end_defaulted=False) if endless else new


def _chooses_end(operation: Operation) -> bool:
    if operation.path == f"/{_SCHEDULE}":
        return isinstance(operation.value, dict) and operation.value.get("endTime") is not None
    return operation.path == f"/{_SCHEDULE}/endTime" and operation.op != "remove"


def _is_over(schedule: Schedule, slot: int) -> bool:
    return schedule.end_time is not None and slot >= schedule.end_time


def _slot_from_now(session: Session, row: Flow, now: int) -> int | None:
    """The next slot. A one-time export that has not run yet is still due, unless another run took its place."""
    schedule = flows.stored_schedule(row)
    if schedule.one_time and row.next_run_s is None and (row.last_run_id or store.live_run(session, row.id)):
        return None
    if schedule.one_time and row.last_run_id is None:
        return first_slot(schedule, now)
    return next_slot(schedule, now, now)


def _canonical(operation: Operation) -> Operation:
    """Replace the second spelling of the folder template's key (contract, section 14)."""
    head, _, key = operation.path.rpartition("/")
    if head == f"/{_SCHEDULE}" and key in _TEMPLATE:
        return replace(operation, path=f"{head}/{_TEMPLATE[key]}")
    if operation.path == f"/{_SCHEDULE}" and isinstance(operation.value, dict):
        value = {_TEMPLATE.get(key, key): value for key, value in operation.value.items()}
        return replace(operation, value=value)
    return operation


def _operation(operations: list[Operation], now_ms: int) -> Json:
    return {
        "started": now_ms,
        "updated": now_ms,
        "percentCompleted": 100,
        "status": {"value": "completed", "properties": None, "errors": []},
        "ops": [one.to_json() for one in operations],
        "operation": "update",
    }
