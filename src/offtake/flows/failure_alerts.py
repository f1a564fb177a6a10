"""Alerts about flows whose runs fail repeatedly: logged once; the flow is also disabled if the deployment is so set."""

import logging
from typing import Final
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import access, audit
from offtake.contract.entities import ENABLED
from offtake.documents import InfoItem, Json
from offtake.errors import EXPORT_FAILED
from offtake.flows.flow_changes import DISABLED
from offtake.flows.flows import KIND
from offtake.store.database import Database
from offtake.store.tables import Flow, Run, Sandbox

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 100


def alert_failing_flows(database: Database, now_ms: int, after: int, *, disable: bool) -> None:
    """Log each flow that has failed `after` times in a row, once until a run succeeds, also in the audit log.

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
            line = None if flow is None else _alert(session, flow, now_ms, disable=disable and flow.state == ENABLED)
        if line is not None:
            _log.error("%s", line)


def _alert(session: Session, flow: Flow, now_ms: int, *, disable: bool) -> str:
    """Record the alert, and disable the flow if `disable`; returns the line for the log."""
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
    reasons = "; ".join(f"{one['code']} {one['message']}" for one in errors)
    done = " and is disabled now" if disable else ""
    return f"flow {flow.id} ({flow.name}) has failed {flow.failures} times in a row{done}: {reasons}"


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
