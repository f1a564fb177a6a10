"""Flows whose runs fail one after another: told once, and disabled where the deployment wants that."""

import logging
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.flows import access, audit
from offtake.flows.dataflows import KIND
from offtake.flows.entities import ENABLED, Json
from offtake.flows.flow_changes import DISABLED
from offtake.store.database import Database
from offtake.store.tables import Flow, Run, Sandbox

_log = logging.getLogger(__name__)


def tell_failing(database: Database, now_ms: int, after: int, *, disable: bool) -> None:
    """Tell every flow that has failed `after` times in a row, in the log and the audit log, until one run succeeds.

    The flow itself holds the reason, in its last operation, when it is disabled.
    """
    failing = select(Flow).where(Flow.failures > 0, Flow.failures >= after, Flow.failing_since.is_(None))
    with database.reading() as session:
        if session.scalars(failing.limit(1)).first() is None:
            return
    with database.writing() as session:
        for flow in session.scalars(failing.order_by(Flow.id).with_for_update(skip_locked=True)):
            _tell(session, flow, now_ms, disable=disable and flow.state == ENABLED)


def _tell(session: Session, flow: Flow, now_ms: int, *, disable: bool) -> None:
    run = session.get(Run, flow.last_run_id) if flow.last_run_id else None
    errors = list(run.errors) if run else []
    flow.failing_since = now_ms
    caller = access.engine_of(session, session.get_one(Sandbox, flow.sandbox_id))
    after: Json = {"failures": flow.failures, "runId": flow.last_run_id, "errors": errors}
    if disable:
        flow.state = DISABLED
        # Who edited it last still answers for what it may read.
        flow.updated_at, flow.version = now_ms, str(uuid4())
        flow.last_operation = _operation(flow, errors, now_ms)
        after["state"] = DISABLED
    audit.record(session, caller, now_ms, "fail", (KIND, flow.id), name=flow.name, after=after)
    reasons = "; ".join(f"{one['code']} {one['message']}" for one in errors)
    told = " and is disabled now" if disable else ""
    _log.error("flow %s (%s) has failed %d times in a row%s: %s", flow.id, flow.name, flow.failures, told, reasons)


def _operation(flow: Flow, errors: list[Json], now_ms: int) -> Json:
    why = (
        f"{flow.failures} runs failed one after another, the last of them {flow.last_run_id}. "
        "Enable the flow when what they met is mended."
    )
    reason = {"code": errors[0]["code"] if errors else "EXPORT-1500-500", "message": why}
    return {
        "started": now_ms,
        "updated": now_ms,
        "percentCompleted": 100,
        "status": {"value": "completed", "properties": None, "errors": [reason, *errors]},
        "ops": [],
        "operation": "disable",
    }
