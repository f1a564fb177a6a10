"""Rewriting a table's data files for a change of type, while nothing of the dataset was delivered or is planned."""

from offtake.catalog import datasets
from offtake.store import batches as store
from offtake.store.batches import BatchLease
from offtake.store.database import Database


def begin(database: Database, lease: BatchLease) -> bool:
    """Whether the batch may rewrite its dataset's data files. If so, plans wait until the batch has ended.

    Under the dataset's lock, which storing a plan takes too: either the plan is first, and this returns False, or the
    plan is refused as outdated and made again. Raises `LeaseLostError` when another holds the batch.
    """
    with database.writing() as session:
        dataset, batch = store.lock(session, lease)
        if not datasets.may_rewrite(session, dataset.id):
            return False
        dataset.rewrites += 1
        batch.rewrites = True
        return True
