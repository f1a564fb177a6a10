"""Batches: files that are uploaded together and imported into a dataset as one unit (contract, section 24)."""

import unicodedata
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, StrictBool, StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session
from ulid import ULID

from offtake.access import audit
from offtake.catalog import datasets
from offtake.catalog.datasets import Short, Tags
from offtake.catalog.file_options import FileOptions
from offtake.contract import bodies, entities, problems
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import MANAGE_DATASETS, Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.lake.committed_batch import CommittedBatch
from offtake.store import batches as store
from offtake.store.tables import Batch, BatchFile, Dataset

RESOURCE: Final = "batches"
_FIRST_VERSION: Final = "1.0.0"
_MAX_PREDECESSORS: Final = 100
_NAMED_FILES: Final = 5
NO_DATASET: Final = ""
"""The dataset id of batches that were created without a dataset."""
_NO_FORMAT: Final[Json] = {"isMultiLineJson": False}

Action = Literal["COMPLETE", "ABORT", "FAIL", "REVERT"]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _without_dollar(value: object) -> object:
    # In the vendor's API, clients may prefix ids with a dollar sign.
    return value.removeprefix("$") if isinstance(value, str) else value


BatchRef = Annotated[str, BeforeValidator(_without_dollar)]


class InputFormat(FileOptions):
    """The format of the files, and the options to parse them."""

    format: Annotated[Literal["json", "parquet", "csv"], BeforeValidator(_lower)]
    is_multi_line_json: bool = False
    refuse_duplicates: bool | None = Field(
        default=None, description="true: refuse files that were imported into the dataset before (an extension)."
    )


class Replacement(Body):
    """The batches that the new one replaces."""

    predecessors: list[BatchRef] = Field(default=[], max_length=_MAX_PREDECESSORS)
    predecessors_by_external_id: list[BatchRef] = Field(default=[], max_length=_MAX_PREDECESSORS)
    reason: Annotated[Literal["replace"], BeforeValidator(_lower)] = "replace"


class BatchFields(Body):
    """Fields of every new batch. No row is skipped, even if `partialIngestionPercentage` allows it."""

    external_id: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    enable_error_diagnostics: bool = False
    partial_ingestion_percentage: float = Field(default=0, ge=0, le=100)
    tags: Tags | None = Field(default=None, max_length=1000)
    replay: Replacement | None = None
    evolve: StrictBool = False


class NewBatch(BatchFields):
    """`POST /batches`."""

    dataset_id: Short
    input_format: InputFormat


def create(session: Session, caller: Caller, sent: Sent, now_ms: int) -> Batch:
    """Create a batch in status `loading`."""
    request = bodies.parse_body(NewBatch, sent)
    return make(session, caller, request, request.dataset_id, request.input_format, now_ms)


def make(
    session: Session,
    caller: Caller,
    request: BatchFields,
    dataset_id: str | None,
    input_format: InputFormat | None,
    now_ms: int,
) -> Batch:
    """Store a batch; raises 1439 for an unknown dataset, 1452 for predecessors that are not in it.

    A batch created through Catalog may have no dataset or format yet; both are set before it is completed.
    """
    caller.require(MANAGE_DATASETS)
    dataset = None if dataset_id is None else datasets.get(session, caller, dataset_id)
    if dataset is not None:
        datasets.check_writable(dataset)
    row = new(NO_DATASET if dataset is None else dataset.id, caller, now_ms)
    row.input_format = dump_format(input_format)
    row.external_id = None if request.external_id is None else unicodedata.normalize("NFC", request.external_id)
    row.error_diagnostics = request.enable_error_diagnostics or (dataset is not None and dataset.error_diagnostics)
    row.failed_percentage = request.partial_ingestion_percentage
    row.tags = request.tags or {}
    row.replaces = _predecessors(session, dataset, request.replay)
    row.evolve = request.evolve
    session.add(row)
    session.flush()
    audit.record(
        session, caller, now_ms, "create", (RESOURCE, row.id), after={"dataset": row.dataset_id, "status": row.status}
    )
    return row


def read_format(document: Json) -> InputFormat:
    """Parse a stored or sent input format; raises `Problem` with the invalid fields."""
    return bodies.parse_document(InputFormat, document)


def dump_format(input_format: InputFormat | None) -> Json:
    """The format as stored; raises 1452 for CSV options of another format. Never empty: that marks an import."""
    if input_format is None:
        return dict(_NO_FORMAT)
    csv_options = input_format.csv_only_options()
    if input_format.format != "csv" and csv_options:
        raise problems.of_field(
            f"/inputFormat/{csv_options[0]}", f"is for CSV files only, and the format is {input_format.format}"
        )
    return input_format.model_dump(by_alias=True, exclude_none=True)


def has_format(batch: Batch) -> bool:
    """Whether the batch has an input format."""
    return "format" in batch.input_format


def new(dataset_id: str, caller: Caller, now_ms: int) -> Batch:
    """A batch row with defaults. Its empty `input_format` marks an import of local files (`is_import`)."""
    batch_id = str(ULID.from_timestamp(now_ms / 1000))
    stamp = entities.creation_columns(caller, now_ms) | {"id": batch_id, "version": _FIRST_VERSION}
    return Batch(
        **stamp,
        dataset_id=dataset_id,
        status=store.LOADING,
        input_format={},
        tags={},
        replaces=[],
        error_diagnostics=False,
        failed_percentage=0,
        input_rows=0,
        input_bytes=0,
        failed_rows=0,
        rows=0,
        bytes=0,
        errors=[],
        fence=0,
        evolve=False,
        notes=[],
        rewrites=False,
    )


def is_import(batch: Batch) -> bool:
    """Whether the batch imports local files of the command line, which servers cannot read."""
    return not batch.input_format


def act(session: Session, caller: Caller, batch: Batch, action: Action, now_ms: int) -> None:
    """Complete, abort, fail or revert the batch. Idempotent; raises 1422 when its status does not allow the action.

    The caller has locked `batch`, and removes the uploaded files of an aborted or failed batch afterwards.
    """
    caller.require(MANAGE_DATASETS)
    before = batch.status
    if action == "COMPLETE":
        _complete(session, batch)
    elif action == "REVERT":
        _revert(batch)
    else:
        _drop(batch, action)
    if batch.status == before:
        return
    touch(batch, caller, now_ms)
    if batch.status not in store.OPEN:
        batch.completed_at = now_ms
        store.record_event(session, "batch.cancelled", batch, now_ms, status=batch.status)
    done: dict[Action, audit.Action] = {"COMPLETE": "complete", "REVERT": "revert", "ABORT": "abort", "FAIL": "abort"}
    audit.record(
        session, caller, now_ms, done[action], (RESOURCE, batch.id),
        before={"status": before}, after={"status": batch.status},
    )  # fmt: skip


def touch(batch: Batch, caller: Caller, now_ms: int) -> None:
    """Set the update columns and the next version."""
    batch.updated_at, batch.updated_by, batch.updated_client = now_ms, caller.account_id, caller.client_id
    batch.version = store.next_version(batch.version)


def committed_batch(batch: Batch) -> CommittedBatch | None:
    """The batch as it was committed to the dataset; None without rows."""
    return None if batch.snapshot_id is None else CommittedBatch(batch.id, batch.snapshot_id, batch.rows)


def batches_to_replace(session: Session, batch: Batch) -> tuple[CommittedBatch, ...]:
    """The batches that this one replaces and whose rows are still in the dataset."""
    query = select(Batch).where(Batch.id.in_(batch.replaces), Batch.status == store.SUCCESS).order_by(Batch.id)
    return tuple(found for one in session.scalars(query) if (found := committed_batch(one)) is not None)


def _predecessors(session: Session, dataset: Dataset | None, replay: Replacement | None) -> list[str]:
    if replay is None:
        return []
    if dataset is None:
        raise problems.of_field("/relatedObjects", "must name the dataset of the batches to replace", missing=True)
    of_dataset = select(Batch).where(Batch.dataset_id == dataset.id)
    found: dict[str, Batch] = {}
    for path, column, ids in (
        ("predecessors", Batch.id, replay.predecessors),
        ("predecessorsByExternalId", Batch.external_id, replay.predecessors_by_external_id),
    ):
        rows = session.scalars(of_dataset.where(column.in_(ids))).all()
        known = {row.id if column is Batch.id else row.external_id: row for row in rows}
        for index, batch_ref in enumerate(ids):
            row = known.get(batch_ref)
            if row is None or row.status != store.SUCCESS:
                state = "does not exist in the dataset" if row is None else f"is {row.status}, not success"
                raise problems.of_field(f"/replay/{path}/{index}", f"batch {batch_ref[:100]} {state}")
            found[row.id] = row
    if not found:
        raise problems.of_field("/replay/predecessors", "must name the batches to replace", missing=True)
    return sorted(found)


def _complete(session: Session, batch: Batch) -> None:
    if batch.status in (store.STAGED, store.PROCESSING, store.SUCCESS):
        return
    if batch.status != store.LOADING:
        raise _wrong_action(batch, "completed")
    if batch.dataset_id == NO_DATASET:
        raise problems.of_field(
            "/relatedObjects", f"of batch {batch.id} must name the dataset to import into", missing=True
        )
    if not has_format(batch) and session.scalar(select(BatchFile.name).filter_by(batch_id=batch.id).limit(1)):
        raise problems.of_field(
            "/inputFormat", f"of batch {batch.id} must be set to the format of its files", missing=True
        )
    incomplete = select(BatchFile.name).filter_by(batch_id=batch.id, complete=False).order_by(BatchFile.name)
    names = session.scalars(incomplete.limit(_NAMED_FILES)).all()
    if names:
        message = f"Files of batch {batch.id} are incomplete: {', '.join(names)}. Upload the missing parts first."
        raise Problem(problems.WRONG_ACTION, message, RESOURCE, batch.id)
    batch.status = store.STAGED


def _drop(batch: Batch, action: Action) -> None:
    status = store.ABORTED if action == "ABORT" else store.FAILED
    if batch.status == status:
        return
    if batch.status not in (store.LOADING, store.STAGED) or batch.snapshot_id is not None:
        raise _wrong_action(batch, "aborted")
    batch.status = status
    if action == "FAIL":
        batch.errors = [{"code": "INGEST-1499-400", "description": "The client marked the batch as failed."}]


def _revert(batch: Batch) -> None:
    if batch.status == store.INACTIVE or (batch.status in store.OPEN and batch.snapshot_id is not None):
        return
    if batch.status != store.SUCCESS:
        raise _wrong_action(batch, "reverted")
    batch.errors = []
    # An ingestor claims it: a staged batch that has a snapshot already is to be reverted.
    batch.status = store.INACTIVE if batch.snapshot_id is None else store.STAGED


def _wrong_action(batch: Batch, done: str) -> Problem:
    return Problem(
        problems.WRONG_ACTION, f"Batch {batch.id} is {batch.status}; it cannot be {done}.", RESOURCE, batch.id
    )
