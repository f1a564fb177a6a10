"""The manifest: what a run delivered, written last. A consumer who waits for it sees all of a run or nothing.

It is never encrypted: names, counts, and sizes and hashes of the files as delivered, and no rows (contract,
open question 17).
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from offtake.exporting.order import Order, join_key
from offtake.store.tables import RunDataset, RunPart

Document = dict[str, Any]


def manifest_key(order: Order, datasets: Sequence[RunDataset]) -> str:
    """In the folder of the run's files when there is one such folder, else in the target's own folder."""
    folders = {dataset.folder for dataset in datasets if not dataset.error}
    folder = folders.pop() if len(folders) == 1 else order.root
    return join_key(folder, f"manifest-{order.target_connection_id}-{order.run_id}.json")


def manifest(order: Order, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> Document:
    """The contract's keys (section 16.5), with rows, hash, dataset, snapshot range and export kind beside them."""
    by_id = {dataset.dataset_id: dataset for dataset in datasets}
    return {
        "flowRunId": order.run_id,
        "scheduledTime": _iso(order.export_time_ms),
        "exportResults": [_result(part, by_id[part.dataset_id]) for part in parts],
        "datasets": [_dataset(dataset) for dataset in datasets if not dataset.error],
    }


def to_bytes(document: Document) -> bytes:
    """The same document always gives the same bytes."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


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
