"""The commands `offtake run cancel` and `offtake run retry`."""

from typing import Annotated

import typer

from offtake.cli import show
from offtake.cli.options import AsJson, DataDir, InSandbox, operating
from offtake.flows import runs
from offtake.store.disposals import describe, what_follows
from offtake.store.runs import FAILED, run_parts

RunId = Annotated[str, typer.Argument(help="The run's id.")]


def cancel(run: RunId, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Stop a run that waits or is going on; files that nobody has collected are removed."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.writing() as session:
        row = runs.act(session, caller, run, "CANCEL", None, backend.clock.now_ms())
        complete = [part for part in run_parts(session, row.id) if part.finished_at]
        then = what_follows(session, row)
    if json:
        files = [part.uri or part.key for part in complete]
        show.as_json({"id": row.id, "flowId": row.flow_id, "status": row.status, "files": files})
    elif row.status == FAILED:
        show.console.print(f"Run {row.id} is cancelled; it had written nothing.", markup=False)
    else:
        show.console.print(f"Run {row.id} is told to stop: offtake run watch {row.id}", markup=False)
        if complete:
            show.console.print(f"Unless they can still be removed, {describe(complete, then)}", markup=False)


def retry(run: RunId, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Repeat a failed run over the same snapshots; refused when a later run has delivered them."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.writing() as session:
        row = runs.act(session, caller, run, "RE_TRIGGER", None, backend.clock.now_ms())
    if json:
        show.as_json({"id": row.id, "flowId": row.flow_id, "status": row.status, "parentRunId": row.parent_run_id})
        return
    show.console.print(f"Run {row.id} is queued and repeats {run}: offtake run watch {row.id}", markup=False)
