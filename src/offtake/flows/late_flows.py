"""All flows of the deployment whose delivery is late, by the same rule as the pages' (`flows.deliveries`)."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from offtake.contract.entities import ENABLED
from offtake.flows.lateness import LEAST_MS, is_late
from offtake.flows.schedule import Schedule
from offtake.store.conditions import LIVE_RUN
from offtake.store.tables import Flow, Run


@dataclass(frozen=True)
class LateSlot:
    """A slot of a flow that is late. `since_ms`: the slot."""

    sandbox_id: str
    flow_id: str
    since_ms: int


def late_slots(session: Session, now_ms: int) -> Iterator[LateSlot]:
    """The slots that are late: of live runs, and of enabled flows for which no run was started."""
    yield from _of_live_runs(session, now_ms)
    yield from _without_run(session, now_ms)


def _of_live_runs(session: Session, now_ms: int) -> Iterator[LateSlot]:
    old = select(Run.sandbox_id, Run.flow_id, Run.scheduled_at, Flow.schedule).join(Flow, Flow.id == Run.flow_id)
    for sandbox_id, flow_id, slot_ms, schedule in session.execute(
        old.where(LIVE_RUN, Run.scheduled_at < now_ms - LEAST_MS)
    ):
        if is_late(Schedule(**schedule), slot_ms, now_ms):
            yield LateSlot(sandbox_id, flow_id, slot_ms)


def _without_run(session: Session, now_ms: int) -> Iterator[LateSlot]:
    slots = func.coalesce(Flow.next_run_s, 0)
    due = select(Flow.sandbox_id, Flow.id, slots, Flow.schedule).where(
        Flow.state == ENABLED, Flow.next_run_s.is_not(None), Flow.next_run_s < (now_ms - LEAST_MS) // 1000
    )
    live = select(Run.id).where(Run.flow_id == Flow.id, LIVE_RUN)
    for sandbox_id, flow_id, slot, stored in session.execute(due.where(~live.exists())):
        schedule = Schedule(**stored)
        is_over = schedule.end_time is not None and slot >= schedule.end_time
        if not is_over and is_late(schedule, slot * 1000, now_ms):
            yield LateSlot(sandbox_id, flow_id, slot * 1000)
