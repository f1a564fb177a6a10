"""Examples of specs and of the datasets that can be exported; the specs are real."""

from typing import Final

from offtake.api.openapi.examples import DATASET_ID
from offtake.documents import Json
from offtake.flows import specs
from offtake.flows.schedule import ScheduleRules

_S3_SPEC: Final = "4fce964d-3f37-408f-9778-e597338a21ee"
_S3_FLOW_SPEC: Final = "269ba276-16fc-47db-92b0-c1049a3c131f"

CONNECTION_SPEC: Final[Json] = specs.connection_spec(_S3_SPEC)
FLOW_SPEC: Final[Json] = specs.flow_spec(_S3_FLOW_SPEC, ScheduleRules())
CONFIGS: Final[Json] = {
    "items": [
        {
            "id": DATASET_ID,
            "name": "Loyalty members",
            "description": "All loyalty members",
            "fileDescription": {"persisted": True, "containerFormat": "parquet", "format": "parquet"},
            "aspect": "production",
            "state": "DRAFT",
        }
    ],
    "pageInfo": {"start": 0, "end": 0, "total": 1, "hasNext": False},
}
