"""Permits rewriting a table's data files for a type change, if nothing of the dataset was delivered or planned."""

from offtake.catalog import datasets
from offtake.store import batches as store
from offtake.store.batches import BatchLease
from offtake.store.database import Database


def begin(database: Database, lease: BatchLease) -> bool:
    """Start a rewrite of the dataset's data files if permitted, and return whether it is. Plans wait for the batch.

    Takes the dataset's lock, as storing a plan does: either the plan is first, and this returns False, or the plan is
    refused as outdated and made again. Raises `LeaseLostError` when another process holds the batch.
    """
    with database.writing() as session:
        dataset, batch = store.lock(session, lease)
        if not datasets.may_rewrite(session, dataset.id):
            return False
        dataset.rewrites += 1
        batch.rewrites = True
        return True
