"""Keeps the datasets of namespaces in step with their catalogs."""

import logging
import threading
from collections.abc import Iterator
from typing import Final

from offtake.catalog import namespace_sync
from offtake.catalog.namespace_sync import Round
from offtake.deployment.backend import Backend
from offtake.logs import retried, same_line
from offtake.store.database import StoreBusyError, StoreFullError

_log = logging.getLogger(__name__)
_PAUSE_SECONDS: Final = 2.0
_MINUTE_MS: Final = 60_000


def sync_loop(backend: Backend, stop: threading.Event) -> None:
    """Compare due namespaces with their catalogs until `stop` is set. A slow catalog delays only other namespaces."""
    while not stop.is_set():
        try:
            for _ in sync_due(backend):
                if stop.is_set():
                    return
        except (StoreBusyError, StoreFullError) as error:
            _log.warning(
                "no namespace can be compared with its catalog: %s Retrying.", error, extra=retried("catalogs")
            )
        except Exception as error:  # noqa: BLE001 - a failure is retried after the interval
            about = retried(type(error).__name__)
            _log.exception("a namespace could not be compared with its catalog", extra=about)
        stop.wait(_PAUSE_SECONDS)


def sync_due(backend: Backend) -> Iterator[None]:
    """One round for each namespace that is due; yields after each short step.

    A namespace is claimed by its next time: another server does not take it, and after a crash it is due again then.
    """
    interval = backend.settings.catalog_sync_minutes * _MINUTE_MS
    while namespace_id := namespace_sync.claim_due(backend.database, backend.clock.now_ms(), interval):
        last: Round | None = None
        for done in namespace_sync.sync(backend.database, backend.registered, namespace_id, backend.clock.now_ms()):
            last = done
            yield
        if last is not None and (last.appeared or last.gone):
            _log.info("namespace %s: %d table(s) appeared, %d gone", namespace_id, len(last.appeared), len(last.gone))
        if last is not None and last.problem:
            _log.warning("namespace %s: %s", namespace_id, last.problem, extra=same_line(last.problem))
