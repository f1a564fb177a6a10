"""The parts of a run and their records: rows, bytes, hash and URI, before and after the last step of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.formats.losses import LossDocument
from offtake.store import disposals, run_events
from offtake.store.database import Database
from offtake.store.run_leases import Lease, lock_for_delivery, lock_run
from offtake.store.run_states import SUCCESS
from offtake.store.tables import Run, RunDataset, RunPart
from offtake.store.tables.documents import ManifestRecord


def has_parts(session: Session, run: Run) -> bool:
    """Whether the run may have written files."""
    return session.scalar(select(RunPart.number).where(RunPart.run_id == run.id).limit(1)) is not None


def run_datasets(session: Session, run_id: str) -> list[RunDataset]:
    """The datasets of the run's plan, ordered by dataset id."""
    return list(session.scalars(select(RunDataset).filter_by(run_id=run_id).order_by(RunDataset.dataset_id)))


def run_parts(session: Session, run_id: str) -> list[RunPart]:
    """The run's parts, ordered by number."""
    return list(session.scalars(select(RunPart).filter_by(run_id=run_id).order_by(RunPart.number)))


@dataclass(frozen=True)
class PartRecord:
    """The record of a part's file: rows, bytes, SHA-256 in hexadecimal, and its URI.

    `losses`: values that its format could not hold. `token`: the temporary name that its last step replaces.
    """

    rows: int
    bytes: int
    sha256: str
    losses: Sequence[LossDocument] = ()
    uri: str | None = None
    token: str | None = None


def record_part(database: Database, lease: Lease, number: int, record: PartRecord, now_ms: int) -> None:
    """Record a part's file that the destination has confirmed, replacing the record of an earlier attempt."""
    with database.writing() as session:
        run = lock_run(session, lease)
        run.updated_at = now_ms
        run.claims, run.waiting_since = 0, None
        part = session.get_one(RunPart, (lease.run_id, number))
        _set_record(part, record)
        part.finished_at = now_ms
        part.left = [name for name in part.left or () if name != part.key] or None
        run_events.log_part(session, run, part, now_ms)


def record_intent(database: Database, lease: Lease, number: int, record: PartRecord, now_ms: int) -> None:
    """Record the intent to complete a part's file, before its last step (for example a rename).

    Raises `LeaseLostError` also for a failed run: its files are being removed.
    """
    with database.writing() as session:
        lock_for_delivery(session, lease)
        part = session.get_one(RunPart, (lease.run_id, number))
        _set_record(part, record)
        part.intended_at = now_ms


def forget_intent(database: Database, lease: Lease, number: int) -> None:
    """Forget an intent whose last step was not done, or cannot be confirmed; the part is written again."""
    with database.writing() as session:
        lock_run(session, lease)
        disposals.clear_record(session.get_one(RunPart, (lease.run_id, number)))


def record_manifest(database: Database, lease: Lease, manifest: ManifestRecord) -> None:
    """Record the intent to complete the manifest file (`Run.manifest`), as `record_intent` does for a part."""
    with database.writing() as session:
        lock_for_delivery(session, lease).manifest = manifest


def load_manifest_intent(database: Database, lease: Lease) -> ManifestRecord | None:
    """The manifest file with a recorded intent; None without an intent."""
    with database.reading() as session:
        return lock_run(session, lease).manifest


def _set_record(part: RunPart, record: PartRecord) -> None:
    part.rows, part.bytes, part.sha256 = record.rows, record.bytes, record.sha256
    part.losses = list(record.losses) or None
    part.uri, part.token = record.uri, record.token


def is_delivered(run: Run, datasets: Sequence[RunDataset]) -> bool:
    """Whether everything that the run planned without errors is delivered.

    A run that fails for some of its datasets delivers the others; a run that fails otherwise delivers nothing.
    """
    if run.completed_at is None or run.failure is not None:
        return False
    dataset_errors = [dataset.error for dataset in datasets if dataset.error]
    return run.status == SUCCESS or (bool(dataset_errors) and run.errors == dataset_errors)
