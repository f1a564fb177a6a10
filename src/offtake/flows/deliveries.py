"""What is late or failed, what ran last, and what comes next: the overview of a sandbox.

Everything is limited to flows that the caller may see. Nothing is read without a limit.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.contract.entities import ENABLED
from offtake.flows import deleted_flows, flow_ends
from offtake.flows.lateness import LEAST_MS, lateness_of
from offtake.flows.run_waits import wait_of
from offtake.store import run_states
from offtake.store.conditions import LIVE_RUN
from offtake.store.tables import Flow, Run

Kind = Literal["failed", "late", "waiting"]
_MOST_LATE_SEEN: Final = 200
_MOST_RUNS_A_FLOW: Final = 300


@dataclass(frozen=True)
class Trouble:
    """A flow that needs attention. `since_ms`: when the run failed or began to wait, or the slot that is late.

    `run_id` None: no run could start, because no scheduler is running. `live`: the run waits or is in progress.
    `waits`: the run waits for its destination or its source, and can be tried at once.
    """

    kind: Kind
    flow_id: str
    flow_name: str
    since_ms: int
    run_id: str | None
    code: str
    reason: str
    next_ms: int | None = None
    waits: bool = False
    live: bool = False


@dataclass(frozen=True)
class RunBar:
    """A run on a timeline; `ended_ms` None while it is live. `waits`: for its destination or source."""

    run_id: str
    status: str
    started_ms: int
    ended_ms: int | None
    rows: int | None
    bytes: int | None
    trigger: str = "schedule"
    waits: bool = False


@dataclass(frozen=True)
class FlowLine:
    """A flow on the timeline, with its runs in order. `deleted`: it has no page any more."""

    flow_id: str
    name: str
    runs: Sequence[RunBar]
    deleted: bool = False


@dataclass(frozen=True)
class Coming:
    """A flow's next slot."""

    flow_id: str
    name: str
    at_ms: int


def troubles(session: Session, caller: Caller, now_ms: int, most: int) -> list[Trouble]:
    """The flows that need attention, at most `most`: late and waiting ones first, then failed ones, newest first."""
    caller.require(VIEW_DESTINATIONS)
    found = [*_without_run(session, caller, now_ms, most), *_late(session, caller, now_ms)]
    found += _failed(session, caller, most)
    known = {one.flow_id for one in found}
    others = [one for one in _overdue(session, caller, now_ms, most) if one.flow_id not in known]
    return sorted([*found, *others], key=lambda one: one.kind == "failed")[:most]


def timeline(session: Session, caller: Caller, since_ms: int, most: int) -> list[FlowLine]:
    """The flows that ran last, with their runs since then: at most `most` flows, and 300 runs of each.

    Flows that were deleted since then come last, at most `most` of them, unless they have no run.
    """
    caller.require(VIEW_DESTINATIONS)
    recent = select(Flow.id, Flow.name).where(Flow.sandbox_id == caller.sandbox_id, labels.visible(Flow.id, caller))
    newest = Flow.last_run_completed_at.desc().nulls_last()
    known = dict(session.execute(recent.order_by(newest, Flow.updated_at.desc(), Flow.id).limit(most)).all())
    gone = deleted_flows.list_deleted(session, caller, since_ms, most)
    bars = runs_of(session, caller, [*known, *gone], since_ms)
    lines = [FlowLine(flow_id, name, bars.get(flow_id, [])) for flow_id, name in known.items()]
    return lines + [FlowLine(one, name, bars[one], deleted=True) for one, name in gone.items() if one in bars]


def runs_of(session: Session, caller: Caller, flow_ids: Sequence[str], since_ms: int) -> dict[str, list[RunBar]]:
    """The runs of these flows since then, at most 300 of each, oldest first."""
    times = (Run.created_at, Run.started_at, Run.completed_at, Run.waiting_since)
    columns = (Run.id, Run.flow_id, Run.status, *times, Run.rows, Run.bytes, Run.trigger)
    where = and_(Run.sandbox_id == caller.sandbox_id, Run.flow_id.in_(flow_ids), Run.updated_at >= since_ms)
    query = select(*columns).where(where).order_by(Run.updated_at.desc()).limit(_MOST_RUNS_A_FLOW * len(flow_ids))
    found = defaultdict[str, list[RunBar]](list)
    for row in session.execute(query):
        if len(found[row.flow_id]) < _MOST_RUNS_A_FLOW:
            started, waits = row.started_at or row.created_at, row.waiting_since is not None
            found[row.flow_id].append(
                RunBar(row.id, row.status, started, row.completed_at, row.rows, row.bytes, row.trigger, waits)
            )
    return {flow_id: bars[::-1] for flow_id, bars in found.items()}


def coming(session: Session, caller: Caller, now_ms: int, most: int) -> list[Coming]:
    """The next slots, earliest first."""
    caller.require(VIEW_DESTINATIONS)
    mine = and_(Flow.sandbox_id == caller.sandbox_id, Flow.state == ENABLED, labels.visible(Flow.id, caller))
    due = select(Flow).where(mine, Flow.next_run_s.is_not(None), Flow.next_run_s > now_ms // 1000)
    found = []
    for flow in session.scalars(due.order_by(Flow.next_run_s, Flow.id).limit(most)):
        at = _next_ms(flow, now_ms)
        if at is not None:
            found.append(Coming(flow.id, flow.name, at))
    return found


def _of(caller: Caller) -> ColumnElement[bool]:
    return and_(Run.sandbox_id == caller.sandbox_id, labels.visible(Run.flow_id, caller))


def _next_ms(flow: Flow, now_ms: int) -> int | None:
    following = flow_ends.next_run(flow, now_ms // 1000)
    return None if following is None else following * 1000


def _failed(session: Session, caller: Caller, most: int) -> list[Trouble]:
    """Enabled flows whose last run failed and was not cancelled."""
    mine = and_(Flow.sandbox_id == caller.sandbox_id, Flow.last_run_state == run_states.FAILED)
    query = select(Flow, Run).join(Run, Run.id == Flow.last_run_id)
    query = query.where(mine, Flow.state == ENABLED, Run.cancel_requested.is_(False), labels.visible(Flow.id, caller))
    found = []
    for flow, run in session.execute(query.order_by(Flow.last_run_completed_at.desc()).limit(most)):
        error = run.errors[0] if run.errors else None
        code, reason = (error["code"], error["message"]) if error else ("", "")
        ended = run.completed_at or run.updated_at
        found.append(Trouble("failed", flow.id, flow.name, ended, run.id, code, reason, flow_next(flow)))
    return found


def flow_next(flow: Flow) -> int | None:
    """The flow's next slot in milliseconds, whether or not it has ended; None without one."""
    return None if flow.next_run_s is None else flow.next_run_s * 1000


def _late(session: Session, caller: Caller, now_ms: int) -> list[Trouble]:
    """Live runs whose slot is over its tolerance, and those that wait for their destination."""
    old = or_(Run.scheduled_at < now_ms - LEAST_MS, Run.waiting_since.is_not(None))
    # Ids first: thousands of waiting runs would be joined and sorted with all columns.
    oldest = select(Run.id).where(_of(caller), LIVE_RUN, old).order_by(Run.scheduled_at).limit(_MOST_LATE_SEEN)
    ids = session.scalars(oldest).all()
    query = select(Flow, Run).join(Flow, Flow.id == Run.flow_id).where(Run.id.in_(ids)).order_by(Run.scheduled_at)
    found = []
    for flow, run in session.execute(query):
        wait = wait_of(run)
        late = lateness_of(flow, now_ms, run.scheduled_at)
        if late is not None or wait is not None:
            kind: Kind = "waiting" if late is None else "late"
            code, reason = (wait.code, wait.message) if wait else ("", _unfinished(run))
            next_ms = wait.next_ms if wait else None
            since = wait.since_ms if late is None and wait is not None else run.scheduled_at
            waits = wait is not None and not wait.for_quota
            trouble = Trouble(kind, flow.id, flow.name, since, run.id, code, reason, next_ms, waits=waits, live=True)
            found.append(trouble)
    return sorted(found, key=lambda one: one.kind)


def _overdue(session: Session, caller: Caller, now_ms: int, most: int) -> list[Trouble]:
    """Flows that are late by their target, or whose late slot has no run any more."""
    mine = and_(Flow.sandbox_id == caller.sandbox_id, Flow.state == ENABLED, labels.visible(Flow.id, caller))
    delivered = func.coalesce(Flow.delivered_up_to, Flow.judged_from, Flow.created_at)
    by_target = and_(Flow.freshness_seconds.is_not(None), delivered < now_ms - Flow.freshness_seconds * 1000)
    candidates = select(Flow).where(mine, or_(by_target, Flow.late_since.is_not(None)))
    flows = session.scalars(candidates.order_by(delivered, Flow.id).limit(_MOST_LATE_SEEN)).all()
    live_runs = select(Run).where(LIVE_RUN, Run.flow_id.in_([flow.id for flow in flows]))
    live = {run.flow_id: run for run in session.scalars(live_runs)}
    found = []
    for flow in flows:
        run = live.get(flow.id)
        late = lateness_of(flow, now_ms, None if run is None else run.scheduled_at)
        if late is None:
            continue
        reason, run_id = _overdue_reason(flow, run), flow.last_run_id if run is None else run.id
        next_ms = flow_next(flow) if run is None else None
        since, live_run = late.since_ms, run is not None
        found.append(Trouble("late", flow.id, flow.name, since, run_id, "", reason, next_ms, live=live_run))
    return found[:most]


def _overdue_reason(flow: Flow, run: Run | None) -> str:
    if run is not None:
        return _unfinished(run)
    has_target = flow.freshness_seconds is not None
    return "The data is older than its target." if has_target else "The last slot was not delivered."


def _unfinished(run: Run) -> str:
    """Why a live run that does not wait for its destination or source has not delivered."""
    queued = run.status == run_states.WAITING
    return "The run is queued, and no worker has claimed it." if queued else "The run has not finished yet."


def _without_run(session: Session, caller: Caller, now_ms: int, most: int) -> list[Trouble]:
    """Flows whose slot has passed without a run: no scheduler is running."""
    mine = and_(Flow.sandbox_id == caller.sandbox_id, Flow.state == ENABLED, labels.visible(Flow.id, caller))
    due = select(Flow).where(mine, Flow.next_run_s.is_not(None), Flow.next_run_s < (now_ms - LEAST_MS) // 1000)
    live = select(Run.id).where(Run.flow_id == Flow.id, LIVE_RUN)
    reason = "No run was started for this slot. Check that a server with a scheduler is running."
    return [
        Trouble("late", flow.id, flow.name, (flow.next_run_s or 0) * 1000, None, "", reason)
        for flow in session.scalars(due.where(~live.exists()).order_by(Flow.next_run_s).limit(most))
        if lateness_of(flow, now_ms, None) is not None and not flow_ends.is_over(flow, (flow.next_run_s or 0))
    ]
