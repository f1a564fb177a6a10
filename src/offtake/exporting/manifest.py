"""The manifest file of a run, written last where it is asked for: a consumer that waits for it sees the whole run.

It is never encrypted.
"""

from collections.abc import Sequence

from offtake.exporting.job import Order, join_key
from offtake.store import manifests
from offtake.store.tables import RunDataset, RunPart


def manifest_key(order: Order, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> str | None:
    """Where the run's manifest file goes; None when it writes none.

    The key is stored with the plan, so a change of the target connection counts for runs that are planned after it. The
    file goes to the folder of the run's files when there is one such folder, else to the target's own folder. A run
    without files writes it too, which tells "nothing new" from "not yet"; a run of which every dataset failed does not.
    """
    if order.manifest_key is not None:
        return order.manifest_key or None
    if not order.place.params.include_file_manifest or all(dataset.error for dataset in datasets):
        return None
    folders = {dataset.folder for dataset in datasets if not dataset.error} if parts else set()
    folder = folders.pop() if len(folders) == 1 else order.root
    return join_key(folder, f"manifest-{order.manifest_owner_id}-{order.run_id}.json")


def manifest(order: Order, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> bytes:
    """The manifest file of a run that delivered these parts."""
    ids = [one.dataset_id for one in order.datasets]
    return manifests.to_bytes(manifests.render(order.run_id, order.export_time_ms, ids, datasets, parts))
