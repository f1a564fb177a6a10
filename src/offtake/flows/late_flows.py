"""All flows of the deployment whose delivery is late, by the one rule for that (`flows.lateness`)."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from offtake.contract.entities import ENABLED
from offtake.flows.lateness import LEAST_MS, lateness_of
from offtake.store.conditions import LIVE_RUN
from offtake.store.tables import Flow, Run


@dataclass(frozen=True)
class LateFlow:
    """A flow that is late. `since_ms`: since when, epoch milliseconds."""

    sandbox_id: str
    flow_id: str
    since_ms: int


def late_flows(session: Session, now_ms: int) -> Iterator[LateFlow]:
    """The flows that are late at `now_ms`. Only those that may be late are judged: few, unless much is wrong."""
    live = dict(session.execute(select(Run.flow_id, Run.scheduled_at).where(LIVE_RUN)).all())
    columns = (Flow.id, Flow.sandbox_id, Flow.state, Flow.schedule, Flow.next_run_s, Flow.freshness_seconds)
    times = (Flow.delivered_up_to, Flow.judged_from, Flow.created_at)
    for flow in session.execute(select(*columns, *times).where(Flow.state == ENABLED, _may_be_late(now_ms))):
        late = lateness_of(flow, now_ms, live.get(flow.id))
        if late is not None:
            yield LateFlow(flow.sandbox_id, flow.id, late.since_ms)


def _may_be_late(now_ms: int) -> ColumnElement[bool]:
    """Reported as late already, older than its target, with a live run of an old slot, or without a run for it."""
    delivered = func.coalesce(Flow.delivered_up_to, Flow.judged_from, Flow.created_at)
    by_target = and_(Flow.freshness_seconds.is_not(None), delivered < now_ms - Flow.freshness_seconds * 1000)
    old = select(Run.flow_id).where(LIVE_RUN, Run.scheduled_at < now_ms - LEAST_MS)
    no_run = Flow.next_run_s < (now_ms - LEAST_MS) // 1000
    return or_(Flow.late_since.is_not(None), by_target, Flow.id.in_(old), no_run)
