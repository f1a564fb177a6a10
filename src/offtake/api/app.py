"""The HTTP application."""

from fastapi import FastAPI

from offtake import __version__
from offtake.api import errors
from offtake.api.paths import ACTIVATION, FLOW_SERVICE
from offtake.api.requests import Requests
from offtake.api.routers import adhoc, connections, flows, health, runs, sources, specs, targets, tokens
from offtake.scheduling.backend import Backend


def create_app(backend: Backend) -> FastAPI:
    """The contract's services over one backend; nothing runs in the background of it."""
    app = FastAPI(title="Offtake", version=__version__, redirect_slashes=False)
    app.state.backend = backend
    errors.install(app, backend.settings.error_type_prefix)

    app.add_middleware(Requests)
    app.include_router(health.router)
    app.include_router(tokens.router)
    for resource in (specs, connections, sources, targets, flows, runs):
        app.include_router(resource.router, prefix=FLOW_SERVICE)
    app.include_router(adhoc.router, prefix=ACTIVATION)
    return app
