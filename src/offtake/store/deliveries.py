"""What a run that is over has delivered, by what was written down of it."""

from collections.abc import Sequence

from offtake.store.runs import SUCCESS
from offtake.store.tables import Run, RunDataset


def delivered(run: Run, datasets: Sequence[RunDataset]) -> bool:
    """Whether what the run planned without errors is at the destination.

    A run that fails for some of its datasets delivers the others; one that fails for another reason delivers nothing.
    """
    if run.completed_at is None or run.verdict is not None:
        return False
    of_datasets = [one.error for one in datasets if one.error]
    return run.status == SUCCESS or (bool(of_datasets) and run.errors == of_datasets)
