"""Verifications of runs for the pages: each in a thread of its own, a few at a time; results are in memory only."""

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from offtake.errors import OfftakeError
from offtake.exporting.verify import VerificationResult
from offtake.scheduling import run_verification
from offtake.web.person import Person

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 2
_KEPT: Final = 200


@dataclass
class Verification:
    """A verification, its progress in bytes read, and its result or error when it is over."""

    run_id: str
    started_ms: int
    total: int = 0
    read: int = 0
    ended_ms: int | None = None
    result: VerificationResult | None = None
    error: str = ""

    @property
    def is_running(self) -> bool:
        """Whether it is still going on."""
        return self.ended_ms is None


class Verifications:
    """The last verifications of this process, by run. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._known: OrderedDict[str, Verification] = OrderedDict()

    def find(self, run_id: str) -> Verification | None:
        """The last verification of a run; None when there is none in this process."""
        return self._known.get(run_id)

    def start(self, person: Person, run_id: str) -> None:
        """Read the delivered files of the caller's run back and compare them with its records.

        No-op while that is going on. Raises `OfftakeError` as `run_verification.delivery_of`, and when other
        verifications take all slots.
        """
        delivery = run_verification.delivery_of(person.backend, person.caller, run_id)
        with self._lock:
            known = self._known.get(run_id)
            if known is not None and known.is_running:
                return
            if not self._slots.acquire(blocking=False):
                raise OfftakeError(f"{_AT_ONCE} verifications are running already; wait until one has ended.")
            total = sum(part.bytes or 0 for part in delivery.files)
            found = self._known[run_id] = Verification(run_id, person.now_ms, total)
            self._known.move_to_end(run_id)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)

        def seen(size: int) -> None:
            found.read += size

        def verify() -> None:
            try:
                found.result = run_verification.verify_delivery(delivery, seen)
            except OfftakeError as error:
                found.error = str(error)
            except Exception:  # noqa: BLE001 - a person sees that it failed
                _log.exception("the verification of run %s failed", run_id)
                found.error = "An unexpected error occurred; the server's log has the details."
            finally:
                found.ended_ms = person.backend.clock.now_ms()
                self._slots.release()

        # A daemon: a server that stops does not wait for a slow destination.
        threading.Thread(target=verify, name=f"verify-{run_id}", daemon=True).start()
