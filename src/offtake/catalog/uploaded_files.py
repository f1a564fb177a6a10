"""Uploads of a batch's files: in one request, or in parts in any order (contract, section 24)."""

import unicodedata
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from offtake.catalog import batch_documents, batches
from offtake.contract import problems
from offtake.contract.caller import MANAGE_DATASETS, VIEW_DATASETS, Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.lake.parsing.files import Content, InputFile, Kind
from offtake.lake.uploads import Uploads
from offtake.store import batches as store
from offtake.store.tables import Batch, BatchFile
from offtake.store.tables.documents import UploadedObjects

LARGEST_WHOLE: Final = 256 * 1024 * 1024
LARGEST_PART: Final = 512_000_001
"""Bytes 0 to 512000000, inclusive."""
LARGEST_BATCH: Final = 100 * 10**9
_MAX_FILES: Final = 1500
_MAX_RANGES: Final = 1000
_SHOWN_RANGES: Final = 100
_MAX_OBJECTS: Final = 10_000
"""Parts of one file in an object store: their list is written with each part."""
_MAX_NAME_LENGTH: Final = 1024
_UNSEEN: Final = ("Cc", "Cs", "Zl", "Zp")
_RESOURCE: Final = "files"


@dataclass(frozen=True)
class UploadTarget:
    """A file of a batch, as the URL names it."""

    batch_id: str
    dataset_id: str
    name: str


@dataclass(frozen=True)
class UploadedRange:
    """Bytes `first` to `last` of a file, inclusive; `total`: size of the file, if sent."""

    first: int
    last: int
    total: int | None

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class StoredPart:
    """The object of a part. `upload`: the id of the file's upload when the part began to arrive."""

    upload: str | None
    object_id: str


def upload_target(batch_id: str, dataset_id: str, name: str) -> UploadTarget:
    """The file that a URL names; raises 1452 for a name that is not a relative path (path traversal)."""
    composed = unicodedata.normalize("NFC", name)
    steps = composed.split("/")
    if not 1 <= len(composed) <= _MAX_NAME_LENGTH or any(step in ("", ".", "..") for step in steps) or "\\" in composed:
        raise problems.of_field(
            "/filePath",
            f"must be a path of 1 to {_MAX_NAME_LENGTH} characters without empty, . and .. steps and without \\",
        )
    if any(unicodedata.category(one) in _UNSEEN for one in composed):
        raise problems.of_field("/filePath", "contains a control character")
    return UploadTarget(batch_id, dataset_id, composed)


def check_range(sent: UploadedRange) -> None:
    """Raise 3413 when the part or the batch would be too large."""
    if sent.size > LARGEST_PART:
        raise too_large(LARGEST_PART, "A part")
    if max(sent.last + 1, sent.total or 0) > LARGEST_BATCH:
        raise too_large(LARGEST_BATCH, "A batch")


def too_large(most: int, subject: str) -> Problem:
    """The error 3413: a part, a file or a batch is too large."""
    return Problem(problems.TOO_LARGE, f"{subject} may have at most {most} bytes; send larger files in parts.")


def lock_for_upload(session: Session, caller: Caller, target: UploadTarget) -> Batch:
    """Lock and return the batch, if files can still be uploaded; raises 1422 and 1439."""
    caller.require(MANAGE_DATASETS)
    batch = batch_documents.find(session, caller, target.batch_id, lock=True)
    _check_dataset(batch, target.dataset_id)
    if batch.status != store.LOADING:
        message = f"Batch {batch.id} is {batch.status}; files can be uploaded only while it is loading."
        raise Problem(problems.WRONG_ACTION, message, batches.RESOURCE, batch.id)
    return batch


def find_batch(session: Session, caller: Caller, batch_id: str, dataset_id: str) -> Batch:
    """The batch, for reading its uploaded files; raises 1439."""
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    batch = batch_documents.find(session, caller, batch_id)
    _check_dataset(batch, dataset_id)
    return batch


def check_room(session: Session, caller: Caller, target: UploadTarget, size: int) -> None:
    """Raise, before the upload, the errors that `put` would raise after it."""
    _check_limits(session, lock_for_upload(session, caller, target), target.name, size)


def put(
    session: Session, caller: Caller, target: UploadTarget, size: int, now_ms: int, object_id: str | None = None
) -> bool:
    """Record a complete upload, replacing a file of the same name. Returns whether the file is new.

    `object_id`: of the object that has the file, where uploads are in an object store.
    """
    batch = lock_for_upload(session, caller, target)
    _check_limits(session, batch, target.name, size)
    objects: UploadedObjects | None = None
    if object_id is not None:
        objects = {"upload": object_id, "parts": [(object_id, 0, size - 1)] if size else []}
    return _store(session, caller, batch, target.name, size, now_ms, objects, complete=True)


def initialize(session: Session, caller: Caller, target: UploadTarget, uploads: Uploads, now_ms: int) -> None:
    """Start a multi-part upload of a file; earlier parts are discarded."""
    batch = lock_for_upload(session, caller, target)
    _check_limits(session, batch, target.name, 0)
    objects: UploadedObjects | None = {"upload": uuid4().hex, "parts": []} if uploads.keeps_objects else None
    _store(session, caller, batch, target.name, 0, now_ms, objects, complete=False)
    uploads.start(target.batch_id, target.name)


def expect_part(session: Session, caller: Caller, target: UploadTarget, part: UploadedRange) -> str | None:
    """Raise, before the upload, the errors that `record_part` would raise after it.

    Returns the id of the file's upload, where uploads are in an object store.
    """
    row = _check_part(session, lock_for_upload(session, caller, target), target.name, part)
    return row.objects["upload"] if row.objects is not None else None


def record_part(
    session: Session,
    caller: Caller,
    target: UploadTarget,
    part: UploadedRange,
    now_ms: int,
    stored: StoredPart | None = None,
) -> Json:
    """Record an uploaded part; returns the file's document. Parts may repeat and overlap."""
    batch = lock_for_upload(session, caller, target)
    row = _check_part(session, batch, target.name, part)
    if stored is not None:
        row.objects = _with_part(row, stored, part)
    row.total = part.total or row.total
    row.received = _merge(row.received, part)
    row.size = sum(last - first + 1 for first, last in row.received)
    row.updated_at = now_ms
    batches.touch(batch, caller, now_ms)
    return render(row)


def finish(session: Session, caller: Caller, target: UploadTarget, now_ms: int) -> BatchFile:
    """Complete a multi-part upload; raises 1422 with the missing bytes."""
    batch = lock_for_upload(session, caller, target)
    row = find(session, target)
    if row.complete:
        return row
    total = row.total or (row.received[-1][1] + 1 if row.received else 0)
    if row.received != [[0, total - 1]]:
        missing = _gaps(row.received, total)
        raise Problem(problems.WRONG_ACTION, f"File {row.name} is incomplete. Missing: {missing}.")
    row.complete, row.size, row.total = True, total, total
    row.updated_at = now_ms
    batches.touch(batch, caller, now_ms)
    return row


def find(session: Session, target: UploadTarget) -> BatchFile:
    """The uploaded file; raises 1439."""
    row = session.get(BatchFile, (target.batch_id, target.name))
    if row is None:
        raise problems.not_found(_RESOURCE, target.name)
    return row


def all_of(session: Session, batch_id: str) -> list[BatchFile]:
    """The batch's files, ordered by name."""
    return list(session.scalars(select(BatchFile).filter_by(batch_id=batch_id).order_by(BatchFile.name)))


def input_files(
    session: Session, batch: Batch, uploads: Uploads, input_format: batches.InputFormat | None = None
) -> list[InputFile]:
    """The batch's complete files, ordered by name, with the batch's format or `input_format`."""
    input_format = input_format or batches.read_format(batch.input_format)
    kinds: dict[str, Kind] = {
        "parquet": "parquet",
        "csv": "csv",
        "json": "json" if input_format.is_multi_line_json else "ndjson",
    }
    return [
        InputFile(content(uploads, row), kinds[input_format.format], row.name)
        for row in all_of(session, batch.id)
        if row.complete
    ]


def content(uploads: Uploads, row: BatchFile) -> Content:
    """The complete file."""
    return uploads.content(row.batch_id, row.name, [] if row.objects is None else row.objects["parts"])


def render(row: BatchFile) -> Json:
    """The file as the API shows it."""
    return {"name": row.name, "sizeInBytes": row.size}


def ranges(row: BatchFile) -> str | None:
    """The received bytes in the form of a `Range` header; None when there are none."""
    received = [[0, row.size - 1]] if row.complete and row.size else row.received
    return f"bytes={','.join(f'{first}-{last}' for first, last in received[:_SHOWN_RANGES])}" if received else None


def _check_dataset(batch: Batch, dataset_id: str) -> None:
    if batch.dataset_id == dataset_id:
        # Imports of the pages upload files before their new dataset exists: both are `NO_DATASET` then.
        return
    if batch.dataset_id == batches.NO_DATASET:
        message = f"Batch {batch.id} has no dataset; PATCH its relatedObjects in Catalog first."
        raise Problem(problems.WRONG_ACTION, message, batches.RESOURCE, batch.id)
    raise problems.not_found("dataSets", dataset_id)


def _check_limits(session: Session, batch: Batch, name: str, size: int) -> None:
    others = select(func.count(), func.coalesce(func.sum(func.coalesce(BatchFile.total, BatchFile.size)), 0)).where(
        BatchFile.batch_id == batch.id, BatchFile.name != name
    )
    count, stored = session.execute(others).one()
    if count >= _MAX_FILES:
        raise problems.of_field("/filePath", f"exceeds the limit of {_MAX_FILES} files per batch")
    if int(stored) + size > LARGEST_BATCH:
        raise too_large(LARGEST_BATCH, "A batch")


def _store(
    session: Session,
    caller: Caller,
    batch: Batch,
    name: str,
    size: int,
    now_ms: int,
    objects: UploadedObjects | None,
    *,
    complete: bool,
) -> bool:
    row = session.get(BatchFile, (batch.id, name))
    is_new = row is None
    if row is None:
        row = BatchFile(batch_id=batch.id, name=name)
        session.add(row)
    row.complete, row.size, row.total, row.received, row.updated_at = complete, size, None, [], now_ms
    row.objects = objects
    batches.touch(batch, caller, now_ms)
    return is_new


def _check_part(session: Session, batch: Batch, name: str, part: UploadedRange) -> BatchFile:
    row = find(session, UploadTarget(batch.id, batch.dataset_id, name))
    if row.complete:
        raise Problem(
            problems.WRONG_ACTION, f"File {name} is complete. To upload it again, use action=INITIALIZE first."
        )
    if part.total is not None and row.total not in (None, part.total):
        raise problems.of_field("/Content-Range", f"has the total size {part.total}, but earlier parts had {row.total}")
    if (row.total is not None and part.last >= row.total) or (part.total and _end(row) > part.total):
        raise Problem(problems.BAD_RANGE, f"The range is not within the {row.total or part.total} bytes of the file.")
    if len(_merge(row.received, part)) > _MAX_RANGES:
        raise problems.of_field(
            "/Content-Range", f"leads to more than {_MAX_RANGES} separate ranges; send parts in order"
        )
    _check_limits(session, batch, name, max(_end(row), part.last + 1, part.total or 0))
    return row


def _with_part(row: BatchFile, stored: StoredPart, part: UploadedRange) -> UploadedObjects:
    """The file's objects with one more; those that it covers are left out. Raises 1422 and 1452."""
    if row.objects is None or row.objects["upload"] != stored.upload:
        raise Problem(problems.WRONG_ACTION, f"The upload of file {row.name} was restarted. Send the part again.")
    kept = [one for one in row.objects["parts"] if not part.first <= one[1] <= one[2] <= part.last]
    if len(kept) >= _MAX_OBJECTS:
        raise problems.of_field("/Content-Range", f"is part {_MAX_OBJECTS + 1} of the file; send larger parts")
    return {"upload": stored.upload, "parts": [*kept, (stored.object_id, part.first, part.last)]}


def _end(row: BatchFile) -> int:
    return row.received[-1][1] + 1 if row.received else 0


def _merge(received: list[list[int]], part: UploadedRange) -> list[list[int]]:
    """Add a range; adjacent and overlapping ranges are merged. The result is sorted."""
    merged: list[list[int]] = []
    for first, last in sorted([*received, [part.first, part.last]]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = [merged[-1][0], max(merged[-1][1], last)]
        else:
            merged.append([first, last])
    return merged


def _gaps(received: list[list[int]], total: int) -> str:
    edges = [-1, *(edge for one in received for edge in one), total]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    gaps = [f"{before + 1}-{after - 1}" for before, after in pairs if after - before > 1]
    return f"bytes {', '.join(gaps[:10])}" if gaps else "all of it"
