"""Examples of usage and quotas."""

from typing import Final

from offtake.documents import Json

_AMOUNTS: Final[Json] = {
    "recordCount": 7823447,
    "bytes": 310442711,
    "fileCount": 31,
    "computeSeconds": 94.412,
}
USAGE: Final[Json] = {
    "month": "2026-03",
    "by": ["dataset", "destination"],
    "items": [
        {
            "datasetId": "65f0c2a1b4d3e2f1a0b9c8d7",
            "datasetName": "Loyalty members",
            "connectionId": "4d6e7c0f-5fd4-4a8e-9a3f-6f5b1d7c2a90",
            "connectionName": "Partner",
            **_AMOUNTS,
        }
    ],
    "total": _AMOUNTS,
    "_links": {},
    "totalCount": 1,
}
NEW_QUOTA: Final[Json] = {"limit": 100000000}
QUOTA: Final[Json] = {
    "measure": "rows",
    "limit": 100000000,
    "used": 7823447,
    "reached": False,
    "renewsAtUTC": 1775001600000,
    "message": None,
}
QUOTAS: Final[Json] = {"items": [QUOTA], "heldRunCount": 0}
SET: Final[Json] = {**QUOTA, "heldRunCount": 0}
REMOVED: Final[Json] = {"measure": "rows", "heldRunCount": 0}
