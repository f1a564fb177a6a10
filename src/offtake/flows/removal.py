"""What is left on disk of a dataset that was deleted."""

from offtake.failpoints import failpoint
from offtake.flows.datasets import Deleted
from offtake.lake.catalog import Lake
from offtake.lake.uploads import Uploads


def remove(lake: Lake, uploads: Uploads, deleted: Deleted) -> None:
    """Remove its table with all its files, and what was sent for its batches; done twice, it is done once."""
    failpoint("dataset_forgotten")
    for batch_id in deleted.batch_ids:
        uploads.remove(batch_id)
    lake.purge(deleted.table)
