"""Invented examples of runs and of ad-hoc exports (contract, sections 17 and 20)."""

from typing import Final

from offtake.api.openapi import examples
from offtake.api.openapi.examples import DATASET_ID, FLOW_ID
from offtake.documents import Json

_RUN_ID: Final = "88d6da63-dc97-460e-b781-fc795a7386d9"
_DURATION: Final[Json] = {"startedAtUTC": 1772344801205, "completedAtUTC": 1772344911977}
_SIZES: Final[Json] = {"inputBytes": 855202780, "outputBytes": 310442711}
_FILES: Final[Json] = {"inputFileCount": 14, "outputFileCount": 12}
_RECORDS: Final[Json] = {
    "inputRecordCount": 7823447,
    "createdRecordCount": 7823447,
    "outputRecordCount": 7823447,
    "deletedRecordCount": 0,
    "skippedRecordCount": 0,
    "failedRecordCount": 0,
}
_WRITTEN: Final[Json] = {"createdRecordCount": 7823447, "outputRecordCount": 7823447}
_READ: Final[Json] = {"inputRecordCount": 7823447, "skippedRecordCount": 0}
_INFO: Final[Json] = {"code": "EXPORT-2001-403", "message": "The bucket refused the upload.", "type": "Error"}
_STATUS: Final[Json] = {"status": "success", "errors": [_INFO]}
_SOURCE_ID: Final = "a1f8c7f2-6f0b-4a53-8a44-3f1f0a9b2c22"
_TARGET_ID: Final = "c3dab7f1-5f0b-4a53-8a44-3f1f0a9b2c33"
_ENTITY: Final = f"dataset:{DATASET_ID}"

_METRICS: Final[Json] = {
    "durationSummary": _DURATION,
    "sizeSummary": _SIZES,
    "recordSummary": {
        **_RECORDS,
        "sourceSummaries": [{"id": _SOURCE_ID, **_READ, "entitySummaries": [{"id": _ENTITY, **_READ}]}],
        "targetSummaries": [
            {
                "id": _TARGET_ID,
                **_WRITTEN,
                "entitySummaries": [
                    {
                        "id": _ENTITY,
                        **_WRITTEN,
                        "extensions": {
                            "exportKind": "full",
                            "fromSnapshotId": None,
                            "toSnapshotId": 5172098795867639102,
                            "statusSummary": {"status": "failed", "errors": [_INFO]},
                        },
                    }
                ],
            }
        ],
        "failedInfo": [_INFO],
        "warningInfo": [{"code": "EXPORT-1410-410", "message": "Exported in full.", "type": "Warning"}],
    },
    "fileSummary": {
        **_FILES,
        "manifest": {
            "fileInfo": [
                {
                    "path": "exports/crm/65f0c2a1b4d3e2f1a0b9c8d7/exportTime=202603010600/part-00000-c000.json.gz",
                    "pathPrefix": "exports/crm/65f0c2a1b4d3e2f1a0b9c8d7/exportTime=202603010600",
                    "outputBytes": 25870225,
                }
            ]
        },
    },
    "statusSummary": {**_STATUS, "activityRefs": [_RUN_ID]},
}
RUN: Final[Json] = {
    "id": _RUN_ID,
    **examples.STAMP,
    "flowId": FLOW_ID,
    "flowSpec": examples.FLOW["flowSpec"],
    "providerRefId": _RUN_ID.replace("-", ""),
    "parentFlowRunId": "4b7728dd-83c9-4c38-95a4-24ddab545404",
    "params": {"startTime": 1670455537000, "windowStartTime": 1670455537000, "windowEndTime": 1670459137000},
    "etag": examples.FLOW["etag"],
    "metrics": _METRICS,
    "activities": [
        {
            "id": _RUN_ID,
            "name": "Dataset Export Activity",
            "updatedAtUTC": 1772344911977,
            "durationSummary": _DURATION,
            "latencySummary": {},
            "sizeSummary": _SIZES,
            "recordSummary": _RECORDS,
            "fileSummary": _FILES,
            "statusSummary": _STATUS,
            "sourceInfo": [
                {"id": _SOURCE_ID, "type": "SourceConnection", "reference": {"type": "Dataset", "ids": [DATASET_ID]}}
            ],
            "targetInfo": [
                {"id": _TARGET_ID, "type": "TargetConnection", "reference": {"type": "Folder", "ids": ["exports/crm"]}}
            ],
        }
    ],
}
MANIFEST: Final[Json] = {
    "flowRunId": _RUN_ID,
    "scheduledTime": "2026-03-01T06:00:00Z",
    "exportResults": [
        {
            "sinkPath": "/exports/crm/65f0c2a1b4d3e2f1a0b9c8d7/exportTime=202603010600",
            "name": "part-00000-tid-4110219046212411724-88d6da63-dc97-460e-b781-fc795a7386d9-1-1-c000.json.gz",
            "size": 25870225,
            "recordCount": 312044,
            "sha256": "8d0f6c3ad1be7ce0c5ba7b1c1c41f9d2f9a8cbd05c4a8b1f6c3f5d0c7a1e9b42",
            "dataSetId": DATASET_ID,
        }
    ],
    "datasets": [
        {
            "dataSetId": DATASET_ID,
            "exportKind": "full",
            "fromSnapshotId": None,
            "toSnapshotId": 5172098795867639102,
            "deletedRecordCount": 0,
        }
    ],
}
NEW_RUN: Final[Json] = {"flowId": FLOW_ID}
ADHOC: Final[Json] = {
    "activationInfo": {"destinations": [{"flowId": FLOW_ID, "datasets": [{"id": DATASET_ID}], "fullExport": False}]}
}
ADHOC_STARTED: Final[Json] = {
    "destinations": [
        {
            "datasets": [
                {
                    "id": DATASET_ID,
                    "flowId": FLOW_ID,
                    "statusURL": f"http://localhost:8080/data/foundation/flowservice/runs/{_RUN_ID}",
                }
            ]
        }
    ]
}
