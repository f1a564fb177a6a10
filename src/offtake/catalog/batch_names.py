"""What people call batches: the files that were imported, and the dataset."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from offtake.contract.caller import Caller
from offtake.store.tables import Batch, BatchFile, Dataset


@dataclass(frozen=True)
class BatchName:
    """The name of a batch, such as `orders.csv → Orders`, and its dataset's id. `files`: empty without a file."""

    text: str
    files: str
    dataset_id: str


def names_of(session: Session, caller: Caller, batch_ids: Collection[str]) -> dict[str, BatchName]:
    """The names of batches of the caller's organisation by id; those without a file and a dataset are absent.

    The caller is responsible for the permission: the audit log shows names of datasets to all who may read it.
    """
    if not batch_ids:
        return {}
    counted = (
        select(Batch.id, Batch.dataset_id, Dataset.name, func.min(BatchFile.name), func.count(BatchFile.name))
        .join(Dataset, Dataset.id == Batch.dataset_id, isouter=True)
        .join(BatchFile, BatchFile.batch_id == Batch.id, isouter=True)
        .where(Batch.id.in_(batch_ids), Batch.org_id == caller.org_id)
        .group_by(Batch.id, Batch.dataset_id, Dataset.name)
    )
    found = {}
    for batch_id, dataset_id, dataset, file, files in session.execute(counted):
        sent = file if files == 1 else f"{file} and {files - 1} more" if files else ""
        text = " → ".join(one for one in (sent, dataset) if one)
        if text:
            found[batch_id] = BatchName(text, sent, dataset_id if dataset else "")
    return found
