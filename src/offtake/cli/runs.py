"""The commands `offtake run …`."""

import time
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, InSandbox, operating
from offtake.contract import listing
from offtake.contract.caller import Caller
from offtake.deployment.backend import Backend
from offtake.flows import queries, run_documents, runs
from offtake.flows.run_manifests import read_manifest
from offtake.flows.run_waits import RunWait, wait_of
from offtake.flows.undelivered import describe, owed_by, remedy
from offtake.store import attempts, disposals
from offtake.store.disposals import what_follows
from offtake.store.run_parts import run_parts
from offtake.store.run_states import FAILED
from offtake.store.tables import Flow, Run

RunId = Annotated[str, typer.Argument(help="The run's id.")]
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Progress:
    """The progress of a run; `rate` is delivered bytes per second since its start."""

    id: str
    status: str
    parts: int
    parts_done: int
    rows: int
    rows_planned: int
    bytes: int
    rate: float
    error: str | None
    waiting: RunWait | None = None


def list_(
    flow: Annotated[str | None, typer.Option("--flow", help="Only runs of this flow id.")] = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """List runs, the latest first."""
    properties = (f"flowId=={flow}",) if flow else ()
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        found = queries.runs(session, caller, listing.first_thousand(properties)).rows
        documents = [run_documents.render(session, row, caller) for row in found] if json else []
    if json:
        output.as_json(documents)
        return
    rows = [
        (
            row.id,
            row.flow_id,
            row.trigger,
            output.instant(row.scheduled_at),
            row.status,
            output.instant(row.completed_at),
            output.instant(wait.next_ms) if (wait := wait_of(row)) else "",
        )
        for row in found
    ]
    output.table(("ID", "FLOW", "TRIGGER", "SCHEDULED", "STATUS", "ENDED", "NEXT ATTEMPT"), rows, "No runs yet.")


def show_(run: RunId, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Show the files that a run delivered, or its errors."""
    with operating(data_dir, sandbox) as (backend, caller):
        progress = _progress(backend, caller, run)
        with backend.database.reading() as session:
            row = runs.find(session, caller, run)
            document = run_documents.render(session, row, caller)
            parts = run_parts(session, row.id)
            owed, then = owed_by(session, row), remedy(session.get(Flow, row.flow_id))
            left = attempts.leftover_names(session, [row.id]).get(row.id)
    if json:
        output.as_json(document)
        return
    output.console.print(_sentence(progress), markup=False)
    rows = [(part.key, part.rows, part.bytes and output.size(part.bytes), part.sha256) for part in parts]
    output.table(("FILE", "ROWS", "SIZE", "SHA-256"), rows, "No files.")
    if row.manifest and row.completed_at:
        output.console.print(f"manifest: {row.manifest['key']}", markup=False)
    for one in owed:
        output.console.print(f"undelivered: {describe(one)}{_since(one.since_ms)}; {then}", markup=False)
    if left:
        output.console.print(attempts.describe(left), markup=False)
    for warning in row.warnings:
        output.console.print(f"warning: {warning['message']}", markup=False)


def manifest(run: RunId, sandbox: InSandbox = None, data_dir: DataDir = None) -> None:
    """Print the manifest of a run, also if no manifest file was delivered.

    It is JSON, identical to the manifest file: every file of the run with its rows, bytes and SHA-256.
    """
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        document = read_manifest(session, caller, run)
    typer.echo(document, nl=False)


def watch(run: RunId, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Follow a run until it ends; the exit code is 0 on success and 1 on failure."""
    last: Progress | None = None
    with operating(data_dir, sandbox) as (backend, caller):
        while last is None or last.status in ("waiting", "processing"):
            progress = _progress(backend, caller, run)
            if progress != last:
                _report(progress, json)
            last = progress
            time.sleep(_POLL_SECONDS if progress.status in ("waiting", "processing") else 0)
    if last.status != "success":
        raise typer.Exit(1)


def _report(progress: Progress, json: bool) -> None:
    if json:
        output.as_json(asdict(progress))
        return
    output.console.print(_sentence(progress), markup=False)


def _since(epoch_ms: int | None) -> str:
    return "" if epoch_ms is None else f" (delivered at {output.instant(epoch_ms)})"


def wait_sentence(wait: RunWait) -> str:
    """Describe a wait: its start and cause, the next attempt, and the deadline."""
    following = f"next attempt {output.instant(wait.next_ms)}" if wait.next_ms else "next attempt now"
    until = f", until {output.instant(wait.until_ms)} at most" if wait.until_ms else ""
    return f"since {output.instant(wait.since_ms)}: {wait.code} {wait.message} {following}{until}"


def _sentence(progress: Progress) -> str:
    if progress.waiting is not None:
        done = f"{progress.parts_done}/{progress.parts} parts are done" if progress.parts else "nothing is planned yet"
        return f"run {progress.id} waits {wait_sentence(progress.waiting)}; {done}"
    parts = f"{progress.parts_done}/{progress.parts} parts"
    rows = f"{progress.rows:,}/{progress.rows_planned:,} rows"
    done = f"{parts}, {rows}, {output.size(progress.bytes)}, {output.size(progress.rate)}/s"
    return f"run {progress.id} {progress.status}: {progress.error or done}"


def _progress(backend: Backend, caller: Caller, run_id: str) -> Progress:
    with backend.database.reading() as session:
        row = runs.find(session, caller, run_id)
        parts = run_parts(session, row.id)
    done = [part for part in parts if part.finished_at]
    delivered = sum(part.bytes or 0 for part in done)
    return Progress(
        id=row.id,
        status=row.status,
        parts=len(parts),
        parts_done=len(done),
        rows=sum(part.rows or 0 for part in done),
        rows_planned=sum(part.input_rows for part in parts),
        bytes=delivered,
        rate=delivered / max(_seconds(row, [part.finished_at or 0 for part in done]), 0.001),
        error="; ".join(f"{one['code']} {one['message']}" for one in row.errors) or None,
        waiting=wait_of(row),
    )


def _seconds(row: Run, finished: list[int]) -> float:
    return (max(finished) - (row.started_at or 0)) / 1000 if finished else 0


def cancel(run: RunId, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Cancel a run that waits or is in progress; files that were not collected are removed."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.writing() as session:
        row = runs.act(session, caller, run, "CANCEL", None, backend.clock.now_ms())
        complete = [part for part in run_parts(session, row.id) if part.finished_at]
        then = what_follows(session, row)
    if json:
        files = [part.uri or part.key for part in complete]
        output.as_json({"id": row.id, "flowId": row.flow_id, "status": row.status, "files": files})
    elif row.status == FAILED:
        output.console.print(f"Run {row.id} is cancelled; it had not written any file.", markup=False)
    else:
        output.console.print(f"Run {row.id} is being cancelled: offtake run watch {row.id}", markup=False)
        if complete:
            output.console.print(
                f"Unless they can still be removed, {disposals.describe(complete, then)}", markup=False
            )


def retry(run: RunId, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Retry a failed run with the same snapshots; refused if a later run has delivered them."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.writing() as session:
        row = runs.act(session, caller, run, "RE_TRIGGER", None, backend.clock.now_ms())
    if json:
        output.as_json({"id": row.id, "flowId": row.flow_id, "status": row.status, "parentRunId": row.parent_run_id})
        return
    output.console.print(f"Run {row.id} is queued as a retry of {run}: offtake run watch {row.id}", markup=False)
