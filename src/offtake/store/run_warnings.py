"""Finds the warnings of a run about the plan of a dataset."""

from offtake.documents import InfoItem
from offtake.errors import DELETES_NOT_COUNTED, SNAPSHOT_EXPIRED
from offtake.store.tables import Run, RunDataset


def list_plan_warnings(run: Run, dataset: RunDataset) -> list[InfoItem]:
    """The run's warnings that this dataset was exported in full again, or that deleted rows of it are not counted."""
    uncounted = [one for one in run.warnings if one["code"] == DELETES_NOT_COUNTED.code and _is_about(one, dataset)]
    return [*list_full_export_warnings(run, dataset), *uncounted]


def list_full_export_warnings(run: Run, dataset: RunDataset) -> list[InfoItem]:
    """The run's warnings that this dataset was exported in full again."""
    return [
        warning for warning in run.warnings if warning["code"] == SNAPSHOT_EXPIRED.code and _is_about(warning, dataset)
    ]


def _is_about(warning: InfoItem, dataset: RunDataset) -> bool:
    # Warnings of earlier versions contain the dataset's name only, which was unique then.
    named: bool = warning["message"].startswith(f"{dataset.dataset_name}: ")
    return warning["dataSetId"] == dataset.dataset_id if "dataSetId" in warning else named
