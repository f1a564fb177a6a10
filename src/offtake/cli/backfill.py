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
    run: Annotated[str | None, typer.Option("--run", help="Deliver again what this run delivered.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="A snapshot's id, or: start. What came after it.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="A snapshot's id, or: now. The last to deliver.")] = None,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Only this dataset, by id or name; may be repeated.")
    ] = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Deliver a run, or a range of snapshots, again: into a fresh folder, without moving the flow's position."""
    if (run is None) == (since is None and to is None):
        raise OfftakeError("Give either --run RUN, or --from SNAPSHOT|start and --to SNAPSHOT|now.")
    asked = None if run is not None else _range(since, to)
    with operating(data_dir, sandbox) as (backend, caller):
        with backend.database.reading() as session:
            found = find_flow(session, caller, flow)
            wanted = [_dataset(session, caller, one) for one in dataset or []]
            if asked is not None:
                checked = backfill.of_range(session, backend.lake, found, asked, wanted)
            else:
                again = runs.find(session, caller, run or "")
                checked = backfill.of_run(session, backend.lake, found, again, wanted)
        with backend.database.writing() as session:
            made = backfill.request(session, caller, found.id, checked, backend.clock.now_ms())
    if json:
        shown = {"id": made.id, "flowId": made.flow_id, "status": made.status, "folder": made.folder}
        output.as_json(shown | {"pins": made.pins})
        return
    output.console.print(
        f"Run {made.id} is queued; it delivers into the target's folder {made.folder}: offtake run watch {made.id}",
        markup=False,
    )


def _dataset(session: Session, caller: Caller, name: str) -> str:
    row = datasets.find(session, caller, name)
    if row is None:
        raise OfftakeError(f"--dataset: there is no dataset {name} in sandbox {caller.sandbox_name}.")
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
        raise OfftakeError(f"{option}: {text[:50]!r} is no snapshot's id; give a number, or: {word}")
    return int(text)
