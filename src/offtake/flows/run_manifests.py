"""What a run delivered, as one document: the one that its manifest file holds, or would hold."""

from sqlalchemy.orm import Session

from offtake.contract import problems
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.flows import runs
from offtake.store import manifests, run_parts
from offtake.store.run_parts import is_delivered


def read_manifest(session: Session, caller: Caller, run_id: str) -> bytes:
    """The manifest of the caller's run, byte for byte as its file has it, whether or not there is a file.

    Raises `Problem`: 1439 for no such run, 1422 for one that is not over and for one that delivered nothing because it
    failed.
    """
    run = runs.find(session, caller, run_id)
    if run.completed_at is None:
        message = f"Run {run.id} is {run.status}; its manifest can be read once the run is over."
        raise Problem(problems.WRONG_ACTION, message, runs.KIND, run.id)
    datasets = run_parts.run_datasets(session, run.id)
    if not is_delivered(run, datasets) or all(one.error for one in datasets):
        reason = "; ".join(f"{one['code']} {one['message']}" for one in run.errors)
        message = f"Run {run.id} failed and delivered nothing, so it has no manifest: {reason}"
        raise Problem(problems.WRONG_ACTION, message, runs.KIND, run.id)
    return manifests.to_bytes(manifests.manifest_of(run, datasets, run_parts.run_parts(session, run.id)))
