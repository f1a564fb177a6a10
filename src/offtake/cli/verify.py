"""The commands `offtake run verify` and `offtake flow verify`: what was delivered, proven."""

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
_NOTHING: Final = "nothing was delivered, and nothing is left"


def run(
    run: Annotated[str, typer.Argument(help="The run's id.")],
    download: Annotated[bool, typer.Option("--download", help="Read every file back, and compare its hash.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="A file that is not there any more is an error, as it was collected.")
    ] = False,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Compare what a run delivered with its destination: what is extra, altered, or was collected.

    The exit code is 0 when all that is there is as it was delivered, else 1. With --strict, all must be there.
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
    """Prove that the snapshot ranges of a flow's runs tile its datasets' history: no gap, no overlap.

    The exit code is 0 when that is proven, else 1. What is still to be delivered is told, and is no error.
    """
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        found = find_flow(session, caller, flow)
        proofs = flow_verification.verify_flow(session, backend.lake, found)
    proven = not any(one.tiling and one.tiling.faults for one in proofs)
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
    told = ", ".join(f"{count} {kind}" for kind, count in kinds if count)
    output.console.print(f"{counted}: {told}{_gone(found)}", markup=False)
    if hint:
        output.console.print(hint, markup=False)


def _gone(found: VerificationResult) -> str:
    """What is not at the destination any more, the manifest included."""
    counts = ((found.collected, "collected"), (found.expired, "expired"))
    return "".join(f", {count:,} {how}" for count, how in counts if count)


def _hint(delivery: DeliveredFiles, found: VerificationResult) -> str | None:
    """What may be behind it, in words."""
    if any(one.what == "missing" for one in found.findings):
        return "The consumer may have taken the files away; or the target connection now leads elsewhere."
    if found.findings and not delivery.files and delivery.run.sweep_due is not None:
        return "The run delivered nothing. A server that runs removes what is left of it."
    return None


def _progress(delivery: DeliveredFiles, *, json: bool) -> Callable[[int], None]:
    """Tells, every two seconds, how much has been read; on standard error, so that the answer stays clean."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    total = sum(part.bytes or 0 for part in delivery.files)
    read, told = 0, time.monotonic()

    def seen(count: int) -> None:
        nonlocal read, told
        read += count
        if not json and time.monotonic() - told >= _PROGRESS_SECONDS:
            told = time.monotonic()
            console.print(f"{output.size(read)} of {output.size(total)} read", markup=False)

    return seen


def _document(one: DatasetVerification) -> dict[str, Any]:
    about = {"dataSetId": one.dataset_id, "name": one.name, "position": one.position, "runs": one.runs}
    if one.tiling is None:
        return about | {"tiled": False}
    tiling = one.tiling
    return about | {
        "tiled": True,
        "ranges": [{"runId": leg.run_id, "full": leg.full, "from": leg.start, "to": leg.to} for leg in tiling.legs],
        "snapshotsChecked": tiling.checked,
        "flaws": [asdict(flaw) for flaw in tiling.faults],
        "pendingSnapshots": tiling.pending,
        "pendingRows": tiling.pending_rows,
    }


def _lines(one: DatasetVerification) -> list[str]:
    tiling = one.tiling
    if tiling is None:
        return [f"{one.name}: {one.runs} runs, each of everything; the flow makes no increments"]
    found = [f"{flaw.kind} {one.name}: {flaw.message}" for flaw in tiling.faults]
    return [*found, f"{one.name}: {_summary(one)}"]


def _summary(one: DatasetVerification) -> str:
    tiling = one.tiling
    assert tiling is not None  # noqa: S101 - the caller has looked
    pending = f"{tiling.pending} snapshots with {tiling.pending_rows:,} rows are not delivered yet"
    if one.position is None:
        return f"nothing delivered yet, or to begin anew; {pending}"
    flaws = f"{len(tiling.faults)} gaps or overlaps" if tiling.faults else "no gap, no overlap"
    if tiling.pending is None:
        pending = "that snapshot is not in the table's history any more, so the next run delivers everything"
    elif not tiling.pending:
        pending = "nothing is waiting"
    return f"{len(tiling.legs)} runs up to snapshot {one.position}, {flaws}; {pending}"
