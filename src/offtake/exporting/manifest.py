"""The manifest file of a run: optional, written last, so a consumer that waits for it sees the whole run.

It is never encrypted.
"""

from collections.abc import Sequence

from offtake.exporting.job import ExportJob, join_key
from offtake.store import manifests
from offtake.store.tables import RunDataset, RunPart


def manifest_key(job: ExportJob, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> str | None:
    """The key of the run's manifest file; None when the run writes none.

    The key is stored with the plan, so a change of the target connection applies to runs that are planned later. If all
    files of the run are in one folder, the manifest is written there, else in the run's root folder. A run without
    files writes a manifest too, so that consumers can distinguish "nothing new" from "not yet"; a run whose datasets
    all failed does not.
    """
    if job.manifest_key is not None:
        return job.manifest_key or None
    if not job.target.params.include_file_manifest or all(dataset.error for dataset in datasets):
        return None
    folders = {dataset.folder for dataset in datasets if not dataset.error} if parts else set()
    folder = folders.pop() if len(folders) == 1 else job.root
    return join_key(folder, f"manifest-{job.manifest_owner_id}-{job.run_id}.json")


def manifest(job: ExportJob, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> bytes:
    """The content of the manifest file of a run that delivered these parts."""
    ids = [one.dataset_id for one in job.datasets]
    return manifests.to_bytes(manifests.render(job.run_id, job.export_time_ms, ids, datasets, parts))
