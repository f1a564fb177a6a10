"""Batch ingestion and the state of batches, through aepp (contract, sections 23.3 and 24)."""

import json
import time
from typing import Any

import pytest

from tests.clients.aepp_client import Aepp

ROWS = [{"id": n, "city": f"town {n}"} for n in range(20)]
NDJSON = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


@pytest.fixture
def fresh(aepp: Aepp, name: str) -> str:
    """The id of a dataset without rows."""
    (path,) = aepp.catalog().createDataSet(data={"name": name})
    return str(path.rpartition("/")[2])


def ended(catalog: Any, batch: str) -> Any:
    """The batch, once it has come in or has not."""
    for _ in range(300):
        found = catalog.getBatch(batch)[batch]
        if found["status"] not in ("loading", "staged", "processing"):
            return found
        time.sleep(0.1)
    raise AssertionError(f"the batch is still {found['status']}")


def test_a_small_file_comes_in(aepp: Aepp, fresh: str) -> None:
    catalog, ingestion = aepp.catalog(), aepp.ingestion()
    made = ingestion.createBatch(fresh, format="json", multiline=True, tags={"team": ["crm"]})
    assert (made["status"], made["relatedObjects"]) == ("loading", [{"type": "dataSet", "id": fresh}])
    batch = made["id"]
    ingestion.uploadSmallFile(batch, fresh, "a.json", ROWS)
    preview = ingestion.getPreviewBatchDataset(batch, fresh)["preview"]
    assert {one["name"] for one in preview["columns"]} == {"id", "city"}
    assert len(preview["rows"]) == 5
    ingestion.uploadSmallFileFinish(batch)
    found = ended(catalog, batch)
    assert (found["status"], found["metrics"]["outputRecordCount"]) == ("success", len(ROWS))
    assert found["tags"]["team"] == ["crm"]
    assert catalog.getLastBatches(fresh)[fresh]["lastBatchId"] == batch


def test_a_single_row_comes_in_as_a_line(aepp: Aepp, fresh: str) -> None:
    catalog, ingestion = aepp.catalog(), aepp.ingestion()
    batch = ingestion.createBatch(fresh)["id"]
    ingestion.uploadSmallFile(batch, fresh, "a.json", ROWS[0])
    ingestion.uploadSmallFileFinish(batch)
    assert ended(catalog, batch)["metrics"]["outputRecordCount"] == 1


# The client calls sending in parts out of date; it still can, and so can the server.
@pytest.mark.filterwarnings("ignore:uploadLargeFile:deprecation.DeprecatedWarning")
def test_a_large_file_comes_in_by_parts_and_is_taken_out_again(aepp: Aepp, fresh: str) -> None:
    catalog, ingestion = aepp.catalog(), aepp.ingestion()
    batch = ingestion.createBatch(fresh)["id"]
    ingestion.uploadLargeFileStartEnd(batch, fresh, "big.json", action="INITIALIZE")
    half, total = len(NDJSON) // 2, len(NDJSON)
    for first, last in ((half, total - 1), (0, half - 1)):
        header = f"bytes {first}-{last}/{total}"
        ingestion.uploadLargeFilePart(batch, fresh, "big.json", NDJSON[first : last + 1], header)
    assert ingestion.headFileStatus(batch, fresh, "big.json") == {}  # all that the client says of a success
    ingestion.uploadLargeFileStartEnd(batch, fresh, "big.json", action="COMPLETE")
    ingestion.uploadSmallFileFinish(batch)
    assert ended(catalog, batch)["metrics"]["outputRecordCount"] == len(ROWS)
    ingestion.deleteBatch(batch)
    assert ended(catalog, batch)["status"] == "inactive"
    assert aepp.data_access().getPreview(fresh) == []


@pytest.mark.parametrize(("action", "status"), [("ABORT", "aborted"), ("FAIL", "failed")])
def test_a_batch_is_aborted_or_failed(aepp: Aepp, fresh: str, action: str, status: str) -> None:
    catalog, ingestion = aepp.catalog(), aepp.ingestion()
    batch = ingestion.createBatch(fresh)["id"]
    ingestion.uploadSmallFile(batch, fresh, "a.json", ROWS[0])
    ingestion.uploadSmallFileFinish(batch, action)
    assert ended(catalog, batch)["status"] == status
    assert aepp.data_access().getPreview(fresh) == []


def test_rows_that_cannot_come_in_fail_their_batch_and_say_why(aepp: Aepp, fresh: str) -> None:
    catalog, ingestion = aepp.catalog(), aepp.ingestion()
    batch = ingestion.createBatch(fresh, multiline=True)["id"]
    ingestion.uploadSmallFile(batch, fresh, "a.json", [1, 2])
    ingestion.uploadSmallFileFinish(batch)
    assert ended(catalog, batch)["status"] in ("failed", "failure")
    failed = catalog.getFailedBatchesDF(dataSet=fresh)
    assert list(failed.index) == [batch]
    assert failed.loc[batch, "dataSetId"] == fresh
    assert failed.loc[batch, "errorMessage"][0]


def test_batches_are_listed_page_by_page(aepp: Aepp, fresh: str) -> None:
    catalog, ingestion = aepp.catalog(), aepp.ingestion()
    made = {ingestion.createBatch(fresh)["id"] for _ in range(5)}
    assert set(catalog.getBatches(limit=2, n_results="inf", dataSet=fresh)) == made
    assert len(catalog.getBatches(limit=2, dataSet=fresh, orderBy="desc:created")) == 2
    assert set(catalog.getBatches(output="dataframe", dataSet=fresh, status="loading").index) == made
