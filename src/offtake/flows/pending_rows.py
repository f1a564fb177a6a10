"""How many rows of a dataset a flow has not delivered yet, from the summaries of the table's snapshots."""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.catalog import lake_catalog_calls
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.errors import DeliveryError
from offtake.flows.flow_views import ExportedDataset, exported_datasets
from offtake.flows.run_views import RunView
from offtake.lake.catalog import Lake
from offtake.lake.snapshot_history import ancestry
from offtake.lake.table_names import TableName
from offtake.store.database import Database
from offtake.store.tables import Dataset

_MOST_OF_RUN: Final = 20
_SECONDS: Final = 0.3
"""So long at most, tables are loaded for a page."""


@dataclass(frozen=True)
class PendingRows:
    """The rows added after the flow's position, and when the first of them were added (epoch milliseconds).

    `rows` None: the position is not in the table's history any more, so the next run exports in full.
    """

    rows: int | None
    since_ms: int | None


def count_pending(
    database: Database, lake: Lake, caller: Caller, datasets: Iterable[ExportedDataset]
) -> dict[str, PendingRows]:
    """The pending rows by dataset id. No file of rows is read.

    Left out: datasets that the caller may not see, those without a table, and those that take too long or cannot be
    read.
    """
    seen = [one for one in datasets if one.name is not None]
    tables = select(Dataset.id, Dataset.table_name).where(Dataset.id.in_([one.dataset_id for one in seen]))
    with database.reading() as session:
        names = dict(session.execute(tables).all())
    until, found = time.monotonic() + _SECONDS, dict[str, PendingRows]()
    for one in seen:
        if (left := until - time.monotonic()) <= 0:
            break
        table = TableName(names.get(one.dataset_id, ""))
        pending = None
        if table:
            # Else what cannot be read is not shown: a run reports it.
            with contextlib.suppress(DeliveryError, Problem):
                pending = lake_catalog_calls.read(caller, [table], partial(_pending, lake, table, one), left)
        if pending is not None:
            found[one.dataset_id] = pending
    return found


def datasets_after_run(session: Session, caller: Caller, view: RunView) -> list[ExportedDataset]:
    """The run's first 20 datasets, to count their pending rows; none unless it is the last run of its flow."""
    if view.flow is None or view.flow.last_run_id != view.run.id:
        return []
    planned = {one.dataset_id for one in view.datasets[:_MOST_OF_RUN]}
    return [one for one in exported_datasets(session, caller, view.flow) if one.dataset_id in planned]


def _pending(lake: Lake, table: TableName, dataset: ExportedDataset) -> PendingRows | None:
    position = dataset.snapshot_id
    history = ancestry(lake, table, ref=dataset.ref)
    if history is None:
        return None
    at = next((index for index, step in enumerate(history) if step.snapshot_id == position), None)
    if at is None and position is not None:
        return PendingRows(None, None)
    waiting = [step for step in history[0 if at is None else at + 1 :] if step.rows]
    return PendingRows(sum(step.rows for step in waiting), waiting[0].timestamp_ms if waiting else None)
