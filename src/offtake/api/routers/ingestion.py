"""Batch ingestion: files are sent for a batch, which comes into its dataset as one (contract, section 24)."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Annotated, Any, Final, TypeVar, get_args

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.requests import ClientDisconnect

from offtake.api import byte_ranges
from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.openapi import lake_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.catalog import batch_documents, batches, upload_preview, uploaded_files
from offtake.catalog.uploaded_files import UploadedRange, UploadTarget
from offtake.contract import problems
from offtake.contract.problems import Problem
from offtake.deployment.backend import Backend
from offtake.lake import upload_folder as disk
from offtake.store import batches as store

Json = dict[str, Any]
T = TypeVar("T")


def short_address(request: Request, _caller: CallerOf) -> None:
    """Raise 3414 for an address over 2000 characters."""
    byte_ranges.check_address(str(request.url))


router = APIRouter(tags=["batch ingestion"], dependencies=[Depends(short_address)])

_ACTIONS: Final[dict[str, batches.Action]] = {one: one for one in get_args(batches.Action)}
_FILE: Final = "/batches/{batch_id}/datasets/{dataset_id}/files/{file_path:path}"
_BYTES: Final[Json] = {"type": "string", "format": "binary"}
_ERRORS: Final = (409, 413, 414, 415, 416)
_SENT: Final = document_operation(examples.SENT_FILE, body=_BYTES, body_type="application/octet-stream", errors=_ERRORS)

Action = Annotated[str | None, Query(description="INITIALIZE or COMPLETE, of a file that comes in parts.")]
BatchAction = Annotated[str | None, Query(description="COMPLETE, ABORT, FAIL or REVERT.")]
ContentRange = Annotated[str | None, Header(alias="Content-Range", description="bytes first-last/total")]


_MADE: Final = document_operation(
    examples.NEW_BATCH_MADE, status=201, body=batches.NewBatch, body_example=examples.NEW_BATCH, errors=(409, 414)
)


@router.post("/batches", status_code=201, **_MADE)
def create(caller: CallerOf, backend: BackendOf, body: JsonBody) -> Json:
    """Make a batch that files can be sent for."""
    with backend.database.writing() as session:
        row = batches.create(session, caller, body, backend.clock.now_ms())
        return {"id": row.id, **batch_documents.document(row)}


@router.patch("/batches", status_code=201, **_MADE)
def replay(caller: CallerOf, backend: BackendOf, body: JsonBody) -> Json:
    """The same, as a client sends it for a batch that takes the place of others."""
    return create(caller, backend, body)


@router.post("/batches/{batch_id}", **document_operation(examples.NEW_BATCH_MADE, errors=(409, 414)))
def act(caller: CallerOf, backend: BackendOf, batch_id: str, action: BatchAction = None) -> Json:
    """Bring a batch on its way, drop it, or take it out again."""
    wanted = _ACTIONS.get((action or "").upper())
    if wanted is None:
        raise problems.missing_parameter("action", f"one of {', '.join(_ACTIONS)}")
    with backend.database.writing() as session:
        row = batch_documents.find(session, caller, batch_id, lock=True)
        batches.act(session, caller, row, wanted, backend.clock.now_ms())
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
    """Send a whole file, of at most 256 MB; it takes the place of one of the same name."""
    byte_ranges.check_type(request.headers.get("content-type", ""))
    where = uploaded_files.upload_target(batch_id, dataset_id, file_path)
    announced = _content_length(request)
    if announced > uploaded_files.LARGEST_WHOLE:
        raise uploaded_files.too_large(uploaded_files.LARGEST_WHOLE, "A file")
    await _in_transaction(backend, lambda session: uploaded_files.check_room(session, caller, where, announced))
    incoming = backend.uploads.incoming(where.batch_id, where.name)
    try:
        with await _open_upload(incoming, "xb") as file:
            size = await _receive(request, file, 0, uploaded_files.LARGEST_WHOLE)
        is_new = await _in_transaction(backend, lambda session: _store(session, caller, backend, where, incoming, size))
    finally:
        incoming.unlink(missing_ok=True)
    response.status_code = 201 if is_new else 200
    return {"name": where.name, "sizeInBytes": size}


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
    """Send a part of a large file; parts may come in any order, and again."""
    byte_ranges.check_type(request.headers.get("content-type", ""))
    where = uploaded_files.upload_target(batch_id, dataset_id, file_path)
    coming = byte_ranges.parse_content_range(content_range, request.headers.get("content-length"))
    await _in_transaction(backend, lambda session: uploaded_files.expect_part(session, caller, where, coming))
    path = backend.uploads.path(where.batch_id, where.name)
    with await _open_upload(path, "r+b") as file:
        size = await _receive(request, file, coming.first, coming.size)
        if size != coming.size:
            raise problems.of_field("/Content-Range", f"is {coming.size} bytes long, but {size} bytes came")
        return await _in_transaction(backend, lambda session: _record(session, caller, backend, where, coming, file))


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
    """Begin a large file, or end it when all of its parts have come."""
    where = uploaded_files.upload_target(batch_id, dataset_id, file_path)
    now = backend.clock.now_ms()
    with backend.database.writing() as session:
        if (action or "").upper() == "INITIALIZE":
            uploaded_files.initialize(session, caller, where, backend.uploads, now)
            response.status_code = 201
            return {"name": where.name, "sizeInBytes": 0}
        if (action or "").upper() == "COMPLETE":
            return uploaded_files.render(uploaded_files.finish(session, caller, where, now))
    raise problems.missing_parameter("action", "INITIALIZE or COMPLETE")


@router.head(_FILE, response_class=Response, **document_operation(errors=(414,)))
def file_state(caller: CallerOf, backend: BackendOf, batch_id: str, dataset_id: str, file_path: str) -> Response:
    """What of a large file has come in, in the header `Range`."""
    where = uploaded_files.upload_target(batch_id, dataset_id, file_path)
    with backend.database.reading() as session:
        uploaded_files.readable(session, caller, batch_id, dataset_id)
        come = uploaded_files.ranges(uploaded_files.find(session, where))
    return Response(headers={"Range": come} if come else {})


@router.get(
    "/batches/{batch_id}/datasets/{dataset_id}/preview", **document_operation(examples.SENT_PREVIEW, errors=(414,))
)
def preview(caller: CallerOf, backend: BackendOf, request: Request, batch_id: str, dataset_id: str) -> Json:
    """The first rows of what was sent for a batch so far."""
    asked = dict(request.query_params)
    with backend.database.reading() as session:
        found, how = upload_preview.source(session, caller, backend.uploads, batch_id, dataset_id, asked)
    return upload_preview.rows(backend.parsers, found, how, asked.get("nrow"))


@router.get("/batches/{batch_id}/datasets/{dataset_id}/dryRun", **document_operation(examples.DRY_RUN, errors=(414,)))
def dry_run(caller: CallerOf, backend: BackendOf, batch_id: str, dataset_id: str) -> Json:
    """What a batch would do to its dataset with what was sent for it so far, or why it would be refused."""
    with backend.database.reading() as session:
        found = upload_preview.load_dry_run(session, caller, backend.uploads, batch_id, dataset_id)
    return upload_preview.dry_run(backend.parsers, found)


def _store(session: Any, caller: CallerOf, backend: Backend, where: UploadTarget, incoming: Path, size: int) -> bool:  # noqa: ANN401 - sessions are the store's
    is_new = uploaded_files.put(session, caller, where, size, backend.clock.now_ms())
    disk.publish(incoming, backend.uploads.path(where.batch_id, where.name))
    return is_new


async def _in_transaction(backend: Backend, work: Callable[[Any], T]) -> T:
    """The work in one transaction, on a thread that may wait for the database."""

    def carried_out() -> T:
        with backend.database.writing() as session:
            return work(session)

    return await to_thread.run_sync(carried_out)


def _record(
    session: Any,  # noqa: ANN401 - sessions are the store's
    caller: CallerOf,
    backend: Backend,
    where: UploadTarget,
    come: UploadedRange,
    file: IO[bytes],
) -> Json:
    recorded = uploaded_files.record_part(session, caller, where, come, backend.clock.now_ms())
    if not disk.same_file(file, backend.uploads.path(where.batch_id, where.name)):
        raise Problem(
            problems.WRONG_ACTION, f"File {where.name} was begun anew while a part came; send the part again."
        )
    return recorded


async def _open_upload(path: Path, mode: str) -> IO[bytes]:
    try:
        return await to_thread.run_sync(lambda: path.open(mode))
    except FileNotFoundError:
        raise Problem(problems.WRONG_ACTION, "The file was dropped while it came in; begin it again.") from None


async def _receive(request: Request, file: IO[bytes], first: int, most: int) -> int:
    """The body written to the file from byte `first` on, as it comes, and synced; how many bytes that was."""
    size = 0
    file.seek(first)
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise uploaded_files.too_large(most, "A request")
            await to_thread.run_sync(file.write, chunk)
    except OSError:
        await _drain_body(request)
        raise
    except ClientDisconnect:
        raise Problem(problems.BAD_VALUE, "The request ended before its body did; send it again.") from None
    await to_thread.run_sync(disk.sync_file, file)
    return size


async def _drain_body(request: Request) -> None:
    """Let the rest of the body come and go: a client that is still sending would not see the answer."""
    with contextlib.suppress(ClientDisconnect):
        async for _ in request.stream():
            pass


def _content_length(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length[:18]) if length.isascii() and length.isdecimal() else 0
