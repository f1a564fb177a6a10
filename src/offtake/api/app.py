"""The HTTP application."""

import secrets

from fastapi import FastAPI, Request, Response
from starlette.middleware.base import RequestResponseEndpoint

from offtake import __version__
from offtake.api import errors, gateway
from offtake.api.paths import ACTIVATION, FLOW_SERVICE
from offtake.api.routers import adhoc, connections, flows, health, runs, sources, specs, targets, tokens
from offtake.scheduling.backend import Backend


def create_app(backend: Backend) -> FastAPI:
    """The contract's services over one backend; nothing runs in the background of it."""
    app = FastAPI(title="Offtake", version=__version__, redirect_slashes=False)
    app.state.backend = backend
    errors.install(app, backend.settings.error_type_prefix)

    @app.middleware("http")
    async def accept(request: Request, call_next: RequestResponseEndpoint) -> Response:
        # A trailing slash means nothing (contract, section 5.7).
        path = request.scope["path"]
        request.scope["path"] = path.rstrip("/") or "/"
        request.state.request_id = gateway.request_id(request) or secrets.token_hex(16)
        response = await call_next(request)
        response.headers["x-request-id"] = request.state.request_id
        return response

    app.include_router(health.router)
    app.include_router(tokens.router)
    for resource in (specs, connections, sources, targets, flows, runs):
        app.include_router(resource.router, prefix=FLOW_SERVICE)
    app.include_router(adhoc.router, prefix=ACTIVATION)
    return app
