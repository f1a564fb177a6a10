"""A warning of a full export is found by its dataset, whatever other datasets are called."""

from offtake.errors import SNAPSHOT_EXPIRED
from offtake.store.run_warnings import list_full_export_warnings
from offtake.store.tables import Run, RunDataset


def warning(dataset_name: str, **more: str) -> dict[str, str]:
    return {
        "code": SNAPSHOT_EXPIRED.code,
        "message": f"{dataset_name}: its snapshot expired",
        "type": "Warning",
        **more,
    }


def test_a_warning_is_of_its_own_dataset_among_those_with_its_name() -> None:
    first, second = (RunDataset(dataset_id=one, dataset_name="towns") for one in ("a", "b"))
    run = Run(warnings=[warning("towns", dataSetId="b"), {"code": "EXPORT-1200-200", "message": "towns: x"}])
    assert list_full_export_warnings(run, first) == []
    assert list_full_export_warnings(run, second) == [run.warnings[0]]


def test_a_warning_of_an_earlier_version_is_found_by_the_name() -> None:
    run = Run(warnings=[warning("towns")])
    assert list_full_export_warnings(run, RunDataset(dataset_id="a", dataset_name="towns")) == run.warnings
    assert list_full_export_warnings(run, RunDataset(dataset_id="b", dataset_name="town")) == []
