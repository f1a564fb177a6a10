"""Maintenance: empties sandboxes, removes expired files of landing zones and leftovers of dead processes."""

import itertools
import logging
import threading
from collections.abc import Iterator
from typing import Final

from sqlalchemy import select

from offtake.access import web_sessions
from offtake.alerts import messages
from offtake.deployment.backend import Backend
from offtake.destinations.base import LandingZone
from offtake.destinations.zones import CONTAINERS, TYPES
from offtake.errors import PLACE_NOT_FOUND, DeliveryError
from offtake.landing_zone import keys
from offtake.logs import retried
from offtake.sandboxes import purge, sandboxes
from offtake.sandboxes.purge import PurgeTargets
from offtake.scheduling import ingestor
from offtake.scheduling.orphan_sweeper import remove_orphans
from offtake.scheduling.table_upkeep import TableUpkeep
from offtake.store import events, health, run_totals, sandbox_states
from offtake.store.database import StoreBusyError, StoreFullError
from offtake.store.tables import Sandbox

_log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 1.0
_SWEEP_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000
_EVENTS_AT_ONCE: Final = 1000


def maintenance_loop(backend: Backend, stop: threading.Event) -> None:
    """Run maintenance until `stop` is set: sandboxes within a second of the request, most other tasks every hour."""
    swept_at: int | None = None
    tables = TableUpkeep(backend)
    while not stop.is_set():
        now = backend.clock.now_ms()
        sweeps = swept_at is None or not 0 <= now - swept_at < _SWEEP_MS
        try:
            for _ in run_maintenance(backend, sweeps=sweeps, tables=tables):
                if stop.is_set():
                    return
            swept_at = now if sweeps else swept_at
        except (StoreBusyError, StoreFullError) as error:
            _log.warning("housekeeping was not possible: %s Retrying.", error, extra=retried("housekeeping"))
        except Exception:  # noqa: BLE001 - a failure is retried in the next round
            _log.exception("housekeeping failed; retrying", extra=retried("housekeeping"))
        stop.wait(_PAUSE_SECONDS)


def run_maintenance(backend: Backend, *, sweeps: bool, tables: TableUpkeep | None = None) -> Iterator[None]:
    """One round of maintenance; yields after each short step. `tables`: what keeps up tables, on the same occasions."""
    with backend.database.reading() as session:
        waiting = [row.id for row in sandboxes.unfinished(session)]
    for sandbox_id in waiting:
        try:
            yield from empty_sandbox(backend, sandbox_id)
        except DeliveryError as error:
            _log.warning("sandbox %s cannot be emptied yet: %s", sandbox_id, error)
    yield from remove_orphans(backend)
    if sweeps:
        yield from ingestor.sweep(backend.database, backend.lake, backend.uploads, backend.clock)
        with backend.database.writing() as session:
            health.forget_old(session, backend.clock.now_ms())
            web_sessions.remove_expired(session, backend.clock.now_ms())
        yield from _delete_old_events(backend)
        yield from run_totals.fill_in(backend.database)
        yield from _forget_messages(backend)
        yield from _end_signatures(backend)
    if sweeps and backend.settings.landing_zone_retention_days:
        yield from _sweep(backend)
    if sweeps and tables is not None:
        for _ in tables.run():
            yield


def empty_sandbox(backend: Backend, sandbox_id: str) -> Iterator[None]:
    """Continue a reset or deletion of the sandbox, as far as running work allows."""
    places = PurgeTargets(backend.zones, backend.uploads)
    now = backend.clock.now_ms()
    yield from purge.empty(backend.database, backend.lake, places, sandbox_id, now)


def _forget_messages(backend: Backend) -> Iterator[None]:
    while True:
        with backend.database.writing() as session:
            deleted = messages.delete_old(session, backend.clock.now_ms())
        yield
        if not deleted:
            return


def _delete_old_events(backend: Backend) -> Iterator[None]:
    before = backend.clock.now_ms() - backend.settings.event_days * _DAY_MS
    while True:
        with backend.database.writing() as session:
            if events.delete_old(session, before, _EVENTS_AT_ONCE) < _EVENTS_AT_ONCE:
                return
        yield


def _end_signatures(backend: Backend) -> Iterator[None]:
    """Revoke credentials of landing zones that the storage accepts and the database does not contain."""
    with backend.database.reading() as session:
        active = session.scalars(select(Sandbox).where(Sandbox.state == sandbox_states.ACTIVE)).all()
    for sandbox, kind in itertools.product(active, TYPES):
        try:
            backend.zone_credentials.end_unknown(sandbox, kind)
        except DeliveryError as error:
            if error.kind != PLACE_NOT_FOUND:
                _log.warning(
                    "sandbox %s, %s: unknown credentials cannot be revoked yet: %s",
                    sandbox.name,
                    CONTAINERS[kind],
                    error,
                )
        yield


def _sweep(backend: Backend) -> Iterator[None]:
    before = backend.clock.now_ms() - backend.settings.landing_zone_retention_days * _DAY_MS
    for zone in _zones(backend):
        removed = 0
        try:
            for count in zone.expire(before):
                removed += count
                yield
        except DeliveryError as error:
            _log.warning("expired files of %s cannot be removed yet: %s", zone.url, error)
        if removed:
            _log.info("%d expired file(s) of %s were removed", removed, zone.url)


def _zones(backend: Backend) -> list[LandingZone]:
    with backend.database.reading() as session:
        every = session.scalars(select(Sandbox).where(Sandbox.state == sandbox_states.ACTIVE)).all()
        return [
            keys.sandbox_location(session, backend.zones, sandbox).zone(kind) for sandbox in every for kind in TYPES
        ]
