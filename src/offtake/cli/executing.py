"""Following runs; without a running server, the command executes the deployment's runs itself, by their leases."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import typer

from offtake.cli import output
from offtake.cli.connecting import local_backend
from offtake.cli.worker_notice import WorkerNotice
from offtake.client.names import RUN
from offtake.client.server import Server
from offtake.documents import Json

_POLL_SECONDS: Final = 0.5
_LIVE: Final = ("waiting", "processing")


@dataclass(frozen=True)
class Progress:
    """The progress of a run; `rate` is delivered bytes per second since its start.

    `heartbeats`: of its lease, 0 for a run that no worker holds; None when the server does not report them.
    """

    id: str
    status: str
    parts: int
    parts_done: int
    rows: int
    rows_planned: int
    bytes: int
    rate: float
    error: str | None
    waiting: dict[str, Any] | None = None
    heartbeats: int | None = field(default=None, compare=False)


def progress_of(server: Server, run_id: str) -> Progress:
    """The run's progress; of a server without the extension, only what the contract's document has."""
    found = server.get_extension(f"{RUN.path}/{run_id}/progress")
    if found is None:
        return _of_document(server.get_one(f"{RUN.path}/{run_id}"))
    return Progress(
        id=found["id"],
        status=found["status"],
        parts=found["partCount"],
        parts_done=found["finishedPartCount"],
        rows=found["recordCount"],
        rows_planned=found["plannedRecordCount"],
        bytes=found["bytes"],
        rate=found["bytesPerSecond"],
        error=_errors(found["errors"]),
        waiting=found.get("waiting"),
        heartbeats=found.get("heartbeatCount"),
    )


def _of_document(run: Json) -> Progress:
    metrics = run.get("metrics", {})
    status, records = metrics.get("statusSummary", {}), metrics.get("recordSummary", {})
    files = metrics.get("fileSummary", {}).get("outputFileCount", 0)
    return Progress(
        id=run["id"],
        status=status.get("status", "unknown"),
        parts=files,
        parts_done=files,
        rows=records.get("outputRecordCount", 0),
        rows_planned=records.get("inputRecordCount", 0),
        bytes=metrics.get("sizeSummary", {}).get("outputBytes", 0),
        rate=0,
        error=_errors(status.get("errors", ())),
        waiting=status.get("extensions", {}).get("waiting"),
    )


def _errors(errors: Any) -> str | None:  # noqa: ANN401 - parsed JSON
    return "; ".join(f"{one['code']} {one['message']}" for one in errors) or None


def wait_for_run(server: Server, run_id: str, *, json: bool, works: bool = True) -> None:
    """Print the run's progress until it ends; raises `typer.Exit` with code 1 unless it succeeds.

    When no worker executes the run, standard error has a notice of that.

    `works`: execute runs here while no server is running.
    """
    last: Progress | None = None
    notice = WorkerNotice(server, run_id, works)
    reported: Json | None = None
    with _working(server, run_id) if works else nullcontext():
        while last is None or last.status in _LIVE:
            progress = progress_of(server, run_id)
            if progress != last:
                _report(progress, reported, json)
                reported = progress.waiting["reason"] if progress.waiting is not None else reported
            notice.look(progress.status, waits=progress.waiting is not None, heartbeats=progress.heartbeats)
            last = progress
            time.sleep(_POLL_SECONDS if progress.status in _LIVE else 0)
    if last.status != "success":
        raise typer.Exit(1)


def _working(server: Server, run_id: str) -> AbstractContextManager[None]:
    """Execute the run in the background if its deployment is local and no server of it is running."""
    backend = local_backend(server)
    if backend is None:
        return nullcontext()
    from offtake.cli.local_work import working  # noqa: PLC0415 - a remote command loads nothing of a server

    return working(backend, run_id)


def _report(progress: Progress, reported: Json | None, json: bool) -> None:
    if json:
        document = asdict(progress)
        del document["heartbeats"]
        if progress.waiting is not None:
            document["waiting"] = _wait_document(progress.waiting)
        output.as_json(document)
        return
    output.line(progress_sentence(progress, reported))


def _wait_document(wait: Json) -> Json:
    reason = wait["reason"]
    names = {"since_ms": wait["sinceUTC"], "code": reason["code"], "message": reason["message"]}
    return names | {"next_ms": wait["nextTryAtUTC"], "until_ms": wait["untilUTC"], "tries": wait["tries"]}


def progress_sentence(progress: Progress, reported: Json | None = None) -> str:
    """The progress as a line. `reported`: the reason of a wait that the reader knows already."""
    if progress.waiting is not None:
        done = f"{progress.parts_done}/{progress.parts} parts are done" if progress.parts else "nothing is planned yet"
        if progress.waiting["reason"] == reported:
            tries = output.count_of(progress.waiting["tries"], "failed attempt")
            return f"run {progress.id} still waits: {tries}, {_next_attempt(progress.waiting)}; {done}"
        return f"run {progress.id} waits {wait_sentence(progress.waiting)}; {done}"
    parts = f"{progress.parts_done}/{progress.parts} parts"
    rows = f"{progress.rows:,}/{progress.rows_planned:,} rows"
    done = f"{parts}, {rows}, {output.size(progress.bytes)}, {output.size(progress.rate)}/s"
    return f"run {progress.id} {progress.status}: {progress.error or done}"


def wait_sentence(wait: Json) -> str:
    """Describe a wait: its start and cause, the next attempt, and the deadline."""
    until = f", until {output.instant(wait['untilUTC'])} at most" if wait["untilUTC"] else ""
    reason = wait["reason"]
    return (
        f"since {output.instant(wait['sinceUTC'])}: {reason['code']} {reason['message']} {_next_attempt(wait)}{until}"
    )


def _next_attempt(wait: Json) -> str:
    return f"next attempt {output.instant(wait['nextTryAtUTC'])}" if wait["nextTryAtUTC"] else "next attempt now"
