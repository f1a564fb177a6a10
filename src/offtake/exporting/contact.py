"""Probing a destination that did not answer before: one run does it for all runs that deliver there."""

import threading
from contextvars import copy_context
from typing import Final

from offtake.errors import DESTINATION_UNAVAILABLE, DeliveryError
from offtake.exporting.context import RunContext
from offtake.exporting.job import ExportJob
from offtake.store import waits
from offtake.store.run_leases import Lease

_SECONDS: Final = 10.0


def first_contact(job: ExportJob, lease: Lease, context: RunContext) -> DeliveryError | None:
    """Probe the destination if this run was chosen to; returns the failure, None when there is none.

    Takes ten seconds at most. When the destination answers, the other runs that wait for it are released at once.
    """
    if lease.admission != "probe":
        return None
    answered = False
    failed: DeliveryError | None = _no_answer(lease)

    def probe() -> None:
        nonlocal answered, failed
        try:
            answered = job.target.answers()
            failed = None
        except DeliveryError as error:
            failed = error if error.unreachable else None

    # The context has the span of the run.
    thread = threading.Thread(target=copy_context().run, args=(probe,), name=f"contact-{job.run_id}", daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if answered and failed is None:
        waits.note_answer(context.database, lease, context.clock.now_ms())
    return failed


def _no_answer(lease: Lease) -> DeliveryError:
    return DeliveryError(
        DESTINATION_UNAVAILABLE,
        f"{lease.address} could not be reached: no answer in {_SECONDS:.0f} seconds.",
        "Check the host name, DNS and the network; the export is retried.",
        unreachable=True,
    )
