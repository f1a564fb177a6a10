"""The data files that a batch was written to: listed, and read (contract, section 25)."""

import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from offtake.catalog import batch_documents, datasets
from offtake.contract import problems
from offtake.contract.caller import MANAGE_DATASETS, VIEW_DATASETS, Caller
from offtake.contract.problems import Problem
from offtake.lake import snapshot_history
from offtake.lake.catalog import Lake
from offtake.lake.table_names import TableName
from offtake.store.tables import Batch

FILES: Final = "files"
_FILE_ID: Final = re.compile(r"([0-9A-Za-z]{1,64})-([1-9][0-9]{0,6})")


@dataclass(frozen=True)
class BatchFile:
    """A data file of a batch: id, name, row count, size in bytes, and location."""

    id: str
    name: str
    rows: int
    bytes: int
    location: str


def of_batch(session: Session, lake: Lake, caller: Caller, batch_id: str) -> tuple[Batch, list[BatchFile]]:
    """The batch, and its data files that are still in the table's history; raises 1439."""
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    row = batch_documents.find(session, caller, batch_id)
    if row.snapshot_id is None:
        return row, []
    table = TableName(datasets.get(session, caller, row.dataset_id).table_name)
    found = snapshot_history.files_of(lake, table, row.snapshot_id)
    return row, [
        BatchFile(f"{row.id}-{number}", location.rpartition("/")[2], rows, size, location)
        for number, (location, rows, size) in enumerate(found, start=1)
    ]


def find(session: Session, lake: Lake, caller: Caller, file_id: str) -> BatchFile:
    """The file with that id; raises 1439."""
    match = _FILE_ID.fullmatch(file_id)
    if match is None:
        raise problems.not_found(FILES, file_id[:100])
    try:
        files = of_batch(session, lake, caller, match[1])[1]
    except Problem as error:
        if error.resource_type != "batches":
            raise
        files = []
    found = next((file for file in files if file.id == file_id), None)
    if found is None:
        raise problems.not_found(FILES, file_id)
    return found
