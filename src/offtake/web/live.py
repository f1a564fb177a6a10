"""Live progress of runs by server-sent events: one query a second for all watched runs of the process."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from offtake.access import web_sessions
from offtake.contract.caller import VIEW_DESTINATIONS
from offtake.deployment.backend import Backend
from offtake.errors import OfftakeError
from offtake.flows import run_views, runs
from offtake.flows.run_views import Progress
from offtake.store import run_states
from offtake.web import cookies
from offtake.web.person import PersonOf, find_person
from offtake.web.rendering import number, size
from offtake.web.routes import PageRoute
from offtake.web.times import duration

_log = logging.getLogger(__name__)

router = APIRouter(route_class=PageRoute)

_SECONDS: Final = 1.0
_CHECK_SECONDS: Final = 5.0
"""How often it is asked whether the person of a stream may still see the run."""
_PING_SECONDS: Final = 15.0
_LONGEST_SECONDS: Final = 300.0
"""A stream ends after this time and the browser opens another one."""
_PER_SECOND_FROM_MS: Final = 60_000
_STREAMS_OF_A_SESSION: Final = 32


@dataclass(eq=False)
class _Stream:
    """An open stream. `may_see`: raises `OfftakeError` when the person may no longer see the run.

    `viewer`: the session and the sandbox, for which one check is enough.
    """

    run_id: str
    viewer: tuple[str, str]
    may_see: Callable[[], object]
    queue: asyncio.Queue[Progress | None] = field(default_factory=lambda: asyncio.Queue(maxsize=8))
    shown: Progress | None = None
    is_over: bool = False


class RunWatch:
    """Watches runs for open pages. For the event loop's thread only; a task runs while any page is open."""

    def __init__(self, streams: int, streams_per_address: int) -> None:
        """So many streams leave room for the other requests, in total and from an address."""
        self._most, self._most_of_one = streams, streams_per_address
        self._open: Counter[str] = Counter()
        self._streams: set[_Stream] = set()
        self._task: asyncio.Task[None] | None = None

    def enter(self, address: str, session_id: str) -> Callable[[], None] | None:
        """Count a stream; returns what ends the count, or None when too many are open."""
        keys = ("", f"address {address}", f"session {session_id}")
        limits = (self._most, self._most_of_one, _STREAMS_OF_A_SESSION)
        if any(self._open[key] >= most for key, most in zip(keys, limits, strict=True)):
            return None
        self._open.update(keys)

        def leave() -> None:
            self._open.subtract(keys)
            self._open += Counter()  # removes the zeros

        return leave

    async def watch(self, backend: Backend, stream: _Stream) -> AsyncIterator[Progress | None]:
        """The run's progress now and whenever it changes; None about every 15 seconds.

        Ends when the run has ended, or when the person may no longer see it.
        """
        self._streams.add(stream)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll(backend))
        try:
            while not stream.is_over:
                try:
                    yield await asyncio.wait_for(stream.queue.get(), _PING_SECONDS)
                except TimeoutError:
                    yield None
        finally:
            self._streams.discard(stream)

    async def _poll(self, backend: Backend) -> None:
        checked = asyncio.get_running_loop().time()
        while self._streams:
            streams = tuple(self._streams)
            now = asyncio.get_running_loop().time()
            is_due = now - checked >= _CHECK_SECONDS
            checked = now if is_due else checked
            try:
                found, gone = await run_in_threadpool(_read, backend, streams, check=is_due)
            except Exception:  # noqa: BLE001 - a busy database: the next second retries
                _log.warning("the progress of runs cannot be read; retrying", exc_info=True)
                found, gone = {}, set()
            for stream in gone:
                stream.is_over = True
                _put(stream, None)
            for stream in streams:
                if stream.run_id in found and stream.shown != found[stream.run_id]:
                    stream.shown = found[stream.run_id]
                    _put(stream, stream.shown)
            await asyncio.sleep(_SECONDS)


def _put(stream: _Stream, progress: Progress | None) -> None:
    if not stream.queue.full():
        stream.queue.put_nowait(progress)


def _read(backend: Backend, streams: Collection[_Stream], *, check: bool) -> tuple[dict[str, Progress], set[_Stream]]:
    """The progress of all watched runs, and the streams of people who may no longer see theirs."""
    gone = {one for one in streams if not _may_see(one)} if check else _of_ended_sessions(backend, streams)
    with backend.database.reading() as session:
        return dict(run_views.progress_of(session, list({one.run_id for one in streams}))), gone


def _may_see(stream: _Stream) -> bool:
    try:
        stream.may_see()
    except OfftakeError:
        return False
    return True


def _of_ended_sessions(backend: Backend, streams: Collection[_Stream]) -> set[_Stream]:
    with backend.database.reading() as session:
        alive = web_sessions.alive(session, {one.viewer[0] for one in streams}, backend.clock.now_ms())
    return {one for one in streams if one.viewer[0] not in alive}


def visible_run(person: PersonOf, run_id: str) -> str:
    """The id of a run that the person may see; raises 1439."""
    person.caller.require(VIEW_DESTINATIONS)
    with person.backend.database.reading() as session:
        return runs.find(session, person.caller, run_id).id


class _Events(StreamingResponse):
    """A stream that is no longer counted when it is over, also when it never began."""

    def __init__(self, events: AsyncIterator[str], leave: Callable[[], None]) -> None:
        headers = {"X-Accel-Buffering": "no"}
        super().__init__(events, headers=headers, media_type="text/event-stream")
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


@router.get("/ui/{sandbox}/runs/{run_id}/live")
async def live(request: Request, person: PersonOf, run_id: Annotated[str, Depends(visible_run)]) -> Response:
    """Events: `progress` with numbers, `change` when the state has changed, `end` when the run has ended."""
    watch: RunWatch = request.app.state.run_watch
    address = request.client.host if request.client else ""
    session_id = web_sessions.key_of(cookies.read(request) or "")
    leave = watch.enter(address, session_id)
    if leave is None:
        # The page polls instead.
        return Response("Too many pages are open.", 503, {"Retry-After": "30"})
    sandbox, backend = person.caller.sandbox_name, person.backend
    may_see = partial(_see, request, backend, sandbox, run_id)
    return _Events(_events(watch, backend, _Stream(run_id, (session_id, sandbox), may_see)), leave)


def _see(request: Request, backend: Backend, sandbox: str, run_id: str) -> None:
    visible_run(find_person(request, backend, sandbox), run_id)


async def _events(watch: RunWatch, backend: Backend, stream: _Stream) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    state: str | None = None
    until = asyncio.get_running_loop().time() + _LONGEST_SECONDS
    async for progress in watch.watch(backend, stream):
        if stream.is_over:
            break
        if progress is None:
            yield ": still open\n\n"
        elif progress.status not in run_states.LIVE:
            break
        else:
            if state not in (None, progress.state):
                yield "event: change\ndata: {}\n\n"
            state = progress.state
            yield f"event: progress\ndata: {json.dumps(numbers(progress, backend.clock.now_ms()))}\n\n"
        if asyncio.get_running_loop().time() > until:
            return
    yield "event: end\ndata: {}\n\n"


def _parts(progress: Progress) -> str:
    if progress.planned:
        return f"{number(progress.finished)} of {number(progress.planned)}"
    return "planning" if progress.status == run_states.PROCESSING else number(None)


def numbers(progress: Progress, now_ms: int) -> dict[str, Any]:
    """The texts of a live page by the names of their places, and `share`: the finished part in percent."""
    elapsed = max(1, now_ms - (progress.started_ms or now_ms))
    left = progress.seconds_left(now_ms)
    share = 100 * progress.read_rows / progress.input_rows if progress.input_rows else 0
    rate = progress.recent_bytes * 1000 // min(elapsed, _PER_SECOND_FROM_MS)
    return {
        "parts": _parts(progress),
        "rows": number(progress.rows),
        "bytes": size(progress.bytes),
        "rate": f"{size(rate)}/s" if rate else "",
        "left": "" if left is None else duration(round(left * 1000)),
        "share": round(share, 1),
    }
