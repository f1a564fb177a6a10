"""The HTTP application."""

import secrets

from fastapi import FastAPI, Request, Response
from starlette.middleware.base import RequestResponseEndpoint

from offtake import __version__
from offtake.api import errors, gateway
from offtake.api.paths import ACCESS_CONTROL, ACTIVATION, AUDIT, FLOW_SERVICE, LANDING_ZONE, SANDBOXES
from offtake.api.routers import (
    access_control,
    adhoc,
    audit,
    blobs,
    connections,
    flows,
    health,
    landing_zone,
    roles,
    runs,
    sandboxes,
    specs,
    tokens,
)
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
    for resource in (specs, connections, flows, runs):
        app.include_router(resource.router, prefix=FLOW_SERVICE)
    app.include_router(adhoc.router, prefix=ACTIVATION)
    app.include_router(landing_zone.router, prefix=LANDING_ZONE)
    app.include_router(blobs.router)
    app.include_router(sandboxes.router, prefix=SANDBOXES)
    app.include_router(access_control.router, prefix=ACCESS_CONTROL)
    app.include_router(roles.router, prefix=ACCESS_CONTROL)
    app.include_router(audit.router, prefix=AUDIT)
    return app
