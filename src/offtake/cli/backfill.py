"""The command `offtake flow backfill`."""

from typing import Annotated

import typer
from sqlalchemy.orm import Session

from offtake.catalog import datasets
from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, find_flow, operating
from offtake.contract.caller import Caller
from offtake.errors import OfftakeError
from offtake.flows import backfill, runs
from offtake.flows.backfill import NOW, START, Range


def command(
    flow: FlowName,
    run: Annotated[str | None, typer.Option("--run", help="Deliver the snapshots of this run again.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Deliver the snapshots after this snapshot id; or: start.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="The last snapshot id to deliver; or: now.")] = None,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Only this dataset, by id or name; repeatable.")
    ] = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Deliver a run, or a range of snapshots, again: into a new folder, without changing the flow's position."""
    if (run is None) == (since is None and to is None):
        raise OfftakeError("Give either --run RUN, or --from SNAPSHOT|start and --to SNAPSHOT|now.")
    requested = None if run is not None else _range(since, to)
    with operating(data_dir, sandbox) as (backend, caller):
        with backend.database.reading() as session:
            found = find_flow(session, caller, flow)
            dataset_ids = [_dataset(session, caller, one) for one in dataset or []]
            if requested is not None:
                checked = backfill.of_range(session, backend.lake, found, requested, dataset_ids)
            else:
                repeated = runs.find(session, caller, run or "")
                checked = backfill.of_run(session, backend.lake, found, repeated, dataset_ids)
        with backend.database.writing() as session:
            row = backfill.request(session, caller, found.id, checked, backend.clock.now_ms())
    if json:
        shown = {"id": row.id, "flowId": row.flow_id, "status": row.status, "folder": row.folder}
        output.as_json(shown | {"pins": row.pins})
        return
    output.console.print(
        f"Run {row.id} is queued; it delivers into the target's folder {row.folder}: offtake run watch {row.id}",
        markup=False,
    )


def _dataset(session: Session, caller: Caller, name: str) -> str:
    row = datasets.find(session, caller, name)
    if row is None:
        raise OfftakeError(f"--dataset: dataset {name} does not exist in sandbox {caller.sandbox_name}.")
    return row.id


def _range(since: str | None, to: str | None) -> Range:
    if since is None or to is None:
        raise OfftakeError("A range needs both: --from SNAPSHOT|start and --to SNAPSHOT|now.")
    return Range(
        since=None if since == START else _snapshot("--from", since, START),
        to=None if to == NOW else _snapshot("--to", to, NOW),
    )


def _snapshot(option: str, text: str, word: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise OfftakeError(f"{option}: {text[:50]!r} is not a snapshot id; give a number, or: {word}")
    return int(text)
