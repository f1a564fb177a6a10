"""The HTTP application."""

from fastapi import FastAPI

from offtake.access.sign_ins import SignIns
from offtake.api import errors
from offtake.api.error_types import (
    ACCESS_CONTROL,
    ACTIVATION,
    AUDIT,
    CATALOG,
    DATA_ACCESS,
    DATASETS,
    FLOW_SERVICE,
    INGESTION,
    LANDING_ZONE,
    SANDBOXES,
)
from offtake.api.openapi import schema
from offtake.api.request_log import RequestLogMiddleware
from offtake.api.routers import (
    access_control,
    adhoc,
    audit,
    blobs,
    catalog,
    connections,
    data_access,
    dataset_labels,
    flows,
    health,
    ingestion,
    lake_catalogs,
    landing_zone,
    reference,
    roles,
    runs,
    sandboxes,
    sources,
    specs,
    targets,
    tokens,
)
from offtake.deployment.backend import Backend


def create_app(backend: Backend) -> FastAPI:
    """Create the application that serves all of the contract's services; it starts no background work."""
    app = FastAPI(
        redirect_slashes=False, docs_url=None, redoc_url=None, generate_unique_id_function=schema.operation_id
    )
    app.state.backend = backend
    app.state.sign_ins = SignIns(backend.settings.sign_ins_per_minute)
    errors.install(app, backend.settings.error_type_prefix)

    app.add_middleware(RequestLogMiddleware)
    app.include_router(health.router)
    app.include_router(reference.router)
    app.include_router(tokens.router)
    for resource in (specs, connections, sources, targets, flows, runs):
        app.include_router(resource.router, prefix=FLOW_SERVICE)
    app.include_router(adhoc.router, prefix=ACTIVATION)
    app.include_router(catalog.router, prefix=CATALOG)
    app.include_router(lake_catalogs.router, prefix=CATALOG)
    app.include_router(dataset_labels.router, prefix=DATASETS)
    app.include_router(ingestion.router, prefix=INGESTION)
    app.include_router(data_access.router, prefix=DATA_ACCESS)
    app.include_router(landing_zone.router, prefix=LANDING_ZONE)
    app.include_router(blobs.router)
    app.include_router(sandboxes.router, prefix=SANDBOXES)
    app.include_router(access_control.router, prefix=ACCESS_CONTROL)
    app.include_router(roles.router, prefix=ACCESS_CONTROL)
    app.include_router(audit.router, prefix=AUDIT)
    schema.install(app)
    return app
