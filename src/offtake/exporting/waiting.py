"""Returning a run to the queue to wait, and recording an outage of its destination."""

from offtake.errors import DeliveryError
from offtake.exporting.context import RunContext
from offtake.exporting.plan import error_document
from offtake.exporting.retry import DeferredError, RetryBudget, probe_backoff
from offtake.store import waits
from offtake.store.health import Failure
from offtake.store.run_leases import Lease
from offtake.store.waits import Wait


def return_to_queue(lease: Lease, context: RunContext, budget: RetryBudget, deferred: DeferredError) -> None:
    """Return the run to the queue and release its lease. Raises `LeaseLostError` when another worker has the run."""
    error, now = deferred.error, context.clock.now_ms()
    outage = _outage(error) if error.unreachable else None
    wait = Wait(error_document(error), deferred.seconds, budget.ends_ms, budget.to_json(), outage)
    waits.defer(context.database, lease, wait, probe_backoff(context.retry_policy), now)


def note_outage(lease: Lease, context: RunContext, error: DeliveryError) -> None:
    """Record that the destination of a failing run does not answer, so that other runs wait for it."""
    if error.unreachable:
        now = context.clock.now_ms()
        waits.note_failure(context.database, lease, _outage(error), probe_backoff(context.retry_policy), now)


def _outage(error: DeliveryError) -> Failure:
    return Failure(error_document(error), error.retry_after or 0.0)
