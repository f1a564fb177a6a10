"""The scheduler: a flow that is due gets exactly one run per slot, even with several schedulers."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from offtake.clock import Clock
from offtake.contract.entities import ENABLED
from offtake.failpoints import failpoint
from offtake.flows import flows, runs
from offtake.flows.runs import NewRun
from offtake.flows.schedule import Schedule, next_slot
from offtake.store import events, health, run_events, waits
from offtake.store.conditions import LIVE_RUN
from offtake.store.database import Database, StoreBusyError, StoreFullError
from offtake.store.events import Event
from offtake.store.run_states import LIVE
from offtake.store.runs import live_run
from offtake.store.tables import Connection, Flow, Run, SourceConnection, TargetConnection
from offtake.telemetry import tracing

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 100
"""Flows per transaction: few enough that other writers do not wait long for it."""


def enqueue_due_runs(database: Database, clock: Clock) -> list[str]:
    """Enqueue a run for every due flow and set each flow's next slot; returns the ids of the new runs.

    Missed slots collapse into the latest. A flow whose last run is still live is skipped: its next run covers both
    slots; only its final slot waits until that run has ended. A run that waits beyond its retry window is ended in
    favour of the slot. A flow that cannot be enqueued does not block others.
    """
    now_ms = clock.now_ms()
    due = select(Flow.id).where(Flow.state == ENABLED, Flow.next_run_s <= now_ms // 1000)
    if not database.finds(due):
        return []
    with database.reading() as session:
        ids = session.scalars(due.order_by(Flow.next_run_s, Flow.id)).all()
    return [run_id for some in _in_pages(ids) for run_id in _enqueue_one_flow(database, some, now_ms)]


def repair_future_slots(database: Database, clock: Clock) -> int:
    """Repair slots that are too far ahead because the clock was set back; returns the number of repaired flows.

    After it, each enabled flow is due at its first slot from now at the latest. No slot runs twice.
    """
    now = clock.now_seconds()
    with database.reading() as session:
        enabled = session.execute(select(Flow.id, Flow.schedule, Flow.next_run_s).where(Flow.state == ENABLED))
        ahead = [flow_id for flow_id, schedule, due in enabled if _is_ahead(flow_id, schedule, due, now)]
    corrected = 0
    for some in _in_pages(ahead):
        count = 0
        with database.writing() as session:
            for flow in session.scalars(select(Flow).where(Flow.id.in_(some)).with_for_update(skip_locked=True)):
                count += _correct_flow(session, flow, now)
            corrected += count
            if count:
                events.record(session, Event("schedule.reset", events.DEPLOYMENT, now * 1000, fields={"flows": count}))
    return corrected


def _is_ahead(flow_id: str, schedule: dict[str, object], due: int | None, now: int) -> bool:
    try:
        slot = next_slot(Schedule(**schedule), now, now)  # type: ignore[arg-type] # as it was stored
    except Exception:  # noqa: BLE001 - a flow that cannot be read must not block others
        _log.exception("flow %s: its schedule cannot be read", flow_id)
        return False
    return slot is not None and (due is None or due > slot)


def _correct_flow(session: Session, flow: Flow, now: int) -> bool:
    if flow.state != ENABLED or not _is_ahead(flow.id, flow.schedule, flow.next_run_s, now):
        return False
    schedule = flows.stored_schedule(flow)
    if schedule.one_time and (flow.last_run_id is not None or live_run(session, flow.id) is not None):
        return False
    flow.next_run_s = next_slot(schedule, now, now)
    return True


def _enqueue_one_flow(database: Database, ids: Sequence[str], now_ms: int) -> list[str]:
    """Enqueue runs for some flows in one transaction or, when that fails, for each in its own."""
    try:
        with (
            tracing.span("scheduler.tick", {"offtake.due_flows": len(ids)}) as span,
            database.writing() as session,
        ):
            run_ids = [run.id for run in _enqueue_flows(session, ids, now_ms)]
            span.set({"offtake.runs": len(run_ids)})
            failpoint("tick")
    except (StoreBusyError, StoreFullError):
        raise
    except Exception:  # noqa: BLE001 - a flow that cannot be enqueued must not block others
        if len(ids) == 1:
            _log.exception("flow %s: no run could be enqueued; retrying", ids[0])
            return []
        return [run_id for one in ids for run_id in _enqueue_one_flow(database, [one], now_ms)]
    if run_ids:
        database.wakeup.notify()
    return run_ids


def _enqueue_flows(session: Session, ids: Sequence[str], now_ms: int) -> list[Run]:
    now = now_ms // 1000
    due = select(Flow).where(Flow.id.in_(ids), Flow.state == ENABLED, Flow.next_run_s <= now)
    flows = session.scalars(due.order_by(Flow.next_run_s, Flow.id).with_for_update(skip_locked=True)).all()
    slots = {flow.id: _merge_missed_slots(flow, now) for flow in flows}
    used = _used(session, {flow_id: slot for flow_id, (slot, _) in slots.items()})
    live_runs = select(Run).where(Run.flow_id.in_(slots), LIVE_RUN)
    live = {run.flow_id: run for run in session.scalars(live_runs)}
    places = _places(session, flows)  # noqa: F841 - keeps the rows in the session's identity map, which saves a query for each flow
    query = select(SourceConnection).where(SourceConnection.id.in_({flow.source_connection_id for flow in flows}))
    sources = {source.id: source for source in session.scalars(query)}
    created = []
    for flow in flows:
        slot, flow.next_run_s = slots[flow.id]
        if flow.id in used:
            continue
        if flow.id in live and waits.is_overdue(live[flow.id], now_ms):
            waits.end_overdue(session, live[flow.id], now_ms)
            if live[flow.id].status in LIVE:
                # A worker removes its files first; a later round enqueues the slot's run.
                flow.next_run_s = slot
                continue
            del live[flow.id]
        if flow.id not in live:
            created.append(runs.create(session, flow, NewRun("schedule", slot * 1000), now_ms))
        elif flow.next_run_s is None and not _supersedes(live[flow.id], slot, flow, sources[flow.source_connection_id]):
            flow.next_run_s = slot
        else:
            run_events.record(session, "schedule.skipped", live[flow.id], now_ms, slot=slot * 1000)
    health.hold_new(session, created, now_ms)
    return created


def _places(session: Session, flows: Iterable[Flow]) -> list[tuple[TargetConnection, Connection]]:
    """The flows' target connections with their base connections, in one query."""
    query = select(TargetConnection, Connection).join(Connection, Connection.id == TargetConnection.base_connection_id)
    of_flows = query.where(TargetConnection.id.in_({flow.target_connection_id for flow in flows}))
    return [(target, base) for target, base in session.execute(of_flows)]


def _used(session: Session, slots: dict[str, int]) -> set[str]:
    """The flows whose slot already has a run: the clock may have been set back."""
    keys = [(flow_id, slot * 1000) for flow_id, slot in slots.items()]
    return set(session.scalars(select(Run.flow_id).where(tuple_(Run.flow_id, Run.scheduled_at).in_(keys))))


def _supersedes(live: Run, slot: int, flow: Flow, source: SourceConnection) -> bool:
    """Whether a live run delivers what the flow's final slot was to deliver.

    Never for increments: another one costs nothing when there is nothing new. But the single export of a one-time flow
    is not repeated when a run outside the schedule has delivered it.
    """
    began = live.planned_at is None or live.planned_at >= slot * 1000
    whole = set(source.dataset_ids) <= set(live.dataset_ids)
    return flows.stored_schedule(flow).one_time and began and whole


def _merge_missed_slots(flow: Flow, now: int) -> tuple[int, int | None]:
    """The latest slot of the flow that is due, and the one after it."""
    schedule = flows.stored_schedule(flow)
    slot = flow.next_run_s or now
    following = next_slot(schedule, slot, now)
    while following is not None and following <= now:
        slot, following = following, next_slot(schedule, following, now)
    return slot, following


def _in_pages(ids: Iterable[str]) -> Iterator[list[str]]:
    left = iter(ids)
    while some := list(islice(left, _AT_ONCE)):
        yield some
