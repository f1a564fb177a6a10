"""Repetitions of failed runs, for pages: the run that repeated one, or what prevents repeating it."""

from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.contract import entities
from offtake.flows import runs
from offtake.store import run_parts
from offtake.store.runs import live_run
from offtake.store.tables import Flow, Run

Obstacle = Literal["deleted", "disabled", "live", "delivered"]
WORDS: Final[dict[Obstacle, str]] = {
    "deleted": "The dataflow was deleted.",
    "disabled": "The dataflow is disabled. Enable it first.",
    "live": "Another run of the dataflow is in progress. Wait until it has ended.",
    "delivered": "A later run has delivered its rows, or the next run delivers them.",
}


@dataclass(frozen=True)
class Repetition:
    """`by`: the newest run that repeats the failed run. `obstacle`: why it cannot be repeated; None if it can be.

    `live_id`: the dataflow's run in progress, if that is the obstacle.
    """

    by: Run | None
    obstacle: Obstacle | None
    live_id: str | None = None


def of_run(session: Session, failed: Run) -> Repetition:
    """What became of a failed run. Permissions are the caller's business."""
    mine = (Run.sandbox_id == failed.sandbox_id, Run.flow_id == failed.flow_id)
    repeats = select(Run).where(*mine, Run.parent_run_id == failed.id, Run.trigger == runs.RETRY)
    by = session.scalar(repeats.order_by(Run.created_at.desc(), Run.id).limit(1))
    flow = session.get(Flow, failed.flow_id)
    if flow is None:
        return Repetition(by, "deleted")
    dataset_ids = runs.repeated_datasets(failed, run_parts.run_datasets(session, failed.id))
    if runs.why_not_again(session, flow, failed, dataset_ids):
        return Repetition(by, "delivered")
    if flow.state != entities.ENABLED:
        return Repetition(by, "disabled")
    live = live_run(session, flow.id)
    return Repetition(by, "live", live.id) if live is not None else Repetition(by, None)
