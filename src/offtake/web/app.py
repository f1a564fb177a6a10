"""Adds the pages to the application of the API."""

from types import ModuleType
from typing import Final

from fastapi import APIRouter, FastAPI

from offtake.deployment.backend import Backend
from offtake.web import live, not_found, static_files
from offtake.web.links import SignInLinks
from offtake.web.pages import (
    access,
    account_credentials,
    accounts,
    alert_channels,
    alert_rules,
    alerts,
    audit,
    batches,
    catalog,
    catalog_tables,
    catalogs,
    clients,
    dataset,
    datasets,
    destinations,
    export,
    flow,
    flow_backfill,
    flow_settings,
    flows,
    home,
    imports,
    issuer_sign_in,
    landing_zone,
    monitoring,
    owed,
    roles,
    runs,
    sandbox_admin,
    sign_in,
    style,
    usage,
)
from offtake.web.past_periods import PastPeriods
from offtake.web.verifications import Verifications

_REQUESTS: Final = 256
"""Requests in flight of a process with the usual limit of file descriptors; live pages may take half of them."""
_OTHER_REQUESTS: Final = 16
"""Requests from one address that open live pages leave room for."""
_PAGES: Final[tuple[ModuleType, ...]] = (
    sign_in,
    issuer_sign_in,
    home,
    monitoring,
    owed,
    style,
    flows,
    flow,
    flow_settings,
    flow_backfill,
    runs,
    live,
    export,
    imports,
    datasets,
    dataset,
    batches,
    catalogs,
    catalog,
    catalog_tables,
    access,
    clients,
    roles,
    sandbox_admin,
    audit,
    destinations,
    accounts,
    account_credentials,
    landing_zone,
    alerts,
    alert_rules,
    alert_channels,
    usage,
)

ROUTERS: Final[tuple[APIRouter, ...]] = (static_files.router, *(page.router for page in _PAGES))


def install(app: FastAPI) -> None:
    """Serve the pages below `/ui`; `/` leads to them."""
    begin(app)
    for router in ROUTERS:
        app.include_router(router, tags=["pages"], include_in_schema=False)
    not_found.install(app)


def begin(app: FastAPI) -> None:
    """Set what the pages of the app's backend remember in this process to its start."""
    backend: Backend = app.state.backend
    settings = backend.settings
    app.state.sign_in_links = SignInLinks(backend.clock)
    app.state.verifications = Verifications()
    app.state.past_periods = PastPeriods()
    app.state.run_watch = live.RunWatch(
        max(1, (settings.concurrent_requests or _REQUESTS) // 2),
        max(1, settings.concurrent_requests_per_address - _OTHER_REQUESTS),
    )
