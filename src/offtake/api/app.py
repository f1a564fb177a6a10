"""The HTTP application."""

from fastapi import FastAPI

from offtake.api import errors
from offtake.api.describing import document
from offtake.api.paths import ACTIVATION, FLOW_SERVICE
from offtake.api.requests import Requests
from offtake.api.routers import adhoc, connections, flows, health, reference, runs, sources, specs, targets, tokens
from offtake.scheduling.backend import Backend


def create_app(backend: Backend) -> FastAPI:
    """The contract's services over one backend; nothing runs in the background of it."""
    app = FastAPI(
        redirect_slashes=False, docs_url=None, redoc_url=None, generate_unique_id_function=document.operation_id
    )
    app.state.backend = backend
    errors.install(app, backend.settings.error_type_prefix)

    app.add_middleware(Requests)
    app.include_router(health.router)
    app.include_router(reference.router)
    app.include_router(tokens.router)
    for resource in (specs, connections, sources, targets, flows, runs):
        app.include_router(resource.router, prefix=FLOW_SERVICE)
    app.include_router(adhoc.router, prefix=ACTIVATION)
    document.install(app)
    return app
