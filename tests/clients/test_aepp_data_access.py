"""Files of batches and previews of datasets, through aepp (contract, section 25)."""

from typing import Any

import pytest

from tests.clients.aepp_client import Aepp


@pytest.fixture
def batch(aepp: Aepp, dataset: str) -> str:
    """The batch in which the dataset's five rows came in."""
    (found,) = aepp.catalog().getBatches(dataSet=dataset)
    return str(found)


def entry(aepp: Aepp, batch: str) -> tuple[str, dict[str, Any]]:
    """The id of the batch's only file, and what its listing says."""
    access = aepp.data_access()
    (file,) = access.getBatchFiles(batch)
    (listed,) = access.getFiles(file["dataSetFileId"])["data"]
    return file["dataSetFileId"], listed


def test_a_batchs_file_is_read_as_a_table(aepp: Aepp, batch: str) -> None:
    access = aepp.data_access()
    file, listed = entry(aepp, batch)
    assert listed["name"].endswith(".parquet")
    content = access.getFiles(file, path=listed["name"])
    assert len(content.getvalue()) == int(listed["length"])
    table = access.transformDataToDataFrame(content)
    assert sorted(table["city"]) == [f"town {n}" for n in range(5)]
    access.getHeadFile(file, listed["name"])


def test_a_batch_that_came_in_whole_has_no_failed_files(aepp: Aepp, batch: str) -> None:
    assert aepp.data_access().getBatchFailed(batch) == []
    assert aepp.data_access().getBatchMeta(batch)["data"] == []


def test_pages_of_files_are_asked_for(aepp: Aepp, batch: str) -> None:
    access = aepp.data_access()
    assert len(access.getBatchFiles(batch, limit=1, start=0)) == 1
    assert access.getBatchFiles(batch, limit=1, start=1) == []


def test_a_dataset_is_previewed(aepp: Aepp, dataset: str) -> None:
    assert sorted(row["id"] for row in aepp.data_access().getPreview(dataset)) == list(range(5))


@pytest.mark.parametrize("call", ["getBatchFiles", "getFiles", "getPreview"])
def test_a_missing_resource_is_reported(aepp: Aepp, call: str) -> None:
    answer = getattr(aepp.data_access(), call)("00000000-0000-0000-0000-000000000000")
    assert answer["status"] == 404
