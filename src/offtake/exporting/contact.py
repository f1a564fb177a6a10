"""The first contact with a destination that is not known to answer, by one run for all that go there."""

import threading
from typing import Final

from offtake.errors import DESTINATION_UNAVAILABLE, DeliveryError
from offtake.exporting.context import RunContext
from offtake.exporting.job import ExportJob
from offtake.store import waits
from offtake.store.run_leases import Lease

_SECONDS: Final = 10.0


def first_contact(job: ExportJob, lease: Lease, context: RunContext) -> DeliveryError | None:
    """Ask the destination whether it answers, when this run is to do that for all; why it does not, None otherwise.

    It takes seconds, whatever hangs. When the destination answers, the other runs are free at once.
    """
    if lease.admission != "probe":
        return None
    answered = False
    failed: DeliveryError | None = _silent(lease)

    def ask() -> None:
        nonlocal answered, failed
        try:
            answered = job.place.answers()
            failed = None
        except DeliveryError as error:
            failed = error if error.unreachable else None

    thread = threading.Thread(target=ask, name=f"contact-{job.run_id}", daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if answered and failed is None:
        waits.note_answer(context.database, lease, context.clock.now_ms())
    return failed


def _silent(lease: Lease) -> DeliveryError:
    return DeliveryError(
        DESTINATION_UNAVAILABLE,
        f"{lease.address} could not be reached: no answer in {_SECONDS:.0f} seconds.",
        "Check the host, the name service and the network; the export is tried again.",
        unreachable=True,
    )
