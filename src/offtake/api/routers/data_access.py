"""Data access: the files of batches, and the first rows of a dataset (contract, section 25)."""

from typing import Annotated, Final
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from offtake.api import byte_ranges
from offtake.api.byte_ranges import ByteRange
from offtake.api.dependencies import BackendOf, CallerOf
from offtake.api.error_types import DATA_ACCESS
from offtake.api.openapi import lake_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.catalog import batch_files, batch_reports, dataset_documents
from offtake.catalog.batch_files import BatchFile
from offtake.contract import catalog_query, problems
from offtake.documents import Json
from offtake.flows import chosen_columns

router = APIRouter(tags=["data access"])

_MOST: Final = 100
_MOST_ROWS: Final = 1000
_LINES: Final = "application/x-ndjson"
_BYTES: Final = "application/octet-stream"
_VERSION: Final = "1.0.0"

Start = Annotated[str | None, Query(description="How many items to skip.")]
Limit = Annotated[str | None, Query(description="Items per page, 1 to 100.")]
Rows = Annotated[str | None, Query(description="Number of rows, 1 to 1000; default 100.")]
DeliveredBy = Annotated[
    str | None,
    Query(
        alias="sourceConnectionId",
        description="The rows as a source connection delivers them: of its branch or tag, with its columns.",
    ),
]
Name = Annotated[str | None, Query(alias="path", description="The name of a file: returns its bytes.")]
Range = Annotated[str | None, Header(alias="Range", description="A byte range such as bytes=0-99.")]


@router.get("/batches/{batch_id}/files", **document_operation(examples.BATCH_FILES))
def files(
    caller: CallerOf, backend: BackendOf, request: Request, batch_id: str, start: Start = None, limit: Limit = None
) -> Json:
    """List the data files of a batch."""
    with backend.database.reading() as session:
        batch, found = batch_files.of_batch(session, backend.lake, caller, batch_id)
    stamp = {"version": _VERSION, "created": str(batch.completed_at), "updated": str(batch.completed_at)}
    items = [
        {
            "dataSetFileId": file.id,
            "dataSetViewId": dataset_documents.view_id(batch.dataset_id),
            **stamp,
            "records": str(file.rows),
            "size": str(file.bytes),
            "isValid": True,
            "_links": {"self": {"href": _href(request, f"/files/{file.id}")}},
        }
        for file in found
    ]
    return _page(request, items, start, limit)


_SMALL_FILES: Final = document_operation(examples.FILES, also={200: _BYTES})


@router.get("/batches/{batch_id}/failed", response_model=None, **_SMALL_FILES)
def failed(
    caller: CallerOf,
    backend: BackendOf,
    request: Request,
    batch_id: str,
    name: Name = None,
    start: Start = None,
    limit: Limit = None,
) -> Json | Response:
    """List the error reports of a batch; with `path`, download one."""
    with backend.database.reading() as session:
        found = batch_reports.error_files(session, caller, batch_id)
    return _small_files(request, found, name, start, limit)


@router.get("/batches/{batch_id}/meta", response_model=None, **_SMALL_FILES)
def meta(
    caller: CallerOf,
    backend: BackendOf,
    request: Request,
    batch_id: str,
    name: Name = None,
    start: Start = None,
    limit: Limit = None,
) -> Json | Response:
    """List the uploaded files and error reports of a batch; with `path`, download a file or list a folder."""
    with backend.database.reading() as session:
        found = batch_reports.all_files(session, caller, batch_id)
    return _small_files(request, found, name, start, limit)


@router.get(
    "/files/{file_id}",
    response_model=None,
    **document_operation(examples.FILES, errors=(416,), also={200: _BYTES, 206: _BYTES}),
)
def file(
    caller: CallerOf,
    backend: BackendOf,
    request: Request,
    file_id: str,
    name: Name = None,
    range_header: Range = None,
    start: Start = None,
    limit: Limit = None,
) -> Json | Response:
    """Get the name and size of a data file; with `path`, download it or a range of it."""
    found = _found(caller, backend, file_id, name)
    if name is None:
        link = _href(request, f"/files/{file_id}?{urlencode({'path': found.name})}")
        item = {"name": found.name, "length": str(found.bytes), "_links": {"self": {"href": link}}}
        return _page(request, [item], start, limit)
    part = byte_ranges.parse_range(range_header, found.bytes)
    whole = part or ByteRange(0, found.bytes)
    headers = _headers(found) | {"Content-Length": str(whole.length)}
    if part is not None:
        headers["Content-Range"] = f"bytes {part.first}-{part.first + part.length - 1}/{found.bytes}"
    content = backend.lake.warehouse.read(found.location, whole.first, whole.length)
    return StreamingResponse(content, 206 if part else 200, headers, media_type=_BYTES)


@router.head("/files/{file_id}", response_class=Response, **document_operation())
def file_headers(caller: CallerOf, backend: BackendOf, file_id: str, name: Name = None) -> Response:
    """Get the size of a data file."""
    found = _found(caller, backend, file_id, name)
    return Response(headers=_headers(found) | {"Content-Length": str(found.bytes)}, media_type=_BYTES)


@router.get("/datasets/{dataset_id}/preview", **document_operation(examples.PREVIEW, errors=(502,)))
def preview(caller: CallerOf, backend: BackendOf, dataset_id: str) -> Json:
    """Get the first rows of a dataset, at most 100."""
    return {"data": dataset_documents.preview(backend.database, backend.lake, caller, dataset_id, _MOST)}


@router.get(
    "/datasets/{dataset_id}/rows", response_class=Response, **document_operation(also={200: _LINES}, errors=(502,))
)
def rows(
    caller: CallerOf, backend: BackendOf, dataset_id: str, limit: Rows = None, source: DeliveredBy = None
) -> Response:
    """Get the first rows of a dataset as lines of JSON (NDJSON), numbers with all their digits (an extension)."""
    most = catalog_query.number("/limit", limit or str(_MOST), 1, _MOST_ROWS)
    with backend.database.reading() as session:
        chosen = (None, None) if source is None else chosen_columns.delivered_by(session, caller, source, dataset_id)
    lines = dataset_documents.preview_lines(backend.database, backend.lake, caller, dataset_id, most, *chosen)
    return Response("".join(f"{one}\n" for one in lines), media_type=_LINES)


def _small_files(
    request: Request, found: batch_reports.Files, name: str | None, start: str | None, limit: str | None
) -> Json | Response:
    if name is not None and name in found:
        return Response(found[name], media_type=_BYTES)
    here = request.url.path.removeprefix(DATA_ACCESS)
    shown = found if not name else batch_reports.files_in(found, name)
    items = [
        {
            "name": one,
            "length": str(len(content)),
            "_links": {"self": {"href": _href(request, f"{here}?{urlencode({'path': one})}")}},
        }
        for one, content in sorted(shown.items())
    ]
    return _page(request, items, start, limit)


def _found(caller: CallerOf, backend: BackendOf, file_id: str, name: str | None) -> BatchFile:
    with backend.database.reading() as session:
        found = batch_files.find(session, backend.lake, caller, file_id)
    if (name is not None and name.strip("/") != found.name) or not backend.lake.warehouse.exists(found.location):
        raise problems.not_found(batch_files.FILES, f"{file_id}/{(name or '')[:200]}")
    return found


def _page(request: Request, items: list[Json], start: str | None, limit: str | None) -> Json:
    """Render one page of `items`, which holds all of them."""
    first = catalog_query.number("/start", start or "0", 0, None)
    most = catalog_query.number("/limit", limit or str(_MOST), 1, _MOST)
    shown = items[first : first + most]
    here = request.url.path.removeprefix(DATA_ACCESS)
    links: Json = {"page": {"href": _href(request, here) + "?start={start}&limit={limit}", "templated": True}}
    if first + most < len(items):
        links["next"] = {"href": _href(request, f"{here}?start={first + most}&limit={most}")}
    return {"data": shown, "_page": {"limit": most, "count": len(shown)}, "_links": links}


def _href(request: Request, path: str) -> str:
    return f"{str(request.base_url).rstrip('/')}{DATA_ACCESS}{quote(path, safe='/?&=%')}"


def _headers(found: BatchFile) -> dict[str, str]:
    return {"Accept-Ranges": "bytes", "Content-Disposition": f'attachment; filename="{found.name}"'}
