"""Returning a run to the queue to wait, and recording an outage of its destination."""

import logging
from datetime import UTC, datetime

from offtake.errors import DeliveryError
from offtake.exporting.context import RunContext
from offtake.exporting.job import ExportJob
from offtake.exporting.plan import error_document
from offtake.exporting.retry import DeferredError, RetryBudget, probe_backoff
from offtake.store import waits
from offtake.store.health import Failure
from offtake.store.run_leases import Lease
from offtake.store.waits import Wait

_log = logging.getLogger(__name__)


def return_to_queue(
    job: ExportJob, lease: Lease, context: RunContext, budget: RetryBudget, deferred: DeferredError
) -> None:
    """Return the run to the queue and release its lease. Raises `LeaseLostError` when another worker has the run."""
    error, now = deferred.error, context.clock.now_ms()
    outage = _outage(error) if error.unreachable else None
    wait = Wait(error_document(error), deferred.seconds, budget.ends_ms, budget.to_json(), outage)
    at = waits.defer(context.database, lease, wait, probe_backoff(context.retry_policy), now)
    _log.info("run %s is retried %s: %s", job.run_id, "now" if at is None else f"at {_instant(at)}", error)


def note_outage(lease: Lease, context: RunContext, error: DeliveryError) -> None:
    """Record that the destination of a failing run does not answer, so that other runs wait for it."""
    if error.unreachable:
        now = context.clock.now_ms()
        waits.note_failure(context.database, lease, _outage(error), probe_backoff(context.retry_policy), now)


def _outage(error: DeliveryError) -> Failure:
    return Failure(error_document(error), error.retry_after or 0.0)


def _instant(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
