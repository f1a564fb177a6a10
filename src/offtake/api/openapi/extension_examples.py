"""Invented examples of Offtake's extensions of flows, runs, clients and datasets."""

from typing import Final

from offtake.api.openapi.examples import DATASET_ID, FLOW_ID, NEW_FLOW, NEW_SOURCE, NEW_TARGET, STAMP
from offtake.api.openapi.run_examples import RUN
from offtake.documents import Json

_RUN_ID: Final = RUN["id"]
_SNAPSHOT: Final = 5172098795867639102
_PATH: Final = "exports/crm/65f0c2a1b4d3e2f1a0b9c8d7/exportTime=202603010600/part-00000-c000.json.gz"
_OWED: Final[Json] = {
    "dataSetId": DATASET_ID,
    "name": "Loyalty members",
    "sinceSnapshotId": _SNAPSHOT,
    "sinceUTC": 1772344911977,
    "recordCount": 312044,
    "fileCount": 1,
    "message": f"dataset Loyalty members ({DATASET_ID}): rows added after snapshot {_SNAPSHOT}",
}
_WAITING: Final[Json] = {
    "sinceUTC": 1772344911977,
    "reason": {"code": "EXPORT-2003-504", "message": "The destination does not answer."},
    "nextTryAtUTC": 1772344971977,
    "untilUTC": 1772431311977,
    "tries": 3,
}
_FILES: Final[Json] = {"files": [_PATH], "message": "1 file(s) of failed attempts are still to be removed."}

FLOW_STATUS: Final[Json] = {
    "lastRunId": _RUN_ID,
    "hasSlotLeft": True,
    "toExtend": f"PATCH /data/foundation/flowservice/flows/{FLOW_ID} with If-Match: * and …",
    "owed": [_OWED],
    "remedy": "the flow's next run covers it",
    "held": [{"runId": _RUN_ID, **_FILES}],
    "toBeRemoved": [{"runId": _RUN_ID, **_FILES}],
    "limits": ["Files become visible before they are complete."],
    "liveRun": {"id": _RUN_ID, "status": "waiting", "waiting": _WAITING},
}
FLOW_PREVIEW: Final[Json] = {
    "id": FLOW_ID,
    "state": "enabled",
    "runs": [1772344800000, 1772366400000],
    "endsAt": 1788241800000,
    "datasets": [
        {
            "dataSetId": DATASET_ID,
            "name": "Loyalty members",
            "path": _PATH,
            "rows": [{"id": 1, "city": "Bern"}],
        }
    ],
}
FLOW_DRAFT: Final[Json] = {
    "sourceConnection": NEW_SOURCE,
    "targetConnection": NEW_TARGET,
    "flow": {key: value for key, value in NEW_FLOW.items() if not key.endswith("ConnectionIds")},
}
RUN_NOW: Final[Json] = {"fullExport": False}
STARTED: Final[Json] = {"id": _RUN_ID, "flowId": FLOW_ID, "status": "waiting"}
BACKFILL: Final[Json] = {
    "snapshots": {"fromSnapshotId": _SNAPSHOT, "toSnapshotId": None},
    "datasets": [DATASET_ID],
}
BACKFILL_STARTED: Final[Json] = {
    **STARTED,
    "folder": f"backfill-20260301T060000Z-{_RUN_ID[:8]}",
    "datasets": [
        {
            "dataSetId": DATASET_ID,
            "exportKind": "incremental",
            "fromSnapshotId": _SNAPSHOT,
            "toSnapshotId": _SNAPSHOT + 1,
        }
    ],
}
FLOW_VERIFICATION: Final[Json] = {
    "id": FLOW_ID,
    "proven": True,
    "datasets": [
        {
            "dataSetId": DATASET_ID,
            "name": "Loyalty members",
            "position": _SNAPSHOT,
            "runs": 1,
            "tiled": True,
            "ranges": [{"runId": _RUN_ID, "full": True, "from": None, "to": _SNAPSHOT}],
            "snapshotsChecked": 1,
            "flaws": [],
            "pendingSnapshots": 0,
            "pendingRows": 0,
        }
    ],
}
RUN_PROGRESS: Final[Json] = {
    **STARTED,
    "partCount": 12,
    "finishedPartCount": 4,
    "recordCount": 2097152,
    "plannedRecordCount": 7823447,
    "bytes": 103480901,
    "bytesPerSecond": 25870225.0,
    "heartbeatCount": 3,
    "errors": [],
    "waiting": _WAITING,
}
OVERVIEW: Final[Json] = {
    "sinceUTC": 1772258511977,
    "untilUTC": 1772344911977,
    "ended": {
        "deliveredRunCount": 8,
        "emptyRunCount": 1,
        "failedRunCount": 1,
        "recordCount": 7823447,
        "bytes": 310442711,
    },
    "live": {
        "runningCount": 1,
        "queuedCount": 0,
        "waitingCount": 1,
        "runs": [
            {
                "id": _RUN_ID,
                "flowId": FLOW_ID,
                "flowName": "Loyalty members to the partner",
                "state": "processing",
                "createdAt": 1772344801205,
                "startedAtUTC": 1772344801977,
                "recordCount": 2097152,
                "plannedRecordCount": 7823447,
                "bytes": 103480901,
            }
        ],
    },
    "attention": [
        {
            "kind": "failed",
            "flowId": FLOW_ID,
            "flowName": "Loyalty members to the partner",
            "runId": _RUN_ID,
            "hasLiveRun": False,
            "sinceUTC": 1772344911977,
            "reason": {"code": "EXPORT-2001-403", "message": "Access to the bucket partner is denied."},
            "nextTryAtUTC": 1772355600000,
            "connectionId": "8c6f7e9a-2b1d-4f3e-9a5c-7d8e9f0a1b2c",
            "connectionName": "Partner's bucket",
        }
    ],
    "hasMoreAttention": False,
    "ending": [
        {
            "flowId": FLOW_ID,
            "flowName": "Loyalty members to the partner",
            "endsAtUTC": 1774936911000,
            "endTimeDefaulted": True,
        }
    ],
    "endingCount": 1,
    "coming": [{"flowId": FLOW_ID, "flowName": "Loyalty members to the partner", "atUTC": 1772355600000}],
}
RUN_FILES: Final[Json] = {
    "run": RUN,
    "files": [
        {
            "path": _PATH,
            "dataSetId": DATASET_ID,
            "recordCount": 312044,
            "bytes": 25870225,
            "sha256": "8d0f6c3ad1be7ce0c5ba7b1c1c41f9d2f9a8cbd05c4a8b1f6c3f5d0c7a1e9b42",
            "completedAtUTC": 1772344911977,
        }
    ],
    "manifest": "exports/crm/65f0c2a1b4d3e2f1a0b9c8d7/exportTime=202603010600/manifest.json",
    "owed": [_OWED],
    "remedy": "the flow's next run covers it",
    "warnings": [],
    "toBeRemoved": _FILES,
}
RUN_VERIFICATION: Final[Json] = {
    "id": _RUN_ID,
    "status": "success",
    "downloaded": False,
    "delivered": True,
    "files": 12,
    "rows": 7823447,
    "bytes": 310442711,
    "findings": [{"what": "missing", "uri": f"s3://partner/{_PATH}", "detail": ""}],
    "collected": 0,
    "expired": 0,
    "equal": 11,
    "gone": 1,
    "different": 0,
    "manifest": "equal",
    "hint": "The consumer may have removed the files, or the target connection has another location now.",
}

NEW_CLIENT: Final[Json] = {"name": "partner", "kind": "user", "roles": ["Exporters"]}
CLIENT: Final[Json] = {
    "id": STAMP["createdClient"],
    "name": "partner",
    "kind": "user",
    "accountId": STAMP["createdBy"],
    "external": False,
    "createdAt": STAMP["createdAt"],
    "rotatedAt": None,
    "revokedAt": None,
    "roles": ["Exporters"],
}
CLIENT_MADE: Final[Json] = {**CLIENT, "imsOrgID": STAMP["imsOrgId"], "clientSecret": "p8e-…"}
CLIENT_SECRET: Final[Json] = {"id": CLIENT["id"], "clientSecret": "p8e-…"}
CLIENTS: Final[Json] = {
    "items": [CLIENT],
    "_page": {"start": 0, "limit": 20, "count": 1},
    "_links": {"self": {"href": "/administration/clients", "templated": False}},
}

TABLE: Final[Json] = {
    "id": DATASET_ID,
    "name": "Loyalty members",
    "evolves": False,
    "fields": [{"name": "id", "type": "long", "required": True}],
    "rows": 7823447,
    "files": 14,
    "bytes": 855202780,
    "snapshots": [{"snapshot_id": _SNAPSHOT, "operation": "append", "timestamp_ms": 1772344801205}],
}
