"""Extensions of runs: their progress and their files."""

from fastapi import APIRouter

from offtake.api.dependencies import BackendOf, CallerOf
from offtake.api.openapi import extension_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.documents import Json
from offtake.flows import flow_status

router = APIRouter(tags=["runs"])


@router.get("/runs/{run_id}/progress", **document_operation(examples.RUN_PROGRESS))
def progress(caller: CallerOf, backend: BackendOf, run_id: str) -> Json:
    """Get the progress of a run: parts, rows, bytes, and its wait or errors (an extension)."""
    with backend.database.reading() as session:
        return flow_status.run_progress(session, caller, run_id)


@router.get("/runs/{run_id}/files", **document_operation(examples.RUN_FILES))
def files(caller: CallerOf, backend: BackendOf, run_id: str) -> Json:
    """Get the files of a run with their hashes, and what it did not deliver or remove (an extension)."""
    with backend.database.reading() as session:
        return flow_status.run_files(session, caller, run_id)
