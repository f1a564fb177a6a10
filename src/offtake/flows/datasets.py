"""Datasets: what can be exported, and how rows come in (contract, sections 12 and 23.2)."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session
from ulid import ULID

from offtake.clock import Clock
from offtake.errors import OfftakeError
from offtake.flows import entities
from offtake.flows.access import Caller
from offtake.flows.entities import Json
from offtake.lake import ingest
from offtake.lake.catalog import Lake, TableName
from offtake.store.database import Database, StoreConflictError
from offtake.store.tables import Batch, Dataset

_LONGEST_NAME = 255


@dataclass(frozen=True)
class Imported:
    """What an import did: the dataset, the batch that became visible, and whether the dataset is new."""

    dataset: Dataset
    batch: Batch
    created: bool


def find(session: Session, caller: Caller, id_or_name: str) -> Dataset | None:
    """The caller's dataset of that id, else of that name."""
    dataset = session.get(Dataset, id_or_name)
    if dataset is not None and dataset.sandbox_id == caller.sandbox_id:
        return dataset
    return session.scalar(select(Dataset).filter_by(sandbox_id=caller.sandbox_id, name=id_or_name))


def all_of(session: Session, caller: Caller) -> list[Dataset]:
    """The caller's datasets, newest first."""
    newest_first = (Dataset.created_at.desc(), Dataset.id)
    return list(session.scalars(select(Dataset).filter_by(sandbox_id=caller.sandbox_id).order_by(*newest_first)))


def import_files(
    database: Database, lake: Lake, caller: Caller, clock: Clock, name: str, files: Sequence[Path]
) -> Imported:
    """The files' rows as one batch of the dataset, which is made when there is none of that name.

    All of the rows become visible at once, or none. Raises `OfftakeError` saying why not.
    """
    with database.reading() as session:
        dataset = find(session, caller, name)
    if dataset is None:
        return _import_new(database, lake, caller, clock, name, files)
    batch = _loading(dataset.id, caller, clock)
    with database.writing() as session:
        session.add(batch)
    try:
        made = ingest.import_files(lake, TableName(dataset.table_name), files, batch_id=batch.id, create=False)
    except OfftakeError:
        _settle(database, batch, clock, None)
        raise
    return Imported(dataset, _settle(database, batch, clock, made), created=False)


def summary(dataset: Dataset, last: Batch | None) -> Json:
    """The dataset as the list of eligible datasets shows it."""
    parquet = {"persisted": True, "containerFormat": "parquet", "format": "parquet"}
    described = {} if dataset.description is None else {"description": dataset.description}
    schema_ref = {} if dataset.schema_ref is None else {"schemaRef": dataset.schema_ref}
    return (
        {"id": dataset.id, "name": dataset.name, **described, "fileDescription": parquet}
        | {"aspect": "production", "state": "DRAFT"}
        | {
            **schema_ref,
            "tags": dataset.tags,
            "imsOrg": dataset.org_id,
            "sandboxId": dataset.sandbox_id,
            "version": dataset.version,
            "created": dataset.created_at,
            "updated": dataset.updated_at,
            "createdClient": dataset.created_client,
            "createdUser": dataset.created_by,
            "updatedUser": dataset.updated_by,
            "files": f"@/dataSetFiles?dataSetId={dataset.id}",
            "enableErrorDiagnostics": False,
        }
        | ({} if last is None else {"lastBatchId": last.id, "lastBatchStatus": last.status})
    )


def last_batch(session: Session, dataset_id: str) -> Batch | None:
    """The batch that came last, in whatever state."""
    return session.scalar(select(Batch).filter_by(dataset_id=dataset_id).order_by(Batch.created_at.desc()).limit(1))


def _import_new(
    database: Database, lake: Lake, caller: Caller, clock: Clock, name: str, files: Sequence[Path]
) -> Imported:
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise OfftakeError(f"A dataset's name is 1 to {_LONGEST_NAME} printable characters.")
    row = entities.stamp(caller, clock.now_ms()) | {"id": secrets.token_hex(12)}
    table = TableName(f"sandbox_{caller.sandbox_id.replace('-', '')}.dataset_{row['id']}")
    dataset = Dataset(
        **row, name=name, description=None, table_name=table, schema_ref=None, tags={}, error_diagnostics=False
    )
    batch = _loading(dataset.id, caller, clock)
    made = ingest.import_files(lake, table, files, batch_id=batch.id, create=True)
    _mark(batch, clock, made)
    try:
        with database.writing() as session:
            session.add(dataset)
            session.flush()
            session.add(batch)
    except StoreConflictError:
        lake.drop(table)
        raise OfftakeError(f"Dataset {name} was made by somebody else just now; import again to append.") from None
    return Imported(dataset, batch, created=True)


def _loading(dataset_id: str, caller: Caller, clock: Clock) -> Batch:
    now = clock.now_ms()
    stamp = entities.stamp(caller, now) | {"id": str(ULID.from_timestamp(now / 1000))}
    return Batch(
        **stamp,
        dataset_id=dataset_id,
        status="loading",
        input_format={},
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
        started_at=now,
        fence=0,
    )


def _mark(batch: Batch, clock: Clock, made: ingest.Batch | None) -> None:
    batch.completed_at = batch.updated_at = clock.now_ms()
    batch.status = "success" if made else "failed"
    if made:
        batch.snapshot_id, batch.rows, batch.bytes = made.snapshot_id, made.rows, made.bytes
        batch.input_rows, batch.input_bytes = made.rows, made.bytes


def _settle(database: Database, batch: Batch, clock: Clock, made: ingest.Batch | None) -> Batch:
    with database.writing() as session:
        stored = session.get_one(Batch, batch.id)
        _mark(stored, clock, made)
    return stored
