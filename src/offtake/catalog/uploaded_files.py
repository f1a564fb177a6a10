"""The files sent for a batch: whole, or in parts in any order (contract, section 24)."""

import unicodedata
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from offtake.catalog import batch_documents, batches
from offtake.contract import problems
from offtake.contract.bodies import Json
from offtake.contract.caller import MANAGE_DATASETS, VIEW_DATASETS, Caller
from offtake.contract.problems import Problem
from offtake.lake.parsing.files import InputFile, Kind
from offtake.lake.upload_folder import Uploads
from offtake.store import batches as store
from offtake.store.tables import Batch, BatchFile

LARGEST_WHOLE: Final = 256 * 1024 * 1024
LARGEST_PART: Final = 512_000_001
"""Bytes 0 to 512000000, both included."""
_MAX_BATCH_BYTES: Final = 100 * 10**9
_MAX_FILES: Final = 1500
_MAX_RANGES: Final = 1000
_SHOWN_RANGES: Final = 100
_MAX_NAME_LENGTH: Final = 1024
_UNSEEN: Final = ("Cc", "Cs", "Zl", "Zp")
_RESOURCE: Final = "files"


@dataclass(frozen=True)
class UploadTarget:
    """A file of a batch, as its address names it."""

    batch_id: str
    dataset_id: str
    name: str


@dataclass(frozen=True)
class UploadedRange:
    """Bytes `first` to `last` of a file, both included; `total` is the size of the whole, where it is said."""

    first: int
    last: int
    total: int | None

    @property
    def size(self) -> int:
        """How many bytes that is."""
        return self.last - self.first + 1


def upload_target(batch_id: str, dataset_id: str, name: str) -> UploadTarget:
    """The file that an address names; raises 1452 for a name that is no path below a folder."""
    composed = unicodedata.normalize("NFC", name)
    steps = composed.split("/")
    if not 1 <= len(composed) <= _MAX_NAME_LENGTH or any(step in ("", ".", "..") for step in steps) or "\\" in composed:
        raise problems.of_field(
            "/filePath",
            f"must be a path of 1 to {_MAX_NAME_LENGTH} characters without empty, . and .. steps and without \\",
        )
    if any(unicodedata.category(one) in _UNSEEN for one in composed):
        raise problems.of_field("/filePath", "holds a control character")
    return UploadTarget(batch_id, dataset_id, composed)


def check_range(sent: UploadedRange) -> None:
    """Raise 3413 for more bytes than a part, or a batch, may have."""
    if sent.size > LARGEST_PART:
        raise too_large(LARGEST_PART, "A part")
    if max(sent.last + 1, sent.total or 0) > _MAX_BATCH_BYTES:
        raise too_large(_MAX_BATCH_BYTES, "A batch")


def too_large(most: int, what: str) -> Problem:
    """More bytes than one request, or one batch, may bring."""
    return Problem(problems.TOO_LARGE, f"{what} may have at most {most} bytes; send larger files in parts.")


def writable(session: Session, caller: Caller, where: UploadTarget) -> Batch:
    """The batch, locked, if files can still be sent for it; raises 1422 and 1439."""
    caller.require(MANAGE_DATASETS)
    batch = batch_documents.find(session, caller, where.batch_id, lock=True)
    _check_dataset(batch, where.dataset_id)
    if batch.status != store.LOADING:
        message = f"Batch {batch.id} is {batch.status}; files can be sent only while it is loading."
        raise Problem(problems.WRONG_ACTION, message, batches.RESOURCE, batch.id)
    return batch


def readable(session: Session, caller: Caller, batch_id: str, dataset_id: str) -> Batch:
    """The batch, to look at what was sent for it."""
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    batch = batch_documents.find(session, caller, batch_id)
    _check_dataset(batch, dataset_id)
    return batch


def check_room(session: Session, caller: Caller, where: UploadTarget, size: int) -> None:
    """Raise before anything is sent what `put` would raise afterwards."""
    _check_limits(session, writable(session, caller, where), where.name, size)


def put(session: Session, caller: Caller, where: UploadTarget, size: int, now_ms: int) -> bool:
    """A file has come in whole; whether it is new. It takes the place of one of the same name."""
    batch = writable(session, caller, where)
    _check_limits(session, batch, where.name, size)
    return _store(session, caller, batch, where.name, size, now_ms, complete=True)


def initialize(session: Session, caller: Caller, where: UploadTarget, uploads: Uploads, now_ms: int) -> None:
    """A file is going to come in parts; what came of it before is forgotten."""
    batch = writable(session, caller, where)
    _check_limits(session, batch, where.name, 0)
    _store(session, caller, batch, where.name, 0, now_ms, complete=False)
    uploads.start(where.batch_id, where.name)


def expect_part(session: Session, caller: Caller, where: UploadTarget, coming: UploadedRange) -> None:
    """Raise before anything is sent what `record_part` would raise afterwards."""
    _take_part(session, writable(session, caller, where), where.name, coming)


def record_part(session: Session, caller: Caller, where: UploadTarget, come: UploadedRange, now_ms: int) -> Json:
    """A part has come in; the file as it is now. Parts may repeat and overlap."""
    batch = writable(session, caller, where)
    row = _take_part(session, batch, where.name, come)
    row.total = come.total or row.total
    row.received = _merge(row.received, come)
    row.size = sum(last - first + 1 for first, last in row.received)
    row.updated_at = now_ms
    batches.touch(batch, caller, now_ms)
    return render(row)


def finish(session: Session, caller: Caller, where: UploadTarget, now_ms: int) -> BatchFile:
    """All parts of a file have come in; raises 1422 naming what is missing."""
    batch = writable(session, caller, where)
    row = find(session, where)
    if row.complete:
        return row
    total = row.total or (row.received[-1][1] + 1 if row.received else 0)
    if row.received != [[0, total - 1]]:
        missing = _gaps(row.received, total)
        raise Problem(problems.WRONG_ACTION, f"File {row.name} has not come in whole. Missing: {missing}.")
    row.complete, row.size, row.total = True, total, total
    row.updated_at = now_ms
    batches.touch(batch, caller, now_ms)
    return row


def find(session: Session, where: UploadTarget) -> BatchFile:
    """The file; raises 1439."""
    row = session.get(BatchFile, (where.batch_id, where.name))
    if row is None:
        raise problems.not_found(_RESOURCE, where.name)
    return row


def all_of(session: Session, batch_id: str) -> list[BatchFile]:
    """The batch's files, by name."""
    return list(session.scalars(select(BatchFile).filter_by(batch_id=batch_id).order_by(BatchFile.name)))


def input_files(
    session: Session, batch: Batch, uploads: Uploads, said: batches.InputFormat | None = None
) -> list[InputFile]:
    """The batch's whole files, by name, as what they were said to be with the batch, or are `said` to be."""
    said = said or batches.read_format(batch.input_format)
    kinds: dict[str, Kind] = {
        "parquet": "parquet",
        "csv": "csv",
        "json": "json" if said.is_multi_line_json else "ndjson",
    }
    return [
        InputFile(uploads.path(batch.id, row.name), kinds[said.format], row.name)
        for row in all_of(session, batch.id)
        if row.complete
    ]


def render(row: BatchFile) -> Json:
    """The file as the API shows it."""
    return {"name": row.name, "sizeInBytes": row.size}


def ranges(row: BatchFile) -> str | None:
    """What has come in, as the header `Range` tells it; None when nothing has."""
    come = [[0, row.size - 1]] if row.complete and row.size else row.received
    return f"bytes={','.join(f'{first}-{last}' for first, last in come[:_SHOWN_RANGES])}" if come else None


def _check_dataset(batch: Batch, dataset_id: str) -> None:
    if batch.dataset_id == batches.NO_DATASET:
        message = f"Batch {batch.id} names no dataset; PATCH its relatedObjects in Catalog first."
        raise Problem(problems.WRONG_ACTION, message, batches.RESOURCE, batch.id)
    if batch.dataset_id != dataset_id:
        raise problems.not_found("dataSets", dataset_id)


def _check_limits(session: Session, batch: Batch, name: str, size: int) -> None:
    others = select(func.count(), func.coalesce(func.sum(func.coalesce(BatchFile.total, BatchFile.size)), 0)).where(
        BatchFile.batch_id == batch.id, BatchFile.name != name
    )
    count, stored = session.execute(others).one()
    if count >= _MAX_FILES:
        raise problems.of_field("/filePath", f"is one file too many: a batch has at most {_MAX_FILES}")
    if int(stored) + size > _MAX_BATCH_BYTES:
        raise too_large(_MAX_BATCH_BYTES, "A batch")


def _store(
    session: Session, caller: Caller, batch: Batch, name: str, size: int, now_ms: int, *, complete: bool
) -> bool:
    row = session.get(BatchFile, (batch.id, name))
    is_new = row is None
    if row is None:
        row = BatchFile(batch_id=batch.id, name=name)
        session.add(row)
    row.complete, row.size, row.total, row.received, row.updated_at = complete, size, None, [], now_ms
    batches.touch(batch, caller, now_ms)
    return is_new


def _take_part(session: Session, batch: Batch, name: str, coming: UploadedRange) -> BatchFile:
    row = find(session, UploadTarget(batch.id, batch.dataset_id, name))
    if row.complete:
        raise Problem(problems.WRONG_ACTION, f"File {name} is complete. To send it anew, use action=INITIALIZE first.")
    if coming.total is not None and row.total not in (None, coming.total):
        raise problems.of_field("/Content-Range", f"says the file has {coming.total} bytes, earlier parts {row.total}")
    if (row.total is not None and coming.last >= row.total) or (coming.total and _end(row) > coming.total):
        raise Problem(
            problems.BAD_RANGE, f"The range does not lie within the {row.total or coming.total} bytes of the file."
        )
    if len(_merge(row.received, coming)) > _MAX_RANGES:
        raise problems.of_field("/Content-Range", f"makes more than {_MAX_RANGES} pieces; send parts in order")
    _check_limits(session, batch, name, max(_end(row), coming.last + 1, coming.total or 0))
    return row


def _end(row: BatchFile) -> int:
    return row.received[-1][1] + 1 if row.received else 0


def _merge(received: list[list[int]], come: UploadedRange) -> list[list[int]]:
    """The ranges in order, those that touch or overlap made one."""
    made: list[list[int]] = []
    for first, last in sorted([*received, [come.first, come.last]]):
        if made and first <= made[-1][1] + 1:
            made[-1] = [made[-1][0], max(made[-1][1], last)]
        else:
            made.append([first, last])
    return made


def _gaps(received: list[list[int]], total: int) -> str:
    edges = [-1, *(edge for one in received for edge in one), total]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    gaps = [f"{before + 1}-{after - 1}" for before, after in pairs if after - before > 1]
    return f"bytes {', '.join(gaps[:10])}" if gaps else "all of it"
