"""Imports and reverts on a server over the network, by the ingestion API."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from offtake.cli import output
from offtake.client import names
from offtake.client.problems import ServerError
from offtake.client.server import CATALOG, INGESTION, Server
from offtake.client.transport import FilePart, Request
from offtake.documents import Json
from offtake.errors import OfftakeError

_LARGEST_WHOLE: Final = 128 * 1024 * 1024
_PART: Final = 64 * 1024 * 1024
_BYTES: Final = "application/octet-stream"
_POLL_SECONDS: Final = 0.5
_PROGRESS_SECONDS: Final = 2.0
_FORMATS: Final = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".ndjson": "json",
    ".jsonl": "json",
}


@dataclass(frozen=True)
class RemoteImport:
    """An import over the network. `options`: of `inputFormat`, by the contract's names."""

    name: str
    files: tuple[Path, ...]
    options: Json
    evolve: bool = False
    again: bool = False


def import_remotely(server: Server, wanted: RemoteImport) -> Json:
    """Upload the files as one batch and wait until it is imported; `{"dataset", "created", "batch"}`.

    A refused import leaves no dataset that it has created. Raises `OfftakeError` with the server's reason.
    """
    check_files(wanted.files)
    dataset = _find(server, wanted.name)
    created = dataset is None
    if dataset is None:
        (path,) = server.post(f"{CATALOG}/dataSets", {"name": wanted.name})
        dataset = {"id": path.rpartition("/")[2], "name": wanted.name}
    try:
        done = _ingest(server, dataset["id"], wanted)
    except OfftakeError:
        if created:
            _forget(server, dataset["id"])
        raise
    return {"dataset": dataset, "created": created, "batch": done}


def _ingest(server: Server, dataset_id: str, wanted: RemoteImport) -> Json:
    """Upload the files, complete their batch and wait until it is imported."""
    batch = _upload(server, dataset_id, wanted)
    server.post(f"{INGESTION}/batches/{batch}", query=(("action", "COMPLETE"),))
    done = _await_end(server, batch)
    if done["status"] != "success":
        raise OfftakeError(_reason(done))
    return done


def dry_run_remotely(server: Server, wanted: RemoteImport) -> Json:
    """What the import would change; its batch is aborted afterwards."""
    check_files(wanted.files)
    dataset = names.find_dataset(server, wanted.name)
    batch = _upload(server, dataset["id"], wanted)
    try:
        found: Json = server.get(f"{INGESTION}/batches/{batch}/datasets/{dataset['id']}/dryRun")
    finally:
        server.post(f"{INGESTION}/batches/{batch}", query=(("action", "ABORT"),))
    return found


def revert_remotely(server: Server, batch_id: str) -> Json:
    """Revert a batch and wait until its rows are removed. Raises `OfftakeError` with the server's reason."""
    server.post(f"{INGESTION}/batches/{batch_id}", query=(("action", "REVERT"),))
    done = _await_end(server, batch_id)
    if done["status"] != "inactive":
        raise OfftakeError(_reason(done))
    return done


def check_files(files: Sequence[Path]) -> None:
    """Raise `OfftakeError` for a path that is not a file."""
    for path in files:
        if not path.is_file():
            raise OfftakeError(f"{path} is not a file.")


def _find(server: Server, name: str) -> Json | None:
    found = names.find_datasets(server, name)
    if len(found) > 1:
        ids = ", ".join(one["id"] for one in found[:10])
        raise OfftakeError(f"{name} is ambiguous: datasets {ids} have this name. Use the dataset's id.")
    return found[0] if found else None


def _upload(server: Server, dataset_id: str, wanted: RemoteImport) -> str:
    """Create the batch and upload its files; its id. When an upload fails, the batch is aborted."""
    shape = {"format": _format(wanted.files), **wanted.options}
    body: Json = {"datasetId": dataset_id, "inputFormat": shape} | ({"evolve": True} if wanted.evolve else {})
    if not wanted.again:
        shape["refuseDuplicates"] = True
    batch = str(server.post(f"{INGESTION}/batches", body)["id"])
    differ = len({path.name for path in wanted.files}) == len(wanted.files)
    progress = _Progress(sum(path.stat().st_size for path in wanted.files))
    try:
        for number, path in enumerate(wanted.files):
            name = path.name if differ else f"{number}/{path.name}"
            target = f"{INGESTION}/batches/{batch}/datasets/{dataset_id}/files/{quote(name)}"
            _send_file(server, target, path, progress)
    except BaseException:
        server.post(f"{INGESTION}/batches/{batch}", query=(("action", "ABORT"),))
        raise
    return batch


def _send_file(server: Server, target: str, path: Path, progress: "_Progress") -> None:
    size = path.stat().st_size
    if size <= _LARGEST_WHOLE:
        server.send(Request("PUT", target, content=FilePart(path, 0, size), headers={"content-type": _BYTES}))
        progress.add(size)
        return
    server.post(target, query=(("action", "INITIALIZE"),))
    for first in range(0, size, _PART):
        part = FilePart(path, first, min(_PART, size - first))
        headers = {"content-type": _BYTES, "content-range": f"bytes {first}-{first + part.size - 1}/{size}"}
        server.send(Request("PATCH", target, content=part, headers=headers))
        progress.add(part.size)
    server.post(target, query=(("action", "COMPLETE"),))


class _Progress:
    """Prints the bytes sent every two seconds, on standard error."""

    def __init__(self, total: int) -> None:
        self._total, self._sent, self._printed = total, 0, time.monotonic()

    def add(self, count: int) -> None:
        self._sent += count
        if time.monotonic() - self._printed >= _PROGRESS_SECONDS:
            self._printed = time.monotonic()
            output.note(f"{output.size(self._sent)} of {output.size(self._total)} sent")


def _await_end(server: Server, batch_id: str) -> Json:
    while True:
        found: Json = {"id": batch_id, **server.get(f"{CATALOG}/batches/{batch_id}")[batch_id]}
        if found["status"] in ("success", "failed", "failure", "inactive", "aborted", "abandoned"):
            return found
        time.sleep(_POLL_SECONDS)


def _reason(batch: Json) -> str:
    errors = [str(one.get("description") or one.get("message")) for one in batch.get("errors") or ()]
    return "; ".join(errors) or f"Batch {batch['id']} is {batch['status']}."


def _forget(server: Server, dataset_id: str) -> None:
    try:
        server.delete(f"{CATALOG}/dataSets/{dataset_id}")
    except ServerError as error:
        output.note(f"offtake: the new dataset {dataset_id} could not be removed: {error}")


def _format(files: Sequence[Path]) -> str:
    kinds = {_FORMATS.get(Path(path.name.lower().removesuffix(".gz")).suffix) for path in files}
    if len(kinds) != 1 or None in kinds:
        raise OfftakeError("Over the network, the files of one import must all be .parquet, .csv or .json (also .gz).")
    return str(kinds.pop())


def batch_summary(batch: Json) -> dict[str, Any]:
    """What `dataset import` prints of a batch."""
    metrics = batch.get("metrics", {})
    return {
        "id": batch["id"],
        "rows": metrics.get("outputRecordCount", 0),
        "bytes": metrics.get("outputByteSize", 0),
        "notes": batch.get("notes", []),
    }
