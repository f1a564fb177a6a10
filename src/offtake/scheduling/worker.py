"""A worker: claims a run by lease, renews the lease, executes the run."""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
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
from offtake.scheduling.heartbeat import Heartbeat, beating
from offtake.scheduling.job_loader import JobLoader
from offtake.scheduling.lease_loop import work_until_stopped
from offtake.scheduling.run_groups import PreparedRun, prepare
from offtake.store import health, runs, waits
from offtake.store.database import StoreBusyError, StoreFullError
from offtake.store.leases import LeaseMonitor
from offtake.store.run_leases import Lease
from offtake.telemetry import tracing
from offtake.telemetry.tracing import Attributes, Span

_log = logging.getLogger(__name__)

_MOST_CLAIMS: Final = 10
_MOST_ALIKE: Final = 7
"""Runs that are planned together with another one."""


@dataclass(frozen=True)
class _LeaseToken:
    """A worker's cancellation token: the state of its heartbeat, and whether its process is shutting down."""

    heartbeat: Heartbeat
    stop: threading.Event

    def cancelled(self) -> bool:
        return self.stop.is_set() or self.heartbeat.cancel_requested or self.heartbeat.lost

    def lease_expires_at(self) -> float:
        return self.heartbeat.lease_expires_at


@dataclass(frozen=True)
class Worker:
    """Executes runs, one at a time. Several workers may share a context, in one process or in many.

    `only`: the id of the one run that it executes; None for all.
    """

    context: RunContext
    loader: JobLoader
    owner: str
    watch: LeaseMonitor
    lease_seconds: float
    only: str | None = None
    probe_lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a worker probes a destination that did not answer before, so that the others serve healthy ones."""

    def run_next(self, stop: threading.Event) -> bool:
        """Execute the oldest free run; False when there was none.

        When `stop` is set, the run is released with its progress, and any worker can continue it.
        """
        begun, begun_ns = time.monotonic(), tracing.now_ns()
        turn = _Turn(self.probe_lock)
        try:
            now = self.context.clock.now_ms()
            database = self.context.database
            lease = runs.claim(database, self.owner, self.watch, now, may_probe=turn.taken, only=self.only)
            if lease is None:
                return False
            if not lease.away:
                turn.end()
            alike = self._claim_alike(lease, now)
            failpoint("claimed")
            if alike:
                self._run_group([lease, *alike], begun, begun_ns, stop, turn)
                return True
            heartbeat = self._heartbeat(lease, begun)
            with heartbeat.running():
                self._run(lease, heartbeat, begun_ns, stop, turn)
        finally:
            turn.end()
        return True

    def _claim_alike(self, lease: Lease, now_ms: int) -> list[Lease]:
        """Further new runs for the destination of a new run: small ones are planned together."""
        is_new = lease.fence == 1 and not lease.cancelled and lease.failure is None
        if self.only is not None or not is_new or lease.admission != "known" or lease.away:
            return []
        return runs.claim_alike(self.context.database, self.owner, lease, now_ms, _MOST_ALIKE)

    def _heartbeat(self, lease: Lease, begun: float) -> Heartbeat:
        renew = lambda: runs.renew(self.context.database, lease)  # noqa: E731 - one line is enough
        return Heartbeat(f"run {lease.run_id}", renew, self.lease_seconds, begun, lease.cancelled)

    def _run(
        self,
        lease: Lease,
        heartbeat: Heartbeat,
        begun_ns: int,
        stop: threading.Event,
        turn: "_Turn",
        prepared: PreparedRun | None = None,
    ) -> None:
        """Execute a claimed run while its heartbeat beats."""
        try:
            with _span(lease, begun_ns) as span:
                tracing.past("run.claim", begun_ns)
                failure = self._work(lease, heartbeat, stop, turn, prepared)
                if failure is not None:
                    span.fail(failure.code)
        except LeaseLostError:
            _log.info("run %s: this worker has lost its lease and stops", lease.run_id)
        finally:
            waits.leave_probe(self.context.database, lease, self.context.clock.now_ms())

    def _run_group(
        self, leases: Sequence[Lease], begun: float, begun_ns: int, stop: threading.Event, turn: "_Turn"
    ) -> None:
        """Plan new runs of one destination together, and execute the small ones; the others return to the queue."""
        heartbeats = {lease.run_id: self._heartbeat(lease, begun) for lease in leases}
        left = list(leases)

        def give_back(returned: Sequence[Lease]) -> None:
            for lease in returned:
                left.remove(lease)
                heartbeats[lease.run_id].end()
            runs.return_unstarted(self.context.database, returned)

        with beating(list(heartbeats.values())):
            try:
                prepared, others = prepare(leases, self.loader, self.context)
                if others:
                    give_back(others)
                while left and not stop.is_set():
                    lease = left.pop(0)
                    heartbeat = heartbeats[lease.run_id]
                    self._run(lease, heartbeat, begun_ns, stop, turn, prepared.get(lease.run_id))
                    heartbeat.end()
                    if health.is_unavailable(self.context.database, lease.address):
                        break
            finally:
                if left:
                    give_back(list(left))

    def work(self, stop: threading.Event, pause_seconds: float = 0.5) -> None:
        """Work on runs until `stop` is set."""
        work_until_stopped("run", self.run_next, self.context.database.wakeup, stop, pause_seconds)

    def _work(
        self,
        lease: Lease,
        heartbeat: Heartbeat,
        stop: threading.Event,
        turn: "_Turn",
        prepared: PreparedRun | None,
    ) -> DeliveryError | None:
        """Deliver the run, return it to the queue, or release it; every failed delivery ends here.

        Returns why the run failed; None when it did not.
        """
        job: ExportJob | None = None
        try:
            if prepared is None:
                with tracing.span("run.load"), self.context.database.reading() as session:
                    prepared = PreparedRun(self.loader.load(session, lease.run_id))
            job = prepared.job
            failure = self._deliver(prepared, lease, heartbeat, stop, turn)
        except (LeaseLostError, StoreBusyError, StoreFullError):
            # Without the database, nothing can be recorded about the run; the next worker to claim it continues.
            raise
        except Exception as error:
            if exhaustion(error) is not None:
                runs.release(self.context.database, lease)
                raise
            if not isinstance(error, DeliveryError):
                _log.exception("run %s stopped unexpectedly", lease.run_id)
            failure = _unexpected(error)
        if failure is not None:
            was_contacted = not (lease.failure is not None or lease.cancelled)
            # The orphan sweeper removes files at a destination that does not answer.
            answers = not failure.unreachable and (was_contacted or not lease.away)
            with tracing.span("run.fail"):
                fail_run(job if answers else None, lease, self.context, failure)
        return failure

    def _deliver(
        self, prepared: PreparedRun, lease: Lease, heartbeat: Heartbeat, stop: threading.Event, turn: "_Turn"
    ) -> DeliveryError | None:
        """Why the run fails; None when it is delivered, waits or was released."""
        if lease.failure is not None or lease.cancelled:
            return cancelled_error()
        if lease.claims > _MOST_CLAIMS:
            return _repeated_crashes(lease)
        probe_failure = first_contact(prepared.job, lease, self.context)
        turn.end()
        token = _LeaseToken(heartbeat, stop)
        try:
            execute(prepared.job, lease, self.context, token, probe_failure, prepared.plan)
        except CancelledError:
            if heartbeat.cancel_requested:
                return cancelled_error()
            if not heartbeat.lost:
                runs.release(self.context.database, lease)
        except DeliveryError as error:
            note_outage(lease, self.context, error)
            return error
        return None


def _span(lease: Lease, begun_ns: int) -> AbstractContextManager[Span]:
    attributes: Attributes = {"offtake.run": lease.run_id, "offtake.claim": lease.claims}
    return tracing.span("run", attributes, kind="consumer", parent=lease.traceparent, start_ns=begun_ns)


class _Turn:
    """A worker's turn to probe an unreachable destination. `taken`: whether this worker has it (a shared lock)."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.taken = lock.acquire(blocking=False)

    def end(self) -> None:
        """Release the turn; idempotent."""
        if self.taken:
            self.taken = False
            self._lock.release()


def _repeated_crashes(lease: Lease) -> DeliveryError:
    return DeliveryError(
        EXPORT_FAILED,
        f"The server crashed {lease.claims - 1} times while executing the run, before a file was finished.",
        "Read the server's log; add memory, or lower OFFTAKE_PART_BYTES.",
    )


def _unexpected(error: Exception) -> DeliveryError:
    # Errors found before the run starts have their own code and remedy.
    if isinstance(error, DeliveryError):
        return error
    # Only Offtake's own errors are known to contain no secrets.
    message = (
        str(error) if isinstance(error, OfftakeError) else f"The run stopped unexpectedly ({type(error).__name__})."
    )
    return DeliveryError(EXPORT_FAILED, message, "Read the server's log for details; the next run retries.")
