"""The manifest of a run: what it delivered, as one document."""

from sqlalchemy.orm import Session

from offtake.contract import problems
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.flows import runs
from offtake.store import manifests, run_parts
from offtake.store.run_parts import is_delivered


def read_manifest(session: Session, caller: Caller, run_id: str) -> bytes:
    """The manifest of the caller's run, with the bytes of its manifest file, also if the run writes none.

    Raises `Problem`: 1439 for an unknown run, 1422 for one that has not ended or that failed without a delivery.
    """
    run = runs.find(session, caller, run_id)
    if run.completed_at is None:
        message = f"Run {run.id} is {run.status}; its manifest can be read when the run has ended."
        raise Problem(problems.WRONG_ACTION, message, runs.KIND, run.id)
    datasets = run_parts.run_datasets(session, run.id)
    if not is_delivered(run, datasets) or all(one.error for one in datasets):
        reason = "; ".join(f"{one['code']} {one['message']}" for one in run.errors)
        message = f"Run {run.id} failed and delivered nothing, so it has no manifest: {reason}"
        raise Problem(problems.WRONG_ACTION, message, runs.KIND, run.id)
    return manifests.to_bytes(manifests.manifest_of(run, datasets, run_parts.run_parts(session, run.id)))
