"""Reports flows that become late, and late ones that have delivered again; also when no worker executes any run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from offtake.clock import Clock
from offtake.contract.entities import ENABLED
from offtake.flows import flow_events
from offtake.flows.lateness import LEAST_MS, judged_from, lateness_of
from offtake.store import run_events
from offtake.store.conditions import LIVE_RUN
from offtake.store.database import Database
from offtake.store.events import FieldValue
from offtake.store.run_states import FAILED, WAITING
from offtake.store.tables import Flow, Run

_EVERY_MS: Final = 30_000
_JUMP_MS: Final = 60_000
"""A difference between the wall clock and the monotonic clock that changes by more means that the clock was set."""
_SETTLE_MS: Final = 300_000
"""After the clock was set, runs that are due now get so long to be delivered before anything is judged."""
_AT_ONCE: Final = 100
_COLUMNS: Final = (
    Flow.id,
    Flow.state,
    Flow.schedule,
    Flow.next_run_s,
    Flow.freshness_seconds,
    Flow.delivered_up_to,
    Flow.judged_from,
    Flow.created_at,
    Flow.late_since,
)


@dataclass
class FreshnessJudge:
    """Judges a deployment's flows every 30 seconds. Several schedulers may do so: each change is reported once."""

    database: Database
    clock: Clock
    _judged_at: int | None = None
    _offset: int | None = None
    _settled_at: int = 0

    def judge_if_due(self) -> None:
        """Judge, unless that was done within 30 seconds, or the clock was set within five minutes."""
        elapsed = self.clock.elapsed_ms()
        if self._judged_at is not None and elapsed - self._judged_at < _EVERY_MS:
            return
        offset = self.clock.now_ms() - elapsed
        if self._offset is not None and abs(offset - self._offset) > _JUMP_MS:
            self._settled_at = elapsed + _SETTLE_MS
        self._judged_at, self._offset = elapsed, offset
        if elapsed >= self._settled_at:
            self.judge()

    def judge(self) -> int:
        """Report the flows whose lateness begins or ends; returns how many changed."""
        now = self.clock.now_ms()
        with self.database.reading() as session:
            live = _live_slots(session)
            rows = session.execute(select(*_COLUMNS).where(or_(Flow.state == ENABLED, Flow.late_since.is_not(None))))
            changed = [
                row.id
                for row in rows
                if (lateness_of(row, now, live.get(row.id)) is None) == (row.late_since is not None)
                or max(row.delivered_up_to or 0, judged_from(row)) > now + LEAST_MS
            ]
        count = 0
        for first in range(0, len(changed), _AT_ONCE):
            with self.database.writing() as session:
                count += _report(session, changed[first : first + _AT_ONCE], now)
        return count


def _report(session: Session, ids: Sequence[str], now_ms: int) -> int:
    """Report the changes of these flows, which another process may have done meanwhile; skips locked ones."""
    query = select(Flow).where(Flow.id.in_(ids)).order_by(Flow.id)
    count = 0
    flows = session.scalars(query.with_for_update(skip_locked=True)).all()
    live = _live_slots(session, [flow.id for flow in flows])
    for flow in flows:
        _correct_clock(flow, now_ms)
        late = lateness_of(flow, now_ms, live.get(flow.id))
        if late is not None and flow.late_since is None:
            flow.late_since = late.since_ms
            why = _reason(session, flow)
            target = flow.freshness_seconds
            flow_events.record_flow(
                session, "flow.late", flow, now_ms, since=late.since_ms, target_seconds=target, **why
            )
            count += 1
        elif late is None and flow.late_since is not None:
            since, flow.late_since = flow.late_since, None
            if _has_recovered(flow, since, now_ms, is_live=flow.id in live):
                lasted = max(0, now_ms - since) / 1000
                flow_events.record_flow(session, "flow.recovered", flow, now_ms, since=since, seconds=lasted)
            count += 1
    return count


def _has_recovered(flow: Flow, late_since: int, now_ms: int, *, is_live: bool) -> bool:
    """Whether a late flow that is in time now has delivered.

    Otherwise it was disabled, has ended or was changed, or the clock was set back: nothing is reported.
    """
    ends = flow.state != ENABLED or (flow.next_run_s is None and not is_live)
    if ends and flow.last_run_state == FAILED:
        return False
    return flow.state == ENABLED and judged_from(flow) <= late_since <= now_ms


def _correct_clock(flow: Flow, now_ms: int) -> None:
    """After the clock was set back: a time in the future would keep the flow from being judged until then."""
    if flow.delivered_up_to is not None and flow.delivered_up_to > now_ms:
        flow.delivered_up_to = now_ms
    if judged_from(flow) > now_ms:
        flow.judged_from = now_ms


def _live_slots(session: Session, flow_ids: Iterable[str] | None = None) -> dict[str, int]:
    query = select(Run.flow_id, Run.scheduled_at).where(LIVE_RUN)
    if flow_ids is not None:
        query = query.where(Run.flow_id.in_(flow_ids))
    return dict(session.execute(query).all())


def _reason(session: Session, flow: Flow) -> dict[str, FieldValue]:
    """Why the flow is late: the wait or the state of its live run, its last failure, or that no run was started."""
    live = session.scalar(select(Run).where(Run.flow_id == flow.id, LIVE_RUN))
    if live is not None and live.waiting_since is not None:
        return {"reason": "waiting", **run_events.error_fields(live.wait_reason)}
    if live is not None and live.status == WAITING and live.fence == 0:
        message = f"Run {live.id} is queued, and no worker has started it."
        return {"reason": "queued", "message": message, "remedy": "Check that a worker is running, and is not busy."}
    if live is not None:
        return {"reason": "running", "message": f"Run {live.id} has not finished yet."}
    last = session.get(Run, flow.last_run_id) if flow.last_run_id else None
    if last is not None and last.status == FAILED:
        return {"reason": "failed", **run_events.error_fields(last.errors[0] if last.errors else None)}
    if flow.freshness_seconds is not None and (last is not None or flow.next_run_s is None):
        message = "The flow's data is older than its target, and no run is due."
        return {"reason": "schedule", "message": message, "remedy": "Let the flow run more often, or raise its target."}
    message = "No run was started for the slot."
    return {"reason": "not_started", "message": message, "remedy": "Check that a server with a scheduler is running."}
