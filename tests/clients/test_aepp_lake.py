"""Catalog, batch ingestion and data access through aepp (contract, sections 23 to 25 and row K30)."""

import io
import json
import time
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest

from tests.clients.aepp_client import Aepp

ROWS = [{"id": n, "city": f"town {n}"} for n in range(20)]
NDJSON = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def new_dataset(catalog: Any) -> str:
    (path,) = catalog.createDataSet(data={"name": f"aepp {uuid4()}"})
    return str(path.rpartition("/")[2])


def ended(catalog: Any, batch: str) -> Any:
    """The batch, once it has come in or has not."""
    for _ in range(200):
        found = catalog.getBatch(batch)[batch]
        if found["status"] not in ("loading", "staged", "processing"):
            return found
        time.sleep(0.1)
    raise AssertionError(f"the batch is still {found['status']}")


def test_datasets_are_made_changed_listed_and_deleted(aepp: Aepp) -> None:
    catalog = aepp.catalog()
    dataset = new_dataset(catalog)
    assert catalog.getDataSet(dataset)[dataset]["tags"]["adobe/siphon/table/format"] == ["iceberg"]
    catalog.patchDataset(dataset, {"description": "changed"})
    assert catalog.getDataSet(dataset)[dataset]["description"] == "changed"
    assert dataset in catalog.getDataSets()
    # The client's pages begin one entry too late (K30): what it asks for is what it gets.
    assert len(catalog.getDataSets(limit=1)) >= 1
    catalog.deleteDataSet(dataset)
    assert catalog.getDataSet(dataset)["status"] == 404


def test_a_small_file_comes_in_and_is_read_back(aepp: Aepp) -> None:
    catalog, ingestion, access = aepp.catalog(), aepp.ingestion(), aepp.data_access()
    dataset = new_dataset(catalog)
    batch = ingestion.createBatch(dataset, format="json")["id"]
    ingestion.uploadSmallFile(batch, dataset, "a.json", ROWS)
    ingestion.uploadSmallFileFinish(batch)
    assert ended(catalog, batch)["metrics"]["outputRecordCount"] == len(ROWS)
    assert batch in catalog.getBatches(dataSet=dataset)
    assert catalog.getLastBatches(dataset)
    (file,) = access.getBatchFiles(batch)
    (entry,) = access.getFiles(file["dataSetFileId"])["data"]
    content = access.getFiles(file["dataSetFileId"], path=entry["name"])
    assert pq.read_table(io.BytesIO(content.read())).num_rows == len(ROWS)
    assert len(access.getPreview(dataset)) == len(ROWS)


# The client calls sending in parts out of date; it still can, and so can the server.
@pytest.mark.filterwarnings("ignore::deprecation.DeprecatedWarning")
def test_a_large_file_comes_in_by_parts_and_is_taken_out_again(aepp: Aepp) -> None:
    catalog, ingestion = aepp.catalog(), aepp.ingestion()
    dataset = new_dataset(catalog)
    batch = ingestion.createBatch(dataset, format="json")["id"]
    ingestion.uploadLargeFileStartEnd(batch, dataset, "big.json", action="INITIALIZE")
    half, total = len(NDJSON) // 2, len(NDJSON)
    for first, last in ((half, total - 1), (0, half - 1)):
        header = f"bytes {first}-{last}/{total}"
        ingestion.uploadLargeFilePart(batch, dataset, "big.json", NDJSON[first : last + 1], header)
    ingestion.uploadLargeFileStartEnd(batch, dataset, "big.json", action="COMPLETE")
    ingestion.uploadSmallFileFinish(batch)
    assert ended(catalog, batch)["status"] == "success"
    ingestion.deleteBatch(batch)
    assert ended(catalog, batch)["status"] == "inactive"
