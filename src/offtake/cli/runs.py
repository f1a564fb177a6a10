"""The commands `offtake run …`."""

import time
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from offtake.cli import show
from offtake.cli.options import AsJson, DataDir, InSandbox, operating
from offtake.flows import listing, reading, run_view, runs
from offtake.flows.access import Caller
from offtake.flows.owed import describe, owed_by, remedy
from offtake.flows.run_waits import RunWait, wait_of
from offtake.scheduling.backend import Backend
from offtake.scheduling.manifests import read_manifest
from offtake.store import attempts
from offtake.store.runs import run_parts
from offtake.store.tables import Flow, Run

RunId = Annotated[str, typer.Argument(help="The run's id.")]
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Progress:
    """How far a run has come; `rate` is delivered bytes a second since it started."""

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
    """List the latest runs."""
    properties = (f"flowId=={flow}",) if flow else ()
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        found = reading.runs(session, caller, listing.everything(properties)).rows
        documents = [run_view.render(session, row, caller) for row in found] if json else []
    if json:
        show.as_json(documents)
        return
    rows = [
        (
            row.id,
            row.flow_id,
            row.trigger,
            show.instant(row.scheduled_at),
            row.status,
            show.instant(row.completed_at),
            show.instant(wait.next_ms) if (wait := wait_of(row)) else "",
        )
        for row in found
    ]
    show.table(("ID", "FLOW", "TRIGGER", "SCHEDULED", "STATUS", "ENDED", "NEXT TRY"), rows, "No runs yet.")


def show_(run: RunId, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Show what a run delivered, or why it did not."""
    with operating(data_dir, sandbox) as (backend, caller):
        progress = _progress(backend, caller, run)
        with backend.database.reading() as session:
            row = runs.find(session, caller, run)
            document = run_view.render(session, row, caller)
            parts = run_parts(session, row.id)
            owed, then = owed_by(session, row), remedy(session.get(Flow, row.flow_id))
            left = attempts.left_by(session, [row.id]).get(row.id)
    if json:
        show.as_json(document)
        return
    show.console.print(_sentence(progress), markup=False)
    rows = [(part.key, part.rows, part.bytes and show.size(part.bytes), part.sha256) for part in parts]
    show.table(("FILE", "ROWS", "SIZE", "SHA-256"), rows, "No files.")
    if row.manifest and row.completed_at:
        show.console.print(f"manifest: {row.manifest['key']}", markup=False)
    for one in owed:
        show.console.print(f"owed: {describe(one)}{_since(one.since_ms)}; {then}", markup=False)
    if left:
        show.console.print(attempts.describe(left), markup=False)
    for warning in row.warnings:
        show.console.print(f"warning: {warning['message']}", markup=False)


def manifest(run: RunId, sandbox: InSandbox = None, data_dir: DataDir = None) -> None:
    """Print what a run delivered: the manifest, whether or not a file of it was delivered.

    It is JSON, byte for byte as in the file: every file of the run with its rows, bytes and SHA-256.
    """
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        document = read_manifest(session, caller, run)
    typer.echo(document, nl=False)


def watch(run: RunId, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Follow a run to its end; the exit code is 0 when it delivered and 1 when it failed."""
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
        show.as_json(asdict(progress))
        return
    show.console.print(_sentence(progress), markup=False)


def _since(epoch_ms: int | None) -> str:
    return "" if epoch_ms is None else f" (delivered at {show.instant(epoch_ms)})"


def wait_sentence(wait: RunWait) -> str:
    """Since when a run waits and why, when it is tried next, and until when at most."""
    following = f"next try {show.instant(wait.next_ms)}" if wait.next_ms else "next try now"
    until = f", until {show.instant(wait.until_ms)} at most" if wait.until_ms else ""
    return f"since {show.instant(wait.since_ms)}: {wait.code} {wait.message} {following}{until}"


def _sentence(progress: Progress) -> str:
    if progress.waiting is not None:
        done = f"{progress.parts_done}/{progress.parts} parts are done" if progress.parts else "nothing is planned yet"
        return f"run {progress.id} waits {wait_sentence(progress.waiting)}; {done}"
    parts = f"{progress.parts_done}/{progress.parts} parts"
    rows = f"{progress.rows:,}/{progress.rows_planned:,} rows"
    done = f"{parts}, {rows}, {show.size(progress.bytes)}, {show.size(progress.rate)}/s"
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
