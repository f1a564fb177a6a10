"""What the page of one dataset shows: its size, columns, snapshots and batches. All functions raise 1439."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.catalog import batch_documents, datasets, lake_catalog_calls
from offtake.catalog.batches import RESOURCE
from offtake.catalog.dataset_labels import DatasetLabels
from offtake.contract import problems
from offtake.contract.caller import MANAGE_DATASETS, VIEW_DATASETS, Caller
from offtake.contract.problems import Problem
from offtake.errors import DeliveryError
from offtake.lake import table_description, table_outline
from offtake.lake.catalog import Lake
from offtake.lake.table_description import Size
from offtake.lake.table_names import TableName, parse
from offtake.lake.table_outline import ColumnNode, SnapshotLine
from offtake.store.database import Database
from offtake.store.tables import Batch, BatchFile, Dataset, LakeCatalog

_SIZE_SECONDS: Final = 5.0
_PAGE_SECONDS: Final = 10.0
"""So long at most, a registered table is read for a page."""


@dataclass(frozen=True)
class Overview:
    """A dataset with its labels. `imported`: the rows of its batches, which differ from `size` if others wrote."""

    row: Dataset
    labels: DatasetLabels
    size: Size
    imported: int
    registered: "Registered | None" = None


@dataclass(frozen=True)
class Registered:
    """Where a registered table is kept: the catalog's id and name, and the table's name there.

    `gone_at`: when it was found that the catalog has it no more.
    """

    catalog_id: str
    catalog: str
    table: str
    gone_at: int | None


def overview(database: Database, lake: Lake, caller: Caller, dataset_id: str) -> Overview:
    """The dataset with its current size; zeros when its table cannot be read. No session may be open."""
    with database.reading() as session:
        row = get(session, caller, dataset_id)
        imported = select(func.coalesce(func.sum(Batch.rows), 0)).where(
            Batch.dataset_id == row.id, Batch.status == "success"
        )
        rows = int(session.scalar(imported) or 0)
        found = DatasetLabels(tuple(labels.labels_of(session, row.id)))
        registered = _registered(session, row)
    table = TableName(row.table_name)
    try:
        size = lake_catalog_calls.read(caller, [table], lambda: table_description.size(lake, table), _SIZE_SECONDS)
    except (OSError, ValueError, DeliveryError, Problem):
        # The tabs that need the table explain what is wrong.
        size = Size(0, 0, 0)
    return Overview(row, found, size, rows, registered)


def _registered(session: Session, row: Dataset) -> Registered | None:
    table = parse(TableName(row.table_name))
    if table is None:
        return None
    catalog = session.get(LakeCatalog, table.catalog_id)
    name = "a removed catalog" if catalog is None else catalog.name
    return Registered(table.catalog_id, name, str(table), row.gone_at)


def rows(database: Database, lake: Lake, caller: Caller, dataset: Dataset) -> int:
    """The number of rows; zero when the table cannot be read."""
    return overview(database, lake, caller, dataset.id).size.rows


def get(session: Session, caller: Caller, dataset_id: str) -> Dataset:
    """The dataset, for reading."""
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    return datasets.get(session, caller, dataset_id)


def columns(lake: Lake, caller: Caller, row: Dataset, most: int) -> list[ColumnNode]:
    """The first columns with their inner fields, depth first.

    Raises `DeliveryError` for an unreadable table, and as `lake_catalog_calls.read` does, as the functions below do. No
    session may be open.
    """
    table = TableName(row.table_name)
    return lake_catalog_calls.read(caller, [table], lambda: table_outline.columns(lake, table, most), _PAGE_SECONDS)


def snapshots(lake: Lake, caller: Caller, row: Dataset, offset: int, most: int) -> list[SnapshotLine]:
    """The snapshots, newest first."""
    table = TableName(row.table_name)
    read = partial(table_outline.snapshots, lake, table, offset, most)
    return lake_catalog_calls.read(caller, [table], read, _PAGE_SECONDS)


def commit_times(lake: Lake, caller: Caller, row: Dataset, snapshot_ids: Sequence[int]) -> dict[int, int]:
    """When those snapshots were committed, by id."""
    table = TableName(row.table_name)
    read = partial(table_outline.commit_times, lake, table, snapshot_ids)
    return lake_catalog_calls.read(caller, [table], read, _PAGE_SECONDS)


def batches(session: Session, caller: Caller, dataset_id: str, offset: int, most: int) -> Sequence[Batch]:
    """The batches, newest first."""
    row = get(session, caller, dataset_id)
    newest = select(Batch).where(Batch.dataset_id == row.id).order_by(Batch.created_at.desc(), Batch.id.desc())
    return session.scalars(newest.offset(offset).limit(most)).all()


def batch(session: Session, caller: Caller, dataset_id: str, batch_id: str) -> Batch:
    """One batch of the dataset."""
    get(session, caller, dataset_id)
    row = batch_documents.find(session, caller, batch_id)
    if row.dataset_id != dataset_id:
        raise problems.not_found(RESOURCE, batch_id)
    return row


def sent_files(session: Session, caller: Caller, batch_id: str, most: int) -> Sequence[BatchFile]:
    """The files that were uploaded for a batch, by name, at most `most`."""
    row = batch_documents.find(session, caller, batch_id)
    files = select(BatchFile).filter_by(batch_id=row.id).order_by(BatchFile.name)
    return session.scalars(files.limit(most)).all()
