"""The API in the same process, for the operator of a data directory: without a socket and without a token."""

import asyncio
from collections.abc import Callable
from typing import Final

import httpx2
from fastapi import Request as HttpRequest

from offtake.access import access
from offtake.api.app import create_app
from offtake.api.dependencies import BackendOf, organisation_caller, sandbox_caller
from offtake.client.transport import Answer, Request
from offtake.contract.caller import Caller
from offtake.deployment.backend import Backend

_BASE: Final = "http://offtake.local"


class InProcess:
    """Sends requests to the API over this backend, as the operator (`offtake-cli` in the audit log)."""

    def __init__(self, backend: Backend, sandbox: str | None = None) -> None:
        """`sandbox`: its name; None for the default one."""
        self._backend = backend
        app = create_app(backend)
        app.dependency_overrides[sandbox_caller] = _operator_in(sandbox)
        app.dependency_overrides[organisation_caller] = _operator
        self._runner = asyncio.Runner()
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        self._http = httpx2.AsyncClient(transport=transport, base_url=_BASE)

    @property
    def server(self) -> str:
        """The data directory."""
        return str(self._backend.settings.data_dir)

    def send(self, request: Request) -> Answer:
        """Send one request."""
        found = self._runner.run(
            self._http.request(
                request.method,
                request.path,
                params=list(request.query),
                content=request.content,
                headers=dict(request.headers),
            )
        )
        return Answer(found.status_code, dict(found.headers), found.content)

    def close(self) -> None:
        """End the event loop. The backend stays open."""
        self._runner.run(self._http.aclose())
        self._runner.close()


def _operator_in(sandbox: str | None) -> Callable[[HttpRequest, Backend], Caller]:
    def caller(_request: HttpRequest, backend: BackendOf) -> Caller:
        return access.operator_caller(backend.database, sandbox)

    return caller


def _operator(_request: HttpRequest, backend: BackendOf) -> Caller:
    return access.organisation_operator(backend.database)
