"""The warning of a run that it exported a dataset in full again, found by its dataset."""

from typing import Any

from offtake.errors import SNAPSHOT_EXPIRED
from offtake.store.tables import Run, RunDataset


def everything_again(run: Run, dataset: RunDataset) -> list[dict[str, Any]]:
    """The warnings of the run that this dataset was exported in full again, and why."""
    return [one for one in run.warnings if one["code"] == SNAPSHOT_EXPIRED.code and _is_about(one, dataset)]


def _is_about(warning: dict[str, Any], dataset: RunDataset) -> bool:
    # Warnings of earlier versions name the dataset only, which was unique then.
    named: bool = warning["message"].startswith(f"{dataset.dataset_name}: ")
    return warning["dataSetId"] == dataset.dataset_id if "dataSetId" in warning else named
