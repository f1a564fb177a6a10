"""The parts of a run and what is recorded of each: rows, bytes, hash and address, before and after its last step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.store import disposals
from offtake.store.database import Database
from offtake.store.run_leases import Lease, held_for_delivery, held_run
from offtake.store.run_states import SUCCESS
from offtake.store.tables import Run, RunDataset, RunPart


def has_parts(session: Session, run: Run) -> bool:
    """Whether the run may have written files."""
    return session.scalar(select(RunPart.number).where(RunPart.run_id == run.id).limit(1)) is not None


def run_datasets(session: Session, run_id: str) -> list[RunDataset]:
    """What the run's plan pinned, by dataset id."""
    return list(session.scalars(select(RunDataset).filter_by(run_id=run_id).order_by(RunDataset.dataset_id)))


def run_parts(session: Session, run_id: str) -> list[RunPart]:
    """The run's parts, by number."""
    return list(session.scalars(select(RunPart).filter_by(run_id=run_id).order_by(RunPart.number)))


@dataclass(frozen=True)
class PartRecord:
    """What is recorded of a part's file: rows, bytes, SHA-256 in hexadecimal, and its address.

    `losses`: what its format could not hold. `token`: the temporary name that its last step replaces.
    """

    rows: int
    bytes: int
    sha256: str
    losses: Sequence[dict[str, Any]] = ()
    uri: str | None = None
    token: str | None = None


def record_part(database: Database, lease: Lease, number: int, record: PartRecord, now_ms: int) -> None:
    """Record that the destination has confirmed a part's file, in place of what an earlier attempt recorded."""
    with database.writing() as session:
        run = held_run(session, lease)
        run.updated_at = now_ms
        run.claims, run.waiting_since = 0, None
        part = session.get_one(RunPart, (lease.run_id, number))
        _keep(part, record)
        part.finished_at = now_ms
        part.left = [one for one in part.left or () if one != part.key] or None


def record_intent(database: Database, lease: Lease, number: int, record: PartRecord, now_ms: int) -> None:
    """Record that only the last step of a part's file is missing; it may be taken once this returns.

    Raises `LeaseLostError` also for a run with a verdict: its files are being removed.
    """
    with database.writing() as session:
        held_for_delivery(session, lease)
        part = session.get_one(RunPart, (lease.run_id, number))
        _keep(part, record)
        part.intended_at = now_ms


def forget_intent(database: Database, lease: Lease, number: int) -> None:
    """Forget an intent whose last step was not taken, or cannot be confirmed; the part is written again."""
    with database.writing() as session:
        held_run(session, lease)
        disposals.clear_record(session.get_one(RunPart, (lease.run_id, number)))


def record_manifest(database: Database, lease: Lease, manifest: dict[str, Any]) -> None:
    """Record, in the same way, that only the last step of the manifest file is missing; see `Run.manifest`."""
    with database.writing() as session:
        held_for_delivery(session, lease).manifest = manifest


def announced_manifest(database: Database, lease: Lease) -> dict[str, Any] | None:
    """The manifest file whose last step was announced; None when none was."""
    with database.reading() as session:
        return held_run(session, lease).manifest


def _keep(part: RunPart, record: PartRecord) -> None:
    part.rows, part.bytes, part.sha256 = record.rows, record.bytes, record.sha256
    part.losses = list(record.losses) or None
    part.uri, part.token = record.uri, record.token


def delivered(run: Run, datasets: Sequence[RunDataset]) -> bool:
    """Whether what the run planned without errors is at the destination.

    A run that fails for some of its datasets delivers the others; one that fails for another reason delivers nothing.
    """
    if run.completed_at is None or run.failure is not None:
        return False
    of_datasets = [one.error for one in datasets if one.error]
    return run.status == SUCCESS or (bool(of_datasets) and run.errors == of_datasets)
