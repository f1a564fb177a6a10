"""A worker: claims a run by lease, keeps the lease alive, carries the run out."""

import logging
import threading
from dataclasses import dataclass

from offtake.errors import CancelledError, DeliveryError, LeaseLostError, OfftakeError
from offtake.exporting.order import Order
from offtake.exporting.plan import info_item
from offtake.exporting.run import Workshop, cancelled_error, carry_out, give_up
from offtake.failpoints import failpoint
from offtake.scheduling.heartbeat import Heartbeat
from offtake.scheduling.orders import OrderDesk
from offtake.store import runs
from offtake.store.runs import Lease

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """Carries out runs, one at a time. Several may share a workshop, in one process or in many."""

    shop: Workshop
    desk: OrderDesk
    owner: str
    lease_ms: int

    def work_once(self, stop: threading.Event) -> bool:
        """Carry out the oldest run that is free; False when there was none.

        When `stop` is set, the run is given back as far as it has come, for any worker to go on with.
        """
        lease = runs.claim(self.shop.database, self.owner, self.shop.clock.now_ms(), self.lease_ms)
        if lease is None:
            return False
        failpoint("claimed")
        heartbeat = Heartbeat(f"run {lease.run_id}", lambda: self._renew(lease), self.lease_ms, lease.cancelled)
        try:
            with heartbeat.beating():
                self._work(lease, heartbeat, stop)
        except LeaseLostError:
            _log.warning("run %s: another worker has taken over", lease.run_id)
        return True

    def work(self, stop: threading.Event, pause_seconds: float = 0.5) -> None:
        """Carry out runs until `stop` is set."""
        while not stop.is_set():
            try:
                worked = self.work_once(stop)
            except Exception:  # noqa: BLE001 - a database that is away for a moment must not end the worker
                _log.exception("a run could not be claimed or ended; trying again")
                worked = False
            if not worked:
                stop.wait(pause_seconds)

    def _renew(self, lease: Lease) -> bool:
        return runs.renew(self.shop.database, lease, self.shop.clock.now_ms(), self.lease_ms)

    def _work(self, lease: Lease, heartbeat: Heartbeat, stop: threading.Event) -> None:
        order: Order | None = None
        try:
            with self.shop.database.reading() as session:
                order = self.desk.order(session, lease.run_id)
            carry_out(
                order,
                lease,
                self.shop,
                lambda: stop.is_set() or heartbeat.cancel_requested or heartbeat.lost,
            )
        except CancelledError:
            self._stopped(order, lease, heartbeat)
        except LeaseLostError:
            raise
        except Exception as error:  # noqa: BLE001 - a run must end with a reason, whatever went wrong
            _log.exception("run %s failed", lease.run_id)
            self._fail(order, lease, _unexpected(error))

    def _stopped(self, order: Order | None, lease: Lease, heartbeat: Heartbeat) -> None:
        if heartbeat.cancel_requested:
            self._fail(order, lease, cancelled_error())
        elif not heartbeat.lost:
            runs.release(self.shop.database, lease)

    def _fail(self, order: Order | None, lease: Lease, error: DeliveryError) -> None:
        if order is not None:
            give_up(order, lease, self.shop, error)
            return
        runs.fail(self.shop.database, lease, info_item(error), self.shop.clock.now_ms())


def _unexpected(error: Exception) -> DeliveryError:
    # What its place refuses before a run begins has its own code and remedy.
    if isinstance(error, DeliveryError):
        return error
    # Only our own errors promise to hold no secrets.
    message = (
        str(error) if isinstance(error, OfftakeError) else f"The run stopped unexpectedly ({type(error).__name__})."
    )
    return DeliveryError("EXPORT-1500-500", message, "The server's log has the details; the next run tries again.")
