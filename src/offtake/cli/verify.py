"""The commands `offtake run verify` and `offtake flow verify`."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, find_flow, operating
from offtake.exporting.verify import DeliveredFiles, VerificationResult
from offtake.flows import flow_verification
from offtake.flows.flow_verification import DatasetVerification
from offtake.scheduling.run_verification import delivery_of, verify_delivery

_PROGRESS_SECONDS: Final = 2.0
_NOTHING: Final = "nothing was delivered, and no file is left"


def run(
    run: Annotated[str, typer.Argument(help="The run's id.")],
    download: Annotated[bool, typer.Option("--download", help="Read every file and compare its SHA-256.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="A collected file is an error too: all files must exist.")
    ] = False,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Compare the files that a run delivered with its destination: missing, extra, altered and collected files.

    The exit code is 0 if all existing files are as delivered, else 1. With --strict, all files must exist.
    """
    with operating(data_dir, sandbox) as (backend, caller):
        delivery = delivery_of(backend, caller, run)
        found = verify_delivery(delivery, _progress(delivery, json=json) if download else None, strict=strict)
        hint = _hint(delivery, found)
    if json:
        about = {"id": delivery.run.id, "status": delivery.run.status, "downloaded": download}
        output.as_json(about | asdict(found))
    else:
        _print(delivery, found, hint)
    if found.findings:
        raise typer.Exit(1)


def flow(flow: FlowName, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Verify that the snapshot ranges of a flow's runs cover its datasets' history without gaps or overlaps.

    The exit code is 0 if they do, else 1. Snapshots that are still to be delivered are reported, not an error.
    """
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        found = find_flow(session, caller, flow)
        proofs = flow_verification.verify_flow(session, backend.lake, found)
    proven = not any(one.continuity and one.continuity.faults for one in proofs)
    if json:
        output.as_json({"id": found.id, "proven": proven, "datasets": [_document(one) for one in proofs]})
    else:
        for one in proofs:
            for line in _lines(one):
                output.console.print(line, markup=False)
    if not proven:
        raise typer.Exit(1)


def _print(delivery: DeliveredFiles, found: VerificationResult, hint: str | None) -> None:
    for one in found.findings:
        detail = f": {one.detail}" if one.detail else ""
        output.console.print(f"{one.what} {one.uri}{detail}", markup=False)
    counted = f"{found.files:,} files, {found.rows:,} rows, {output.size(found.bytes)}"
    if not found.findings:
        how = "as delivered" if delivery.files or delivery.run.status == "success" else _NOTHING
        output.console.print(f"{counted}: {how}{_gone(found)}", markup=False)
        return
    kinds = [(kind, sum(one.what == kind for one in found.findings)) for kind in ("missing", "extra", "altered")]
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds if count)
    output.console.print(f"{counted}: {summary}{_gone(found)}", markup=False)
    if hint:
        output.console.print(hint, markup=False)


def _gone(found: VerificationResult) -> str:
    """The number of files that were collected or have expired, including the manifest."""
    counts = ((found.collected, "collected"), (found.expired, "expired"))
    return "".join(f", {count:,} {how}" for count, how in counts if count)


def _hint(delivery: DeliveredFiles, found: VerificationResult) -> str | None:
    """A possible cause of the findings."""
    if any(one.what == "missing" for one in found.findings):
        return "The consumer may have removed the files, or the target connection has another location now."
    if found.findings and not delivery.files and delivery.run.sweep_due is not None:
        return "The run delivered nothing. A running server will remove its remaining files."
    return None


def _progress(delivery: DeliveredFiles, *, json: bool) -> Callable[[int], None]:
    """A callback that prints the bytes read every two seconds, on standard error: standard output is the result."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    total = sum(part.bytes or 0 for part in delivery.files)
    read, printed = 0, time.monotonic()

    def report(count: int) -> None:
        nonlocal read, printed
        read += count
        if not json and time.monotonic() - printed >= _PROGRESS_SECONDS:
            printed = time.monotonic()
            console.print(f"{output.size(read)} of {output.size(total)} read", markup=False)

    return report


def _document(one: DatasetVerification) -> dict[str, Any]:
    about = {"dataSetId": one.dataset_id, "name": one.name, "position": one.position, "runs": one.runs}
    if one.continuity is None:
        return about | {"tiled": False}
    continuity = one.continuity
    return about | {
        "tiled": True,
        "ranges": [
            {"runId": run.run_id, "full": run.full, "from": run.start, "to": run.to} for run in continuity.ranges
        ],
        "snapshotsChecked": continuity.checked,
        "flaws": [asdict(flaw) for flaw in continuity.faults],
        "pendingSnapshots": continuity.pending,
        "pendingRows": continuity.pending_rows,
    }


def _lines(one: DatasetVerification) -> list[str]:
    continuity = one.continuity
    if continuity is None:
        return [f"{one.name}: {one.runs} runs, all of them full exports; the flow has no incremental exports"]
    found = [f"{flaw.kind} {one.name}: {flaw.message}" for flaw in continuity.faults]
    return [*found, f"{one.name}: {_summary(one)}"]


def _summary(one: DatasetVerification) -> str:
    continuity = one.continuity
    assert continuity is not None  # noqa: S101 - checked by the caller
    pending = f"{continuity.pending} snapshots with {continuity.pending_rows:,} rows are not delivered yet"
    if one.position is None:
        return f"nothing delivered yet, or the next run is a full export; {pending}"
    flaws = f"{len(continuity.faults)} gaps or overlaps" if continuity.faults else "no gap, no overlap"
    if continuity.pending is None:
        pending = "that snapshot is no longer in the table's history, so the next run is a full export"
    elif not continuity.pending:
        pending = "nothing is pending"
    return f"{len(continuity.ranges)} runs up to snapshot {one.position}, {flaws}; {pending}"
