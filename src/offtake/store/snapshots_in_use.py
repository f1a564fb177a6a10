"""The snapshots and files of a dataset that flows and runs still need."""

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from offtake.store import batches, run_states
from offtake.store.conditions import LIVE_RUN
from offtake.store.tables import Batch, Dataset, Run, RunDataset, RunPart, Watermark


def snapshots_in_use(session: Session, dataset_id: str, failed_since_ms: int) -> set[int]:
    """The positions of flows, and the snapshots that live runs, or runs that failed since then, must export."""
    of_flows = select(Watermark.snapshot_id).where(Watermark.dataset_id == dataset_id)
    found = set(session.scalars(of_flows))
    # A run that failed with kept files is continued, with its own snapshots.
    may_continue = and_(Run.status == run_states.FAILED, Run.updated_at >= failed_since_ms)
    planned = (
        select(RunDataset)
        .join(Run, Run.id == RunDataset.run_id)
        .where(RunDataset.dataset_id == dataset_id, or_(LIVE_RUN, may_continue))
    )
    for row in session.scalars(planned):
        found |= {one for one in (row.position, row.from_snapshot, row.to_snapshot) if one is not None}
    for run in session.scalars(select(Run).where(LIVE_RUN, Run.pins.is_not(None))):
        pin = (run.pins or {}).get(dataset_id)
        if pin is not None:
            found |= {one for one in (pin["from_snapshot"], pin["to_snapshot"]) if one is not None}
    return found


def batches_in_use(session: Session, dataset_id: str) -> set[str]:
    """The batches of the dataset that are being imported or reverted: their commits are still looked for."""
    return set(session.scalars(select(Batch.id).where(Batch.dataset_id == dataset_id, Batch.status.in_(batches.OPEN))))


def begin_removal(session: Session, dataset_id: str) -> set[str] | None:
    """Refuse plans that are being made, as a rewrite of files does, and return the files of the stored ones.

    None when the dataset was deleted. Plans that are made from now on read the table's present metadata.
    """
    dataset = session.get(Dataset, dataset_id, with_for_update=True)
    if dataset is None:
        return None
    dataset.rewrites += 1
    parts = select(RunPart.slices).join(Run, Run.id == RunPart.run_id).where(LIVE_RUN)
    parts = parts.where(RunPart.dataset_id == dataset_id)
    found: set[str] = set()
    for slices in session.scalars(parts):
        for one in slices:
            found.add(one["path"])
            found.update(delete for delete in one["deletes"] if isinstance(delete, str))
            found.update(delete["path"] for delete in one.get("deleteFiles", ()))
    return found
