"""The lease of a run. Every write about a run checks its fencing token, so that only the lease holder can write."""

from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.documents import InfoItem, Retries
from offtake.errors import LeaseLostError
from offtake.store.health import Admission
from offtake.store.run_states import PROCESSING
from offtake.store.tables import Run


@dataclass(frozen=True)
class Lease:
    """The lease of one run; it is lost when another worker gets a higher `fence` (fencing token).

    `cancelled`: cancellation was requested before the lease was given; `failure`: the run has failed, and only its
    files are still to be removed; `claims`: how often it was claimed since its last progress. `admission`: whether the
    destination at `address` is known to be available, or is to be probed first; `away`: it did not answer the last
    time. `planned`: an earlier holder stored its plan, and may have written files. `retries`, `traceparent`: as in
    `Run`.
    """

    run_id: str
    fence: int
    cancelled: bool = False
    failure: InfoItem | None = None
    claims: int = 1
    address: str | None = None
    admission: Admission = "known"
    away: bool = False
    planned: bool = False
    retries: Retries = field(default_factory=dict)
    traceparent: str | None = None


def lock_run(session: Session, lease: Lease) -> Run:
    """Lock and return the lease's run; raises `LeaseLostError` when another worker holds it."""
    run = session.scalar(select(Run).where(Run.id == lease.run_id).with_for_update())
    if run is None or run.fence != lease.fence or run.status != PROCESSING:
        raise LeaseLostError(f"Run {lease.run_id} is held by another worker.")
    return run


def lock_for_delivery(session: Session, lease: Lease) -> Run:
    """Like `lock_run`; raises `LeaseLostError` also when the run has failed: its files are being removed."""
    run = lock_run(session, lease)
    if run.failure is not None:
        raise LeaseLostError(f"Run {run.id} has failed.")
    return run
