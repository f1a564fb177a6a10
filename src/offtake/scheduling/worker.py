"""A worker: claims a run by lease, keeps the lease alive, carries the run out."""

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Final

from offtake.errors import CancelledError, DeliveryError, LeaseLostError, OfftakeError, exhaustion
from offtake.exporting.cleanup import cancelled_error, end_condemned, give_up
from offtake.exporting.contact import first_contact
from offtake.exporting.context import Workshop
from offtake.exporting.job import Order
from offtake.exporting.run import carry_out
from offtake.failpoints import failpoint
from offtake.scheduling.heartbeat import Heartbeat
from offtake.scheduling.job_loader import OrderDesk
from offtake.store import runs, waits
from offtake.store.database import StoreBusyError, StoreFullError
from offtake.store.leases import Watch
from offtake.store.run_leases import Lease

_log = logging.getLogger(__name__)

_MOST_CLAIMS: Final = 10
_AWAY_SECONDS: Final = 2.0


@dataclass(frozen=True)
class _Hold:
    """A worker's leash: what its heartbeat hears, and whether its process is to end."""

    heartbeat: Heartbeat
    stop: threading.Event

    def cancelled(self) -> bool:
        return self.stop.is_set() or self.heartbeat.cancel_requested or self.heartbeat.lost

    def valid_until(self) -> float:
        return self.heartbeat.valid_until


@dataclass(frozen=True)
class Worker:
    """Carries out runs, one at a time. Several may share a workshop, in one process or in many."""

    shop: Workshop
    desk: OrderDesk
    owner: str
    watch: Watch
    lease_seconds: float
    asking: threading.Lock = field(default_factory=threading.Lock)
    """Held by who asks a destination that did not answer before: the other workers have healthy ones to deliver to."""

    def work_once(self, stop: threading.Event) -> bool:
        """Carry out the oldest run that is free; False when there was none.

        When `stop` is set, the run is given back as far as it has come, for any worker to go on with.
        """
        begun = time.monotonic()
        turn = _Turn(self.asking)
        try:
            now = self.shop.clock.now_ms()
            lease = runs.claim(self.shop.database, self.owner, self.watch, now, ask_away=turn.taken)
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
        renew = lambda: runs.renew(self.shop.database, lease)  # noqa: E731 - the one line says it
        heartbeat = Heartbeat(f"run {lease.run_id}", renew, self.lease_seconds, begun, lease.cancelled)
        try:
            with heartbeat.beating():
                self._work(lease, heartbeat, stop, turn)
        except LeaseLostError:
            _log.warning("run %s: another worker has taken over", lease.run_id)
        finally:
            waits.leave_probe(self.shop.database, lease, self.shop.clock.now_ms())

    def work(self, stop: threading.Event, pause_seconds: float = 0.5) -> None:
        """Carry out runs until `stop` is set."""
        bell = self.shop.database.bell
        while not stop.is_set():
            seen = bell.rings
            try:
                worked = self.work_once(stop)
            except (StoreBusyError, StoreFullError) as error:
                _log.warning("no run can be claimed or ended: %s Trying again.", error)
                worked = stop.wait(_AWAY_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong, the worker goes on
                cause = exhaustion(error)
                if cause is None:
                    _log.exception("a run could not be claimed or ended; trying again")
                else:
                    _log.warning("no run can be claimed or ended: %s. Trying again.", cause)
                    stop.wait(_AWAY_SECONDS)
                worked = False
            if not worked:
                bell.wait(seen, pause_seconds)

    def _work(self, lease: Lease, heartbeat: Heartbeat, stop: threading.Event, turn: "_Turn") -> None:
        order: Order | None = None
        try:
            with self.shop.database.reading() as session:
                order = self.desk.order(session, lease.run_id)
            # Files at a destination that does not answer are removed by a sweep later.
            within_reach = None if lease.away else order
            if lease.verdict is not None:
                end_condemned(within_reach, lease, self.shop, cancelled_error())
            elif lease.cancelled:
                give_up(within_reach, lease, self.shop, cancelled_error())
            elif lease.claims > _MOST_CLAIMS:
                give_up(order, lease, self.shop, _cut_off(lease))
            else:
                silence = first_contact(order, lease, self.shop)
                turn.end()
                carry_out(order, lease, self.shop, _Hold(heartbeat, stop), silence)
        except CancelledError:
            self._stopped(order, lease, heartbeat)
        except (LeaseLostError, StoreBusyError, StoreFullError):
            # Without the database nothing can be said of the run; whoever takes it up goes on.
            raise
        except Exception as error:
            if exhaustion(error) is not None:
                runs.release(self.shop.database, lease)
                raise
            _log.exception("run %s failed", lease.run_id)
            give_up(order, lease, self.shop, _unexpected(error))

    def _stopped(self, order: Order | None, lease: Lease, heartbeat: Heartbeat) -> None:
        if heartbeat.cancel_requested:
            give_up(order, lease, self.shop, cancelled_error())
        elif not heartbeat.lost:
            runs.release(self.shop.database, lease)


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


def _cut_off(lease: Lease) -> DeliveryError:
    return DeliveryError(
        "EXPORT-1500-500",
        f"The servers that carried out the run ended {lease.claims - 1} times without finishing a file.",
        "Look into the server's log; give the machine more memory, or set OFFTAKE_PART_BYTES lower.",
    )


def _unexpected(error: Exception) -> DeliveryError:
    # What its place refuses before a run begins has its own code and remedy.
    if isinstance(error, DeliveryError):
        return error
    # Only our own errors promise to hold no secrets.
    message = (
        str(error) if isinstance(error, OfftakeError) else f"The run stopped unexpectedly ({type(error).__name__})."
    )
    return DeliveryError("EXPORT-1500-500", message, "The server's log has the details; the next run tries again.")
