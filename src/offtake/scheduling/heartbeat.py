"""A heartbeat: renews a lease in the background while its holder works."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from offtake.errors import LeaseLostError

_log = logging.getLogger(__name__)

_BEATS: Final = 3
_LONGEST_SECONDS: Final = 2.0
"""The longest time between two beats: each also learns whether the work was cancelled."""
_SURE: Final = 0.75
"""The part of a lease that its holder relies on: the rest covers differences between two machines' clock rates."""


@dataclass
class Heartbeat:
    """Renews one lease in the background; `cancel_requested` and `lost` report that the work must stop.

    `renew` returns whether the work was cancelled, and raises `LeaseLostError`. `begun`: a time of `time.monotonic`
    before the lease was granted.
    """

    what: str
    renew: Callable[[], bool]
    lease_seconds: float
    begun: float
    cancel_requested: bool = False
    lost: bool = False
    over: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def lease_expires_at(self) -> float:
        """Until when no other process can have found the lease expired, in seconds of `time.monotonic`."""
        return self.begun + _SURE * self.lease_seconds

    def end(self) -> None:
        """Renew the lease no more; returns when no renewal is under way. Idempotent."""
        with self._lock:
            self.over = True

    @contextmanager
    def running(self) -> Iterator[None]:
        """Renew three times per lease duration, and at least every two seconds, until the block ends."""
        with beating([self]):
            yield

    def beat(self) -> None:
        """Renew the lease once; no-op when it is lost or over."""
        with self._lock:
            if not self.over and not self.lost:
                self._renew()

    def _renew(self) -> None:
        begun = time.monotonic()
        try:
            cancelled = self.renew()
        except LeaseLostError:
            self.lost = True
            return
        except Exception:  # noqa: BLE001 - a short outage of the database must not end the heartbeat
            _log.warning("%s: the lease could not be renewed; retrying", self.what)
            return
        self.begun = begun
        self.cancel_requested = self.cancel_requested or cancelled


@contextmanager
def beating(heartbeats: Sequence[Heartbeat]) -> Iterator[None]:
    """Renew several leases by one thread, as `Heartbeat.running` does for one; they are over when the block ends."""
    stop = threading.Event()
    pause = min(_LONGEST_SECONDS, *(one.lease_seconds / _BEATS for one in heartbeats))

    def beat() -> None:
        while not stop.wait(pause):
            for one in heartbeats:
                one.beat()

    thread = threading.Thread(target=beat, name=f"heartbeat-{heartbeats[0].what}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for one in heartbeats:
            one.end()
