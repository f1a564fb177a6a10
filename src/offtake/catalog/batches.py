"""Batches: what was sent together and comes into a dataset as one (contract, section 24)."""

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
from offtake.contract.bodies import Body, Json, Sent
from offtake.contract.caller import MANAGE_DATASETS, Caller
from offtake.contract.problems import Problem
from offtake.lake.ingest import CommittedBatch
from offtake.store import batches as store
from offtake.store.tables import Batch, BatchFile, Dataset

RESOURCE: Final = "batches"
_FIRST_VERSION: Final = "1.0.0"
_MAX_PREDECESSORS: Final = 100
_NAMED_FILES: Final = 5
NO_DATASET: Final = ""
"""The dataset of batches that Catalog made without one."""
_NO_FORMAT: Final[Json] = {"isMultiLineJson": False}

Action = Literal["COMPLETE", "ABORT", "FAIL", "REVERT"]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _without_dollar(value: object) -> object:
    # The vendor has clients mark ids in requests with a dollar sign.
    return value.removeprefix("$") if isinstance(value, str) else value


BatchRef = Annotated[str, BeforeValidator(_without_dollar)]


class InputFormat(FileOptions):
    """What the files are, and how they are read."""

    format: Annotated[Literal["json", "parquet", "csv"], BeforeValidator(_lower)]
    is_multi_line_json: bool = False


class Replacement(Body):
    """Which batches the new one takes the place of."""

    predecessors: list[BatchRef] = Field(default=[], max_length=_MAX_PREDECESSORS)
    predecessors_by_external_id: list[BatchRef] = Field(default=[], max_length=_MAX_PREDECESSORS)
    reason: Annotated[Literal["replace"], BeforeValidator(_lower)] = "replace"


class BatchFields(Body):
    """What every batch is made with. No row is left out, whatever `partialIngestionPercentage` allows."""

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
    """A batch that files can be sent for."""
    asked = bodies.parse_body(NewBatch, sent)
    return make(session, caller, asked, asked.dataset_id, asked.input_format, now_ms)


def make(
    session: Session,
    caller: Caller,
    asked: BatchFields,
    dataset_id: str | None,
    input_format: InputFormat | None,
    now_ms: int,
) -> Batch:
    """Store a batch; raises 1439 for an unknown dataset, 1452 for predecessors that are not in it.

    Catalog makes batches without a dataset or a format; both are given before files come in.
    """
    caller.require(MANAGE_DATASETS)
    dataset = None if dataset_id is None else datasets.get(session, caller, dataset_id)
    row = new(NO_DATASET if dataset is None else dataset.id, caller, now_ms)
    row.input_format = dump_format(input_format)
    row.external_id = None if asked.external_id is None else unicodedata.normalize("NFC", asked.external_id)
    row.error_diagnostics = asked.enable_error_diagnostics or (dataset is not None and dataset.error_diagnostics)
    row.failed_percentage = asked.partial_ingestion_percentage
    row.tags = asked.tags or {}
    row.replaces = _predecessors(session, dataset, asked.replay)
    row.evolve = asked.evolve
    session.add(row)
    session.flush()
    audit.record(
        session, caller, now_ms, "create", (RESOURCE, row.id), after={"dataset": row.dataset_id, "status": row.status}
    )
    return row


def read_format(said: Json) -> InputFormat:
    """What the files of a batch are said to be; raises `Problem` naming what cannot be."""
    return bodies.parse_document(InputFormat, said)


def dump_format(said: InputFormat | None) -> Json:
    """The format as it is stored; raises 1452 for options of another format. An import has nothing there at all."""
    if said is None:
        return dict(_NO_FORMAT)
    given = said.given_for_csv()
    if said.format != "csv" and given:
        raise problems.of_field(f"/inputFormat/{given[0]}", f"is for CSV files only, and the format is {said.format}")
    return said.model_dump(by_alias=True, exclude_none=True)


def has_format(batch: Batch) -> bool:
    """Whether it is known what the files sent for the batch are."""
    return "format" in batch.input_format


def new(dataset_id: str, caller: Caller, now_ms: int) -> Batch:
    """The row of a batch of which is known only where it belongs; as it is, an import."""
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
    """Whether the batch is of files of this machine, which no server has; each tells by its name what it is."""
    return not batch.input_format


def act(session: Session, caller: Caller, batch: Batch, action: Action, now_ms: int) -> None:
    """Bring the batch on its way, or drop it. What has been done before is not done again; raises 1422.

    `batch` is locked. What was sent for a dropped batch is the caller's to remove afterwards.
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
    done: dict[Action, audit.Action] = {"COMPLETE": "complete", "REVERT": "revert", "ABORT": "abort", "FAIL": "abort"}
    audit.record(
        session, caller, now_ms, done[action], (RESOURCE, batch.id),
        before={"status": before}, after={"status": batch.status},
    )  # fmt: skip


def touch(batch: Batch, caller: Caller, now_ms: int) -> None:
    """Stamp a change."""
    batch.updated_at, batch.updated_by, batch.updated_client = now_ms, caller.account_id, caller.client_id
    batch.version = store.next_version(batch.version)


def complete_committed(batch: Batch) -> CommittedBatch | None:
    """What of the batch is in its dataset; None without rows."""
    return None if batch.snapshot_id is None else CommittedBatch(batch.id, batch.snapshot_id, batch.rows)


def mark_replaced(session: Session, batch: Batch) -> tuple[CommittedBatch, ...]:
    """What the batch takes the place of, as far as it is still there."""
    wanted = select(Batch).where(Batch.id.in_(batch.replaces), Batch.status == store.SUCCESS).order_by(Batch.id)
    return tuple(found for one in session.scalars(wanted) if (found := complete_committed(one)) is not None)


def _predecessors(session: Session, dataset: Dataset | None, replay: Replacement | None) -> list[str]:
    if replay is None:
        return []
    if dataset is None:
        raise problems.of_field("/relatedObjects", "must name the dataset of the batches to replace", missing=True)
    of_dataset = select(Batch).where(Batch.dataset_id == dataset.id)
    found: dict[str, Batch] = {}
    for path, column, wanted in (
        ("predecessors", Batch.id, replay.predecessors),
        ("predecessorsByExternalId", Batch.external_id, replay.predecessors_by_external_id),
    ):
        rows = session.scalars(of_dataset.where(column.in_(wanted))).all()
        known = {row.id if column is Batch.id else row.external_id: row for row in rows}
        for index, one in enumerate(wanted):
            row = known.get(one)
            if row is None or row.status != store.SUCCESS:
                state = "does not exist in the dataset" if row is None else f"is {row.status}, not success"
                raise problems.of_field(f"/replay/{path}/{index}", f"batch {one[:100]} {state}")
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
            "/relatedObjects", f"of batch {batch.id} name no dataset that it comes into", missing=True
        )
    if not has_format(batch) and session.scalar(select(BatchFile.name).filter_by(batch_id=batch.id).limit(1)):
        raise problems.of_field("/inputFormat", f"of batch {batch.id} does not say what its files are", missing=True)
    incomplete = select(BatchFile.name).filter_by(batch_id=batch.id, complete=False).order_by(BatchFile.name)
    names = session.scalars(incomplete.limit(_NAMED_FILES)).all()
    if names:
        message = f"Files of batch {batch.id} have not come in whole: {', '.join(names)}. Send what is missing first."
        raise Problem(problems.WRONG_ACTION, message, RESOURCE, batch.id)
    batch.status = store.STAGED


def _drop(batch: Batch, action: Action) -> None:
    ended = store.ABORTED if action == "ABORT" else store.FAILED
    if batch.status == ended:
        return
    if batch.status not in (store.LOADING, store.STAGED) or batch.snapshot_id is not None:
        raise _wrong_action(batch, "dropped")
    batch.status = ended
    if action == "FAIL":
        batch.errors = [{"code": "INGEST-1499-400", "description": "The client marked the batch as failed."}]


def _revert(batch: Batch) -> None:
    if batch.status == store.INACTIVE or (batch.status in store.OPEN and batch.snapshot_id is not None):
        return
    if batch.status != store.SUCCESS:
        raise _wrong_action(batch, "reverted")
    batch.errors = []
    # Whoever makes snapshots takes it from here: a batch that waits and has a snapshot is one to take out.
    batch.status = store.INACTIVE if batch.snapshot_id is None else store.STAGED


def _wrong_action(batch: Batch, done: str) -> Problem:
    return Problem(
        problems.WRONG_ACTION, f"Batch {batch.id} is {batch.status}; it cannot be {done}.", RESOURCE, batch.id
    )
