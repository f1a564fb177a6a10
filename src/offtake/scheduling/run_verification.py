"""Loads a run's delivery and compares it with its destination."""

from collections.abc import Callable
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from offtake.contract.caller import EXPORT_DATASETS, VIEW_DESTINATIONS, Caller
from offtake.deployment.backend import Backend
from offtake.errors import OfftakeError
from offtake.exporting.verify import DeliveredFiles, VerificationResult, verify
from offtake.flows import runs
from offtake.scheduling.job_loader import JobLoader
from offtake.store import run_parts, run_states
from offtake.store.tables import Run, RunDataset

_DAY_MS: Final = 86_400_000


def delivery_of(backend: Backend, caller: Caller, run_id: str) -> DeliveredFiles:
    """The records of the caller's run; raises `OfftakeError` while it is live, or when its target was deleted.

    Raises 2120 without the permissions to export and to see the run.
    """
    caller.require(EXPORT_DATASETS)
    caller.require(VIEW_DESTINATIONS)
    with backend.database.reading() as session:
        run = runs.find(session, caller, run_id)
        if run.completed_at is None:
            raise OfftakeError(f"Run {run.id} is {run.status}; it can be verified when it has ended.")
        loader = JobLoader(backend.vault, backend.zones, backend.network)
        try:
            job = loader.load(session, run.id)
        except NoResultFound:
            raise OfftakeError(
                f"Run {run.id} cannot be verified: its target connection or base connection was deleted."
            ) from None
        datasets = run_parts.run_datasets(session, run.id)
        parts = run_parts.run_parts(session, run.id)
        own = _own_folders(session, run, datasets)
    days = backend.settings.landing_zone_retention_days if job.target.credentials is None else 0
    before = backend.clock.now_ms() - days * _DAY_MS if days else None
    return DeliveredFiles(job, run, datasets, parts, own, before)


def verify_delivery(
    delivery: DeliveredFiles, seen: Callable[[int], None] | None = None, *, strict: bool = False
) -> VerificationResult:
    """Compare the delivery with its destination; see `exporting.verify`. Skips runs that never wrote a file."""
    run = delivery.run
    # Versions before revision 0006 stored no key with the plan, and wrote no manifest file without parts.
    if not delivery.parts and not (run.manifest or run.manifest_key):
        return VerificationResult(0, 0, 0, ())
    sink = delivery.job.target.open()
    try:
        return verify(delivery, sink, seen, strict=strict)
    finally:
        sink.close()


def possible_cause(delivery: DeliveredFiles, found: VerificationResult) -> str | None:
    """A possible cause of the findings, as a sentence."""
    if any(one.what == "missing" for one in found.findings):
        return "The consumer may have removed the files, or the target connection has another location now."
    if found.findings and not delivery.files and delivery.run.sweep_due is not None:
        return "The run delivered nothing. A running server will remove its remaining files."
    return None


def _own_folders(session: Session, run: Run, datasets: list[RunDataset]) -> set[str]:
    """The run's folders that no other run of the same target has delivered to."""
    folders = {one.folder for one in datasets if not one.error}
    others = select(RunDataset.folder).join(Run, Run.id == RunDataset.run_id)
    others = others.where(RunDataset.folder.in_(folders), Run.id != run.id, Run.status == run_states.SUCCESS)
    shared = set(session.scalars(others.where(Run.target_connection_id == run.target_connection_id)))
    return folders - shared
