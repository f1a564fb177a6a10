"""Batch ingestion: uploads of files for a batch, whose rows are committed together (contract, section 24)."""

import contextlib
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar, get_args

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.requests import ClientDisconnect

from offtake.api import byte_ranges
from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.openapi import lake_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.catalog import batch_documents, batches, upload_preview, uploaded_files
from offtake.catalog.arriving_files import arriving
from offtake.catalog.uploaded_files import StoredPart, UploadedRange, UploadTarget
from offtake.contract import problems
from offtake.contract.problems import Problem
from offtake.deployment.backend import Backend
from offtake.documents import Json
from offtake.errors import DeliveryError
from offtake.lake.uploads import Incoming, UploadLostError, Uploads
from offtake.store import batches as store

T = TypeVar("T")


def short_address(request: Request, _caller: CallerOf) -> None:
    """Raise 3414 for a URL of more than 2000 characters."""
    byte_ranges.check_address(str(request.url))


router = APIRouter(tags=["batch ingestion"], dependencies=[Depends(short_address)])

_ACTIONS: Final[dict[str, batches.Action]] = {one: one for one in get_args(batches.Action)}
_FILE: Final = "/batches/{batch_id}/datasets/{dataset_id}/files/{file_path:path}"
_BYTES: Final[Json] = {"type": "string", "format": "binary"}
_ERRORS: Final = (409, 413, 414, 415, 416)
_SENT: Final = document_operation(examples.SENT_FILE, body=_BYTES, body_type="application/octet-stream", errors=_ERRORS)

Action = Annotated[str | None, Query(description="INITIALIZE or COMPLETE, for a file uploaded in parts.")]
BatchAction = Annotated[str | None, Query(description="COMPLETE, ABORT, FAIL or REVERT.")]
ContentRange = Annotated[str | None, Header(alias="Content-Range", description="bytes first-last/total")]


_MADE: Final = document_operation(
    examples.NEW_BATCH_MADE, status=201, body=batches.NewBatch, body_example=examples.NEW_BATCH, errors=(409, 414)
)


@router.post("/batches", status_code=201, **_MADE)
def create(caller: CallerOf, backend: BackendOf, body: JsonBody) -> Json:
    """Create a batch, for which files can then be uploaded."""
    with backend.database.writing() as session:
        row = batches.create(session, caller, body, backend.clock.now_ms())
        return {"id": row.id, **batch_documents.document(row)}


@router.patch("/batches", status_code=201, **_MADE)
def replay(caller: CallerOf, backend: BackendOf, body: JsonBody) -> Json:
    """Create a batch; same as POST, for clients that replace other batches (`replay`)."""
    return create(caller, backend, body)


@router.post("/batches/{batch_id}", **document_operation(examples.NEW_BATCH_MADE, errors=(409, 414)))
def act(caller: CallerOf, backend: BackendOf, batch_id: str, action: BatchAction = None) -> Json:
    """Complete, abort or revert a batch."""
    known = _ACTIONS.get((action or "").upper())
    if known is None:
        raise problems.missing_parameter("action", f"one of {', '.join(_ACTIONS)}")
    with backend.database.writing() as session:
        row = batch_documents.find(session, caller, batch_id, lock=True)
        batches.act(session, caller, row, known, backend.clock.now_ms())
        shown = {"id": row.id, **batch_documents.document(row)}
    if shown["status"] not in store.OPEN:
        backend.uploads.remove(batch_id)
    return shown


@router.put(_FILE, status_code=201, **(_SENT | {"responses": {**_SENT["responses"], 201: _SENT["responses"][200]}}))
async def put(
    caller: CallerOf,
    backend: BackendOf,
    request: Request,
    response: Response,
    batch_id: str,
    dataset_id: str,
    file_path: str,
) -> Json:
    """Upload a whole file of at most 256 MB; replaces a file with the same name."""
    byte_ranges.check_type(request.headers.get("content-type", ""))
    target = uploaded_files.upload_target(batch_id, dataset_id, file_path)
    declared_size = _content_length(request)
    if declared_size > uploaded_files.LARGEST_WHOLE:
        raise uploaded_files.too_large(uploaded_files.LARGEST_WHOLE, "A file")
    await _in_transaction(backend, lambda session: uploaded_files.check_room(session, caller, target, declared_size))
    async with arriving(lambda: backend.uploads.receive(target.batch_id, target.name)) as incoming:
        size = await _receive(request, incoming, uploaded_files.LARGEST_WHOLE)
        is_new = await _in_transaction(
            backend, lambda session: _store(session, caller, backend, target, incoming, size)
        )
    response.status_code = 201 if is_new else 200
    return {"name": target.name, "sizeInBytes": size}


@router.patch(_FILE, **_SENT)
async def part(
    caller: CallerOf,
    backend: BackendOf,
    request: Request,
    batch_id: str,
    dataset_id: str,
    file_path: str,
    content_range: ContentRange = None,
) -> Json:
    """Upload a part of a large file, in any order; a part may be sent again."""
    byte_ranges.check_type(request.headers.get("content-type", ""))
    target = uploaded_files.upload_target(batch_id, dataset_id, file_path)
    byte_range = byte_ranges.parse_content_range(content_range, request.headers.get("content-length"))
    upload = await _in_transaction(
        backend, lambda session: uploaded_files.expect_part(session, caller, target, byte_range)
    )
    async with arriving(lambda: _open_part(backend.uploads, target, byte_range.first)) as incoming:
        size = await _receive(request, incoming, byte_range.size)
        if size != byte_range.size:
            raise problems.of_field(
                "/Content-Range", f"is {byte_range.size} bytes long, but {size} bytes were received"
            )
        return await _in_transaction(
            backend, lambda session: _record(session, caller, backend, target, byte_range, incoming, upload)
        )


@router.post(_FILE, **(document_operation(examples.SENT_FILE, errors=_ERRORS) | {"response_model": None}))
def file_action(
    caller: CallerOf,
    backend: BackendOf,
    response: Response,
    batch_id: str,
    dataset_id: str,
    file_path: str,
    action: Action = None,
) -> Json:
    """Start the upload of a large file in parts, or complete it after all parts."""
    target = uploaded_files.upload_target(batch_id, dataset_id, file_path)
    now = backend.clock.now_ms()
    with backend.database.writing() as session:
        if (action or "").upper() == "INITIALIZE":
            uploaded_files.initialize(session, caller, target, backend.uploads, now)
            response.status_code = 201
            return {"name": target.name, "sizeInBytes": 0}
        if (action or "").upper() == "COMPLETE":
            return uploaded_files.render(uploaded_files.finish(session, caller, target, now))
    raise problems.missing_parameter("action", "INITIALIZE or COMPLETE")


@router.head(_FILE, response_class=Response, **document_operation(errors=(414,)))
def file_state(caller: CallerOf, backend: BackendOf, batch_id: str, dataset_id: str, file_path: str) -> Response:
    """Get the received byte ranges of a large file, in the header `Range`."""
    target = uploaded_files.upload_target(batch_id, dataset_id, file_path)
    with backend.database.reading() as session:
        uploaded_files.find_batch(session, caller, batch_id, dataset_id)
        received = uploaded_files.ranges(uploaded_files.find(session, target))
    return Response(headers={"Range": received} if received else {})


@router.get(
    "/batches/{batch_id}/datasets/{dataset_id}/preview", **document_operation(examples.SENT_PREVIEW, errors=(414,))
)
def preview(caller: CallerOf, backend: BackendOf, request: Request, batch_id: str, dataset_id: str) -> Json:
    """Preview the first rows of the files uploaded for a batch."""
    query = dict(request.query_params)
    with backend.database.reading() as session:
        found, how = upload_preview.source(session, caller, backend.uploads, batch_id, dataset_id, query)
    return upload_preview.rows(backend.parsers, found, how, query.get("nrow"))


@router.get("/batches/{batch_id}/datasets/{dataset_id}/dryRun", **document_operation(examples.DRY_RUN, errors=(414,)))
def dry_run(caller: CallerOf, backend: BackendOf, batch_id: str, dataset_id: str) -> Json:
    """Dry run of a batch with the files uploaded so far: the changes to its dataset, or the error."""
    with backend.database.reading() as session:
        found = upload_preview.load_dry_run(session, caller, backend.uploads, batch_id, dataset_id)
    return upload_preview.dry_run(backend.parsers, found)


def _store(
    session: Any,  # noqa: ANN401 - sessions are the store's
    caller: CallerOf,
    backend: Backend,
    target: UploadTarget,
    incoming: Incoming,
    size: int,
) -> bool:
    is_new = uploaded_files.put(session, caller, target, size, backend.clock.now_ms(), incoming.object_id)
    incoming.publish()
    return is_new


async def _in_transaction(backend: Backend, work: Callable[[Any], T]) -> T:
    """Run `work` in one transaction, in the thread pool: it may wait for the database."""

    def run() -> T:
        with backend.database.writing() as session:
            return work(session)

    return await to_thread.run_sync(run)


def _record(
    session: Any,  # noqa: ANN401 - sessions are the store's
    caller: CallerOf,
    backend: Backend,
    target: UploadTarget,
    byte_range: UploadedRange,
    incoming: Incoming,
    upload: str | None,
) -> Json:
    stored = StoredPart(upload, incoming.object_id) if incoming.object_id is not None else None
    recorded = uploaded_files.record_part(session, caller, target, byte_range, backend.clock.now_ms(), stored)
    try:
        incoming.publish()
    except UploadLostError as error:
        raise Problem(problems.WRONG_ACTION, str(error)) from None
    return recorded


def _open_part(uploads: Uploads, target: UploadTarget, first: int) -> Incoming:
    try:
        return uploads.receive_part(target.batch_id, target.name, first)
    except UploadLostError as error:
        raise Problem(problems.WRONG_ACTION, str(error)) from None


async def _receive(request: Request, incoming: Incoming, most: int) -> int:
    """Stream the body to the file, and make it durable; returns the number of bytes."""
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise uploaded_files.too_large(most, "A request")
            await to_thread.run_sync(incoming.write, chunk)
    except (OSError, DeliveryError):
        await _drain_body(request)
        raise
    except ClientDisconnect:
        raise Problem(
            problems.BAD_VALUE, "The connection closed before the whole body was received. Send the request again."
        ) from None
    await to_thread.run_sync(incoming.finish)
    return size


async def _drain_body(request: Request) -> None:
    """Read and discard the rest of the body: a client that still sends would miss the response."""
    with contextlib.suppress(ClientDisconnect):
        async for _ in request.stream():
            pass


def _content_length(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length[:18]) if length.isascii() and length.isdecimal() else 0
