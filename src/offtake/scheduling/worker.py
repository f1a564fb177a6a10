"""A worker: claims a run by lease, keeps the lease alive, carries the run out."""

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Final

from offtake.errors import EXPORT_FAILED, CancelledError, DeliveryError, LeaseLostError, OfftakeError, exhaustion
from offtake.exporting.cleanup import cancelled_error, fail_run
from offtake.exporting.contact import first_contact
from offtake.exporting.context import RunContext
from offtake.exporting.job import ExportJob
from offtake.exporting.run import execute
from offtake.exporting.waiting import note_outage
from offtake.failpoints import failpoint
from offtake.scheduling.heartbeat import Heartbeat
from offtake.scheduling.job_loader import JobLoader
from offtake.scheduling.lease_loop import work_until_stopped
from offtake.store import runs, waits
from offtake.store.database import StoreBusyError, StoreFullError
from offtake.store.leases import LeaseMonitor
from offtake.store.run_leases import Lease

_log = logging.getLogger(__name__)

_MOST_CLAIMS: Final = 10


@dataclass(frozen=True)
class _LeaseToken:
    """A worker's leash: what its heartbeat hears, and whether its process is to end."""

    heartbeat: Heartbeat
    stop: threading.Event

    def cancelled(self) -> bool:
        return self.stop.is_set() or self.heartbeat.cancel_requested or self.heartbeat.lost

    def lease_expires_at(self) -> float:
        return self.heartbeat.lease_expires_at


@dataclass(frozen=True)
class Worker:
    """Carries out runs, one at a time. Several may share a workshop, in one process or in many."""

    context: RunContext
    loader: JobLoader
    owner: str
    watch: LeaseMonitor
    lease_seconds: float
    asking: threading.Lock = field(default_factory=threading.Lock)
    """Held by who asks a destination that did not answer before: the other workers have healthy ones to deliver to."""

    def run_next(self, stop: threading.Event) -> bool:
        """Carry out the oldest run that is free; False when there was none.

        When `stop` is set, the run is given back as far as it has come, for any worker to go on with.
        """
        begun = time.monotonic()
        turn = _Turn(self.asking)
        try:
            now = self.context.clock.now_ms()
            lease = runs.claim(self.context.database, self.owner, self.watch, now, ask_away=turn.taken)
            if lease is None:
                return False
            failpoint("claimed")
            if not lease.away:
                turn.end()
            self._hold(lease, begun, stop, turn)
        finally:
            turn.end()
        return True

    def _hold(self, lease: Lease, begun: float, stop: threading.Event, turn: "_Turn") -> None:
        renew = lambda: runs.renew(self.context.database, lease)  # noqa: E731 - the one line says it
        heartbeat = Heartbeat(f"run {lease.run_id}", renew, self.lease_seconds, begun, lease.cancelled)
        try:
            with heartbeat.running():
                self._work(lease, heartbeat, stop, turn)
        except LeaseLostError:
            _log.warning("run %s: another worker has taken over", lease.run_id)
        finally:
            waits.leave_probe(self.context.database, lease, self.context.clock.now_ms())

    def work(self, stop: threading.Event, pause_seconds: float = 0.5) -> None:
        """Work on runs until `stop` is set."""
        work_until_stopped("run", self.run_next, self.context.database.wakeup, stop, pause_seconds)

    def _work(self, lease: Lease, heartbeat: Heartbeat, stop: threading.Event, turn: "_Turn") -> None:
        """Deliver the run, let it wait, or give it back; this is the only place where a run ends as failed."""
        job: ExportJob | None = None
        try:
            with self.context.database.reading() as session:
                job = self.loader.load(session, lease.run_id)
            failure = self._deliver(job, lease, heartbeat, stop, turn)
        except (LeaseLostError, StoreBusyError, StoreFullError):
            # Without the database, nothing can be recorded about the run; the next worker to claim it goes on.
            raise
        except Exception as error:
            if exhaustion(error) is not None:
                runs.release(self.context.database, lease)
                raise
            _log.exception("run %s failed", lease.run_id)
            failure = _unexpected(error)
        if failure is not None:
            was_contacted = not (lease.failure is not None or lease.cancelled)
            # Files at a destination that does not answer are removed by a sweep later.
            answers = not failure.unreachable and (was_contacted or not lease.away)
            fail_run(job if answers else None, lease, self.context, failure)

    def _deliver(
        self, job: ExportJob, lease: Lease, heartbeat: Heartbeat, stop: threading.Event, turn: "_Turn"
    ) -> DeliveryError | None:
        """Why the run fails; None when it is delivered, waits or was given back."""
        if lease.failure is not None or lease.cancelled:
            return cancelled_error()
        if lease.claims > _MOST_CLAIMS:
            return _repeated_crashes(lease)
        silence = first_contact(job, lease, self.context)
        turn.end()
        try:
            execute(job, lease, self.context, _LeaseToken(heartbeat, stop), silence)
        except CancelledError:
            if heartbeat.cancel_requested:
                return cancelled_error()
            if not heartbeat.lost:
                runs.release(self.context.database, lease)
        except DeliveryError as error:
            note_outage(lease, self.context, error)
            return error
        return None


class _Turn:
    """A worker's turn to ask a destination that is away, of those that share a lock: `taken`, unless another has it."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.taken = lock.acquire(blocking=False)

    def end(self) -> None:
        """Let another have it; done twice, it is done once."""
        if self.taken:
            self.taken = False
            self._lock.release()


def _repeated_crashes(lease: Lease) -> DeliveryError:
    return DeliveryError(
        EXPORT_FAILED,
        f"The servers that carried out the run ended {lease.claims - 1} times without finishing a file.",
        "Look into the server's log; give the machine more memory, or set OFFTAKE_PART_BYTES lower.",
    )


def _unexpected(error: Exception) -> DeliveryError:
    # What is refused before a run begins has its own code and remedy.
    if isinstance(error, DeliveryError):
        return error
    # Only Offtake's own errors are known to hold no secrets.
    message = (
        str(error) if isinstance(error, OfftakeError) else f"The run stopped unexpectedly ({type(error).__name__})."
    )
    return DeliveryError(EXPORT_FAILED, message, "The server's log has the details; the next run tries again.")
