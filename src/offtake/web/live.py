"""Live progress of runs by server-sent events: one query a second for all watched runs of the process."""

import asyncio
import json
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from offtake.deployment.backend import Backend
from offtake.flows import run_views, runs
from offtake.flows.run_views import Progress
from offtake.store import run_states
from offtake.web.person import PersonOf
from offtake.web.rendering import number, size
from offtake.web.routes import PageRoute
from offtake.web.times import duration

_log = logging.getLogger(__name__)

router = APIRouter(route_class=PageRoute)

_SECONDS: Final = 1.0
_PING_SECONDS: Final = 15.0
_LONGEST_SECONDS: Final = 300.0
"""A stream ends after this time and the browser opens another one, for which the session is checked again."""
_PER_SECOND_FROM_MS: Final = 60_000


class RunWatch:
    """Watches runs for open pages. For the event loop's thread only; a task runs while any page is open."""

    def __init__(self, streams_per_address: int) -> None:
        """`streams_per_address`: so many streams leave room for the other requests from an address."""
        self._most = streams_per_address
        self._streams: Counter[str] = Counter()
        self._queues: dict[str, set[asyncio.Queue[Progress | None]]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def watch(self, backend: Backend, run_id: str) -> AsyncIterator[Progress | None]:
        """The run's progress now and whenever it changes, until it has ended; None about every 15 seconds."""
        queue: asyncio.Queue[Progress | None] = asyncio.Queue(maxsize=8)
        self._queues[run_id].add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll(backend))
        try:
            while True:
                try:
                    yield await asyncio.wait_for(queue.get(), _PING_SECONDS)
                except TimeoutError:
                    yield None
        finally:
            self._queues[run_id].discard(queue)
            if not self._queues[run_id]:
                del self._queues[run_id]

    def may_open(self, address: str) -> bool:
        """Whether another stream from that address may be open."""
        return self._streams[address] < self._most

    @contextmanager
    def counting(self, address: str) -> Iterator[None]:
        """Count a stream from that address while it is open."""
        self._streams[address] += 1
        try:
            yield
        finally:
            self._streams[address] -= 1
            if not self._streams[address]:
                del self._streams[address]

    async def _poll(self, backend: Backend) -> None:
        seen: dict[str, tuple[Progress, int]] = {}
        while self._queues:
            watched = list(self._queues)
            try:
                found = await run_in_threadpool(_read, backend, watched)
            except Exception:  # noqa: BLE001 - a busy database: the next second retries
                _log.warning("the progress of runs cannot be read; retrying", exc_info=True)
                found = {}
            for run_id, progress in found.items():
                queues = self._queues.get(run_id, set())
                if seen.get(run_id) != (progress, len(queues)):
                    for queue in queues:
                        if not queue.full():
                            queue.put_nowait(progress)
                seen[run_id] = (progress, len(queues))
            seen = {run_id: one for run_id, one in seen.items() if run_id in self._queues}
            await asyncio.sleep(_SECONDS)


def _read(backend: Backend, run_ids: list[str]) -> dict[str, Progress]:
    with backend.database.reading() as session:
        return dict(run_views.progress_of(session, run_ids))


def visible_run(person: PersonOf, run_id: str) -> str:
    """The id of a run that the person may see; raises 1439."""
    with person.backend.database.reading() as session:
        return runs.find(session, person.caller, run_id).id


@router.get("/ui/{sandbox}/runs/{run_id}/live")
async def live(request: Request, person: PersonOf, run_id: Annotated[str, Depends(visible_run)]) -> Response:
    """Events: `progress` with numbers, `change` when the state has changed, `end` when the run has ended."""
    watch: RunWatch = request.app.state.run_watch
    address = request.client.host if request.client else ""
    if not watch.may_open(address):
        # The page polls instead.
        return Response("Too many pages are open.", 503, {"Retry-After": "30"})
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
    events = _events(watch, person.backend, run_id, address)
    return StreamingResponse(events, headers=headers, media_type="text/event-stream")


async def _events(watch: RunWatch, backend: Backend, run_id: str, address: str) -> AsyncIterator[str]:
    with watch.counting(address):
        async for event in _events_of(watch, backend, run_id):
            yield event


async def _events_of(watch: RunWatch, backend: Backend, run_id: str) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    state: str | None = None
    until = asyncio.get_running_loop().time() + _LONGEST_SECONDS
    async for progress in watch.watch(backend, run_id):
        if progress is None:
            yield ": still open\n\n"
        elif progress.status not in run_states.LIVE:
            yield "event: end\ndata: {}\n\n"
            return
        else:
            if state not in (None, progress.state):
                yield "event: change\ndata: {}\n\n"
            state = progress.state
            yield f"event: progress\ndata: {json.dumps(numbers(progress, backend.clock.now_ms()))}\n\n"
        if asyncio.get_running_loop().time() > until:
            return


def numbers(progress: Progress, now_ms: int) -> dict[str, Any]:
    """The texts of a live page by the names of their places, and `share`: the finished part in percent."""
    elapsed = max(1, now_ms - (progress.started_ms or now_ms))
    left = progress.seconds_left(now_ms)
    share = 100 * progress.read_rows / progress.input_rows if progress.input_rows else 0
    rate = progress.recent_bytes * 1000 // min(elapsed, _PER_SECOND_FROM_MS)
    return {
        "parts": f"{number(progress.finished)} of {number(progress.planned)}" if progress.planned else "planning",
        "rows": number(progress.rows),
        "bytes": size(progress.bytes),
        "rate": f"{size(rate)}/s" if rate else "",
        "left": "" if left is None else duration(round(left * 1000)),
        "share": round(share, 1),
    }
