"""Batches changed through Catalog, as far as that makes sense: ingestion brings them on their way (section 23)."""

from typing import Annotated

from pydantic import Field, StrictBool, StringConstraints
from sqlalchemy.orm import Session

from offtake.flows import audit, batches, entities, problems
from offtake.flows.access import MANAGE_DATASETS, Caller
from offtake.flows.batches import RESOURCE, InputFormat, NewBatch, Replay
from offtake.flows.datasets import Short, Tags
from offtake.flows.entities import Body, Sent
from offtake.store import batches as store
from offtake.store.tables import Batch


class RelatedObject(Body):
    """What a batch has to do with."""

    type: Short
    id: Short


class CatalogBatch(Body):
    """`POST /batches`; the dataset is among the related objects."""

    status: Short = store.LOADING
    related_objects: list[RelatedObject] = Field(default=[], max_length=100)
    input_format: InputFormat
    external_id: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    tags: Tags | None = Field(default=None, max_length=1000)
    replay: Replay | None = None
    evolve: StrictBool = False


class BatchChange(Body):
    """`PATCH` and `PUT`: tags change so, states by what is done with a batch."""

    status: Short | None = None
    tags: Tags | None = Field(default=None, max_length=1000)


def create(session: Session, caller: Caller, sent: Sent, now_ms: int) -> Batch:
    """A batch that files can be sent for."""
    asked = entities.parse_body(CatalogBatch, sent)
    if asked.status not in (store.LOADING, "active"):
        raise problems.of_field("/status", "must be loading: files are sent for a batch, which is completed later")
    dataset_ids = [one.id for one in asked.related_objects if one.type == "dataSet"]
    if len(dataset_ids) != 1:
        raise problems.of_field("/relatedObjects", "must name one object of type dataSet", missing=not dataset_ids)
    wanted = asked.model_dump(by_alias=True, exclude={"status", "related_objects"}, exclude_none=True)
    return batches.make(session, caller, NewBatch.model_validate(wanted | {"datasetId": dataset_ids[0]}), now_ms)


def change(session: Session, caller: Caller, batch: Batch, sent: Sent, now_ms: int, *, whole: bool) -> None:
    """The batch's tags: those that are sent, or all of them."""
    caller.require(MANAGE_DATASETS)
    asked = entities.parse_body(BatchChange, sent)
    if asked.status is not None and asked.status != batch.status:
        raise problems.of_field(
            "/status", f"is {batch.status}; it changes by POST /data/foundation/import/batches/{batch.id}?action=…"
        )
    before = batch.tags
    batch.tags = (asked.tags or {}) if whole else batch.tags | (asked.tags or {})
    batches.touch(batch, caller, now_ms)
    was, now = {"tags": before}, {"tags": batch.tags}
    audit.record(session, caller, now_ms, "update", (RESOURCE, batch.id), before=was, after=now)


def withdraw(session: Session, caller: Caller, batch: Batch, now_ms: int) -> None:
    """`DELETE`: rows that are in are taken out again, files that are not are dropped; what is over stays."""
    caller.require(MANAGE_DATASETS)
    if batch.status == store.SUCCESS:
        batches.act(session, caller, batch, "REVERT", now_ms)
    elif batch.status in store.OPEN and batch.snapshot_id is None:
        batches.act(session, caller, batch, "ABORT", now_ms)
