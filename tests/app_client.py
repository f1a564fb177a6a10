"""An HTTP client of an application in the same process: each request is handled in the thread that sends it."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote

import anyio.to_thread
import httpx2
from fastapi import FastAPI

T = TypeVar("T")
_in_place = contextvars.ContextVar("in_place", default=False)
_in_a_thread = anyio.to_thread.run_sync


async def _run_sync(function: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Call it where we are, in a copy of the context as a thread has one, while an `AppClient` waits for the answer.

    An application's thread for each dependency of each endpoint costs more than what they do.
    """
    if _in_place.get():
        return contextvars.copy_context().run(function, *arguments)
    return await _in_a_thread(function, *arguments, **options)


vars(anyio.to_thread)["run_sync"] = _run_sync  # what FastAPI and Starlette call


class AppClient(httpx2.Client):
    """Sends requests to an application. Threads share it: each handles its own requests, at the same time.

    An exception that the application does not handle is a response with status 500, as a server sends it.
    """

    def __init__(self, app: FastAPI, address: str = "testclient") -> None:
        """`app` must not depend on its lifespan. `address`: where requests come from."""
        self.app = app
        super().__init__(
            base_url="http://testserver",
            headers={"user-agent": "testclient"},
            transport=_Transport(app, address),
            follow_redirects=True,
        )


class _Transport(httpx2.BaseTransport):
    def __init__(self, app: FastAPI, address: str) -> None:
        self._app, self._address = app, address
        self._of_thread = threading.local()
        self._loops: list[asyncio.AbstractEventLoop] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if asyncio._get_running_loop() is None:  # noqa: SLF001 - asyncio documents it for such use
            return self._handle(request)
        # A test that sends a request while another one is being handled.
        found: list[httpx2.Response] = []
        thread = threading.Thread(target=lambda: found.append(self._handle(request)))
        thread.start()
        thread.join()
        return found[0]

    def close(self) -> None:
        for loop in self._loops:
            loop.close()

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        loop = getattr(self._of_thread, "loop", None)
        if loop is None:
            loop = self._of_thread.loop = asyncio.new_event_loop()
            self._loops.append(loop)
        context = contextvars.copy_context()
        context.run(_in_place.set, True)
        task = context.run(loop.create_task, _answer(self._app, request, self._address))
        response: httpx2.Response = loop.run_until_complete(task)
        return response


def run_in_place(coroutine: Any) -> None:
    """Run a coroutine that calls an application, which then handles requests in this thread."""
    context = contextvars.copy_context()
    context.run(_in_place.set, True)
    context.run(asyncio.run, coroutine)


async def _answer(app: FastAPI, request: httpx2.Request, address: str) -> httpx2.Response:
    content = [request.read()]
    complete = asyncio.Event()
    start: dict[str, Any] = {}
    body: list[bytes] = []

    async def receive() -> dict[str, Any]:
        if content:
            return {"type": "http.request", "body": content.pop()}
        await complete.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        assert not complete.is_set(), "a message after the end of the response"
        if message["type"] == "http.response.start":
            assert not start, "a second start of the response"
            start.update(message)
        elif message["type"] == "http.response.body":
            assert start, "a response without a start"
            body.append(message.get("body", b""))
            if not message.get("more_body"):
                complete.set()

    with contextlib.suppress(Exception):  # the application has answered it with status 500
        await app(_scope(request, address), receive, send)
    if not start:
        return httpx2.Response(500, request=request)
    shown = b"" if request.method == "HEAD" else b"".join(body)
    return httpx2.Response(start["status"], headers=start["headers"], stream=httpx2.ByteStream(shown), request=request)


def _scope(request: httpx2.Request, address: str) -> dict[str, Any]:
    url = request.url
    return {
        "type": "http",
        "http_version": "1.1",
        "method": request.method,
        "path": unquote(url.path),
        "raw_path": url.raw_path.split(b"?", 1)[0],
        "root_path": "",
        "scheme": url.scheme,
        "query_string": url.query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": (address, 50_000),
        "server": (url.host, url.port or {"http": 80, "https": 443}[url.scheme]),
        "state": {},
    }
