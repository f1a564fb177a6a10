"""The manifest document of a run: the files that it delivered.

It has names, row counts, sizes and hashes of the files, and no data (contract, open question 17).
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NotRequired, TypedDict

from offtake.store.tables import Run, RunDataset, RunPart


class DeliveredFile(TypedDict):
    """A file in the manifest: its folder and name, size in bytes, rows, SHA-256 in hexadecimal, and its dataset."""

    sinkPath: str
    name: str
    size: int | None
    recordCount: int | None
    sha256: str | None
    dataSetId: str


class DeliveredDataset(TypedDict):
    """A dataset in the manifest: the range of its snapshots, `full` or `incremental`, and the deleted rows in it.

    `columns`: the paths of the delivered columns; absent when all are delivered.
    """

    dataSetId: str
    exportKind: str
    fromSnapshotId: int | None
    toSnapshotId: int | None
    deletedRecordCount: int
    columns: NotRequired[list[str]]


class Manifest(TypedDict):
    """The manifest document: the run, its time (ISO 8601, UTC), its files, and its datasets."""

    flowRunId: str
    scheduledTime: str
    exportResults: list[DeliveredFile]
    datasets: list[DeliveredDataset]


def manifest_of(run: Run, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> Manifest:
    """The manifest of a run that has ended."""
    return render(run.id, run.scheduled_at, run.dataset_ids, datasets, parts)


def to_bytes(document: Manifest) -> bytes:
    """The document as UTF-8 bytes; deterministic."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def render(
    run_id: str,
    export_time_ms: int,
    dataset_ids: Sequence[str],
    datasets: Sequence[RunDataset],
    parts: Sequence[RunPart],
) -> Manifest:
    """The contract's keys (section 16.5), with row count, hash, dataset, snapshot range and export kind.

    Datasets are listed in the order of `dataset_ids`.
    """
    by_id = {dataset.dataset_id: dataset for dataset in datasets}
    return {
        "flowRunId": run_id,
        "scheduledTime": _iso(export_time_ms),
        "exportResults": [_result(part, by_id[part.dataset_id]) for part in parts],
        "datasets": [_dataset(dataset) for dataset in _in_order(datasets, dataset_ids) if not dataset.error],
    }


def _in_order(datasets: Sequence[RunDataset], ids: Sequence[str]) -> list[RunDataset]:
    rank = {dataset_id: number for number, dataset_id in enumerate(ids)}
    return sorted(datasets, key=lambda dataset: rank.get(dataset.dataset_id, len(rank)))


def _result(part: RunPart, dataset: RunDataset) -> DeliveredFile:
    folder, _, name = part.key.rpartition("/")
    return {
        "sinkPath": f"/{folder}",
        "name": name,
        "size": part.bytes,
        "recordCount": part.rows,
        "sha256": part.sha256,
        "dataSetId": dataset.dataset_id,
    }


def _dataset(dataset: RunDataset) -> DeliveredDataset:
    document: DeliveredDataset = {
        "dataSetId": dataset.dataset_id,
        "exportKind": dataset.kind,
        "fromSnapshotId": dataset.from_snapshot,
        "toSnapshotId": dataset.to_snapshot,
        "deletedRecordCount": dataset.deleted_rows,
    }
    if dataset.columns:
        document["columns"] = list(dataset.columns)
    return document


def _iso(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
