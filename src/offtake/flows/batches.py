"""Batches: rows on their way into a dataset (contract, sections 23.3 and 24)."""

from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session
from ulid import ULID

from offtake.flows import entities
from offtake.flows.access import Caller
from offtake.flows.entities import Json
from offtake.store.batches import LOADING
from offtake.store.tables import Batch, BatchFile

RESOURCE: Final = "batches"
_FIRST_VERSION: Final = "1.0.0"


def new(session: Session, caller: Caller, dataset_id: str, now_ms: int, *, input_format: Json) -> Batch:
    """A batch that files can be sent for."""
    stamp = entities.stamp(caller, now_ms)
    stamp |= {"id": str(ULID.from_timestamp(now_ms / 1000)), "version": _FIRST_VERSION}
    row = Batch(
        **stamp,
        dataset_id=dataset_id,
        status=LOADING,
        input_format=input_format,
        tags={},
        replaces=[],
        error_diagnostics=False,
        failed_percentage=0,
        input_rows=0,
        input_bytes=0,
        failed_rows=0,
        rows=0,
        bytes=0,
        errors=[],
        fence=0,
    )
    session.add(row)
    return row


def forget_all_of(session: Session, dataset_id: str) -> tuple[str, ...]:
    """Forget every batch of the dataset, and what was sent for them; their ids."""
    of_dataset = select(Batch.id).filter_by(dataset_id=dataset_id)
    batch_ids = tuple(session.scalars(of_dataset))
    session.execute(delete(BatchFile).where(BatchFile.batch_id.in_(of_dataset)))
    session.execute(delete(Batch).where(Batch.dataset_id == dataset_id))
    return batch_ids
