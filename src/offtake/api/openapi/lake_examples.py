"""Invented examples of Catalog, batch ingestion and data access (contract, sections 23 to 25)."""

from typing import Final

from offtake.api.openapi import examples
from offtake.api.openapi.examples import STAMP
from offtake.documents import Json

DATASET_ID: Final = examples.DATASET_ID
BATCH_ID: Final = "01HR9QY7B6W2ZC0M3K5N8P1T4V"
ANY_OBJECT: Final[Json] = {"type": ["object", "array"]}
PATHS: Final = [f"@/dataSets/{DATASET_ID}"]
BATCH_PATHS: Final = [f"@/batches/{BATCH_ID}"]
NEW_DATASET: Final[Json] = {
    "name": "Loyalty members",
    "description": "All loyalty members",
    "schemaRef": {
        "id": "https://ns.example.org/schemas/loyalty",
        "contentType": "application/vnd.adobe.xed+json;version=1",
    },
    "fileDescription": {"persisted": True, "containerFormat": "parquet", "format": "parquet"},
    "tags": {"unifiedProfile": ["enabled:true"]},
    "enableErrorDiagnostics": False,
    "extensions": {
        "offtake": {"evolves": False, "columns": [{"name": "id", "type": "long", "required": True}]},
    },
}
_STAMP: Final[Json] = {
    "imsOrg": STAMP["imsOrgId"],
    "sandboxId": STAMP["sandboxId"],
    "created": 1772340000000,
    "updated": 1772340000000,
    "createdClient": STAMP["createdClient"],
    "createdUser": STAMP["createdBy"],
    "updatedUser": STAMP["updatedBy"],
    "version": "1.0.7",
}
DATASET: Final[Json] = {
    **NEW_DATASET,
    **_STAMP,
    "classification": {"dataBehavior": "record", "managedBy": "CUSTOMER"},
    "aspect": "production",
    "state": "DRAFT",
    "status": "enabled",
    "schema": "@/xdms/schemas/loyalty",
    "viewId": "5ab54170864cf0267448ead5",
    "basePath": "sandbox_7dfdcd300a0941ea8ea67bf93ce86c28/dataset_65f0c2a1b4d3e2f1a0b9c8d7",
    "files": f"@/dataSetFiles?dataSetId={DATASET_ID}",
    "lastBatchId": BATCH_ID,
    "lastBatchStatus": "success",
    "lastSuccessfulBatch": BATCH_ID,
    "lastFailedBatch": BATCH_ID,
    "extensions": {
        "offtake": {"evolves": False},
        "adobe_lakeHouse": {
            "metrics": {"rowCount": 7823447, "storageSize": 855202780},
            "tableHealthMetrics": {"noOfFilesTotal": 14},
        },
    },
    "observableSchema": {"type": "object", "meta:xdmType": "object", "properties": {}},
}
BATCH: Final[Json] = {
    **_STAMP,
    "status": "success",
    "externalId": "nightly-2026-03-01",
    "errors": [{"code": "INGEST-1452-400", "description": "a.json, line 3: the column id is not a number."}],
    "availableDates": {},
    "relatedObjects": [{"type": "dataSet", "id": DATASET_ID}],
    "metrics": {
        "inputRecordCount": 2,
        "inputByteSize": 48,
        "outputRecordCount": 2,
        "outputByteSize": 1180,
        "failedRecordCount": 0,
        "startTime": 1772340000000,
        "endTime": 1772340001000,
    },
    "notes": [
        (
            "The same files with the same options were imported as batch 01G91QNJWFWD2588D4G4GZP9G1 at "
            "2026-03-01 04:40:00Z."
        )
    ],
    "tags": {},
    "inputFormat": {"format": "json", "isMultiLineJson": False},
    "enableErrorDiagnostics": False,
    "partialIngestionPercentage": 0.0,
    "replay": {"predecessors": ["01G91QNJWFWD2588D4G4GZP9G1"], "reason": "replace"},
    "evolve": True,
    "started": 1772340000000,
    "completed": 1772340001000,
}
LAST_BATCH: Final[Json] = {
    "lastBatchId": BATCH_ID,
    "lastBatchStatus": "success",
    "lastSuccessfulBatchId": BATCH_ID,
    "lastFailedBatchId": BATCH_ID,
    "imsOrg": STAMP["imsOrgId"],
    "sandboxId": STAMP["sandboxId"],
    "created": 1772340000000,
    "updated": 1772340001000,
}
_ORIGIN: Final = "http://localhost:8080/data/foundation/export"
_LINKS: Final[Json] = {
    "page": {"href": f"{_ORIGIN}/batches/{BATCH_ID}/files?start={{start}}&limit={{limit}}", "templated": True},
    "next": {"href": f"{_ORIGIN}/batches/{BATCH_ID}/files?start=100&limit=100"},
}
BATCH_FILES: Final[Json] = {
    "data": [
        {
            "dataSetFileId": f"{BATCH_ID}-1",
            "dataSetViewId": "5ab54170864cf0267448ead5",
            "version": "1.0.0",
            "created": "1772340001000",
            "updated": "1772340001000",
            "records": "2",
            "size": "1180",
            "isValid": True,
            "_links": {"self": {"href": f"{_ORIGIN}/files/{BATCH_ID}-1"}},
        }
    ],
    "_page": {"limit": 100, "count": 1},
    "_links": _LINKS,
}
FILES: Final[Json] = {
    "data": [
        {
            "name": f"{BATCH_ID}-1-00000.parquet",
            "length": "1180",
            "_links": {"self": {"href": f"{_ORIGIN}/files/{BATCH_ID}-1?path={BATCH_ID}-1-00000.parquet"}},
        }
    ],
    "_page": {"limit": 100, "count": 1},
    "_links": _LINKS,
}
PREVIEW: Final[Json] = {"data": [{"id": 1, "city": "Bern"}]}

NEW_BATCH: Final[Json] = {"datasetId": DATASET_ID, "inputFormat": {"format": "json", "isMultiLineJson": False}}
CATALOG_BATCH: Final[Json] = {
    "status": "loading",
    "relatedObjects": [{"type": "dataSet", "id": DATASET_ID}],
    "inputFormat": {"format": "json", "isMultiLineJson": False},
}
NEW_BATCH_MADE: Final[Json] = {"id": BATCH_ID, **BATCH}
SENT_FILE: Final[Json] = {"name": "a.json", "sizeInBytes": 48}
SENT_PREVIEW: Final[Json] = {
    "formatParams": {"format": "json", "isMultiLineJson": False},
    "preview": {"columns": [{"cid": "0", "name": "city"}], "rows": [{"0": "Bern"}]},
}
DRY_RUN: Final[Json] = {
    "rows": 2,
    "columnsAdded": ["city"],
    "typesChanged": [],
    "columns": [
        {"name": "id", "type": "long", "required": True},
        {"name": "city", "type": "string", "required": False},
    ],
    "notes": [],
}
