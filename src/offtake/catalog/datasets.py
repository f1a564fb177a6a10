"""Datasets: made, changed, deleted (contract, section 23.2). Their rows come in by batches, which make the table."""

import re
import secrets
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import audit, labels
from offtake.catalog import column_types
from offtake.contract import bodies, entities, json_patch, problems
from offtake.contract.bodies import Body, Json, Sent
from offtake.contract.caller import MANAGE_DATASETS, Caller
from offtake.contract.json_patch import Dialect
from offtake.contract.problems import Problem
from offtake.errors import OfftakeError
from offtake.lake.catalog import TableName
from offtake.store import json_queries, run_plans
from offtake.store.batches import forget_all_of, next_version
from offtake.store.tables import Dataset, Flow, Sandbox, SourceConnection

RESOURCE: Final = "dataSets"
_FIRST_VERSION: Final = "1.0.0"
_MAX_NAME_LENGTH: Final = 255
_UNSEEN: Final = ("Cc", "Cs", "Zl", "Zp")
_NAMED: Final = 10
_PARQUET: Final = {"persisted": True, "containerFormat": "parquet", "format": "parquet"}
_RECORDS: Final = {"dataBehavior": "record", "managedBy": "CUSTOMER"}
_PATCH: Final = Dialect(
    ops=("add", "replace", "remove", "test"),
    not_an_object=lambda number: problems.of_field(f"/{number}", "must be an object with op, path and value"),
    unknown_op=lambda number, ops: Problem(problems.PATCH_OP, f"/{number}/op must be one of {ops}."),
    bad_path=lambda number: problems.of_field(f"/{number}/path", "must be a JSON pointer such as /tags/name"),
)


def plain_name(name: str) -> str:
    """The name as it is kept: composed (NFC), so that equal names are equal; raises ValueError."""
    composed = unicodedata.normalize("NFC", name.strip())
    if not 1 <= len(composed) <= _MAX_NAME_LENGTH or any(unicodedata.category(one) in _UNSEEN for one in composed):
        raise ValueError(f"must be 1 to {_MAX_NAME_LENGTH} characters, none of them a control character")
    return composed


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _refuse_row_expiration(lake_house: object) -> object:
    if isinstance(lake_house, dict) and lake_house.get("rowExpiration") is not None:
        raise ValueError("rowExpiration is not offered: rows do not expire here")
    return lake_house


def _check_columns(columns: list[Json]) -> list[Json]:
    try:
        return column_types.documents(column_types.parse_schema({"columns": columns}))
    except column_types.ColumnTypeError as error:
        raise ValueError(str(error)) from None


Name = Annotated[str, AfterValidator(plain_name)]
Short = Annotated[str, StringConstraints(max_length=1000)]
TagKey = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Tags = dict[TagKey, Annotated[list[Short], BeforeValidator(_as_list)]]


class SchemaRef(Body):
    """The schema that rows follow, by name only: the table's columns come from the rows."""

    id: Short
    content_type: Short | None = None


class FileDescription(Body):
    """The kind of files; whatever it says, rows are kept as Parquet."""

    persisted: bool = True
    container_format: Short = "parquet"
    format: Literal["", "csv", "text", "parquet", "json", "sequencefile", "avro"] = "parquet"


class Classification(Body):
    """What a row stands for."""

    data_behavior: Literal["record", "time-series", "adhoc"] = "record"
    managed_by: Literal["CUSTOMER", "SYSTEM"] = "CUSTOMER"


class Promise(Body):
    """What consumers may rely on: the columns that the dataset is made with, and whether batches may add others."""

    evolves: StrictBool | None = None
    columns: Annotated[list[Json], AfterValidator(_check_columns)] | None = None


class Extensions(Body):
    """What is not in the vendor's description, and what is."""

    offtake: Promise | None = None
    lake_house: Annotated[Any, Field(alias="adobe_lakeHouse"), AfterValidator(_refuse_row_expiration)] = None


class DatasetBody(Body):
    """What can be said of a dataset."""

    name: Name
    description: Annotated[str, StringConstraints(max_length=10_000)] | None = None
    schema_ref: SchemaRef | None = None
    file_description: FileDescription | None = None
    tags: Tags | None = Field(default=None, max_length=1000)
    classification: Classification | None = None
    enable_error_diagnostics: bool = False
    extensions: Extensions | None = None

    @property
    def promise(self) -> Promise:
        """What is said of its schema, nothing of it included."""
        return (self.extensions and self.extensions.offtake) or Promise()


@dataclass(frozen=True)
class Deleted:
    """What of a deleted dataset is still on disk: its table, and what was sent for its batches."""

    dataset_id: str
    table: TableName
    batch_ids: tuple[str, ...]


def get(session: Session, caller: Caller, dataset_id: str, *, lock: bool = False) -> Dataset:
    """The dataset of that id, if the caller sees it; raises 1439."""
    wanted = select(Dataset).where(Dataset.id == dataset_id, *visible_to(caller))
    row = session.scalar(wanted.with_for_update() if lock else wanted)
    if row is None:
        raise problems.not_found(RESOURCE, dataset_id)
    return row


def exists(session: Session, caller: Caller, dataset_id: str) -> bool:
    """Whether the caller sees a dataset of that id."""
    return session.scalar(select(Dataset.id).where(Dataset.id == dataset_id, *visible_to(caller))) is not None


def find(session: Session, caller: Caller, id_or_name: str) -> Dataset | None:
    """The caller's dataset of that id, else of that name; raises `OfftakeError` when several have the name."""
    found = _with_name(session, caller, id_or_name)
    if len(found) > 1:
        ids = ", ".join(row.id for row in found[:_NAMED])
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise OfftakeError(
            f"The name {id_or_name} is ambiguous in sandbox {caller.sandbox_name}: datasets {ids}{more} have it. "
            "Give the dataset's id."
        )
    return found[0] if found else None


def all_of(session: Session, caller: Caller) -> list[Dataset]:
    """The caller's datasets, newest first."""
    newest_first = (Dataset.created_at.desc(), Dataset.id)
    return list(session.scalars(select(Dataset).where(*visible_to(caller)).order_by(*newest_first)))


def visible_to(caller: Caller) -> tuple[Any, ...]:
    """The conditions that a row of datasets is in the caller's sandbox, and that its labels let the caller see it."""
    return Dataset.sandbox_id == caller.sandbox_id, labels.visible(Dataset.id, caller)


def create(session: Session, caller: Caller, sent: Sent, now_ms: int, *, unique_name: bool = False) -> Dataset:
    """A dataset without rows, nor a table yet; its table is made by `dataset_tables`.

    With `unique_name`, raises 3409 when the caller sees a dataset that has the name, or has it as its id.
    """
    caller.require(MANAGE_DATASETS)
    asked = bodies.parse_body(DatasetBody, sent)
    if unique_name:
        _check_unique(session, caller, asked.name)
    stamp = entities.creation_columns(caller, now_ms) | {"id": secrets.token_hex(12), "version": _FIRST_VERSION}
    table = f"{namespace(caller.sandbox_id)}.dataset_{stamp['id']}"
    promise = asked.promise
    row = Dataset(
        **stamp,
        **_columns(asked),
        table_name=table,
        evolves=promise.evolves or False,
        declared=promise.columns,
        rewrites=0,
    )
    session.add(row)
    session.flush()
    audit.record(session, caller, now_ms, "create", (RESOURCE, row.id), name=row.name, after=request_body_of(row))
    return row


def namespace(sandbox_id: str) -> str:
    """Where the tables of a sandbox's datasets are; nothing else is there."""
    return f"sandbox_{sandbox_id.replace('-', '')}"


def replace(session: Session, caller: Caller, row: Dataset, sent: Sent, now_ms: int) -> None:
    """Everything that can be said of the dataset, anew."""
    caller.require(MANAGE_DATASETS)
    _change(session, caller, row, bodies.parse_body(DatasetBody, sent), now_ms)


def merge(session: Session, caller: Caller, row: Dataset, sent: bytes, now_ms: int) -> None:
    """A part of it: an object is merged, a list is a JSON patch."""
    caller.require(MANAGE_DATASETS)
    change = bodies.parse_json(sent)
    if isinstance(change, list) and change:
        document = json_patch.patch(request_body_of(row), json_patch.parse_operations(change, _PATCH))
    elif isinstance(change, dict) and change:
        document = json_patch.merge(request_body_of(row), change)
    else:
        raise Problem(problems.EMPTY_BODY, "The request body must be a JSON object or a JSON patch, and not empty.")
    _change(session, caller, row, bodies.parse_document(DatasetBody, document), now_ms)


def set_evolves(session: Session, caller: Caller, row: Dataset, now_ms: int, *, evolves: bool) -> None:
    """Whether batches may add columns to the dataset from now on. `row` is locked."""
    caller.require(MANAGE_DATASETS)
    change = {"extensions": {"offtake": {"evolves": evolves}}}
    document = json_patch.merge(request_body_of(row), change)
    _change(session, caller, row, bodies.parse_document(DatasetBody, document), now_ms)


def delete(session: Session, caller: Caller, dataset_id: str, now_ms: int, *, force: bool) -> Deleted:
    """Forget the dataset, its batches and its labels; what is on disk is the caller's to remove afterwards.

    Raises 3409 naming the flows that export it, unless forced.
    """
    caller.require(MANAGE_DATASETS)
    row = get(session, caller, dataset_id, lock=True)
    flows = _flows_of(session, row.id)
    if flows and not force:
        named = ", ".join(f"{flow.name} ({flow.id})" for flow in flows[:_NAMED])
        more = f" and {len(flows) - _NAMED} more" if len(flows) > _NAMED else ""
        message = f"Dataset {row.name} is exported by {named}{more}. Delete the flows first, or use force=true."
        raise Problem(problems.CONFLICT, message, RESOURCE, row.id)
    return forget(session, caller, row, now_ms)


def forget(session: Session, caller: Caller, row: Dataset, now_ms: int) -> Deleted:
    """Forget the dataset as `delete` does, whether flows export it or not."""
    batch_ids = forget_all_of(session, row.id)
    labels.set_labels(session, row.id, ())
    audit.record(session, caller, now_ms, "delete", (RESOURCE, row.id), name=row.name, before=request_body_of(row))
    session.delete(row)
    return Deleted(row.id, TableName(row.table_name), batch_ids)


def set_labels(session: Session, caller: Caller, row: Dataset, wanted: Iterable[str], now_ms: int) -> list[str]:
    """Exactly these access labels."""
    caller.require(MANAGE_DATASETS)
    before = labels.labels_of(session, row.id)
    after = labels.set_labels(session, row.id, wanted)
    audit.record(
        session, caller, now_ms, "update", (RESOURCE, row.id), name=row.name,
        before={"labels": before}, after={"labels": after},
    )  # fmt: skip
    return after


def may_rewrite(session: Session, dataset_id: str) -> bool:
    """Whether the dataset's data files may be rewritten: nothing of it was delivered, and no run of it is planned.

    It stays so while the dataset's row is locked.
    """
    return not run_plans.depend_on(session, dataset_id)


def request_body_of(row: Dataset) -> Json:
    """What was said of the dataset, in the words of its body."""
    return {
        "name": row.name,
        **({} if row.description is None else {"description": row.description}),
        **({} if row.schema_ref is None else {"schemaRef": row.schema_ref}),
        "fileDescription": row.file_description or _PARQUET,
        "tags": {**_system_tags(row.name), **row.tags},
        "classification": row.classification or _RECORDS,
        "enableErrorDiagnostics": row.error_diagnostics,
        "extensions": {"offtake": {"evolves": row.evolves}},
    }


def check_versions(row: Dataset, if_match: str | None, if_none_match: str | None) -> None:
    """Raise 1404 unless the row is of a version that matches, and of none that must not match.

    A version is given as `version`, or as `updated`, with quotes or without; `*` is any.
    """
    ours = {"*", row.version, str(row.updated_at)}
    theirs = entities.parse_versions(if_match)
    unwanted = entities.parse_versions(if_none_match)
    if (theirs and not ours & theirs) or ours & unwanted:
        raise Problem(
            problems.OTHER_VERSION,
            f"The dataset is of version {row.version}, updated {row.updated_at}.",
            RESOURCE,
            row.id,
        )


def _change(session: Session, caller: Caller, row: Dataset, asked: DatasetBody, now_ms: int) -> None:
    before = request_body_of(row)
    promise = asked.promise
    if promise.columns is not None and promise.columns != row.declared:
        path = "/extensions/offtake/columns"
        raise problems.of_field(path, "are given when a dataset is made; batches that evolve it add others")
    if promise.evolves is not None:
        row.evolves = promise.evolves
    for name, value in _columns(asked).items():
        setattr(row, name, value)
    row.version = next_version(row.version)
    row.updated_at, row.updated_by, row.updated_client = now_ms, caller.account_id, caller.client_id
    session.flush()
    audit.record(
        session, caller, now_ms, "update", (RESOURCE, row.id), name=row.name, before=before, after=request_body_of(row)
    )


def _columns(asked: DatasetBody) -> dict[str, Any]:
    described = asked.file_description.model_dump(by_alias=True) if asked.file_description else _PARQUET
    classified = asked.classification.model_dump(by_alias=True) if asked.classification else _RECORDS
    return {
        "name": asked.name,
        "description": asked.description,
        "schema_ref": asked.schema_ref.model_dump(by_alias=True, exclude_none=True) if asked.schema_ref else None,
        "file_description": described,
        "tags": {**_system_tags(asked.name), **(asked.tags or {})},
        "classification": classified,
        "error_diagnostics": asked.enable_error_diagnostics,
    }


def _system_tags(name: str) -> Json:
    """The tags that clients look for: the name a query engine would give the table, and its format."""
    table = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "dataset"
    return {"adobe/pqs/table": [table], "adobe/siphon/table/format": ["iceberg"]}


def _flows_of(session: Session, dataset_id: str) -> list[Flow]:
    source = SourceConnection.id == Flow.source_connection_id
    using = select(Flow).join(SourceConnection, source)
    holds = json_queries.json_list_contains(session, SourceConnection.dataset_ids, dataset_id)
    return list(session.scalars(using.where(holds).order_by(Flow.name, Flow.id)))


def _with_name(session: Session, caller: Caller, id_or_name: str) -> list[Dataset]:
    """The caller's dataset of that id, else those of that name."""
    named = unicodedata.normalize("NFC", id_or_name.strip())
    either = (Dataset.id == id_or_name) | (Dataset.name == named)
    found = session.scalars(select(Dataset).where(either, *visible_to(caller)).order_by(Dataset.created_at, Dataset.id))
    rows = list(found)
    return [row for row in rows if row.id == id_or_name] or rows


def _check_unique(session: Session, caller: Caller, name: str) -> None:
    # Locked, so that no other transaction creates the same name between this look and its commit.
    session.scalar(select(Sandbox.id).where(Sandbox.id == caller.sandbox_id).with_for_update())
    taken = _with_name(session, caller, name)
    if taken:
        message = (
            f"Dataset {taken[0].id} in sandbox {caller.sandbox_name} is called {name} already: "
            "commands could not tell the two apart. Choose another name."
        )
        raise Problem(problems.CONFLICT, message, RESOURCE, taken[0].id)
