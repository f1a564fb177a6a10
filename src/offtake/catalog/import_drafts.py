"""Imports in the pages: files are uploaded to a batch, checked with options that may change, then committed.

Until it is committed, a draft is a batch in status `loading` without a format, and without a dataset if that is new:
the commit creates the dataset in the same transaction. Drafts without an upload for seven days are abandoned, as all
batches are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import audit
from offtake.catalog import (
    batch_documents,
    batch_edits,
    batches,
    column_types,
    datasets,
    duplicate_content,
    upload_preview,
    uploaded_files,
)
from offtake.catalog.batches import NO_DATASET, InputFormat
from offtake.catalog.column_types import Column
from offtake.catalog.file_options import parse_options
from offtake.contract import problems
from offtake.contract.caller import MANAGE_DATASETS, Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import DeliveryError
from offtake.lake.parsers import Parsers
from offtake.lake.parsing.files import ALLOWED, InputFile, Kind, kind_of
from offtake.lake.uploads import Uploads
from offtake.store import batches as store
from offtake.store.conditions import LOADING_BATCH
from offtake.store.database import Database
from offtake.store.tables import Batch, BatchFile, Dataset

_BLANK: Final = b" \t\r\n\xef\xbb\xbf"
_SPREADSHEETS: Final = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")
_EXCEL: Final = "In Excel: File → Save as → CSV UTF-8"
_MOST_NUMBERED: Final = 100
_FORMATS: Final[Mapping[Kind, str]] = {"csv": "csv", "parquet": "parquet", "ndjson": "json", "json": "json"}


@dataclass(frozen=True)
class Draft:
    """Uploaded files that are not imported yet. `dataset`: None for a new one."""

    batch: Batch
    dataset: Dataset | None
    files: Sequence[BatchFile]

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class SameContent:
    """A batch of the dataset with the same files and options. `at_ms`: its end, or its start if it has not ended."""

    batch_id: str
    is_imported: bool
    at_ms: int


@dataclass(frozen=True)
class Checked:
    """The result of a dry run. `same`: the batch with the same content; None without one."""

    effect: Json
    same: SameContent | None


def begin(session: Session, caller: Caller, id_or_name: str, now_ms: int) -> Batch:
    """A new draft for the dataset with that id or name, or for a new dataset. Raises 1452 for an invalid name."""
    caller.require(MANAGE_DATASETS)
    found = datasets.find(session, caller, check_name(id_or_name))
    if found is not None:
        datasets.check_writable(found)
    related = [] if found is None else [{"type": "dataSet", "id": found.id}]
    return batch_edits.create(session, caller, {"status": store.LOADING, "relatedObjects": related}, now_ms)


def check_name(name: str) -> str:
    """The name of a dataset in its normal form; raises 1452."""
    try:
        return datasets.normalize_name(name)
    except ValueError as error:
        raise problems.of_field("/name", str(error)) from None


def check_file_name(name: str) -> Kind:
    """The format of a file by its name; raises 1452 for an unknown one."""
    kind = kind_of(name)
    if kind is None:
        advice = f". {_EXCEL}" if name.lower().endswith(_SPREADSHEETS) else ""
        raise problems.of_field("/file", f"{name[:200]} has an unknown format; its name must end in {ALLOWED}{advice}")
    return kind


def find(session: Session, caller: Caller, batch_id: str) -> Draft:
    """The draft; raises 1439, and 1422 when it has no complete file or is no draft any more."""
    caller.require(MANAGE_DATASETS)
    batch = batch_documents.find(session, caller, batch_id)
    files = [file for file in uploaded_files.all_of(session, batch.id) if file.complete]
    if batch.status != store.LOADING or batches.is_import(batch) or not files:
        message = f"Batch {batch.id} is {batch.status} and has {len(files)} files; there is nothing to review."
        raise Problem(problems.WRONG_ACTION, message, batches.RESOURCE, batch.id)
    dataset = None if batch.dataset_id == NO_DATASET else datasets.get(session, caller, batch.dataset_id)
    return Draft(batch, dataset, files)


def has_format(draft: Draft) -> bool:
    """Whether the format was set before the review, as by the API; then the options do not matter."""
    return batches.has_format(draft.batch)


def unfinished(session: Session, caller: Caller, most: int) -> list[Draft]:
    """The caller's own drafts, the latest first."""
    caller.require(MANAGE_DATASETS)
    mine = select(Batch).where(LOADING_BATCH, batch_documents.visible_to(caller))
    own = mine.where(Batch.created_client == caller.client_id).order_by(Batch.updated_at.desc(), Batch.id).limit(most)
    drafts = []
    for batch in session.scalars(own).all():
        files = [file for file in uploaded_files.all_of(session, batch.id) if file.complete]
        if files and not batches.has_format(batch):
            drafts.append(Draft(batch, session.get(Dataset, batch.dataset_id), files))
    return drafts


def read_options(uploads: Uploads, draft: Draft, sent: Json) -> InputFormat:
    """The format and its options: the batch's own, else as sent, else by the first file. Raises `Problem`."""
    if batches.has_format(draft.batch):
        return batches.read_format(draft.batch.input_format)
    first = draft.files[0]
    kind = check_file_name(first.name)
    if "format" in sent:
        shape = sent
    else:
        if kind == "ndjson" and _begins_with(uploads, first, b"["):
            kind = "json"
        shape = {**sent, "format": _FORMATS[kind], "isMultiLineJson": kind == "json"}
    if shape["format"] != "csv":
        shape = {name: value for name, value in shape.items() if name not in _CSV_ONLY}
    return batches.read_format(shape)


_CSV_ONLY: Final = ("delimiter", "quote", "escape", "nullMarker", "header", "charset")


def first_rows(parsers: Parsers, uploads: Uploads, draft: Draft, shape: InputFormat, most: int) -> Json:
    """Columns and first rows of the first file, as text; raises 1452 with the reason."""
    first = draft.files[0]
    kind: Kind = "ndjson"
    if shape.format != "json":
        kind = shape.format
    elif shape.is_multi_line_json:
        kind = "json"
    file = InputFile(uploaded_files.content(uploads, first), kind, first.name)
    preview: Json = upload_preview.rows(parsers, file, shape, str(most))["preview"]
    return preview


def check(
    database: Database,
    parsers: Parsers,
    uploads: Uploads,
    caller: Caller,
    draft: Draft,
    shape: InputFormat,
    *,
    evolve: bool,
) -> Checked:
    """Read every row and compare it with the dataset; writes nothing. Raises 1452 with the reason of a refusal."""
    dataset_id = draft.batch.dataset_id
    with database.reading() as session:
        request = upload_preview.load_dry_run(
            session, caller, uploads, draft.batch.id, dataset_id, shape, evolve=evolve
        )
    paths = [file.path for file in request.files]
    with duplicate_content.hashing(paths, parse_options(shape)) as content:
        effect = upload_preview.dry_run(parsers, request)
        known = "" if draft.dataset is None else content.result()
    with database.reading() as session:
        same = store.with_content(session, dataset_id, known, (draft.batch.id,)) if known else None
        if same is None:
            return Checked(effect, None)
        done = same.status == store.SUCCESS
        return Checked(effect, SameContent(same.id, done, same.completed_at or same.created_at))


def commit(
    session: Session, caller: Caller, batch_id: str, name: str, shape: InputFormat, now_ms: int, *, evolve: bool
) -> Batch:
    """Complete the draft with these options; creates its dataset, with that name, if it is new.

    Raises 3409 when the name is taken by now, 1422 when the draft was committed or discarded meanwhile.
    """
    draft = find(session, caller, batch_id)
    dataset = draft.dataset
    if dataset is None:
        dataset = datasets.create(session, caller, {"name": check_name(name)}, now_ms, unique_name=True)
    # Locked last: all transactions lock datasets before their batches.
    batch = batch_documents.find(session, caller, batch_id, lock=True)
    batch.evolve = batch.evolve or evolve
    change: Json = {
        "status": store.SUCCESS,
        "inputFormat": batches.dump_format(shape),
        "relatedObjects": [{"type": "dataSet", "id": dataset.id}],
    }
    batch_edits.change(session, caller, batch, change, now_ms, whole=False)
    return batch


def detach(session: Session, caller: Caller, batch_id: str, now_ms: int) -> str:
    """Make the draft one for a new dataset instead of an existing one; returns a name that no dataset has yet.

    Raises 1422 when the draft was committed or discarded meanwhile, or has a format already, as one of the API.
    """
    draft = find(session, caller, batch_id)
    batch = batch_documents.find(session, caller, batch_id, lock=True)
    if batch.status != store.LOADING or batches.has_format(batch):
        message = f"Batch {batch.id} is for dataset {batch.dataset_id}, which cannot be changed any more."
        raise Problem(problems.WRONG_ACTION, message, batches.RESOURCE, batch.id)
    before, after = {"datasetId": batch.dataset_id}, {"datasetId": NO_DATASET}
    batch.dataset_id = NO_DATASET
    batches.touch(batch, caller, now_ms)
    audit.record(session, caller, now_ms, "update", (batches.RESOURCE, batch.id), before=before, after=after)
    return free_name(session, caller, draft.dataset.name if draft.dataset else "")


def free_name(session: Session, caller: Caller, name: str) -> str:
    """A name that no dataset has: `name` with the first free number; empty if there are very many."""
    numbered = (f"{name} {number}" for number in range(2, _MOST_NUMBERED))
    return next((one for one in numbered if not datasets.is_name_taken(session, caller, one)), "")


def parse_types(text: str) -> dict[str, str]:
    """The types in lines of `name:type` or `name type`; raises 1452."""
    found = {}
    for column in parse_columns(text, "/columnTypes"):
        if column["required"]:
            raise problems.of_field("/columnTypes", f"{column['name']}: required is for new datasets only")
        found[column["name"]] = column["type"]
    return found


def parse_columns(text: str, path: str) -> list[Json]:
    """The columns in lines of `name type` or `name:type`, with `required` after the type; raises 1452."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            column = _parse_column(line.strip())
        except column_types.ColumnTypeError as error:
            raise problems.of_field(path, f"Line {number}: {error}") from None
        found.append({"name": column.name, "type": column.type, "required": column.required})
    return found


def _parse_column(line: str) -> Column:
    """The column in a line of `name:type` or `name type`; both forms may end in `required`."""
    try:
        return column_types.split_column(line)
    except column_types.ColumnTypeError:
        name, _, kind = line.partition(" ")
        if ":" in name or not kind:
            raise
        is_required = kind.endswith(" required")
        return column_types.split_column(f"{name}:{kind.removesuffix(' required').strip()}{':required' * is_required}")


def _begins_with(uploads: Uploads, file: BatchFile, token: bytes) -> bool:
    try:
        with InputFile(uploaded_files.content(uploads, file), "json", file.name).open() as stream:
            return bytes(stream.read(4096)).lstrip(_BLANK).startswith(token)
    except (OSError, DeliveryError):
        # The parsers report what is wrong with the file.
        return False
