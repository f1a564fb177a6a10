"""Alerts about flows whose runs fail repeatedly, once; the flow is also disabled if the deployment is so set."""

from typing import Final
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import access, audit
from offtake.contract.entities import ENABLED
from offtake.documents import InfoItem, Json
from offtake.errors import EXPORT_FAILED
from offtake.flows import flow_events
from offtake.flows.flow_changes import DISABLED
from offtake.flows.flows import KIND
from offtake.store import run_events
from offtake.store.database import Database
from offtake.store.tables import Flow, Run, Sandbox

_AT_ONCE: Final = 100


def alert_failing_flows(database: Database, now_ms: int, after: int, *, disable: bool) -> None:
    """Report each flow that has failed `after` times in a row, once until a run succeeds, also in the audit log.

    A disabled flow has the reason in its last operation. At most 100 flows per call, so that the scheduler is not
    blocked.
    """
    failing = select(Flow).where(Flow.failures > 0, Flow.failures >= after, Flow.failing_since.is_(None))
    if not database.finds(failing.with_only_columns(Flow.id)):
        return
    with database.reading() as session:
        ids = session.scalars(failing.with_only_columns(Flow.id).order_by(Flow.id).limit(_AT_ONCE)).all()
    for flow_id in ids:
        with database.writing() as session:
            # Another process may be alerting about it at the same time.
            one = failing.where(Flow.id == flow_id).with_for_update(skip_locked=True)
            flow = session.scalar(one)
            if flow is not None:
                _alert(session, flow, now_ms, disable=disable and flow.state == ENABLED)


def _alert(session: Session, flow: Flow, now_ms: int, *, disable: bool) -> None:
    """Record the alert, and disable the flow if `disable`."""
    run = session.get(Run, flow.last_run_id) if flow.last_run_id else None
    errors = list(run.errors) if run else []
    flow.failing_since = now_ms
    caller = access.engine_caller(session, session.get_one(Sandbox, flow.sandbox_id))
    after: Json = {"failures": flow.failures, "runId": flow.last_run_id, "errors": errors}
    if disable:
        flow.state = DISABLED
        # The last editor does not change: their permissions decide what the flow may read.
        flow.updated_at, flow.version = now_ms, str(uuid4())
        flow.last_operation = _operation(flow, errors, now_ms)
        after["state"] = DISABLED
    audit.record(session, caller, now_ms, "fail", (KIND, flow.id), name=flow.name, after=after)
    error = run_events.error_fields(errors[0] if errors else None)
    fields = {"failures": flow.failures, "disabled": disable, **error}
    flow_events.record_flow(session, "flow.failing", flow, now_ms, **fields)
    if disable:
        flow_events.record_flow(session, "flow.disabled", flow, now_ms, reason="failures")


def _operation(flow: Flow, errors: list[InfoItem], now_ms: int) -> Json:
    why = (
        f"The flow was disabled after {flow.failures} consecutive failed runs, the last one {flow.last_run_id}. "
        "Enable the flow again when the cause is fixed."
    )
    reason = {"code": errors[0]["code"] if errors else EXPORT_FAILED.code, "message": why}
    return {
        "started": now_ms,
        "updated": now_ms,
        "percentCompleted": 100,
        "status": {"value": "completed", "properties": None, "errors": [reason, *errors]},
        "ops": [],
        "operation": "disable",
    }
