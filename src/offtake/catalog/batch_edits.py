"""Creates and changes batches through the Catalog API (contract, section 23)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field
from sqlalchemy.orm import Session

from offtake.access import audit
from offtake.catalog import batches, datasets
from offtake.catalog.batches import RESOURCE, Action, BatchFields, InputFormat
from offtake.catalog.datasets import Short, Tags
from offtake.contract import bodies, problems
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import MANAGE_DATASETS, Caller
from offtake.contract.problems import Problem
from offtake.store import batches as store
from offtake.store.tables import Batch

_MAX_RELATED: Final = 100
_OPEN: Final = frozenset(("loading", "active", "processing", "queued", "retrying", "stalled", "staging"))
"""Statuses of an unfinished batch; ingestion determines which one it has."""
_WITHDRAWN: Final = frozenset(("inactive", "deleted"))
_ACTIONS: Final[Mapping[str, Action]] = {
    "success": "COMPLETE",
    "loaded": "COMPLETE",
    "staged": "COMPLETE",
    "aborted": "ABORT",
    "abandoned": "ABORT",
    "failed": "FAIL",
    "failure": "FAIL",
}


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Status = Annotated[
    Literal[
        "processing", "success", "failure", "queued", "retrying", "stalled", "aborted", "abandoned", "inactive",
        "failed", "loading", "loaded", "staged", "active", "staging", "deleted",
    ],
    BeforeValidator(_lower),
]  # fmt: skip


class RelatedObject(Body):
    """A reference to an object that the batch belongs to."""

    type: Short
    id: Short


class CatalogBatch(BatchFields):
    """`POST /batches`: only the status is required. A related object of type `dataSet` is the target of the rows."""

    status: Status
    related_objects: list[RelatedObject] = Field(default=[], max_length=_MAX_RELATED)
    input_format: InputFormat | None = None


class BatchChange(Body):
    """`PATCH`, `PUT` and `POST` of one batch. A status is an action: `success` completes it, `aborted` aborts it.

    The dataset and the format can be set once, while the batch is loading.
    """

    status: Status | None = None
    tags: Tags | None = Field(default=None, max_length=1000)
    related_objects: list[RelatedObject] = Field(default=[], max_length=_MAX_RELATED)
    input_format: InputFormat | None = None


def create(session: Session, caller: Caller, sent: Sent, now_ms: int, dataset_id: str | None = None) -> Batch:
    """Create a batch in status `loading`; `dataset_id` is used when the body has no dataset."""
    request = bodies.parse_body(CatalogBatch, sent)
    if request.status not in _OPEN:
        allowed = ", ".join(sorted(_OPEN))
        raise problems.of_field(
            "/status", f"must be one of {allowed}: files are sent to a new batch before it is completed"
        )
    related_id = _read_dataset(request.related_objects)
    return batches.make(session, caller, request, related_id or dataset_id, request.input_format, now_ms)


def change(session: Session, caller: Caller, batch: Batch, sent: Sent, now_ms: int, *, whole: bool) -> None:
    """Update the batch's tags (merged, or with `whole` replaced), unset dataset or format, and status."""
    caller.require(MANAGE_DATASETS)
    request = bodies.parse_body(BatchChange, sent)
    _fill_in(session, caller, batch, request)
    before = batch.tags
    batch.tags = (request.tags or {}) if whole else batch.tags | (request.tags or {})
    batches.touch(batch, caller, now_ms)
    before_tags, now = {"tags": before}, {"tags": batch.tags}
    audit.record(session, caller, now_ms, "update", (RESOURCE, batch.id), before=before_tags, after=now)
    if request.status is not None and request.status != batch.status:
        _execute(session, caller, batch, request.status, now_ms)


def withdraw(session: Session, caller: Caller, batch: Batch, now_ms: int) -> None:
    """`DELETE`: revert an imported batch, abort an open one; an ended one stays unchanged."""
    caller.require(MANAGE_DATASETS)
    if batch.status == store.SUCCESS:
        batches.act(session, caller, batch, "REVERT", now_ms)
    elif batch.status in store.OPEN and batch.snapshot_id is None:
        batches.act(session, caller, batch, "ABORT", now_ms)


def _execute(session: Session, caller: Caller, batch: Batch, status: str, now_ms: int) -> None:
    """Do the action that leads to the status; raises 1422 when no action does."""
    if status in _WITHDRAWN:
        withdraw(session, caller, batch, now_ms)
    elif status in _ACTIONS:
        batches.act(session, caller, batch, _ACTIONS[status], now_ms)
    elif not _is_consistent(batch, status):
        raise Problem(
            problems.WRONG_ACTION, f"Batch {batch.id} is {batch.status}; it cannot become {status}.", RESOURCE, batch.id
        )


def _is_consistent(batch: Batch, status: str) -> bool:
    """Whether a status without an action describes the batch's current state."""
    if status == "active":
        return batch.status in (*store.OPEN, store.SUCCESS)
    return batch.status in store.OPEN and status != store.LOADING


def _fill_in(session: Session, caller: Caller, batch: Batch, request: BatchChange) -> None:
    dataset_id = _read_dataset(request.related_objects)
    if dataset_id is not None and dataset_id != batch.dataset_id:
        if batch.dataset_id != batches.NO_DATASET or batch.status != store.LOADING:
            raise problems.of_field(
                "/relatedObjects", f"cannot be changed: the dataset of the batch is {batch.dataset_id or 'not set'}"
            )
        dataset = datasets.get(session, caller, dataset_id)
        datasets.check_writable(dataset)
        batch.dataset_id = dataset.id
    if request.input_format is None:
        return
    stored = batches.dump_format(request.input_format)
    if stored != batch.input_format:
        if batches.has_format(batch) or batch.status != store.LOADING:
            raise problems.of_field("/inputFormat", "can be set once, while the batch is loading")
        batch.input_format = stored


def _read_dataset(related: Sequence[RelatedObject]) -> str | None:
    dataset_ids = {one.id for one in related if one.type == "dataSet"}
    if len(dataset_ids) > 1:
        raise problems.of_field("/relatedObjects", "must name one object of type dataSet at most")
    return next(iter(dataset_ids), None)
