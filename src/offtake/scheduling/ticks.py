"""Ticks: a flow that is due gets its run, once, however many schedulers look."""

import logging

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.clock import Clock
from offtake.failpoints import failpoint
from offtake.flows import dataflows, runs
from offtake.flows.entities import ENABLED
from offtake.flows.runs import NewRun
from offtake.flows.schedule import next_slot
from offtake.store.database import Database
from offtake.store.runs import live_run
from offtake.store.tables import Flow, Run

_log = logging.getLogger(__name__)


def tick(database: Database, clock: Clock) -> list[str]:
    """Queue a run for every flow that is due, and set when each is due next; the ids of the new runs.

    Slots missed while nobody ticked collapse into the latest. A flow whose last run is still live is passed over:
    its next run covers both windows.
    """
    now_ms = clock.now_ms()
    with database.writing() as session:
        due = select(Flow).where(Flow.state == ENABLED, Flow.next_run_s <= now_ms // 1000)
        flows = session.scalars(due.order_by(Flow.next_run_s, Flow.id).with_for_update(skip_locked=True)).all()
        made = [run.id for flow in flows if (run := _tick_flow(session, flow, now_ms)) is not None]
        failpoint("tick")
    return made


def correct(database: Database, clock: Clock) -> int:
    """Bring back slots that lie too far ahead since the clock was set back; how many flows were corrected.

    No flow that is enabled waits for longer than until its first slot from now. No slot that has run runs again.
    """
    now = clock.now_seconds()
    with database.reading() as session:
        enabled = session.scalars(select(Flow).where(Flow.state == ENABLED)).all()
    ahead = [flow.id for flow in enabled if _is_ahead(flow, now)]
    corrected = 0
    for flow_id in ahead:
        with database.writing() as session:
            flow = session.get(Flow, flow_id, with_for_update=True)
            if flow is not None and flow.state == ENABLED and _is_ahead(flow, now):
                flow.next_run_s = _slot_ahead(flow, now)
                corrected += 1
                _log.warning("flow %s: its next slot lay too far ahead; did the clock go back?", flow.id)
    return corrected


def _is_ahead(flow: Flow, now: int) -> bool:
    slot = _slot_ahead(flow, now)
    return slot is not None and (flow.next_run_s is None or flow.next_run_s > slot)


def _slot_ahead(flow: Flow, now: int) -> int | None:
    return next_slot(dataflows.schedule_of(flow), now, now)


def _tick_flow(session: Session, flow: Flow, now_ms: int) -> Run | None:
    slot = _collapse(flow, now_ms // 1000)
    if live_run(session, flow.id) is not None:
        _log.info("flow %s: slot %s skipped, its last run is still going on", flow.id, slot)
        return None
    same_slot = select(Run.id).filter_by(flow_id=flow.id, scheduled_at=slot * 1000)
    if session.scalar(same_slot) is not None:
        return None
    return runs.create(session, flow, NewRun("schedule", slot * 1000), now_ms)


def _collapse(flow: Flow, now: int) -> int:
    """The latest slot that is due; the one after it becomes the flow's next."""
    schedule = dataflows.schedule_of(flow)
    slot = flow.next_run_s or now
    following = next_slot(schedule, slot, now)
    while following is not None and following <= now:
        slot, following = following, next_slot(schedule, following, now)
    flow.next_run_s = following
    return slot
