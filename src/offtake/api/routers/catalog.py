"""Catalog: datasets and batches (contract, section 23)."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response

from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.error_types import CATALOG
from offtake.api.openapi import extension_examples
from offtake.api.openapi import lake_examples as examples
from offtake.api.openapi.operations import document_operation, keyed_schema
from offtake.api.responses import IfMatch
from offtake.catalog import batch_documents, batch_edits, dataset_documents, dataset_tables, datasets
from offtake.contract.caller import Caller
from offtake.deployment.backend import Backend
from offtake.documents import Json
from offtake.store.batches import OPEN

Paths = list[str]

router = APIRouter(tags=["catalog"])

IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", description="Etags that the dataset must not have.")]
Force = Annotated[bool, Query(description="Delete it even if flows export it; their runs then fail for this dataset.")]


def _listed(description: str, example: str, default: str | None = None) -> Json:
    schema: Json = {"type": "string"} | ({} if default is None else {"default": default})
    return {"in": "query", "required": False, "schema": schema, "description": description, "example": example}


_PARAMETERS: Final = [
    {"name": "limit", **_listed("Items per page, 1 to 100.", "20", "20")},
    {"name": "start", **_listed("How many items to skip.", "0", "0")},
    {"name": "orderBy", **_listed("asc:name or desc:created; comma-separated.", "desc:created")},
    {"name": "properties", **_listed("Properties to return, comma-separated.", "name,created")},
    {
        "name": "property",
        **_listed("A filter: name, !name, name~part, name==value, created>0.", "name~a"),
    },
    {"name": "tags", **_listed("tag:value or tag:*; comma-separated.", "unifiedProfile:*")},
    {"name": "createdAfter", **_listed("Epoch milliseconds.", "0")},
    {"name": "createdBefore", **_listed("Epoch milliseconds.", "1900000000000")},
]


def _list_of(example: Json) -> dict[str, Any]:
    found = document_operation({examples.DATASET_ID: example}, schema=keyed_schema(example))
    return found | {"openapi_extra": {"parameters": _PARAMETERS}}


@router.get("/dataSets", **_list_of(examples.DATASET))
def list_datasets(caller: CallerOf, backend: BackendOf, request: Request) -> Json:
    """List the sandbox's datasets, by id; `<field>=a,b` and `<field>=!a` also filter."""
    query = request.query_params.multi_items()
    return dataset_documents.list_documents(backend.database, lambda: backend.lake, caller, query)


@router.post(
    "/dataSets",
    status_code=201,
    **document_operation(examples.PATHS, status=201, body=datasets.DatasetBody, body_example=examples.NEW_DATASET),
)
def create_dataset(caller: CallerOf, backend: BackendOf, body: JsonBody, response: Response) -> Paths:
    """Create a dataset; its table is created with the first batch, or now if columns are declared."""
    row = dataset_tables.create(backend.database, backend.lake, backend.uploads, caller, body, backend.clock)
    response.headers["Location"] = f"{CATALOG}/dataSets/{row.id}"
    return _paths(row.id)


@router.get(
    "/dataSets/{dataset_id}",
    **document_operation({examples.DATASET_ID: examples.DATASET}, schema=keyed_schema(examples.DATASET)),
)
def get_dataset(caller: CallerOf, backend: BackendOf, dataset_id: str, request: Request) -> Json:
    """Get a dataset."""
    query = request.query_params.multi_items()
    return dataset_documents.get_document(backend.database, lambda: backend.lake, caller, dataset_id, query)


@router.get("/dataSets/{dataset_id}/table", **document_operation(extension_examples.TABLE, errors=(502,)))
def get_table(caller: CallerOf, backend: BackendOf, dataset_id: str) -> Json:
    """Get the size, columns and snapshots of a dataset's table (an extension)."""
    return dataset_documents.describe_table(backend.database, backend.lake, caller, dataset_id)


_CHANGING: Final = document_operation(examples.PATHS, body=examples.ANY_OBJECT, body_example={"description": "x"})


@router.patch("/dataSets/{dataset_id}", **_CHANGING)
def change_dataset(caller: CallerOf, backend: BackendOf, dataset_id: str, body: JsonBody) -> Paths:
    """Update a dataset (merge patch or JSON Patch)."""
    with backend.database.writing() as session:
        row = datasets.get(session, caller, dataset_id, lock=True)
        datasets.merge(session, caller, row, body, backend.clock.now_ms())
    return _paths(dataset_id)


@router.patch(
    "/v2/dataSets/{dataset_id}",
    **document_operation(examples.PATHS, body=examples.ANY_OBJECT, body_example={"description": "x"}, errors=(412,)),
)
def change_dataset_of_version(
    caller: CallerOf,
    backend: BackendOf,
    dataset_id: str,
    body: JsonBody,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Paths:
    """Update a dataset (merge patch or JSON Patch), with `If-Match` or `If-None-Match`."""
    with backend.database.writing() as session:
        row = datasets.get(session, caller, dataset_id, lock=True)
        datasets.check_versions(row, if_match, if_none_match)
        datasets.merge(session, caller, row, body, backend.clock.now_ms())
    return _paths(dataset_id)


@router.put(
    "/dataSets/{dataset_id}",
    **document_operation(examples.PATHS, body=datasets.DatasetBody, body_example=examples.NEW_DATASET),
)
def replace_dataset(caller: CallerOf, backend: BackendOf, dataset_id: str, body: JsonBody) -> Paths:
    """Replace a dataset."""
    with backend.database.writing() as session:
        row = datasets.get(session, caller, dataset_id, lock=True)
        datasets.replace(session, caller, row, body, backend.clock.now_ms())
    return _paths(dataset_id)


@router.delete("/dataSets/{dataset_id}", **document_operation(examples.PATHS, errors=(409,)))
def delete_dataset(caller: CallerOf, backend: BackendOf, dataset_id: str, force: Force = False) -> Paths:
    """Delete a dataset with its rows; refused if flows export it."""
    with backend.database.writing() as session:
        deleted = datasets.delete(session, caller, dataset_id, backend.clock.now_ms(), force=force)
    dataset_tables.remove(backend.lake, backend.uploads, deleted)
    return _paths(dataset_id)


@router.get("/batches", **_list_of(examples.BATCH))
def list_batches(caller: CallerOf, backend: BackendOf, request: Request) -> Json:
    """List the sandbox's batches, by id."""
    with backend.database.reading() as session:
        return batch_documents.list_documents(session, caller, request.query_params.multi_items())


@router.get(
    "/batches/{batch_id}",
    **document_operation({examples.BATCH_ID: examples.BATCH}, schema=keyed_schema(examples.BATCH)),
)
def get_batch(caller: CallerOf, backend: BackendOf, batch_id: str) -> Json:
    """Get a batch."""
    with backend.database.reading() as session:
        return batch_documents.get_document(session, caller, batch_id)


@router.post(
    "/batches",
    status_code=201,
    **document_operation(
        examples.BATCH_PATHS, status=201, body=batch_edits.CatalogBatch, body_example=examples.CATALOG_BATCH
    ),
)
def create_batch(caller: CallerOf, backend: BackendOf, body: JsonBody, response: Response) -> Paths:
    """Create a batch; only its status is required."""
    with backend.database.writing() as session:
        row = batch_edits.create(session, caller, body, backend.clock.now_ms())
    response.headers["Location"] = f"{CATALOG}/batches/{row.id}"
    return _batch_paths(row.id)


_CHANGING_BATCH: Final = document_operation(
    examples.BATCH_PATHS, body=batch_edits.BatchChange, body_example={"tags": {"team": ["loyalty"]}}
)


@router.post(
    "/batches/{batch_id}",
    status_code=201,
    **document_operation(
        examples.BATCH_PATHS, status=201, body=batch_edits.BatchChange, body_example={"status": "active"}
    ),
)
def post_batch(caller: CallerOf, backend: BackendOf, batch_id: str, body: JsonBody, response: Response) -> Paths:
    """Update a batch, as PATCH does; with a dataset's id, create a batch of that dataset."""
    now = backend.clock.now_ms()
    with backend.database.writing() as session:
        if datasets.exists(session, caller, batch_id):
            result_id = batch_edits.create(session, caller, body, now, dataset_id=batch_id).id
        else:
            result_id = batch_id
    if result_id == batch_id:
        _change_batch(caller, backend, batch_id, body, whole=False)
    response.headers["Location"] = f"{CATALOG}/batches/{result_id}"
    return _batch_paths(result_id)


@router.patch("/batches/{batch_id}", **_CHANGING_BATCH)
def change_batch(caller: CallerOf, backend: BackendOf, batch_id: str, body: JsonBody) -> Paths:
    """Add tags to a batch, or complete, abort or revert it by its status."""
    return _change_batch(caller, backend, batch_id, body, whole=False)


@router.put("/batches/{batch_id}", **_CHANGING_BATCH)
def replace_batch(caller: CallerOf, backend: BackendOf, batch_id: str, body: JsonBody) -> Paths:
    """Replace the tags of a batch, or complete, abort or revert it by its status."""
    return _change_batch(caller, backend, batch_id, body, whole=True)


@router.delete("/batches/{batch_id}", **document_operation(examples.BATCH_PATHS))
def delete_batch(caller: CallerOf, backend: BackendOf, batch_id: str) -> Paths:
    """Delete a batch: reverts its rows, or removes the files uploaded for it."""
    with backend.database.writing() as session:
        row = batch_documents.find(session, caller, batch_id, lock=True)
        batch_edits.withdraw(session, caller, row, backend.clock.now_ms())
        over = row.status not in OPEN
    if over:
        backend.uploads.remove(batch_id)
    return _batch_paths(batch_id)


@router.get("/lastBatches", **_list_of(examples.LAST_BATCH))
def last_batches(caller: CallerOf, backend: BackendOf, request: Request) -> Json:
    """List the last batches of each dataset, by dataset id."""
    with backend.database.reading() as session:
        return dataset_documents.last_batches_page(session, caller, request.query_params.multi_items())


def _change_batch(caller: Caller, backend: Backend, batch_id: str, body: bytes, *, whole: bool) -> Paths:
    with backend.database.writing() as session:
        row = batch_documents.find(session, caller, batch_id, lock=True)
        batch_edits.change(session, caller, row, body, backend.clock.now_ms(), whole=whole)
        over = row.status not in OPEN
    if over:
        backend.uploads.remove(batch_id)
    return _batch_paths(batch_id)


def _paths(dataset_id: str) -> Paths:
    return [f"@/dataSets/{dataset_id}"]


def _batch_paths(batch_id: str) -> Paths:
    return [f"@/batches/{batch_id}"]
