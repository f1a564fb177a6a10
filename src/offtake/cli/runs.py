"""The commands `offtake run …`."""

from collections.abc import Mapping
from typing import Annotated, Literal

import typer

from offtake.cli import instants, output
from offtake.cli.completing import names_of
from offtake.cli.connecting import connected
from offtake.cli.executing import progress_of, progress_sentence, wait_for_run, wait_sentence
from offtake.cli.options import AsJson, DataDir, InSandbox, RunId, ToServer, Wait
from offtake.cli.output import Id, Instant
from offtake.client import names
from offtake.client.names import FLOW, RUN
from offtake.documents import Json

__all__ = ["cancel", "list_", "manifest", "retry", "show_", "wait_sentence", "watch"]


Status = Literal["waiting", "processing", "success", "failed", "live"]


def list_(
    flow: Annotated[
        str | None,
        typer.Option("--flow", help="Only runs of this flow, by name or id.", autocompletion=names_of("flows")),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help=f"Only runs created since then: {instants.HELP}.")
    ] = None,
    status: Annotated[
        Status | None, typer.Option("--status", help="Only runs with this status; live: waiting or processing.")
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, max=100_000, help="Maximum number of runs.")] = 1000,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """List runs, the latest first."""
    with connected(server, data_dir, sandbox) as to:
        filters = []
        if since is not None:
            filters.append(f"createdAt>={instants.start('--since', since, to.transport.now())}")
        if status is not None:
            filters.append("state==inProgress" if status == "live" else f"metrics.statusSummary.status=={status}")
        if flow is not None:
            filters.append(f"flowId=={names.find(to, FLOW, flow)['id']}")
        found = list(to.get_all(RUN.path, [("property", one) for one in filters], most=most))
        flows = {} if json or not found else {one["id"]: one.get("name") for one in to.get_all(FLOW.path)}
    if json:
        output.as_json(found)
        return
    columns = ("ID", "FLOW", "TRIGGER", "SCHEDULED", "STATUS", "ENDED", "ROWS", "NEXT ATTEMPT")
    empty = "No run matches." if filters else "No runs yet."
    output.table(columns, [_row(one, flows) for one in found], empty)


def _row(run: Json, flows: Mapping[str, str | None]) -> tuple[object, ...]:
    """A row of the table. A flow that was deleted has no name."""
    more, metrics = run.get("extensions", {}), run.get("metrics", {})
    status = metrics.get("statusSummary", {})
    wait = status.get("extensions", {}).get("waiting", {})
    return (
        Id(run["id"]),
        flows.get(run.get("flowId", "")) or Id(run.get("flowId")),
        more.get("trigger"),
        Instant(more.get("scheduledAt")),
        status.get("status"),
        Instant(metrics.get("durationSummary", {}).get("completedAtUTC")),
        metrics.get("recordSummary", {}).get("outputRecordCount") if status.get("status") == "success" else None,
        Instant(wait.get("nextTryAtUTC")),
    )


def show_(
    run: RunId, server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Show the files that a run delivered, or its errors."""
    with connected(server, data_dir, sandbox) as to:
        found = names.find_run(to, run)
        if json:
            output.as_json(found)
            return
        progress = progress_of(to, found["id"])
        more = to.get_extension(f"{RUN.path}/{found['id']}/files")
        flows = {one["id"]: one.get("name") for one in to.get_all(FLOW.path)}
    output.line(progress_sentence(progress))
    output.line(_origin(found, flows))
    for line in _column_lines(found):
        output.line(line)
    files = _files(found) if more is None else more["files"]
    rows = [
        (one["path"], one.get("recordCount"), one["bytes"] and output.size(one["bytes"]), one.get("sha256"))
        for one in files
    ]
    output.table(("FILE", "ROWS", "SIZE", "SHA-256"), rows, "No files.")
    for line in _remarks(more or {"warnings": found["metrics"].get("recordSummary", {}).get("warningInfo", [])}):
        output.line(line)


def _origin(run: Json, flows: Mapping[str, str | None]) -> str:
    """The flow, what created the run, its slot and its end."""
    flow_id, more = run.get("flowId", ""), run.get("extensions", {})
    name = flows.get(flow_id)
    found = [f"flow {flow_id}" if name is None else f"flow {name} ({flow_id})"]
    if more.get("scheduledAt") is not None:
        found.append(f"{more.get('trigger', 'run')} of {output.instant(more['scheduledAt'])}")
    ended = run.get("metrics", {}).get("durationSummary", {}).get("completedAtUTC")
    return ", ".join([*found, f"ended {output.instant(ended)}"] if ended else found)


def _files(run: Json) -> list[Json]:
    """The files in the contract's document of a run."""
    found = run.get("metrics", {}).get("fileSummary", {}).get("manifest", {}).get("fileInfo", [])
    return [{"path": one["path"], "bytes": one.get("outputBytes")} for one in found]


def _column_lines(run: Json) -> list[str]:
    """The datasets of which the run delivers only some columns."""
    summaries = run.get("metrics", {}).get("recordSummary", {}).get("targetSummaries", ())
    entities = [one for summary in summaries for one in summary.get("entitySummaries", ())]
    chosen = [(one["id"], one.get("extensions", {}).get("columns")) for one in entities]
    return [f"delivers of {entity_id} only: {', '.join(columns)}" for entity_id, columns in chosen if columns]


def _remarks(more: Json) -> list[str]:
    lines = [f"manifest: {more['manifest']}"] if more.get("manifest") else []
    for one in more.get("owed", ()):
        since = one["sinceUTC"]
        delivered = "" if since is None else f" (delivered at {output.instant(since)})"
        lines.append(f"undelivered: {one['message']}{delivered}; {one.get('remedy') or more['remedy']}")
    if "toBeRemoved" in more:
        lines.append(more["toBeRemoved"]["message"])
    return lines + [f"warning: {one['message']}" for one in more["warnings"]]


def manifest(
    run: RunId, server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Print the manifest of a run, also if no manifest file was delivered.

    It is JSON, identical to the manifest file: every file of the run with its rows, bytes and SHA-256.
    """
    del json
    with connected(server, data_dir, sandbox) as to:
        run_id = names.find_run(to, run)["id"]
        document = to.get_content(f"{RUN.path}/{run_id}/manifest", "a manifest of every run")
    typer.echo(document, nl=False)


def watch(
    run: RunId, server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Follow a run until it ends; the exit code is 0 on success and 1 on failure."""
    with connected(server, data_dir, sandbox) as to:
        wait_for_run(to, names.find_run(to, run)["id"], json=json, works=False)


def cancel(
    run: RunId, server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Cancel a run that waits or is in progress; files that were not collected are removed."""
    with connected(server, data_dir, sandbox) as to:
        run_id = names.find_run(to, run)["id"]
        done = to.post(f"{RUN.path}/{run_id}/action", query=(("op", "CANCEL"),))
    status, left = _status(done), done.get("extensions", {}).get("cancelled", {})
    if json:
        output.as_json({"id": run_id, "flowId": done["flowId"], "status": status, "files": left.get("files", [])})
    elif status == "failed":
        output.line(f"Run {run_id} is cancelled; it had not written any file.")
    else:
        output.line(f"Run {run_id} is being cancelled: offtake run watch {run_id}")
        if left:
            output.line(f"Unless they can still be removed, {left['message']}")


def retry(
    run: RunId,
    wait: Wait = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Retry a failed run with the same snapshots; refused if a later run has delivered them.

    With --wait, the exit code is 1 for a failed run.
    """
    with connected(server, data_dir, sandbox) as to:
        run_id = names.find_run(to, run)["id"]
        new = to.post(f"{RUN.path}/{run_id}/action", query=(("op", "RE_TRIGGER"),))
        if json and not wait:
            shown = {"id": new["id"], "flowId": new["flowId"], "status": _status(new)}
            output.as_json(shown | {"parentRunId": new.get("parentFlowRunId")})
        elif not json:
            more = "" if wait else f": offtake run watch {new['id']}"
            output.line(f"Run {new['id']} is queued as a retry of {run_id}{more}")
        if wait:
            wait_for_run(to, new["id"], json=json)


def _status(run: Json) -> str:
    return str(run.get("metrics", {}).get("statusSummary", {}).get("status"))
