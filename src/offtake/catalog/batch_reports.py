"""Report files of a batch: its uploaded files, and its errors (contract, section 25)."""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy.orm import Session

from offtake.catalog import batch_documents, uploaded_files
from offtake.contract import problems
from offtake.contract.caller import MANAGE_DATASETS, VIEW_DATASETS, Caller

Files = dict[str, bytes]

ERRORS: Final = "row_errors/errors.json"
_SAMPLE: Final = "row_errors_sample.json"


def all_files(session: Session, caller: Caller, batch_id: str) -> Files:
    """All report files of the batch, by name: NDJSON."""
    errors = error_files(session, caller, batch_id)
    sent = (
        {"path": row.name, "size": row.size, "complete": row.complete}
        for row in uploaded_files.all_of(session, batch_id)
    )
    inputs = {f"input_files/{number:05d}.json": _lines([one]) for number, one in enumerate(sent)}
    return inputs | errors | dict.fromkeys([_SAMPLE] if errors else [], errors.get(ERRORS, b""))


def error_files(session: Session, caller: Caller, batch_id: str) -> Files:
    """The batch's errors by file and row. Refused rows are not stored: a batch is imported entirely or not at all."""
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    batch = batch_documents.find(session, caller, batch_id)
    return {ERRORS: _lines(batch.errors)} if batch.errors else {}


def files_in(files: Files, path: str) -> Files:
    """The files in a folder; raises 1439 when the folder does not exist."""
    folder = path.strip("/") + "/"
    found = {name: content for name, content in files.items() if name.startswith(folder)}
    if not found:
        raise problems.not_found("files", path[:200])
    return found


def _lines(documents: Iterable[Mapping[str, object]]) -> bytes:
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in documents)
