"""Lists of datasets for the pages: found by a part of the name, in any order, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from offtake.access import labels
from offtake.catalog import datasets
from offtake.contract.caller import MANAGE_DATASETS, VIEW_DATASETS, Caller
from offtake.store.batches import ABANDONED, ABORTED, LOADING, SUCCESS
from offtake.store.tables import Batch, Dataset

Order = Literal["name", "rows", "size", "last"]
_IS_IMPORT: Final = Batch.status.not_in((LOADING, ABORTED, ABANDONED))
ORDERS: Final[tuple[Order, ...]] = get_args(Order)


@dataclass(frozen=True)
class LastImport:
    """The last batch that was committed, in any state; uploads that were discarded, or are in review, do not count."""

    status: str
    created_at: int


@dataclass(frozen=True)
class DatasetLine:
    """A dataset in a list. `rows`, `bytes`: of its imported batches; rows that other programs wrote do not count.

    `registered`: a table of another catalog, whose size is not known without reading it.
    """

    id: str
    name: str
    rows: int
    bytes: int
    last: LastImport | None
    labels: Sequence[str]
    registered: bool = False
    gone: bool = False


def page(
    session: Session, caller: Caller, search: str, order: Order, offset: int, most: int, *, descending: bool = False
) -> list[DatasetLine]:
    """The datasets whose name contains `search`, from number `offset` on, at most `most`."""
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    query = select(Dataset.id, Dataset.name, Dataset.catalog_id, Dataset.gone_at).where(*datasets.visible_to(caller))
    if search:
        query = query.where(Dataset.name.icontains(search, autoescape=True))
    by = _BY[order].desc() if descending else _BY[order]
    found = session.execute(query.order_by(by.nulls_last(), Dataset.id).offset(offset).limit(most)).all()
    ids = [row.id for row in found]
    totals, last = _totals(session, ids), _last_imports(session, ids)
    names = labels.labels_of_all(session, ids)
    return [
        DatasetLine(
            row.id,
            row.name,
            *totals.get(row.id, (0, 0)),
            last.get(row.id),
            names.get(row.id, ()),
            row.catalog_id is not None,
            row.gone_at is not None,
        )
        for row in found
    ]


def recent_names(session: Session, caller: Caller, most: int) -> list[str]:
    """The names of the datasets that were created last, as suggestions."""
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    newest = select(Dataset.name).where(*datasets.visible_to(caller)).order_by(Dataset.created_at.desc(), Dataset.id)
    return list(dict.fromkeys(session.scalars(newest.limit(most))))


def _totals(session: Session, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    columns = (Batch.dataset_id, func.sum(Batch.rows), func.sum(Batch.bytes))
    query = select(*columns).where(Batch.dataset_id.in_(ids), Batch.status == SUCCESS).group_by(Batch.dataset_id)
    return {dataset_id: (int(rows), int(size)) for dataset_id, rows, size in session.execute(query)}


def _last_imports(session: Session, ids: Sequence[str]) -> dict[str, LastImport]:
    newest = (Batch.dataset_id, Batch.created_at.desc(), Batch.id.desc())
    number = func.row_number().over(partition_by=newest[0], order_by=newest[1:]).label("number")
    batches = select(Batch.dataset_id, Batch.status, Batch.created_at, number)
    numbered = batches.where(Batch.dataset_id.in_(ids), _IS_IMPORT).subquery()
    found = session.execute(select(numbered).where(numbered.c.number == 1))
    return {row.dataset_id: LastImport(row.status, row.created_at) for row in found}


def _sum(column: InstrumentedAttribute[int]) -> ColumnElement[Any]:
    imported = select(func.coalesce(func.sum(column), 0)).where(Batch.dataset_id == Dataset.id, Batch.status == SUCCESS)
    return imported.correlate(Dataset).scalar_subquery()


def _last() -> ColumnElement[Any]:
    newest = select(func.max(Batch.created_at)).where(Batch.dataset_id == Dataset.id, _IS_IMPORT)
    return newest.correlate(Dataset).scalar_subquery()


_BY: Final[dict[Order, ColumnElement[Any]]] = {
    "name": func.lower(Dataset.name),
    "rows": _sum(Batch.rows),
    "size": _sum(Batch.bytes),
    "last": _last(),
}
