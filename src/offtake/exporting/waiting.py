"""Runs that go back to the queue to wait, and runs that have waited long enough."""

import logging
from datetime import UTC, datetime

from offtake.errors import DeliveryError
from offtake.exporting.context import Workshop
from offtake.exporting.job import Order
from offtake.exporting.plan import info_item
from offtake.exporting.retry import Budget, DeferredError, probe_backoff
from offtake.store import waits
from offtake.store.health import Failure
from offtake.store.run_leases import Lease
from offtake.store.waits import Wait

_log = logging.getLogger(__name__)


def put_back(order: Order, lease: Lease, shop: Workshop, budget: Budget, deferred: DeferredError) -> None:
    """Let the run wait in the queue: from then on this worker holds nothing of it.

    Raises `LeaseLostError` when another worker has it.
    """
    error, now = deferred.error, shop.clock.now_ms()
    outage = _outage(error) if error.unreachable else None
    wait = Wait(info_item(error), deferred.seconds, budget.ends_ms, budget.to_json(), outage)
    at = waits.defer(shop.database, lease, wait, probe_backoff(shop.patience), now)
    _log.info("run %s is tried again %s: %s", order.run_id, "now" if at is None else f"at {_instant(at)}", error)


def note_outage(lease: Lease, shop: Workshop, error: DeliveryError) -> None:
    """Let other runs know that the destination of a run that fails does not answer."""
    if error.unreachable:
        now = shop.clock.now_ms()
        waits.note_failure(shop.database, lease, _outage(error), probe_backoff(shop.patience), now)


def _outage(error: DeliveryError) -> Failure:
    return Failure(info_item(error), error.retry_after or 0.0)


def _instant(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
