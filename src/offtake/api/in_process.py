"""The API in the same process, for the operator of a data directory: without a socket and without a token."""

import asyncio
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote, urlencode

from fastapi import Request as HttpRequest

from offtake.access import access
from offtake.api import app as api
from offtake.api.dependencies import BackendOf, organisation_caller, sandbox_caller
from offtake.client.transport import FIRST_ERROR_STATUS, Answer, FilePart, Receive, Request
from offtake.contract.caller import Caller
from offtake.deployment.backend import Backend

_HOST: Final = "offtake.local"


class InProcess:
    """Sends requests to the API over this backend, as the operator (`offtake-cli` in the audit log).

    Only the routers that a request needs are imported. Errors of the disk are raised, not answered.
    """

    def __init__(self, backend: Backend, sandbox: str | None = None) -> None:
        """`sandbox`: its name; None for the default one."""
        self.backend = backend
        self._app = api.create_empty_app(backend, raises=True)
        self._app.dependency_overrides[sandbox_caller] = _operator_in(sandbox)
        self._app.dependency_overrides[organisation_caller] = _operator
        self._included = set[str]()
        self._runner = asyncio.Runner()

    @property
    def server(self) -> str:
        """The data directory."""
        return str(self.backend.settings.data_dir)

    def now(self) -> float:
        """The time of the deployment's clock."""
        return self.backend.clock.now_ms() / 1000

    def send(self, request: Request, receive: Receive | None = None) -> Answer:
        """Send one request; see `Transport`."""
        prefix, modules = api.modules_for(request.path)
        api.include(self._app, prefix, [one for one in modules if one not in self._included])
        self._included.update(modules)
        exchange = _Exchange(request, receive)
        self._runner.run(self._app(exchange.scope(), exchange.receive, exchange.send))
        return exchange.answer()

    def close(self) -> None:
        """End the event loop. The backend stays open."""
        self._runner.close()


class _Exchange:
    """One request to an ASGI application, and its answer."""

    def __init__(self, request: Request, receive: Receive | None) -> None:
        self._request, self._received = request, receive
        self._content: list[bytes] = [_content(request)]
        self._ended = asyncio.Event()
        self._start: dict[str, Any] = {}
        self._body: list[bytes] = []

    def scope(self) -> dict[str, Any]:
        request = self._request
        headers = {"host": _HOST, "content-length": str(len(self._content[0])), **request.headers}
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "path": unquote(request.path),
            "raw_path": request.path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": urlencode(list(request.query)).encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": None,
            "server": (_HOST, 80),
            "state": {},
        }

    async def receive(self) -> dict[str, Any]:
        if self._content:
            return {"type": "http.request", "body": self._content.pop()}
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:  # noqa: ANN401 - ASGI's messages
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            piece = message.get("body", b"")
            if self._received is not None and self._start["status"] < FIRST_ERROR_STATUS:
                self._received(piece)
            else:
                self._body.append(piece)
            if not message.get("more_body"):
                self._ended.set()

    def answer(self) -> Answer:
        headers = {name.decode().lower(): value.decode() for name, value in self._start["headers"]}
        return Answer(self._start["status"], headers, b"".join(self._body))


def _content(request: Request) -> bytes:
    content = request.content
    if isinstance(content, FilePart):
        with content.path.open("rb") as file:
            file.seek(content.first)
            return file.read(content.size)
    return content or b""


def _operator_in(sandbox: str | None) -> Callable[[HttpRequest, Backend], Caller]:
    def caller(_request: HttpRequest, backend: BackendOf) -> Caller:
        return access.operator_caller(backend.database, sandbox)

    return caller


def _operator(_request: HttpRequest, backend: BackendOf) -> Caller:
    return access.organisation_operator(backend.database)
