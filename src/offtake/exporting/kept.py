"""Continuing from a failed run whose files were kept: its missing parts first, then the rows added since."""

from collections.abc import Sequence
from dataclasses import dataclass

from offtake.documents import InfoItem
from offtake.exporting.job import DatasetExport
from offtake.store.tables import RunDataset, RunPart


@dataclass(frozen=True)
class Kept:
    """A dataset of a failed run whose files were collected or cannot be removed: its plan and its parts.

    `warnings`: the run's warnings about its plan of the dataset.
    """

    run_id: str
    plan: RunDataset
    parts: Sequence[RunPart]
    warnings: Sequence[InfoItem] = ()

    def fits(self, dataset: DatasetExport) -> bool:
        """Whether the flow's next delivery starts at the same position as that run."""
        return self.plan.position == dataset.position or repeats(dataset, self.plan)

    def has_columns(self, dataset: DatasetExport) -> bool:
        """Whether that run delivered the columns that are chosen now; renamed ones are the same."""
        chosen = dataset.columns.columns if dataset.columns else ()
        return set(self.plan.columns.values()) == {one.field_id for one in chosen}


def repeats(dataset: DatasetExport, earlier: RunDataset) -> bool:
    """Whether the dataset exports the same snapshots as the earlier run."""
    pin = dataset.pin
    return pin is not None and (pin.full, pin.from_snapshot, pin.to_snapshot) == (
        earlier.kind == "full",
        earlier.from_snapshot,
        earlier.to_snapshot,
    )


def take_over(part: RunPart, run_id: str, number: int, key: str) -> RunPart:
    """Copy the part into a later run's plan. A kept file keeps its key and record; other parts are written as `key`.

    They get new names because a process that still removes the earlier run's files could remove the new ones.
    """
    taken = RunPart(
        run_id=run_id,
        number=number,
        dataset_id=part.dataset_id,
        key=key,
        slices=part.slices,
        input_rows=part.input_rows,
        input_bytes=part.input_bytes,
    )
    if part.finished_at:
        taken.key, taken.uri, taken.finished_at = part.key, part.uri, part.finished_at
        taken.rows, taken.bytes, taken.sha256, taken.losses = part.rows, part.bytes, part.sha256, part.losses
    return taken
