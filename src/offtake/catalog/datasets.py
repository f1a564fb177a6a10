"""Creates, changes and deletes datasets (contract, section 23.2). Batches bring their rows and create the table."""

import re
import secrets
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import audit, labels
from offtake.catalog import column_types, kept_namespaces
from offtake.contract import bodies, entities, json_patch, partial_updates, problems
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import MANAGE_DATASETS, Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import OfftakeError
from offtake.lake.table_names import RegisteredTable, TableName, registered_name
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


def normalize_name(name: str) -> str:
    """Normalise a name (NFC), so that equal names compare equal; raises `ValueError` for an invalid one."""
    composed = unicodedata.normalize("NFC", name.strip())
    if not 1 <= len(composed) <= _MAX_NAME_LENGTH or any(unicodedata.category(one) in _UNSEEN for one in composed):
        raise ValueError(f"must be 1 to {_MAX_NAME_LENGTH} characters without control characters")
    return composed


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _refuse_row_expiration(lake_house: object) -> object:
    if isinstance(lake_house, dict) and lake_house.get("rowExpiration") is not None:
        raise ValueError("rowExpiration is not supported: rows do not expire")
    return lake_house


def _read_columns(declared: object) -> object:
    """Columns as documents, also for texts such as `id:long:required`, and for an object with a schema."""
    if not isinstance(declared, (dict, list)):
        return declared
    try:
        if isinstance(declared, dict):
            return column_types.documents(column_types.parse_schema(declared))
        read = [_column_document(one) if isinstance(one, str) else one for one in declared]
        return column_types.documents(column_types.parse_schema({"columns": read}))
    except column_types.ColumnTypeError as error:
        raise ValueError(str(error)) from None


def _column_document(text: str) -> Json:
    column = column_types.split_column(text)
    return {"name": column.name, "type": column.type, "required": column.required}


Name = Annotated[str, AfterValidator(normalize_name)]
Short = Annotated[str, StringConstraints(max_length=1000)]
TagKey = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Tags = dict[TagKey, Annotated[list[Short], BeforeValidator(_as_list)]]


class SchemaRef(Body):
    """A reference to the schema, by name only: the table's columns come from the rows."""

    id: Short
    content_type: Short | None = None


class FileDescription(Body):
    """The file format; informative only, rows are always stored as Parquet."""

    persisted: bool = True
    container_format: Short = "parquet"
    format: Literal["", "csv", "text", "parquet", "json", "sequencefile", "avro"] = "parquet"


class Classification(Body):
    """The kind of data in the rows."""

    data_behavior: Literal["record", "time-series", "adhoc"] = "record"
    managed_by: Literal["CUSTOMER", "SYSTEM"] = "CUSTOMER"


class Promise(Body):
    """The schema that consumers may rely on: the initial columns, and whether batches may add others."""

    evolves: StrictBool | None = None
    columns: Annotated[list[Json], BeforeValidator(_read_columns)] | None = None


class Extensions(Body):
    """Extensions: Offtake's own under `offtake`, the vendor's under `adobe_lakeHouse`."""

    offtake: Promise | None = None
    lake_house: Annotated[Any, Field(alias="adobe_lakeHouse"), AfterValidator(_refuse_row_expiration)] = None


class DatasetBody(Body):
    """The request body of a dataset."""

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
        """The schema extension; empty when absent."""
        return (self.extensions and self.extensions.offtake) or Promise()


@dataclass(frozen=True)
class DeletedDataset:
    """A deleted dataset's remains on disk: its table, and the uploaded files of its batches."""

    dataset_id: str
    table: TableName
    batch_ids: tuple[str, ...]


def get(session: Session, caller: Caller, dataset_id: str, *, lock: bool = False) -> Dataset:
    """The dataset with that id, if the caller may see it; raises 1439."""
    query = select(Dataset).where(Dataset.id == dataset_id, *visible_to(caller))
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise problems.not_found(RESOURCE, dataset_id)
    return row


def exists(session: Session, caller: Caller, dataset_id: str) -> bool:
    """Whether there is a dataset with that id that the caller may see."""
    return session.scalar(select(Dataset.id).where(Dataset.id == dataset_id, *visible_to(caller))) is not None


def find(session: Session, caller: Caller, id_or_name: str) -> Dataset | None:
    """The caller's dataset with that id, else with that name; raises `OfftakeError` when several have the name."""
    found = _find_all(session, caller, id_or_name)
    if len(found) > 1:
        ids = ", ".join(row.id for row in found[:_NAMED])
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise OfftakeError(
            f"The name {id_or_name} is ambiguous in sandbox {caller.sandbox_name}: datasets {ids}{more} have it. "
            "Use the dataset's id."
        )
    return found[0] if found else None


def is_name_taken(session: Session, caller: Caller, name: str) -> bool:
    """Whether the caller can see a dataset with that name or id."""
    return bool(_find_all(session, caller, name))


def all_of(session: Session, caller: Caller) -> list[Dataset]:
    """The caller's datasets, newest first."""
    newest_first = (Dataset.created_at.desc(), Dataset.id)
    return list(session.scalars(select(Dataset).where(*visible_to(caller)).order_by(*newest_first)))


def names_of(session: Session, caller: Caller, ids: Sequence[str]) -> list[tuple[str, str]]:
    """Id and name of those of the datasets that the caller may see, in the given order."""
    query = select(Dataset.id, Dataset.name).where(Dataset.id.in_(ids), *visible_to(caller))
    names = dict(session.execute(query).all())
    return [(one, names[one]) for one in ids if one in names]


def existing(session: Session, caller: Caller, ids: Sequence[str]) -> set[str]:
    """Those of the ids that are datasets of the caller's sandbox, also ones that the caller may not see."""
    query = select(Dataset.id).where(Dataset.id.in_(ids), Dataset.sandbox_id == caller.sandbox_id)
    return set(session.scalars(query))


def visible_to(caller: Caller) -> tuple[Any, ...]:
    """The conditions that a dataset is in the caller's sandbox, and that the caller has all its labels."""
    return Dataset.sandbox_id == caller.sandbox_id, labels.visible(Dataset.id, caller)


def create(
    session: Session,
    caller: Caller,
    sent: Sent,
    now_ms: int,
    *,
    unique_name: bool = False,
    registered: RegisteredTable | None = None,
) -> Dataset:
    """Create a dataset without a table; `dataset_tables` or the first batch creates the table.

    `registered`: the table of another catalog that the dataset is. With `unique_name`, raises 3409 when the caller can
    see a dataset with that name or id.
    """
    caller.require(MANAGE_DATASETS)
    request = bodies.parse_body(DatasetBody, sent)
    if unique_name:
        _check_unique(session, caller, request.name)
    stamp = entities.creation_columns(caller, now_ms) | {"id": secrets.token_hex(12), "version": _FIRST_VERSION}
    own = f"{namespace(caller.sandbox_id)}.dataset_{stamp['id']}"
    promise = request.promise
    row = Dataset(
        **stamp,
        **_columns(request),
        table_name=own if registered is None else registered_name(registered),
        catalog_id=None if registered is None else registered.catalog_id,
        evolves=promise.evolves or False,
        declared=promise.columns,
        rewrites=0,
    )
    session.add(row)
    session.flush()
    after = request_body_of(row) | ({} if registered is None else {"table": row.table_name})
    audit.record(session, caller, now_ms, "create", (RESOURCE, row.id), name=row.name, after=after)
    return row


def namespace(sandbox_id: str) -> str:
    """The Iceberg namespace of a sandbox; it contains only the tables of its datasets."""
    return f"sandbox_{sandbox_id.replace('-', '')}"


def replace(session: Session, caller: Caller, row: Dataset, sent: Sent, now_ms: int) -> None:
    """Replace the dataset's fields with those of the body."""
    caller.require(MANAGE_DATASETS)
    _change(session, caller, row, bodies.parse_body(DatasetBody, sent), now_ms)


def merge(session: Session, caller: Caller, row: Dataset, sent: Sent, now_ms: int) -> None:
    """Update the dataset partially: an object is a merge patch, a list a JSON Patch."""
    caller.require(MANAGE_DATASETS)
    document = partial_updates.update(request_body_of(row), sent, "/tags/name")
    _change(session, caller, row, bodies.parse_document(DatasetBody, document), now_ms)


def rename(session: Session, caller: Caller, row: Dataset, name: str, version: str, now_ms: int) -> None:
    """Rename the dataset, which the caller has locked.

    Raises 1452 for an invalid name, 1404 unless `version` is the dataset's, 3409 when another dataset that the caller
    can see has the name.
    """
    caller.require(MANAGE_DATASETS)
    check_versions(row, version, None)
    document = json_patch.merge(request_body_of(row), {"name": name})
    request = bodies.parse_document(DatasetBody, document)
    if request.name != row.name:
        _check_unique(session, caller, request.name)
        _change(session, caller, row, request, now_ms)


def is_registered(row: Dataset) -> bool:
    """Whether the dataset is a table of another catalog, which is read-only."""
    return row.catalog_id is not None


def check_writable(row: Dataset) -> None:
    """Raise 1452 for a registered table."""
    if is_registered(row):
        raise problems.of_field(
            "/datasetId",
            f"is {row.name}, a registered table, which is read-only: write it in its own catalog",
        )


def delete(session: Session, caller: Caller, dataset_id: str, now_ms: int, *, force: bool) -> DeletedDataset:
    """Delete the rows of the dataset, its batches and its labels; the caller removes the files afterwards.

    Raises 3409 naming the flows that export it, unless `force`.
    """
    caller.require(MANAGE_DATASETS)
    row = get(session, caller, dataset_id, lock=True)
    flows = _flows_of(session, row.id)
    if flows and not force:
        names = ", ".join(f"{flow.name} ({flow.id})" for flow in flows[:_NAMED])
        more = f" and {len(flows) - _NAMED} more" if len(flows) > _NAMED else ""
        message = f"Dataset {row.name} is exported by {names}{more}. Delete the flows first, or use force=true."
        raise Problem(problems.CONFLICT, message, RESOURCE, row.id)
    return forget(session, caller, row, now_ms)


def forget(session: Session, caller: Caller, row: Dataset, now_ms: int) -> DeletedDataset:
    """Like `delete`, without the check for flows."""
    batch_ids = forget_all_of(session, row.id)
    kept_namespaces.exclude(session, row)
    labels.remove_labels(session, row.id)
    audit.record(session, caller, now_ms, "delete", (RESOURCE, row.id), name=row.name, before=request_body_of(row))
    session.delete(row)
    return DeletedDataset(row.id, TableName(row.table_name), batch_ids)


def set_labels(session: Session, caller: Caller, row: Dataset, new: Iterable[str], now_ms: int) -> list[str]:
    """Replace the access labels. Returns them sorted."""
    caller.require(MANAGE_DATASETS)
    before = labels.labels_of(session, row.id)
    after = labels.set_labels(session, row.id, new)
    audit.record(
        session, caller, now_ms, "update", (RESOURCE, row.id), name=row.name,
        before={"labels": before}, after={"labels": after},
    )  # fmt: skip
    return after


def may_rewrite(session: Session, dataset_id: str) -> bool:
    """Whether the dataset's data files may be rewritten: no run has delivered or planned any of its snapshots.

    The answer stays valid while the dataset's row is locked.
    """
    return not run_plans.is_dataset_used_by_runs(session, dataset_id)


def request_body_of(row: Dataset) -> Json:
    """The dataset as a request body, in the form that POST accepts."""
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
    """Raise 1404 unless the row's version is in `if_match` (if sent) and not in `if_none_match`.

    A version is the value of `version` or `updated`, with or without quotes; `*` matches any.
    """
    current = {"*", row.version, str(row.updated_at)}
    matching = entities.parse_versions(if_match)
    excluded = entities.parse_versions(if_none_match)
    if (matching and not current & matching) or current & excluded:
        raise Problem(
            problems.OTHER_VERSION,
            f"The dataset has version {row.version}, updated {row.updated_at}.",
            RESOURCE,
            row.id,
        )


def _change(session: Session, caller: Caller, row: Dataset, request: DatasetBody, now_ms: int) -> None:
    before = request_body_of(row)
    promise = request.promise
    if promise.columns is not None and promise.columns != row.declared:
        path = "/extensions/offtake/columns"
        raise problems.of_field(path, "can be set only in the creation of a dataset; batches with evolve add columns")
    if promise.evolves is not None and promise.evolves != row.evolves:
        check_writable(row)
        row.evolves = promise.evolves
    for name, value in _columns(request).items():
        setattr(row, name, value)
    row.version = next_version(row.version)
    row.updated_at, row.updated_by, row.updated_client = now_ms, caller.account_id, caller.client_id
    session.flush()
    audit.record(
        session, caller, now_ms, "update", (RESOURCE, row.id), name=row.name, before=before, after=request_body_of(row)
    )


def _columns(request: DatasetBody) -> dict[str, Any]:
    file_description = request.file_description.model_dump(by_alias=True) if request.file_description else _PARQUET
    classification = request.classification.model_dump(by_alias=True) if request.classification else _RECORDS
    return {
        "name": request.name,
        "description": request.description,
        "schema_ref": request.schema_ref.model_dump(by_alias=True, exclude_none=True) if request.schema_ref else None,
        "file_description": file_description,
        "tags": {**_system_tags(request.name), **(request.tags or {})},
        "classification": classification,
        "error_diagnostics": request.enable_error_diagnostics,
    }


def _system_tags(name: str) -> Json:
    """Tags that clients expect: the table's name in the query service, and its format."""
    table = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "dataset"
    return {"adobe/pqs/table": [table], "adobe/siphon/table/format": ["iceberg"]}


def _flows_of(session: Session, dataset_id: str) -> list[Flow]:
    source = SourceConnection.id == Flow.source_connection_id
    using = select(Flow).join(SourceConnection, source)
    holds = json_queries.json_list_contains(session, SourceConnection.dataset_ids, dataset_id)
    return list(session.scalars(using.where(holds).order_by(Flow.name, Flow.id)))


def _find_all(session: Session, caller: Caller, id_or_name: str) -> list[Dataset]:
    """The caller's dataset with that id, else those with that name."""
    name = unicodedata.normalize("NFC", id_or_name.strip())
    either = (Dataset.id == id_or_name) | (Dataset.name == name)
    found = session.scalars(select(Dataset).where(either, *visible_to(caller)).order_by(Dataset.created_at, Dataset.id))
    rows = list(found)
    return [row for row in rows if row.id == id_or_name] or rows


def _check_unique(session: Session, caller: Caller, name: str) -> None:
    # Locked, so that no other transaction creates the same name between this check and the commit.
    session.scalar(select(Sandbox.id).where(Sandbox.id == caller.sandbox_id).with_for_update())
    taken = _find_all(session, caller, name)
    if taken:
        message = (
            f"Dataset {taken[0].id} in sandbox {caller.sandbox_name} already has the name {name}, and names must be "
            "unique for commands. Choose another name."
        )
        raise Problem(problems.CONFLICT, message, RESOURCE, taken[0].id)
