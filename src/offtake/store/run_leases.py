"""The lease of a run. Every write about a run checks it, so that only the present holder can write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.errors import LeaseLostError
from offtake.store.health import Admission
from offtake.store.run_states import PROCESSING
from offtake.store.tables import Run


@dataclass(frozen=True)
class Lease:
    """The right to write about one run, until another worker is given a higher `fence`.

    `cancelled` when somebody had asked for the run to stop before the lease was given; `failure` when the run has
    failed, and only its files are left to be removed; `claims`: how often it was taken up since its last progress.
    `admission`: whether the destination at `address` is known to answer, or is to be asked first; `away`: it did not
    when it was asked last. `retries`: by what failed, how often it did and since when (`Run.retries`).
    """

    run_id: str
    fence: int
    cancelled: bool = False
    failure: dict[str, Any] | None = None
    claims: int = 1
    address: str | None = None
    admission: Admission = "known"
    away: bool = False
    retries: Mapping[str, Sequence[int]] = field(default_factory=dict)


def held_run(session: Session, lease: Lease) -> Run:
    """The lease's run, locked; raises `LeaseLostError` when another worker holds it."""
    run = session.scalar(select(Run).where(Run.id == lease.run_id).with_for_update())
    if run is None or run.fence != lease.fence or run.status != PROCESSING:
        raise LeaseLostError(f"Run {lease.run_id} is held by another worker.")
    return run


def held_for_delivery(session: Session, lease: Lease) -> Run:
    """The run; raises `LeaseLostError` also when it has a verdict: what it wrote is being removed."""
    run = held_run(session, lease)
    if run.failure is not None:
        raise LeaseLostError(f"Run {run.id} has been given up.")
    return run
