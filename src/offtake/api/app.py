"""The HTTP application."""

from collections.abc import Iterable
from importlib import import_module
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig

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
from offtake.deployment.backend import Backend
from offtake.metrics.page import MetricsPage

_NO_PREFIX: Final = ("health", "reference", "tokens")
_FLOW_MODULES: Final = (
    "specs",
    "connections",
    "sources",
    "targets",
    "flows",
    "flow_extensions",
    "flow_history",
    "runs",
    "run_extensions",
    "run_verification",
    "managed",
    "overview",
    "alerts",
    "usage",
)
_SERVICES: Final = (
    (FLOW_SERVICE, _FLOW_MODULES),
    (ACTIVATION, ("adhoc",)),
    (CATALOG, ("catalog", "lake_catalogs")),
    (DATASETS, ("dataset_labels",)),
    (INGESTION, ("ingestion",)),
    (DATA_ACCESS, ("data_access",)),
    (LANDING_ZONE, ("landing_zone",)),
    ("", ("blobs",)),
    (SANDBOXES, ("sandboxes",)),
    (ACCESS_CONTROL, ("access_control", "roles", "clients")),
    (AUDIT, ("audit",)),
)
"""The modules of routers by the prefix of their service, in the order of the API's document."""
_NO_TELEMETRY: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
_RESOURCES: Final = {
    "connectionSpecs": ("specs",),
    "flowSpecs": ("specs",),
    "connections": ("connections",),
    "sourceConnections": ("sources",),
    "targetConnections": ("targets",),
    "flows": ("flows",),
    "runs": ("runs",),
    "overview": ("overview",),
    "usage": ("usage",),
    "quotas": ("usage",),
    "flows status": ("flow_extensions",),
    "flows run": ("flow_extensions",),
    "flows preview": ("flow_extensions",),
    "flows backfill": ("flow_history",),
    "flows verification": ("flow_history",),
    "runs progress": ("run_extensions",),
    "runs files": ("run_extensions",),
    "runs verification": ("run_verification",),
    "managedResources": ("managed",),
    **dict.fromkeys(("alertKinds", "alertChannels", "alertRules", "alertMessages"), ("alerts",)),
}
"""The modules of each resource of Flow Service, or of a resource and the last step of a longer path."""


def create_app(backend: Backend, metrics: MetricsPage | None = None) -> FastAPI:
    """Create the application that serves all of the contract's services; it starts no background work.

    `metrics`: a page that it serves too; the caller sees to it that a token is required.
    """
    app = create_empty_app(backend)
    include(app, "", _NO_PREFIX)
    if metrics is not None:
        include_metrics(app, metrics)
    for prefix, modules in _SERVICES:
        include(app, prefix, modules)
    schema.install(app)
    return app


def create_monitoring_app(backend: Backend, metrics: MetricsPage) -> FastAPI:
    """Create the application of a worker's port, and of a server's port for metrics: health checks and metrics."""
    app = create_empty_app(backend, is_documented=False)
    include(app, "", ("health",))
    include_metrics(app, metrics)
    return app


def include_metrics(app: FastAPI, metrics: MetricsPage) -> None:
    """Serve `/metrics`."""
    app.state.metrics = metrics
    include(app, "", ("metrics",))


def create_empty_app(backend: Backend, *, raises: bool = False, is_documented: bool = True) -> FastAPI:
    """Create the application without routes; `include` adds them. `raises`: as in `errors.install`."""
    app = FastAPI(
        redirect_slashes=False,
        openapi_url="/openapi.json" if is_documented else None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=schema.operation_id,
        # The framework's own would contain queries, some of which hold secrets: `telemetry.tracing` makes the spans.
        telemetry=_NO_TELEMETRY,
    )
    app.state.backend = backend
    app.state.sign_ins = SignIns(backend.settings.sign_ins_per_minute)
    errors.install(app, backend.settings.error_type_prefix, raises=raises)
    app.add_middleware(RequestLogMiddleware)
    return app


def modules_for(path: str) -> tuple[str, tuple[str, ...]]:
    """The prefix and the modules of routers that a request for that path needs; none for an unknown one."""
    if path.startswith(f"{FLOW_SERVICE}/"):
        resource, *steps = path.removeprefix(f"{FLOW_SERVICE}/").split("/")
        last = f"{resource} {steps[-1]}" if steps else resource
        return FLOW_SERVICE, _RESOURCES.get(last, _RESOURCES.get(resource, ()))
    return next(((prefix, modules) for prefix, modules in _SERVICES if prefix and path.startswith(prefix)), ("", ()))


def include(app: FastAPI, prefix: str, modules: Iterable[str]) -> None:
    """Add the routes of modules below `offtake.api.routers`, which are imported now."""
    for name in modules:
        router: APIRouter = import_module(f"offtake.api.routers.{name}").router
        app.include_router(router, prefix=prefix)
