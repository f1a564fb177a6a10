"""Ad-hoc exports (contract, section 20)."""

from typing import Any

from fastapi import APIRouter, Request

from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.error_types import FLOW_SERVICE
from offtake.api.errors import AdhocError
from offtake.api.openapi import run_examples
from offtake.api.openapi.operations import document_operation
from offtake.flows import adhoc
from offtake.store.tables import Run

router = APIRouter(tags=["ad-hoc export"])


@router.post(
    "/adhocrun",
    **document_operation(
        run_examples.ADHOC_STARTED, body=adhoc.AdhocRequest, body_example=run_examples.ADHOC, errors=(409,)
    ),
)
def adhoc_run(caller: CallerOf, backend: BackendOf, body: JsonBody, request: Request) -> dict[str, Any]:
    """Run flows now (ad-hoc export)."""
    try:
        with backend.database.writing() as session:
            runs = adhoc.request(session, caller, body, backend.clock.now_ms())
    except adhoc.AdhocRefusedError as error:
        raise AdhocError(str(error)) from None
    origin = str(request.base_url).rstrip("/")
    return {"destinations": [_destination(run, origin) for run in runs]}


def _destination(run: Run, origin: str) -> dict[str, Any]:
    url = f"{origin}{FLOW_SERVICE}/runs/{run.id}"
    return {"datasets": [{"id": one, "flowId": run.flow_id, "statusURL": url} for one in run.dataset_ids]}
