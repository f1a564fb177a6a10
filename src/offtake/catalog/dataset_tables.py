"""Tables of datasets with declared columns: created with the dataset, before any rows."""

import logging
from typing import TYPE_CHECKING

from offtake.catalog import column_types, datasets
from offtake.catalog.datasets import DeletedDataset
from offtake.clock import Clock
from offtake.contract.bodies import Sent
from offtake.contract.caller import Caller
from offtake.failpoints import failpoint
from offtake.lake.table_names import TableName
from offtake.lake.uploads import Uploads
from offtake.store.database import Database
from offtake.store.tables import Dataset

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from offtake.lake.catalog import Lake


def create(
    database: Database,
    lake: "Lake",
    uploads: Uploads,
    caller: Caller,
    sent: Sent,
    clock: Clock,
    *,
    unique_name: bool = False,
) -> Dataset:
    """Create an empty dataset, and its table if columns are declared. After a failure, both are removed.

    Raises as `datasets.create` does, and `LakeFullError`.
    """
    with database.writing() as session:
        row = datasets.create(session, caller, sent, clock.now_ms(), unique_name=unique_name)
    # The row is committed first: the sweeper removes tables without a dataset.
    try:
        declare(lake, row)
    except BaseException:
        _delete_failed(database, lake, uploads, caller, row.id, clock.now_ms())
        raise
    return row


def declare(lake: "Lake", row: Dataset) -> None:
    """Create the table of a dataset with declared columns, unless it exists.

    Called again before each import: the process that created the dataset may have died between its row and its table.
    """
    table = TableName(row.table_name)
    if row.declared and not lake.exists(table):
        from offtake.lake import ingest  # noqa: PLC0415 - PyIceberg, which most requests do not need

        ingest.declare(lake, table, column_types.parse_schema({"columns": row.declared}))


def _delete_failed(
    database: Database, lake: "Lake", uploads: Uploads, caller: Caller, dataset_id: str, now_ms: int
) -> None:
    try:
        with database.writing() as session:
            row = session.get(Dataset, dataset_id, with_for_update=True)
            deleted = None if row is None else datasets.forget(session, caller, row, now_ms)
        if deleted is not None:
            remove(lake, uploads, deleted)
    except Exception:  # noqa: BLE001 - the original failure is reported
        _log.warning("dataset %s has no table and could not be removed; delete it", dataset_id)


def remove(lake: "Lake", uploads: Uploads, deleted: DeletedDataset) -> None:
    """Remove the table with all its files, and the uploaded files of its batches. Idempotent."""
    failpoint("dataset_forgotten")
    for batch_id in deleted.batch_ids:
        uploads.remove(batch_id)
    lake.purge(deleted.table)
