"""The manifest file of a run, written last where it is asked for: a consumer that waits for it sees the whole run.

It is never encrypted.
"""

from collections.abc import Sequence

from offtake.exporting.job import ExportJob, join_key
from offtake.store import manifests
from offtake.store.tables import RunDataset, RunPart


def manifest_key(job: ExportJob, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> str | None:
    """Where the run's manifest file goes; None when it writes none.

    The key is stored with the plan, so a change of the target connection counts for runs that are planned after it. The
    file goes to the folder of the run's files when there is one such folder, else to the target's own folder. A run
    without files writes it too, which tells "nothing new" from "not yet"; a run of which every dataset failed does not.
    """
    if job.manifest_key is not None:
        return job.manifest_key or None
    if not job.place.params.include_file_manifest or all(dataset.error for dataset in datasets):
        return None
    folders = {dataset.folder for dataset in datasets if not dataset.error} if parts else set()
    folder = folders.pop() if len(folders) == 1 else job.root
    return join_key(folder, f"manifest-{job.manifest_owner_id}-{job.run_id}.json")


def manifest(job: ExportJob, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> bytes:
    """The manifest file of a run that delivered these parts."""
    ids = [one.dataset_id for one in job.datasets]
    return manifests.to_bytes(manifests.render(job.run_id, job.export_time_ms, ids, datasets, parts))
