"""Renders flows for the API at a point in time: the stored document with time-dependent fields."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from offtake.contract.caller import Caller
from offtake.documents import Json
from offtake.flows import flow_ends, flows
from offtake.store.tables import Flow


def render(session: Session, row: Flow, caller: Caller, now_ms: int) -> Json:
    """Render the flow for the API at `now_ms`."""
    return render_all(session, [row], caller, now_ms)[0]


def render_all(session: Session, rows: Sequence[Flow], caller: Caller, now_ms: int) -> list[Json]:
    """Render the flows for the API at `now_ms`, with one query per kind of referenced entity."""
    documents = flows.render_all(session, rows, caller)
    return [one | {"extensions": _extensions(row, now_ms)} for row, one in zip(rows, documents, strict=True)]


def _extensions(row: Flow, now_ms: int) -> Json:
    """Fields that the contract does not have. `state` stays `enabled` after the end, as in the contract."""
    following = flow_ends.next_run(row, now_ms // 1000)
    return {
        "endTimeDefaulted": flows.stored_schedule(row).end_defaulted,
        "ended": flow_ends.is_over(row, now_ms // 1000),
        "nextRunAt": None if following is None else following * 1000,
        "consecutiveFailures": row.failures,
    }
