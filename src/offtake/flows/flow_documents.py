"""Renders flows for the API at a point in time: the stored document with time-dependent fields."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.contract.caller import Caller
from offtake.documents import Json
from offtake.flows import flow_ends, flows
from offtake.flows.lateness import lateness_of
from offtake.store.conditions import LIVE_RUN
from offtake.store.tables import Flow, Run


def render(session: Session, row: Flow, caller: Caller, now_ms: int) -> Json:
    """Render the flow for the API at `now_ms`."""
    return render_all(session, [row], caller, now_ms)[0]


def render_all(session: Session, rows: Sequence[Flow], caller: Caller, now_ms: int) -> list[Json]:
    """Render the flows for the API at `now_ms`, with one query per kind of referenced entity."""
    documents = flows.render_all(session, rows, caller)
    live_slots = select(Run.flow_id, Run.scheduled_at).where(LIVE_RUN, Run.flow_id.in_([row.id for row in rows]))
    live = dict(session.execute(live_slots).all())
    return [
        one | {"extensions": _extensions(row, now_ms, live.get(row.id))}
        for row, one in zip(rows, documents, strict=True)
    ]


def _extensions(row: Flow, now_ms: int, live_slot_ms: int | None) -> Json:
    """Fields that the contract does not have. `state` stays `enabled` after the end, as in the contract."""
    following = flow_ends.next_run(row, now_ms // 1000)
    late = lateness_of(row, now_ms, live_slot_ms)
    return {
        "endTimeDefaulted": flows.stored_schedule(row).end_defaulted,
        "ended": flow_ends.is_over(row, now_ms // 1000),
        "nextRunAt": None if following is None else following * 1000,
        "consecutiveFailures": row.failures,
        "freshWithinSeconds": row.freshness_seconds,
        "deliveredUpToUTC": row.delivered_up_to,
        "lateSinceUTC": None if late is None else late.since_ms,
    }
