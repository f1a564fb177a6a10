"""The commands `offtake serve` and `offtake worker`."""

import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final
from uuid import uuid4

import typer

from offtake import logs
from offtake.access import clients, roles
from offtake.access.clients import NewClient
from offtake.api.app import create_app, create_monitoring_app
from offtake.api.serving.listeners import bind
from offtake.api.serving.server import BoundedServer, server_for
from offtake.cli import output
from offtake.cli.local import settings_at
from offtake.cli.options import DataDir
from offtake.clock import Clock
from offtake.contract.caller import VIEW_DESTINATIONS
from offtake.deployment import admin_file
from offtake.deployment.backend import Backend, key_file, open_backend, sole_server
from offtake.deployment.event_log import EventLog
from offtake.deployment.network_settings import network_of
from offtake.deployment.storage_settings import check_storage
from offtake.deployment.tracing_settings import traced
from offtake.errors import OfftakeError
from offtake.flows import flow_ends
from offtake.metrics import event_counts
from offtake.metrics.page import MetricsPage
from offtake.scheduling.background import ProcessRoles, background_services
from offtake.settings import Settings
from offtake.store.database import Database
from offtake.web import app as web
from offtake.web.links import SignInLinks

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.5
_STOP_SECONDS: Final = 2.5
_CANNOT_LISTEN: Final = 3
_SWITCH_SECONDS: Final = 0.0005
"""How long a thread keeps the interpreter's lock while others want it.

Requests release it at each query: with the default of 5 ms, they would each time wait that long for each worker.
"""
_ANY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not listened on


def serve(
    data_dir: DataDir = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8080,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Do not execute runs and imports; `offtake worker` does.")
    ] = False,
) -> None:
    """Run the server: the API, the scheduler and the workers of runs and imports."""
    settings = _logging_settings(data_dir)
    if settings.multi_user is None:
        # Behind a proxy, callers are remote even if the server listens on the loopback address.
        remote = not _is_loopback(host) or bool(settings.trusted_proxies)
        settings = settings.model_copy(update={"multi_user": remote})
    process_roles = ProcessRoles(works=not no_worker)
    sys.setswitchinterval(_SWITCH_SECONDS)
    listeners = bind(host, port)
    more_listeners = _bind_setting(settings.metrics_host, settings.metrics_port, "OFFTAKE_METRICS_PORT")
    check_storage(settings, network_of(settings))
    with traced(settings, "server"), sole_server(settings) as owner:
        backend = open_backend(settings, Clock())
        backend.database.observers.append(EventLog())
        backend.lake.check_moved()
        clients.create_organisation(backend.database, backend.clock)

        def store(client: NewClient) -> None:
            admin_file.write(settings, {"origin": f"http://{host}:{port}"} | asdict(client))

        clients.first_client(backend.database, backend.clock, store)
        _warn_of_roles(backend.database)
        metrics = _metrics(backend)
        app = create_app(backend, metrics if settings.metrics_token is not None else None)
        web.install(app)
        link = _sign_in_link(backend, app.state.sign_in_links, host, port)
        _print_ready(f"http://{host}:{port}", admin_file.admin_file(settings), link)
        flow_ends.log_ending_soon(backend.database, backend.clock)
        backend.readiness.start()
        http = HttpThread(server_for(app, settings, host, port), listeners)
        monitoring = _monitoring_thread(backend, metrics, more_listeners)
        stop = _stop_signals()
        with background_services(backend, owner, process_roles):
            http.start()
            if monitoring is not None:
                monitoring.start()
            http.wait(stop)
            backend.readiness.drain()
            _drain(stop, settings.drain_seconds)
            http.stop()
            if monitoring is not None:
                monitoring.stop()
        app.state.sign_ins.close()
        metrics.close()
        backend.close()
    http.leave()


def worker(data_dir: DataDir = None) -> None:
    """Run a worker of runs and imports, next to a server with the same database; any number of workers may run."""
    settings = _logging_settings(data_dir)
    if settings.multi_user is None:
        raise OfftakeError(
            "OFFTAKE_MULTI_USER is not set, and a worker cannot detect it. Set it to true if the server listens on "
            "more than the loopback address or trusts proxies, else to false."
        )
    if settings.vault_key is None and not key_file(settings).path.exists():
        raise OfftakeError(
            f"{settings.data_dir} has no vault key. "
            "Set --data-dir to the server's data directory, or OFFTAKE_VAULT_KEY to the server's key."
        )
    listeners = _bind_setting(settings.worker_host, settings.worker_port, "OFFTAKE_WORKER_PORT")
    check_storage(settings, network_of(settings))
    backend = open_backend(settings, Clock())
    backend.database.observers.append(EventLog())
    backend.lake.check_moved()
    clients.create_organisation(backend.database, backend.clock)
    backend.readiness.start()
    metrics = _metrics(backend, whole=False)
    http = _monitoring_thread(backend, metrics, listeners)
    stop = _stop_signals()
    with (
        traced(settings, "worker"),
        background_services(backend, f"worker-{uuid4()}", ProcessRoles(schedules=False)),
    ):
        if http is None:
            stop.wait()
        else:
            http.start()
            http.wait(stop)
        backend.readiness.drain()
    if http is not None:
        http.stop()
    metrics.close()
    backend.close()


def _logging_settings(data_dir: Path | None) -> Settings:
    """The settings; from now on, the process logs as they require."""
    logs.install()
    settings = settings_at(data_dir)
    logs.install(settings.log_format, settings.log_level)
    return settings


class HttpThread:
    """Runs the web server in a thread, so that a hanging request does not block the shutdown of the rest."""

    def __init__(self, server: BoundedServer, listeners: list[socket.socket]) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.run, args=(listeners,), name="http", daemon=True)

    def start(self) -> None:
        """Listen, and serve requests."""
        self._thread.start()

    def wait(self, stop: threading.Event) -> None:
        """Return when the process is to stop, or the server has ended by itself."""
        while self._thread.is_alive() and not stop.wait(_LOOK_SECONDS):
            pass

    def stop(self) -> None:
        """Close the port, and wait for requests in flight. Raises `SystemExit` if the server could not listen."""
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)
        if not self._server.started:
            raise SystemExit(_CANNOT_LISTEN)

    def leave(self) -> None:
        """Exit the process now if a request still hangs: its thread would keep the process alive."""
        if self._thread.is_alive():
            _log.warning("a request still hangs; the server exits without its response")
            logging.shutdown()
            sys.stdout.flush()
            os._exit(0)


def _metrics(backend: Backend, *, whole: bool = True) -> MetricsPage:
    backend.database.observers.append(event_counts.count)
    return MetricsPage(backend, whole=whole)


def _bind_setting(host: str, port: int | None, setting: str) -> list[socket.socket]:
    return [] if port is None else bind(host, port, setting)


def _monitoring_thread(backend: Backend, metrics: MetricsPage, listeners: list[socket.socket]) -> HttpThread | None:
    """A server of health checks and metrics; None without a port."""
    if not listeners:
        return None
    host, port = listeners[0].getsockname()[:2]
    return HttpThread(server_for(create_monitoring_app(backend, metrics), backend.settings, host, port), listeners)


def _stop_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: stop.set())
    return stop


def _drain(stop: threading.Event, seconds: float) -> None:
    """Let the server serve for so long; a second signal ends it."""
    if stop.is_set() and seconds:
        _log.info("stopping: no longer ready; the port closes in %g seconds", seconds)
        stop.clear()
        stop.wait(seconds)


def _warn_of_roles(database: Database) -> None:
    """Log the roles whose clients cannot create connections and exports since that needs another permission."""
    with database.reading() as session:
        names = [row.name for row in roles.without_view_destinations(session)]
    if names:
        _log.warning(
            "these roles allow exports but lack %s, which connections, flows and ad-hoc runs also need: %s; "
            "to add it: offtake role update ROLE --add %s",
            VIEW_DESTINATIONS,
            ", ".join(names),
            VIEW_DESTINATIONS,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sign_in_link(backend: Backend, links: SignInLinks, host: str, port: int) -> str | None:
    """A link that signs an administrator in; None where a terminal does not show it, or a browser cannot use it.

    It must not get into a journal or a log file.
    """
    shown = "127.0.0.1" if host in _ANY_ADDRESS else host
    if not sys.stdout.isatty() or not _is_loopback(shown):
        return None
    with backend.database.reading() as session:
        client = clients.first_administrator(session)
    origin = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    return None if client is None else f"{origin}/ui/sign-in/link?key={links.create(client.id)}"


def _print_ready(origin: str, file: Path, link: str | None) -> None:
    # A backup does not contain the file.
    credentials = (
        f"Credentials of the first client: {file}"
        if file.exists()
        else "For a new secret of a client (ids: offtake client list): offtake client rotate ID"
    )
    output.console.print(f"Offtake serves {origin}. {credentials}", markup=False)
    if link is not None:
        # Not wrapped: terminals make it clickable as one line.
        output.console.print(
            f"Open the pages, signed in (once, within ten minutes): {link}", markup=False, soft_wrap=True
        )
    output.console.print(
        f"Get a token: curl {origin}/ims/token/v3 -d grant_type=client_credentials -d client_id=… -d client_secret=…",
        markup=False,
    )
    output.console.print("Then call /data/foundation/flowservice/… with the headers", markup=False)
    output.console.print(
        "  Authorization: Bearer <token>, x-api-key: <client_id>, x-gw-ims-org-id: <org_id>, x-sandbox-name: prod",
        markup=False,
    )
