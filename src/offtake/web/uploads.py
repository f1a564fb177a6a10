"""Receives the files of an import: into the upload folder while they arrive, or not at all."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

from anyio import to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

from offtake.access import access, web_sessions
from offtake.catalog import import_drafts, uploaded_files
from offtake.catalog.arriving_files import arriving
from offtake.catalog.uploaded_files import UploadTarget
from offtake.contract import problems
from offtake.contract.caller import MANAGE_DATASETS
from offtake.contract.problems import Problem
from offtake.errors import disk_error
from offtake.lake.uploads import Incoming
from offtake.store.tables import Batch
from offtake.web import batch_actions, cookies, form_body, multipart
from offtake.web.local_paths import local_path
from offtake.web.multipart import Event, Field, FileEnd, FileStart
from offtake.web.person import Person

T = TypeVar("T")
_FORM_BYTES: Final = 1024 * 1024
"""The size of a form without its files, at most."""
_MOST_DRAINED: Final = 256 * 1024 * 1024
_OTHER_SESSION: Final = "The form is from another session. Reload the page, then send it again."


class Receiver:
    """Receives one form with files. The session's token and the dataset's name come before the first file."""

    def __init__(self, request: Request, person: Person) -> None:
        self._request, self._person = request, person
        self._fields: dict[str, str] = {}
        self._batch: Batch | None = None
        self.first_file = ""

    async def receive(self) -> Batch:
        """The draft with all files. After an error or a lost connection it is aborted, and its files are deleted.

        Raises `Problem` with the path of the field, `/name` or `/file`; the rest of the body is read before.
        """
        size = _length(self._request)
        events = multipart.read(self._request)
        try:
            await self._read(events, size)
        except BaseException as error:  # noqa: BLE001 - however it ends, nothing stays half done
            with contextlib.suppress(Exception):
                await to_thread.run_sync(self._abort)
            raise await self._explained(error, events) from None
        if self._batch is None:
            raise problems.of_field("/file", "is required: choose a file", missing=True)
        return self._batch

    @property
    def name(self) -> str:
        """The dataset's name or id as it was sent."""
        return self._fields.get("name", "").strip()

    @property
    def next(self) -> str:
        """Where the import leads, as it was sent; empty unless it is a path of the pages."""
        return local_path(self._fields.get("next", ""))

    async def _read(self, events: AsyncIterator[Event], size: int) -> None:
        async for event in events:
            if isinstance(event, Field):
                self._fields[event.name] = event.value
            elif isinstance(event, FileStart):
                self._check_token()
                await self._file(event.name, events, size)
        self._check_token()

    async def _file(self, name: str, events: AsyncIterator[Event], size: int) -> None:
        if not name:
            # A form in which no file was chosen has one without a name.
            async for event in events:
                if isinstance(event, FileEnd):
                    return
        target = await self._in_transaction(lambda session: self._prepare(session, name, size))
        uploads = self._person.backend.uploads
        async with arriving(lambda: uploads.receive(target.batch_id, target.name)) as incoming:
            received = await _write(events, incoming)
            await self._in_transaction(lambda session: self._store(session, target, incoming, received))

    def _prepare(self, session: Any, name: str, size: int) -> UploadTarget:  # noqa: ANN401 - sessions are the store's
        self._check_session(session)
        person = self._person
        import_drafts.check_file_name(name)
        if self._batch is None:
            dataset = self.name or default_name(name)
            now_ms = person.backend.clock.now_ms()
            batch = import_drafts.begin(session, person.caller, dataset, now_ms)
        else:
            batch = self._batch
        target = uploaded_files.upload_target(batch.id, batch.dataset_id, name)
        uploaded_files.check_room(session, person.caller, target, size)
        self._batch, self.first_file = batch, self.first_file or name
        return target

    def _store(self, session: Any, target: UploadTarget, incoming: Incoming, size: int) -> None:  # noqa: ANN401 - as above
        self._check_session(session)
        now_ms = self._person.backend.clock.now_ms()
        uploaded_files.put(session, self._person.caller, target, size, now_ms, incoming.object_id)
        incoming.publish()

    def _check_session(self, session: Any) -> None:  # noqa: ANN401 - as above
        """Raise when the person has been signed out, or has lost the permission, while the file arrived."""
        now_ms = self._person.backend.clock.now_ms()
        if web_sessions.find(session, cookies.read(self._request) or "", now_ms) is None:
            raise Problem(problems.FORBIDDEN, "Your session has ended. Sign in, then send the file again.")
        access.current(session, self._person.caller).require(MANAGE_DATASETS)

    def _abort(self) -> None:
        if self._batch is not None:
            batch_actions.act(self._person, self._batch.id, "ABORT")

    def _check_token(self) -> None:
        value = cookies.read(self._request)
        if value is None or not cookies.is_csrf_token(value, self._fields.get(form_body.TOKEN, "")):
            raise Problem(problems.FORBIDDEN, _OTHER_SESSION)

    async def _explained(self, error: BaseException, events: AsyncIterator[Event]) -> BaseException:
        if isinstance(error, ClientDisconnect):
            return Problem(problems.BAD_VALUE, "The connection closed before the whole file arrived. Send it again.")
        if isinstance(error, (Problem, OSError)):
            await _drain(self._request, events)
        cause = disk_error(error) if isinstance(error, OSError) else None
        if cause is None:
            return error
        message = f"The file cannot be written to the disk of the server: {cause}. Free space or repair the disk."
        return Problem(problems.NO_ROOM, message)

    async def _in_transaction(self, work: Callable[[Any], T]) -> T:
        def run() -> T:
            with self._person.backend.database.writing() as session:
                return work(session)

        return await to_thread.run_sync(run)


def default_name(file_name: str) -> str:
    """The name of a dataset after its first file: `orders` for `orders.csv.gz`."""
    stem = file_name[:-3] if file_name.lower().endswith(".gz") else file_name
    return stem.rpartition(".")[0] or stem


def _length(request: Request) -> int:
    """The size of the body; raises 3413. Browsers send it with every form."""
    text = request.headers.get("content-length", "")
    size = int(text[:18]) if text.isascii() and text.isdecimal() else uploaded_files.LARGEST_BATCH + _FORM_BYTES + 1
    if size > uploaded_files.LARGEST_BATCH + _FORM_BYTES:
        raise uploaded_files.too_large(uploaded_files.LARGEST_BATCH, "An import")
    return max(0, size - _FORM_BYTES)


async def _write(events: AsyncIterator[Event], incoming: Incoming) -> int:
    size = 0
    async for event in events:
        if isinstance(event, bytes):
            size += len(event)
            await to_thread.run_sync(incoming.write, event)
        elif isinstance(event, FileEnd):
            await to_thread.run_sync(incoming.finish)
            return size
    raise problems.of_field("/file", "was not received completely")


async def _drain(request: Request, events: AsyncIterator[Event]) -> None:
    """Read and discard the rest of the body: a browser that still sends would miss the response."""
    with contextlib.suppress(ClientDisconnect, Problem, RuntimeError):
        left = _MOST_DRAINED
        async for event in events:
            left -= len(event) if isinstance(event, bytes) else 0
            if left < 0:
                return
        async for chunk in request.stream():
            left -= len(chunk)
            if left < 0:
                return
