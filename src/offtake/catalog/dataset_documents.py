"""Datasets as the Catalog API shows and lists them (contract, sections 23.1 and 23.2)."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlparse

from sqlalchemy import ColumnElement, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from offtake.catalog import datasets, lake_catalog_calls
from offtake.contract import catalog_query, problems
from offtake.contract.caller import MANAGE_DATASETS, VIEW_DATASETS, Caller
from offtake.contract.catalog_query import Field, Params, Query, Shape
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import DeliveryError
from offtake.lake.table_names import TableName, parse
from offtake.store.database import Database
from offtake.store.tables import Batch, Dataset, LakeCatalog

if TYPE_CHECKING:
    from offtake.lake.catalog import Lake
    from offtake.lake.column_choice import ColumnChoice

    LakeOf = Callable[[], Lake]
    """Opens the lake, which most lists do not need."""

_STATE: Final = {"aspect": "production", "state": "DRAFT", "status": "enabled"}
_OBSERVABLE: Final = "observableSchema"
_EXTENSIONS: Final = "extensions"
_OWN_EXTENSION: Final = "extensions.offtake"
"""In `properties`: the extensions that need no table."""
_TABLE_SECONDS: Final = 5.0
"""So long at most, registered tables are read for one answer; what needs the others is left out."""
_SENT_BY_CLIENTS: Final = frozenset({"requestDataSource"})


@dataclass(frozen=True)
class LastBatches:
    """The last batches of a dataset: the latest in any state, the last successful and the last failed one."""

    last_id: str
    status: str
    successful_id: str | None
    failed_id: str | None
    created_at: int
    updated_at: int


@dataclass(frozen=True)
class Surroundings:
    """What documents of datasets have from other tables of the database: last batches and catalogs' names, by id."""

    last: Mapping[str, LastBatches]
    catalogs: Mapping[str, str]


def list_documents(database: Database, lake: "LakeOf", caller: Caller, params: Params) -> Json:
    """One page of datasets, keyed by id."""
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    with database.reading() as session:
        query = catalog_query.read(session, SHAPE, params)
        found = rows(session, caller, query)
        around = surroundings(session, found)
    return documents(caller, lake, found, around, query)


def get_document(database: Database, lake: "LakeOf", caller: Caller, dataset_id: str, params: Params) -> Json:
    """One dataset, under its id; raises 1439."""
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    projection = [(name, value) for name, value in params if name == "properties"]
    with database.reading() as session:
        row = datasets.get(session, caller, dataset_id)
        query = catalog_query.read(session, SHAPE, projection)
        around = surroundings(session, [row])
    return documents(caller, lake, [row], around, query)


def describe_table(database: Database, lake: "Lake", caller: Caller, dataset_id: str) -> Json:
    """The size, columns and snapshots of the dataset's table.

    Raises 1439, 1422 when the table cannot be read, and 3503 and 3504 as `lake_catalog_calls.read` does.
    """
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    with database.reading() as session:
        row = datasets.get(session, caller, dataset_id)
        kept = registered(row, _catalog_names(session, [row]))
    from offtake.lake import table_description  # noqa: PLC0415 - PyIceberg, which most requests do not need

    table = TableName(row.table_name)
    try:
        found = lake_catalog_calls.read(caller, [table], lambda: table_description.describe(lake, table))
    except DeliveryError as error:
        raise Problem(problems.WRONG_ACTION, str(error), datasets.RESOURCE, row.id) from None
    shown = {} if kept is None else {"registered": kept}
    return {"id": row.id, "name": row.name, "evolves": row.evolves, **shown, **found.to_json()}


def preview(database: Database, lake: "Lake", caller: Caller, dataset_id: str, most: int) -> list[Json]:
    """The first rows of a dataset, at most `most`, in the form of NDJSON exports. Raises as `describe_table` does."""
    return [json.loads(line) for line in preview_lines(database, lake, caller, dataset_id, most)]


def preview_lines(
    database: Database,
    lake: "Lake",
    caller: Caller,
    dataset_id: str,
    most: int,
    ref: str | None = None,
    choice: "ColumnChoice | None" = None,
) -> list[str]:
    """Like `preview`, as text: one JSON object per row, numbers with all their digits.

    `ref`: of this branch or tag, by default of main. `choice`: these columns only.
    """
    row = _readable(database, caller, dataset_id)
    from offtake.formats.ndjson import lines  # noqa: PLC0415 - PyIceberg, which most requests do not need
    from offtake.formats.types import check_supported  # noqa: PLC0415 - PyIceberg, which most requests do not need
    from offtake.lake import table_description  # noqa: PLC0415 - PyIceberg, which most requests do not need

    name = TableName(row.table_name)
    try:
        table = lake_catalog_calls.read(
            caller, [name], lambda: table_description.preview(lake, name, most, ref, choice)
        )
        check_supported(table.schema)
        text = b"".join(lines(batch) for batch in table.to_batches())
    except DeliveryError as error:
        raise Problem(problems.WRONG_ACTION, str(error), datasets.RESOURCE, row.id) from None
    return text.decode().split("\n")[:-1]


def _readable(database: Database, caller: Caller, dataset_id: str) -> Dataset:
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    with database.reading() as session:
        return datasets.get(session, caller, dataset_id)


def rows(session: Session, caller: Caller, query: Query) -> Sequence[Dataset]:
    """The rows of one page."""
    return session.scalars(query.paginate(select(Dataset).where(*datasets.visible_to(caller)))).all()


def documents(caller: Caller, lake: "LakeOf", found: Sequence[Dataset], around: Surroundings, query: Query) -> Json:
    """The datasets as the API shows them, by id. No session may be open.

    Their tables are read only for properties that need it; properties of a table that cannot be read are left out. The
    size of registered tables is shown only for a single dataset: each is a request to another server.
    """
    reads = _TableReads(caller, lake)
    shown: Json = {}
    for row in found:
        document = summary(row, around.last.get(row.id), around.catalogs)
        if query.shows(_EXTENSIONS) and (row.catalog_id is None or len(found) == 1):
            document[_EXTENSIONS] = document[_EXTENSIONS] | (reads.read(row, _extensions) or {})
        if _OBSERVABLE in query.properties and (schema := reads.read(row, _observable)) is not None:
            document[_OBSERVABLE] = schema
        shown[row.id] = {name: value for name, value in document.items() if query.shows(name)}
        if _OWN_EXTENSION in query.properties and not query.shows(_EXTENSIONS):
            shown[row.id][_EXTENSIONS] = document[_EXTENSIONS]
    return shown


class _TableReads:
    """Reads of tables for one answer, which end after five seconds for registered tables.

    After a call of a catalog has failed, its other tables are left out.
    """

    def __init__(self, caller: Caller, lake: "LakeOf") -> None:
        self._caller, self._lake = caller, lake
        self._until = time.monotonic() + _TABLE_SECONDS
        self._away: set[str | None] = set()

    def read(self, row: Dataset, work: "Callable[[Lake, Dataset], Json]") -> Json | None:
        """What `work` returns; None when the table cannot be read."""
        left = self._until - time.monotonic()
        if row.catalog_id is not None and (left <= 0 or row.catalog_id in self._away):
            return None
        try:
            lake = self._lake()
            return lake_catalog_calls.read(self._caller, [TableName(row.table_name)], lambda: work(lake, row), left)
        except Problem:
            self._away.add(row.catalog_id)
        except DeliveryError:
            pass
        return None


def registered(row: Dataset, catalogs: Mapping[str, str]) -> Json | None:
    """Where a registered table is kept, as the API shows it; None for a dataset of the own lake.

    `catalogs`: their names by id.
    """
    table = parse(TableName(row.table_name))
    if table is None:
        return None
    gone = {} if row.gone_at is None else {"goneSince": row.gone_at}
    catalog = {"catalog": catalogs[table.catalog_id]} if table.catalog_id in catalogs else {}
    return {"catalogId": table.catalog_id, **catalog, "table": str(table), "uuid": table.uuid, **gone}


def summary(row: Dataset, last: LastBatches | None, catalogs: Mapping[str, str]) -> Json:
    """The document of a dataset without fields that need its table."""
    body = datasets.request_body_of(row)
    if (kept := registered(row, catalogs)) is not None:
        body[_EXTENSIONS]["offtake"]["registered"] = kept
    return (
        body
        | _STATE
        | {
            "imsOrg": row.org_id,
            "sandboxId": row.sandbox_id,
            "version": row.version,
            "created": row.created_at,
            "updated": row.updated_at,
            "createdClient": row.created_client,
            "createdUser": row.created_by,
            "updatedUser": row.updated_by,
            "viewId": view_id(row.id),
            "basePath": row.table_name.replace(".", "/"),
            "files": f"@/dataSetFiles?dataSetId={row.id}",
        }
        | ({"schema": f"@/xdms{urlparse(row.schema_ref['id']).path}"} if row.schema_ref else {})
        | ({} if last is None else _last(last))
    )


def view_id(dataset_id: str) -> str:
    """The id of a dataset's one view."""
    return hashlib.sha256(f"view of {dataset_id}".encode()).hexdigest()[:24]


def surroundings(session: Session, found: Sequence[Dataset]) -> Surroundings:
    """What the documents of these datasets have from other tables of the database."""
    return Surroundings(last_batches(session, [row.id for row in found]), _catalog_names(session, found))


def _catalog_names(session: Session, found: Sequence[Dataset]) -> dict[str, str]:
    ids = {row.catalog_id for row in found if row.catalog_id is not None}
    if not ids:
        return {}
    return dict(session.execute(select(LakeCatalog.id, LakeCatalog.name).where(LakeCatalog.id.in_(ids))).all())


def last_batches(session: Session, dataset_ids: Sequence[str]) -> dict[str, LastBatches]:
    """The last batches of each dataset that has batches, by dataset id."""
    statement = select(Dataset.id, *_LAST_COLUMNS).where(Dataset.id.in_(dataset_ids), _LAST_ID.is_not(None))
    return {dataset_id: LastBatches(*values) for dataset_id, *values in session.execute(statement)}


def last_batches_page(session: Session, caller: Caller, params: Params) -> Json:
    """One page of last batches, by dataset id."""
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    query = catalog_query.read(session, _LAST_SHAPE, params)
    statement = select(Dataset, *_LAST_COLUMNS).where(*datasets.visible_to(caller), _LAST_ID.is_not(None))
    shown: Json = {}
    for row, *values in session.execute(query.paginate(statement)):
        last = LastBatches(*values)
        document = {
            "lastBatchId": last.last_id,
            "lastBatchStatus": last.status,
            "lastSuccessfulBatchId": last.successful_id,
            "lastFailedBatchId": last.failed_id,
            "imsOrg": row.org_id,
            "sandboxId": row.sandbox_id,
            "created": last.created_at,
            "updated": last.updated_at,
        }
        shown[row.id] = {name: value for name, value in document.items() if value is not None and query.shows(name)}
    return shown


def _last(last: LastBatches) -> Json:
    known = {
        "lastBatchId": last.last_id,
        "lastBatchStatus": last.status,
        "lastSuccessfulBatch": last.successful_id,
        "lastFailedBatch": last.failed_id,
    }
    return {name: value for name, value in known.items() if value is not None}


def _observable(lake: "Lake", row: Dataset) -> Json:
    from offtake.lake import observable_schema  # noqa: PLC0415 - PyIceberg, which most requests do not need

    return observable_schema.observable_schema(lake, TableName(row.table_name))


def _extensions(lake: "Lake", row: Dataset) -> Json:
    from offtake.lake import table_description  # noqa: PLC0415 - PyIceberg, which most requests do not need

    size = table_description.size(lake, TableName(row.table_name))
    metrics = {"rowCount": size.rows, "storageSize": size.bytes}
    return {"adobe_lakeHouse": {"metrics": metrics, "tableHealthMetrics": {"noOfFilesTotal": size.files}}}


def _of_last(column: InstrumentedAttribute[Any], *conditions: ColumnElement[bool]) -> Any:  # noqa: ANN401 - a scalar subquery
    of_dataset = select(column).where(Batch.dataset_id == Dataset.id, *conditions)
    newest_first = of_dataset.order_by(Batch.created_at.desc(), Batch.id.desc()).limit(1)
    return newest_first.correlate(Dataset).scalar_subquery()


_LAST_ID: Final = _of_last(Batch.id)
_LAST_COLUMNS: Final = (
    _LAST_ID,
    _of_last(Batch.status),
    _of_last(Batch.id, Batch.status == "success"),
    _of_last(Batch.id, Batch.status == "failed"),
    _of_last(Batch.created_at),
    _of_last(Batch.updated_at),
)

SHAPE: Final = Shape(
    fields={
        "id": Field(Dataset.id),
        "name": Field(Dataset.name, wildcard=True),
        "description": Field(Dataset.description),
        "version": Field(Dataset.version),
        "created": Field(Dataset.created_at, "number"),
        "updated": Field(Dataset.updated_at, "number"),
        "createdClient": Field(Dataset.created_client),
        "createdUser": Field(Dataset.created_by),
        "updatedUser": Field(Dataset.updated_by),
        "enableErrorDiagnostics": Field(Dataset.error_diagnostics, "boolean"),
        "imsOrg": Field(Dataset.org_id),
        "sandboxId": Field(Dataset.sandbox_id),
        **{name: Field(literal(value)) for name, value in _STATE.items()},
        "schemaRef.id": Field(Dataset.schema_ref["id"].as_string()),
        "schemaRef.contentType": Field(Dataset.schema_ref["contentType"].as_string()),
        "fileDescription.format": Field(Dataset.file_description["format"].as_string()),
        "classification.dataBehavior": Field(Dataset.classification["dataBehavior"].as_string()),
        "lastBatchId": Field(_LAST_COLUMNS[0]),
        "lastBatchStatus": Field(_LAST_COLUMNS[1]),
        "lastSuccessfulBatch": Field(_LAST_COLUMNS[2]),
        "lastFailedBatch": Field(_LAST_COLUMNS[3]),
    },
    tags=Dataset.tags,
    ranges={"createdAfter": ("created", ">"), "createdBefore": ("created", "<")},
    accepted=_SENT_BY_CLIENTS,
)

_LAST_SHAPE: Final = Shape(
    fields={
        "id": Field(Dataset.id),
        "dataSetId": Field(Dataset.id),
        "lastBatchId": Field(_LAST_COLUMNS[0]),
        "lastBatchStatus": Field(_LAST_COLUMNS[1]),
        "lastSuccessfulBatchId": Field(_LAST_COLUMNS[2]),
        "lastFailedBatchId": Field(_LAST_COLUMNS[3]),
        "created": Field(_LAST_COLUMNS[4], "number"),
        "updated": Field(_LAST_COLUMNS[5], "number"),
    },
    ranges={"createdAfter": ("created", ">"), "createdBefore": ("created", "<")},
)
