"""Batches as the Catalog and ingestion APIs show and list them (contract, sections 23.1 and 23.3)."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from offtake.catalog import datasets
from offtake.catalog.batches import NO_DATASET
from offtake.contract import catalog_query, problems
from offtake.contract.caller import MANAGE_DATASETS, VIEW_DATASETS, Caller
from offtake.contract.catalog_query import Compare, Field, Params, Shape
from offtake.documents import Json
from offtake.store.tables import Batch, Dataset


def list_documents(session: Session, caller: Caller, params: Params) -> Json:
    """One page of batches, keyed by id."""
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    query = catalog_query.read(session, SHAPE, params)
    rows = session.scalars(query.paginate(select(Batch).where(visible_to(caller))))
    return {row.id: {name: value for name, value in document(row).items() if query.shows(name)} for row in rows}


def get_document(session: Session, caller: Caller, batch_id: str) -> Json:
    """One batch, under its id; raises 1439."""
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    row = find(session, caller, batch_id)
    return {row.id: document(row)}


def find(session: Session, caller: Caller, batch_id: str, *, lock: bool = False) -> Batch:
    """The batch with that id, if the caller may see its dataset; raises 1439."""
    query = select(Batch).where(Batch.id == batch_id, visible_to(caller))
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise problems.not_found("batches", batch_id)
    return row


def latest(session: Session, caller: Caller, dataset: Dataset | None, most: int) -> Sequence[Batch]:
    """The latest batches of one dataset or of all, newest first."""
    query = select(Batch).where(visible_to(caller))
    if dataset is not None:
        query = query.where(Batch.dataset_id == dataset.id)
    return session.scalars(query.order_by(Batch.created_at.desc(), Batch.id.desc()).limit(most)).all()


def visible_to(caller: Caller) -> ColumnElement[bool]:
    """The condition that the caller may see a batch's dataset, or that the batch has none."""
    with_dataset = Batch.dataset_id.in_(select(Dataset.id).where(*datasets.visible_to(caller)))
    return and_(Batch.sandbox_id == caller.sandbox_id, or_(with_dataset, Batch.dataset_id == NO_DATASET))


def document(row: Batch) -> Json:
    """The batch as the API shows it."""
    replay = {"predecessors": row.replaces, "reason": "replace"} if row.replaces else None
    optional: Json = {
        "externalId": row.external_id,
        "started": row.started_at,
        "completed": row.completed_at,
        "replay": replay,
        "evolve": True if row.evolve else None,
    }
    return {
        "imsOrg": row.org_id,
        "sandboxId": row.sandbox_id,
        "created": row.created_at,
        "updated": row.updated_at,
        "createdClient": row.created_client,
        "createdUser": row.created_by,
        "updatedUser": row.updated_by,
        "status": row.status,
        "errors": row.errors,
        "version": row.version,
        "availableDates": {},
        "relatedObjects": [{"type": "dataSet", "id": row.dataset_id}] if row.dataset_id != NO_DATASET else [],
        "metrics": _metrics(row),
        "notes": row.notes,
        "tags": row.tags,
        "inputFormat": row.input_format,
        "enableErrorDiagnostics": row.error_diagnostics,
        "partialIngestionPercentage": row.failed_percentage,
    } | {name: value for name, value in optional.items() if value is not None}


def _metrics(row: Batch) -> Json:
    if row.completed_at is None:
        return {}
    return {
        "inputRecordCount": row.input_rows,
        "inputByteSize": row.input_bytes,
        "outputRecordCount": row.rows,
        "outputByteSize": row.bytes,
        "failedRecordCount": row.failed_rows,
        "startTime": row.started_at,
        "endTime": row.completed_at,
    }


_FIELDS: Final[dict[str, Field]] = {
    "id": Field(Batch.id),
    "batch": Field(Batch.id),
    "dataSet": Field(Batch.dataset_id),
    "relatedObjects.id": Field(Batch.dataset_id),
    "status": Field(Batch.status),
    "externalId": Field(Batch.external_id),
    "version": Field(Batch.version),
    "created": Field(Batch.created_at, "number"),
    "updated": Field(Batch.updated_at, "number"),
    "started": Field(Batch.started_at, "number"),
    "completed": Field(Batch.completed_at, "number"),
    "createdClient": Field(Batch.created_client),
    "createdUser": Field(Batch.created_by),
    "updatedUser": Field(Batch.updated_by),
    "recordCount": Field(Batch.input_rows, "number"),
    "failedRecordCount": Field(Batch.failed_rows, "number"),
    "size": Field(Batch.input_bytes, "number"),
    "enableErrorDiagnostics": Field(Batch.error_diagnostics, "boolean"),
    "inputFormat.format": Field(Batch.input_format["format"].as_string()),
    "imsOrg": Field(Batch.org_id),
    "sandboxId": Field(Batch.sandbox_id),
}
_NEVER: Final[tuple[None, Compare]] = (None, ">")
SHAPE: Final = Shape(
    fields=_FIELDS,
    tags=Batch.tags,
    ranges={
        "createdAfter": ("created", ">"),
        "createdBefore": ("created", "<"),
        # Batches have no date range of their rows here, so these match nothing.
        "startAfter": _NEVER,
        "startBefore": _NEVER,
        "endAfter": _NEVER,
        "endBefore": _NEVER,
    },
    accepted=frozenset({"aggregate", "requestDataSource"}),
)
