"""The manifest: what a run delivered. Where a file of it is asked for, it is written last.

A consumer that waits for the file sees all of a run or nothing. It is never encrypted: it has names, counts, and sizes
and hashes of the files as delivered, and no rows (contract, open question 17).
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from offtake.exporting.order import Order, join_key
from offtake.store.tables import Run, RunDataset, RunPart

Document = dict[str, Any]


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


def manifest(order: Order, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> Document:
    """The manifest of a run that delivered these parts."""
    ids = [one.dataset_id for one in order.datasets]
    return _document(order.run_id, order.export_time_ms, _as_ordered(datasets, ids), parts)


def manifest_of(run: Run, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> Document:
    """The manifest of a run that is over: the same document, made of what the store holds."""
    return _document(run.id, run.scheduled_at, _as_ordered(datasets, run.dataset_ids), parts)


def to_bytes(document: Document) -> bytes:
    """The same document always gives the same bytes."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def _document(run_id: str, export_time_ms: int, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> Document:
    """The contract's keys (section 16.5), with rows, hash, dataset, snapshot range and export kind of each."""
    by_id = {dataset.dataset_id: dataset for dataset in datasets}
    return {
        "flowRunId": run_id,
        "scheduledTime": _iso(export_time_ms),
        "exportResults": [_result(part, by_id[part.dataset_id]) for part in parts],
        "datasets": [_dataset(dataset) for dataset in datasets if not dataset.error],
    }


def _as_ordered(datasets: Sequence[RunDataset], ids: Sequence[str]) -> list[RunDataset]:
    """The datasets in the run's order, which a plan that is read back from the store does not have."""
    place = {dataset_id: number for number, dataset_id in enumerate(ids)}
    return sorted(datasets, key=lambda one: place.get(one.dataset_id, len(place)))


def _result(part: RunPart, dataset: RunDataset) -> Document:
    folder, _, name = part.key.rpartition("/")
    return {
        "sinkPath": f"/{folder}",
        "name": name,
        "size": part.bytes,
        "recordCount": part.rows,
        "sha256": part.sha256,
        "dataSetId": dataset.dataset_id,
    }


def _dataset(dataset: RunDataset) -> Document:
    return {
        "dataSetId": dataset.dataset_id,
        "exportKind": dataset.kind,
        "fromSnapshotId": dataset.from_snapshot,
        "toSnapshotId": dataset.to_snapshot,
        "deletedRecordCount": dataset.deleted_rows,
    }


def _iso(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
